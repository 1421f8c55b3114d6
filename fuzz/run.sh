#!/usr/bin/env bash
# Runs the fuzz targets, or those that are named, each for some seconds: fuzz/run.sh [SECONDS [TARGET...]]. Needs cargo,
# gcc, g++, binutils and python3; installs cargo-fuzz. What fails is kept in fuzz/artifacts.
set -euo pipefail
cd "$(dirname "$0")/.."

if [[ $(uname -sm) != "Linux x86_64" ]]; then
    echo "skipped: only Linux on x86-64"
    exit 0
fi
seconds=${1:-10}
targets=("${@:2}")

command -v cargo-fuzz >/dev/null || cargo install --quiet --locked cargo-fuzz
python3 -B fuzz/seeds.py

# cargo-fuzz sets flags of the nightly compiler, which this variable lets the stable one take.
export RUSTC_BOOTSTRAP=1
export RUSTFLAGS="${RUSTFLAGS:-} --cfg loopmon_fuzzing"
# The crate bounds how deep its stack is, which must be one stack for that; and what is freed must not count for long.
export ASAN_OPTIONS="detect_stack_use_after_return=0:quarantine_size_mb=16"
cargo fuzz build

((${#targets[@]})) || mapfile -t targets < <(cargo fuzz list)
# What docs/stacks.md allows to a file that is made for it, what is copied while that grows, and the sanitizer.
limits=(-max_len=131072 -timeout=300 -malloc_limit_mb=512 -rss_limit_mb=1024)
for target in "${targets[@]}"; do
    printf '\n== %s\n' "$target"
    if [[ $target == debug_information ]]; then
        cargo fuzz run "$target" "$PWD"/fuzz/corpus/hostile/* -- "${limits[@]}"
    fi
    cargo fuzz run "$target" -- "${limits[@]}" -max_total_time="$seconds" -print_final_stats=1
done
