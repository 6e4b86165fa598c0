#!/bin/sh
# A minimal Debian 12, `bootstrap.tar`, and packages for what is built on it, each with an index:
# `system`, which images of the examples install, and `more`, which our stand-ins are made of.
#
# usage: bootstrap.sh DIRECTORY MIRROR
set -eu
into=$1
mirror=$2

# Called again by mmdebstrap, with the new root.
if [ "${3:-}" = --fetch ]; then
    root=$4
    APT_CONFIG=$MMDEBSTRAP_APT_CONFIG
    export APT_CONFIG
    fetch() {
        directory=$1
        shift
        mkdir -p "$into/$directory"
        apt-get install --quiet --yes --download-only --no-install-recommends "$@"
        mv "$root"/var/cache/apt/archives/*.deb "$into/$directory"
        cd "$into/$directory"
        for deb in *.deb; do
            dpkg-deb --field "$deb"
            printf 'Filename: ./%s\nSize: %s\nSHA256: %s\n\n' "$deb" "$(stat -c %s "$deb")" \
                "$(sha256sum "$deb" | cut -d ' ' -f 1)"
        done >Packages
    }
    fetch system poppler-utils tesseract-ocr tesseract-ocr-eng
    fetch more busybox-static ca-certificates caddy gcc libc6-dev media-types netbase postgresql-15
    fetch more --reinstall \
        base-files libc6 libgcc-s1 libgomp1 libssl3 libstdc++6 libzstd1 tzdata
    exit
fi

# Nobody reads its manuals, and no power failure has to leave a whole file system behind.
exec mmdebstrap --quiet --variant=minbase --format=tar \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --dpkgopt=force-unsafe-io \
    --customize-hook="\"$0\" \"$into\" \"$mirror\" --fetch \"\$1\"" \
    bookworm "$into/bootstrap.tar" "deb $mirror bookworm main"
