#!/usr/bin/env bash
# Runs the tests on AArch64: on Linux in an emulated machine, as an emulation of single programs does not show a
# thread's registers as Linux does. The machine has no disk and no network; the tests are in its initial file
# system. tests/aarch64.sh FILTER... runs only the tests whose names contain one of these.
#
# Its clock counts instructions, one nanosecond each, and jumps while all wait: time there passes as on a slow
# machine of its own, however slow the emulation is and whatever else this machine does. So all bounds of the
# tests hold as they are, if the debug information is small and what reads it is optimised.
#
# What is compiled here signs return addresses. Rust's own library and the C library do not, so stacks have both.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tests/debian.sh
source tests/debian.sh

step() { printf '\n== %s\n' "$*"; }

packages=(cpio gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-system-arm)
dpkg -s "${packages[@]}" >/dev/null 2>&1 ||
    { apt-get update -qq && apt-get install -qq -y --no-install-recommends "${packages[@]}"; }

step "build"
target=aarch64-unknown-linux-gnu
out=$PWD/target/aarch64
mkdir -p "$out"
cargo=(cargo)
if ! rustup target add "$target"; then
    debian_rust 1.96 "$out/debian" arm64
    cargo=("$out/debian/cargo")
fi
debian_kernel "$out/kernel"
# The flag is the nightly compiler's, which the variable lets a stable one take.
build() {
    local dependencies='profile.dev.package."*"'
    CARGO_PROFILE_DEV_DEBUG=limited RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zbranch-protection=pac-ret" \
        CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
        "${cargo[@]}" --config "$dependencies.opt-level=2" --config "$dependencies.debug='line-tables-only'" \
        test --target "$target" --target-dir "$out/target" --all-features \
        --lib --test it --test closed_look --no-run "$@"
}
build
mapfile -t tests < <(build --message-format=json 2>/dev/null |
    sed -n 's/.*"executable":"\([^"]*\)".*/\1/p')
((${#tests[@]} == 3))

step "the machine's files"
root=$out/root
rm -rf "$root"
mkdir -p "$root"/{bin,dev,etc,lib,proc,sys,tests,tmp}
cp "$out/kernel/busybox" "$root/bin/"
cp /usr/aarch64-linux-gnu/lib/{ld-linux-aarch64.so.1,libc.so.6,libm.so.6,libgcc_s.so.1,libresolv.so.2} \
    "$root/lib/"
for path in "${tests[@]}"; do
    name=$(basename "$path")
    cp "$path" "$root/tests/${name%-*}"
done
echo "127.0.0.1 localhost" >"$root/etc/hosts"
# The tests expect to be in their sources' folder, and a file there.
echo "$PWD" >"$root/tests/here"
cp Cargo.toml "$root/tests/"
: >"$root/tests/filters"
if (($# > 0)); then printf '%q ' "$@" >"$root/tests/filters"; fi
cat >"$root/init" <<'END'
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin HOME=/ RUST_BACKTRACE=1
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
ip link set lo up
eval "set -- $(cat /tests/filters)"
mkdir -p "$(cat /tests/here)"
cd "$(cat /tests/here)" || exit
cp /tests/Cargo.toml .
run() {
    echo "== $*"
    "$@" && echo "passed: $*"
}
run /tests/loopmon "$@"
run /tests/it "$@" --skip realtime
run /tests/it "${@:-realtime}" --test-threads=1
run /tests/closed_look "$@"
echo "the end, after $(cut -d ' ' -f 1 /proc/uptime) s"
poweroff -f
END
chmod +x "$root/init"
(cd "$root" && find . | cpio --quiet --create --format=newc --owner=0:0 >"$out/files")

step "run"
timeout 7200 qemu-system-aarch64 -M virt -cpu max,pauth-impdef=on -smp 2 -m 4G -icount shift=0,sleep=off \
    -nodefaults -nographic -serial stdio -no-reboot -kernel "$out/kernel/linux" -initrd "$out/files" \
    -append "console=ttyAMA0 quiet panic=-1" </dev/null | tee "$out/printed"
(($(grep -c "^passed: " "$out/printed") == 4))
