#!/usr/bin/env bash
# Functions that unpack packages of Debian into a folder, and install none. To be sourced.

# in_folder FOLDER COMMAND...: runs a command of apt that keeps what it downloads in FOLDER, and knows the
# packages for AArch64 as well.
in_folder() {
    local state=$1
    shift
    mkdir -p "$state/lists/partial" "$state/archives/partial"
    "$1" -o APT::Sandbox::User=root -o APT::Architectures="$(dpkg --print-architecture),arm64" \
        -o Dir::State::lists="$state/lists" -o Dir::Cache="$state" "${@:2}"
}

# unpack STATE FOLDER: unpacks all that was downloaded to STATE.
unpack() {
    local package
    for package in "$1"/archives/*.deb; do dpkg -x "$package" "$2"; done
}

# debian_rust VERSION FOLDER [ARCHITECTURE]: unpacks a compiler with Cargo, such as 1.85, with the standard library
# for this machine and for ARCHITECTURE, such as arm64. FOLDER/cargo runs it.
debian_rust() {
    local version=$1 folder=$2 foreign=${3:-} state lib
    [[ ! -x $folder/cargo ]] || return 0
    rm -rf "$folder"
    mkdir -p "$folder"
    state=$(mktemp -d "$folder/apt.XXXXXX")
    in_folder "$state" apt-get -qq update
    in_folder "$state" apt-get -qq install --yes --download-only --no-install-recommends --allow-downgrades \
        "rustc-web=$version*" "cargo-web=$version*" "libstd-rust-web-dev=$version*"
    if [[ -n $foreign ]]; then
        (cd "$state/archives" &&
            in_folder "$state" apt-get -qq download "libstd-rust-web-dev:$foreign=$version*")
    fi
    unpack "$state" "$folder/files"
    rm -r "$state"
    lib=$folder/files
    cat >"$folder/unchecked" <<END
#!/bin/sh
export LD_LIBRARY_PATH="$(printf '%s:' "$lib"/{usr/,}lib/*-linux-gnu)"
export RUSTC="$folder/files/usr/bin/rustc" RUSTDOC="$folder/files/usr/bin/rustdoc"
exec "$folder/files/usr/bin/cargo" "\$@"
END
    chmod +x "$folder/unchecked"
    "$folder/unchecked" --version | grep "^cargo $version"
    mv "$folder/unchecked" "$folder/cargo"
}

# debian_kernel FOLDER: unpacks Linux for AArch64, and a shell with all that a small system needs: FOLDER/linux and
# FOLDER/busybox.
debian_kernel() {
    local folder=$1 state linux
    [[ ! -x $folder/busybox ]] || return 0
    rm -rf "$folder"
    mkdir -p "$folder"
    state=$(mktemp -d "$folder/apt.XXXXXX")
    in_folder "$state" apt-get -qq update
    linux=$(in_folder "$state" apt-cache depends linux-image-arm64:arm64 |
        sed -n 's/^ *Depends: \(linux-image-[^ ]*\)$/\1/p')
    (cd "$state/archives" && in_folder "$state" apt-get -qq download "$linux" busybox-static:arm64)
    unpack "$state" "$state/files"
    mv "$state"/files/boot/vmlinuz-* "$folder/linux"
    mv "$state/files/bin/busybox" "$folder/busybox"
    rm -r "$state"
}
