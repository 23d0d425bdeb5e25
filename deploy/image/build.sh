#!/usr/bin/env bash
# Builds the image `watch-time` from the Dockerfile with docker, podman, or buildah without an engine. `make image` calls
# it. BASE names another base image, EXTRAS other extras of pyproject.toml, TAG another image name.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# pip in the build uses the same index, proxy and certificates as pip on this machine. They are passed as build secrets,
# which stay in no layer and no history. Folders of this machine are left out: they do not exist in the build.
configured() {
    # The environment comes first and takes precedence. Without pip, there are no settings.
    { "$python" -m pip config list 2> /dev/null || true; } | sed -nE "s/^[^=]*\.($1)='(.*)'$/\1 = \2/p" | awk '!seen[$1]++'
}
{
    echo "[global]"
    configured 'index-url|extra-index-url|proxy|trusted-host|default-timeout' | sed -E 's/file:[^ ]*//g'
} > "$scratch/pip.conf"
secrets=(--secret "id=pip.conf,src=$scratch/pip.conf")
certificates=$(configured cert | sed 's/^cert = //')
if [ -n "$certificates" ]; then
    echo "cert = /run/secrets/certificates.pem" >> "$scratch/pip.conf"
    secrets+=(--secret "id=certificates.pem,src=$certificates")
fi

# A base built here names no Debian mirror: fonts come from this machine's mirror, in the base's release.
sources=/etc/apt/sources.list.d/debian.sources
hand_over_mirror() {
    # shellcheck source=/dev/null
    sed "s/$(. /etc/os-release && echo "$VERSION_CODENAME")/trixie/g" "$sources" > "$scratch/debian.sources"
    secrets+=(--secret "id=debian.sources,src=$scratch/debian.sources")
}

if docker info > /dev/null 2>&1; then
    builder=(env DOCKER_BUILDKIT=1 docker build)
elif command -v podman > /dev/null; then
    builder=(podman build)
elif command -v buildah > /dev/null; then
    # Steps run in a chroot, which needs no kernel features of a container engine.
    builder=(buildah build --isolation chroot)
    BASE=${BASE:-localhost/debian-python:trixie}
    buildah inspect --type image "$BASE" > /dev/null 2>&1 || deploy/image/base.sh "$BASE"
else
    echo "No tool to build images was found. Install docker or podman; or on Debian, without an engine:" \
        "apt-get install buildah debootstrap runc" >&2
    exit 1
fi

case "${BASE:-}" in
    *debian-python:trixie) [ ! -e "$sources" ] || hand_over_mirror ;;
esac

"${builder[@]}" "${secrets[@]}" --tag "${TAG:-watch-time}" ${BASE:+--build-arg "BASE=$BASE"} ${EXTRAS:+--build-arg "EXTRAS=$EXTRAS"} \
    --build-arg "VERSION=$(sed -nE 's/^__version__ = "(.*)"$/\1/p' etl/__init__.py)" \
    --build-arg "REVISION=$(git describe --always --dirty --abbrev=40 --exclude '*' 2> /dev/null || echo unknown)" .
