#!/usr/bin/env bash
# with-engine.sh COMMAND...: runs a command beside a Docker engine of its own, by root, with Debian's docker.io. Whatever
# becomes of the command, the engine ends after it, and its containers, images, networks and rules of the firewall with it.
# Ends with 75 where no engine can run.
set -euo pipefail
# Short: paths of sockets must be.
engine=$(mktemp -d /tmp/wt-engine-XXXXXX)
forwarding=$(< /proc/sys/net/ipv4/ip_forward)
# Listing makes the tables that are not there yet, so that putting back empties them.
if ! { iptables --table filter --list-rules && iptables --table nat --list-rules; } > /dev/null 2> "$engine/log" ||
    ! iptables-save > "$engine/firewall"; then
    echo "no Docker engine can run here, so nothing is tried on one: $(tail -n 1 "$engine/log")" >&2
    rm -r "$engine"
    exit 75
fi

end() {
    trap '' INT TERM
    if [ -e "$engine/pid" ]; then
        docker ps --quiet | xargs --no-run-if-empty docker kill > /dev/null || true
        docker system prune --force --volumes > /dev/null || true
        kill "$(< "$engine/pid")" || true
        wait "$dockerd" || true
    fi
    ip link delete docker0 2> /dev/null || true
    iptables-restore "$engine/firewall"
    echo "$forwarding" > /proc/sys/net/ipv4/ip_forward
    # Mounts of containers that were not taken down would keep the folder.
    grep -oE "$engine/[^ ]+" /proc/mounts | sort -r | xargs --no-run-if-empty umount --lazy || true
    rm -rf --one-file-system "$engine"
}
trap end EXIT
trap 'exit 143' INT TERM

# The client of the same package: another one may stand first in PATH, and want what Debian 12 does not have.
mkdir "$engine/bin"
ln -s /usr/bin/docker "$engine/bin/docker"
export PATH=$engine/bin:$PATH DOCKER_HOST=unix://$engine/docker.sock WATCH_TIME_TEST_OWN_ENGINE=1
# Its ports are here, also where all this is in a container, which testcontainers would look outside of.
export TESTCONTAINERS_HOST_OVERRIDE=127.0.0.1 TESTCONTAINERS_CONNECTION_MODE=docker_host
# Its own session: Ctrl-C is for the command, and the containers' end is ours.
setsid dockerd --data-root "$engine/data" --exec-root "$engine/exec" --host "$DOCKER_HOST" --pidfile "$engine/pid" \
    > "$engine/log" 2>&1 &
dockerd=$!
for _ in {1..120}; do
    docker version > /dev/null 2>&1 && break
    kill -0 "$dockerd" 2> /dev/null || break
    sleep 0.5
done
if ! docker version > /dev/null 2>&1; then
    echo "no Docker engine can run here, so nothing is tried on one: $(tail -n 1 "$engine/log")" >&2
    exit 75
fi

# In the background, so that a signal is acted upon at once.
"$@" &
command=$!
trap 'kill "$command" 2> /dev/null || true; wait "$command" || true; exit 143' INT TERM
wait "$command"
