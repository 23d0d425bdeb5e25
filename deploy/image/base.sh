#!/usr/bin/env bash
# base.sh NAME: builds a base image from Debian's packages, for machines that cannot reach an image registry. It has the
# same Debian release and minor version of Python as the Dockerfile's default base, but Debian's build of Python. It is
# imported into docker, podman, or buildah without an engine.
set -euo pipefail
name=$1
suite=trixie
sources=/etc/apt/sources.list.d/debian.sources
# debootstrap takes minutes: its result is cached for a week, then built again with the latest security fixes.
cache=${XDG_CACHE_HOME:-$HOME/.cache}/watch-time
files=$cache/debian-python-$suite.tar

bootstrap() {
    if [ "$(id -u)" != 0 ] || [ ! -e "$sources" ] || ! command -v debootstrap > /dev/null; then
        echo "Building a base image from Debian's packages requires root, Debian, debootstrap, and mirrors in $sources." \
            "Otherwise name an existing base image: make image BASE=..." >&2
        exit 1
    fi
    local mirror root
    mirror=$(sed -n 's/^URIs: *//p' "$sources" | head -n 1)
    root=$(mktemp -d)
    # shellcheck disable=SC2064 # expand the folder now
    trap "rm -rf --one-file-system '$root'" EXIT
    chmod 755 "$root"
    debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv "$suite" "$root" "$mirror"
    rm "$root/etc/apt/sources.list"
    # shellcheck source=/dev/null
    sed "s/$(. /etc/os-release && echo "$VERSION_CODENAME")/$suite/g" "$sources" > "$root/$sources"
    # Security fixes; then remove what images usually leave out. The mounts end with their namespace.
    # shellcheck disable=SC2016 # expanded by the inner shell
    DEBIAN_FRONTEND=noninteractive unshare --mount sh -euc '
        mount -t proc proc "$0/proc"
        mount --rbind /dev "$0/dev"
        exec chroot "$0" sh -c "
            apt-get update -q && apt-get upgrade -q -y && apt-get clean &&
            rm -r /var/lib/apt/lists/* /var/cache/debconf/* /var/log/* /usr/share/doc/* /usr/share/man/* /usr/share/locale/*"
        ' "$root"
    # This machine's mirror and name server do not belong in the image.
    rm "$root/$sources" "$root/etc/resolv.conf"
    mkdir -p "$cache"
    # Renamed only when complete.
    tar --directory "$root" --create --numeric-owner --file "$files.$$" .
    mv "$files.$$" "$files"
}

find "$files" -mtime +7 -delete 2> /dev/null || true
[ -e "$files" ] || bootstrap

if docker info > /dev/null 2>&1; then
    docker import --change 'CMD ["bash"]' "$files" "$name" > /dev/null
elif command -v podman > /dev/null; then
    podman import --quiet --change 'CMD=bash' "$files" "$name" > /dev/null
else
    container=$(buildah from scratch)
    # shellcheck disable=SC2064 # as above
    trap "buildah rm '$container' > /dev/null" EXIT
    tar --directory "$(buildah mount "$container")" --extract --numeric-owner --file "$files"
    buildah commit --quiet "$container" "$name"
fi
