#!/usr/bin/env bash
# Checks the live page in a real browser: Chromium, headless, driven by WebDriver (tests/dashboard.py). It shows
# examples/50_dashboard.rs, whose runtimes get stuck again and again. Leaves screenshots in target/dashboard.
# Installs Chromium by apt and axe-core by npm where they are missing. Takes a minute.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
    echo "FAILED  $*" >&2
    exit 1
}

# Only what is missing: a Node.js from elsewhere brings its own npm, beside which apt has none to install.
for tool in chromium:chromium chromedriver:chromium-driver python3:python3 npm:npm; do
    command -v "${tool%:*}" >/dev/null && continue
    { apt-get update -qq && apt-get install -qq -y --no-install-recommends "${tool#*:}"; } ||
        fail "${tool%:*} is missing, and apt could not install it"
done

cargo build --quiet --all-features --example 50_dashboard
target=$(cargo metadata --no-deps --format-version 1 |
    sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
shots=$target/dashboard
mkdir -p "$shots"
if [[ ! -e $shots/package/axe.min.js ]]; then
    (cd "$shots" && npm pack --silent axe-core@4.14.1 >/dev/null && tar -xzf axe-core-4.14.1.tgz) ||
        fail "axe-core could not be downloaded"
fi
python3 -B tests/dashboard.py "$target/debug/examples/50_dashboard" "$shots"
