#!/usr/bin/env bash
# Builds with the oldest compiler that Cargo.toml names, without features and with all of them: with the
# dependencies of the lock file, with the oldest that Cargo.toml allows, and with those that a new program gets,
# which is then run.
#
# The compiler is rustup's, or Debian's, unpacked into target/. If neither can be had, this fails: what is not
# tried is not to be claimed.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tests/debian.sh
source tests/debian.sh

step() { printf '\n== %s\n' "$*"; }

oldest=$(sed -n 's/^rust-version = "\([0-9.]*\)".*/\1/p' Cargo.toml)
out=$PWD/target/oldest
mkdir -p "$out"
cargo=(rustup run "$oldest" cargo)
if ! "${cargo[@]}" --version; then
    debian_rust "$oldest" "$out/debian"
    cargo=("$out/debian/cargo")
fi
export CARGO_TARGET_DIR=$out/target

# check WHAT: in the current folder.
check() {
    for features in --no-default-features --all-features; do
        step "Rust $oldest, $1, $features"
        "${cargo[@]}" check --quiet --lib "$features"
    done
}

check "the dependencies of the lock file"

# Without what only tests need, whose versions Cargo would choose as well.
lowest=$out/lowest
mkdir -p "$lowest"
rm -rf "$lowest/src"
cp -r src "$lowest"
awk '/^\[/ { kept = !/dev-dependencies|^\[\[/ } kept' Cargo.toml >"$lowest/Cargo.toml"
(
    cd "$lowest"
    rm -f Cargo.lock
    RUSTC_BOOTSTRAP=1 "${cargo[@]}" -Z direct-minimal-versions --quiet generate-lockfile
    check "the oldest dependencies that Cargo.toml allows"
)

program=$out/program
mkdir -p "$program/src"
cp examples/30_culprits.rs "$program/src/main.rs"
cat >"$program/Cargo.toml" <<END
[package]
name = "program"
edition = "2024"
rust-version = "$oldest"

[dependencies]
loopmon = { path = "../../..", features = ["full"] }
tokio = { version = "1", features = ["full"] }

[workspace]
END
(
    cd "$program"
    step "Rust $oldest, a new program"
    rm -f Cargo.lock
    # It needs 1.87 from 0.8.2 on, which its manifest does not say until 0.8.3. The docs tell what to do.
    "${cargo[@]}" update --quiet --package ruzstd --precise 0.8.1
    "${cargo[@]}" run --quiet | tee printed
    grep -q "stuck for .* in program::price_order at src/main.rs" printed
)
