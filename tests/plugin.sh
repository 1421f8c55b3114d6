#!/usr/bin/env bash
# Loads loopmon, as part of a library, into a program that loads and closes other libraries, and checks that it
# neither hangs nor leaves a handler behind.
set -euo pipefail
cd "$(dirname "$0")/.."

if [[ $(uname -s) != Linux ]]; then
    echo "skipped: only Linux"
    exit 0
fi

plugin=$(cargo build --quiet --all-features --example plugin \
    --message-format=json-render-diagnostics |
    sed -n 's/.*"filenames":\["\([^"]*plugin[^"]*\.so\)".*/\1/p' | tail -n 1)
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
for library in locals others; do
    cc -shared -fPIC -O1 -o "$out/$library.so" tests/plugin/locals.c
done
cc -Wall -Wextra -Werror -O1 -pthread -o "$out/host" tests/plugin/host.c -ldl
timeout 120 "$out/host" "$plugin" "$out/locals.so" "$out/others.so"
