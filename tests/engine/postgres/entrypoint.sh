#!/usr/bin/env bash
# What the official image's entry point promises: a database made on the first start from POSTGRES_* and the files of
# /docker-entrypoint-initdb.d, then the server as the container's first process.
set -euo pipefail

# `docker run IMAGE -c NAME=VALUE` is for the server; any other program runs as it is.
case "${1:-postgres}" in
    -*) set -- postgres "$@" ;;
    postgres) ;;
    *) exec "$@" ;;
esac

if [ "$(id -u)" = 0 ]; then
    mkdir -p "$PGDATA"
    chown -R postgres:postgres "$PGDATA"
    chmod 700 "$PGDATA"
    exec setpriv --reuid postgres --regid postgres --init-groups -- "$0" "$@"
fi

from_file() { # NAME: takes it from the file that NAME_FILE names
    local file=${1}_FILE
    if [ -n "${!file:-}" ]; then
        if [ -n "${!1:-}" ]; then
            echo "both $1 and $file are set: set one of them" >&2
            exit 1
        fi
        export "$1=$(< "${!file}")"
    fi
}

make_database() {
    if [ -z "${POSTGRES_PASSWORD:-}" ] && [ "${POSTGRES_HOST_AUTH_METHOD:-}" != trust ]; then
        echo "set POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE; POSTGRES_HOST_AUTH_METHOD=trust does without" >&2
        exit 1
    fi
    # shellcheck disable=SC2086 # several arguments
    initdb --username="$POSTGRES_USER" --encoding=UTF8 ${POSTGRES_PASSWORD:+--pwfile=/dev/stdin} \
        ${POSTGRES_INITDB_ARGS:-} <<< "${POSTGRES_PASSWORD:-}"
    echo "listen_addresses = '*'" >> "$PGDATA/postgresql.conf"
    echo "host all all all ${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}" >> "$PGDATA/pg_hba.conf"
    # Nobody but what makes the database gets in before it is made.
    pg_ctl --wait --silent --options "-c listen_addresses=''" start
    export PGUSER=$POSTGRES_USER PGPASSWORD=${POSTGRES_PASSWORD:-}
    if [ "$POSTGRES_DB" != postgres ]; then
        psql --no-psqlrc --set ON_ERROR_STOP=1 --dbname postgres --set name="$POSTGRES_DB" <<< 'CREATE DATABASE :"name"'
    fi
    local file
    for file in /docker-entrypoint-initdb.d/*; do
        case "$file" in
            *.sh) bash "$file" ;;
            *.sql) psql --no-psqlrc --set ON_ERROR_STOP=1 --dbname "$POSTGRES_DB" --file "$file" ;;
        esac
    done
    pg_ctl --wait --silent --mode fast stop
    unset PGUSER PGPASSWORD
}

if [ ! -s "$PGDATA/PG_VERSION" ]; then
    from_file POSTGRES_USER
    from_file POSTGRES_PASSWORD
    from_file POSTGRES_DB
    POSTGRES_USER=${POSTGRES_USER:-postgres}
    POSTGRES_DB=${POSTGRES_DB:-$POSTGRES_USER}
    make_database
fi
exec "$@"
