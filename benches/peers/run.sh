#!/usr/bin/env bash
# Builds every peer, runs them in turns beside a bare runtime, and writes the tables of README.md. Takes half an
# hour on two cores that do nothing else. `--short` tries each in a few minutes, and prints the tables instead.
# Needs cargo, and python3 with pip.
set -euo pipefail
cd "$(dirname "$0")"

# Each package has its own flags, which these would replace.
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_RUSTFLAGS CARGO_TARGET_DIR

work=../../target/peers
mkdir -p "$work"
if [ ! -x "$work/python/bin/python" ]; then
    python3 -m venv "$work/python"
    "$work/python/bin/pip" install --quiet --disable-pip-version-check -r python/requirements.txt
fi
exec python3 -B turns.py "$@"
