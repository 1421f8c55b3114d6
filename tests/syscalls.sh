#!/usr/bin/env bash
# What the watchdog's thread asks of the system while the program is stuck in its allocator or its memory
# map. Installs strace by apt.
set -euo pipefail
cd "$(dirname "$0")/.."

if [[ $(uname -s) != Linux ]]; then
    echo "skipped: only on Linux"
    exit 0
fi
command -v strace >/dev/null || { apt-get update -qq && apt-get install -qq -y strace; }
program=$(cargo test --all-features --test closed_look --no-run --message-format=json 2>/dev/null |
    sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -n 1)
python3 -B tests/syscalls.py "$program"
