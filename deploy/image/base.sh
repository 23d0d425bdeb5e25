#!/usr/bin/env bash
# base.sh NAME: makes a base image out of Debian's packages, for where no registry of images can be reached. It has the
# Debian and the minor version of Python that the Dockerfile's own base has, but Debian's build of it.
set -euo pipefail
name=$1
suite=trixie
sources=/etc/apt/sources.list.d/debian.sources
if [ "$(id -u)" != 0 ] || [ ! -e "$sources" ] || ! command -v debootstrap > /dev/null; then
    echo "A base image of Debian's packages is made by root, on Debian, with debootstrap, from the mirrors that $sources" \
        "names. Anywhere else name a base image that is there: make image BASE=..." >&2
    exit 1
fi
mirror=$(sed -n 's/^URIs: *//p' "$sources" | head -n 1)

container=$(buildah from scratch)
trap 'buildah rm "$container" > /dev/null' EXIT
root=$(buildah mount "$container")
debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv "$suite" "$root" "$mirror"
rm "$root/etc/apt/sources.list"
# shellcheck source=/dev/null
sed "s/$(. /etc/os-release && echo "$VERSION_CODENAME")/$suite/g" "$sources" > "$root/$sources"
# Security fixes; then without what images leave out.
buildah run --isolation chroot --env DEBIAN_FRONTEND=noninteractive "$container" -- sh -c '
    apt-get update -q && apt-get upgrade -q -y && apt-get clean &&
    rm -r /var/lib/apt/lists/* /var/cache/debconf/* /var/log/* /usr/share/doc/* /usr/share/man/* /usr/share/locale/*'
# How this machine reaches its mirror and its name server is its own business.
rm "$root/$sources" "$root/etc/resolv.conf"
buildah commit --quiet "$container" "$name"
