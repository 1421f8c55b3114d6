#!/usr/bin/env bash
# Runs every example and checks that it prints what its top comment promises.
#
# examples/expected/NAME.txt has a regular expression (POSIX extended) for each line, in order. A prefix
# `{n} ` or `{n,m} ` says how many such lines there are, and `<time>` stands for a sample's time. `.` would
# also match the end of a line, so use a character class instead.
set -euo pipefail
cd "$(dirname "$0")/.."

limit=30 # seconds an example may take
time='[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}\+00:00'

# matches EXPECTED OUTPUT
matches() {
    local pattern='' line times repeated='^(\{[0-9]+(,[0-9]+)?\}) (.*)$'
    while IFS= read -r line; do
        times=''
        if [[ $line =~ $repeated ]]; then
            times=${BASH_REMATCH[1]}
            line=${BASH_REMATCH[3]}
        fi
        pattern+="((${line//<time>/$time})"$'\n'")$times"
    done <<<"$1"
    [[ $2$'\n' =~ ^$pattern$ ]]
}

# A check that cannot fail proves nothing.
test_matches() {
    local expected=$'{1,2} a [0-9]\nb|c at <time>\nd' at='at 2026-11-22 15:29:40.766393+00:00' output
    for output in $'a 1\nb\nd' $'a 1\na 2\nc '"$at"$'\nd'; do
        matches "$expected" "$output" || { echo "the checker refuses: $output" && exit 1; }
    done
    for output in '' $'a 1\nb' $'b\nd' $'a 1\nd\nb' $'a 1\nb\nd\nd' $'\na 1\nb\nd' $'a x\nb\nd' \
        $'a 1\na 2\na 3\nb\nd' $'a 1\nc at noon\nd' $'a 1\nb\nxd' "a 1b $at d"; do
        ! matches "$expected" "$output" || { echo "the checker accepts: $output" && exit 1; }
    done
}

test_matches
cargo build --quiet --examples --all-features
target=$(cargo metadata --no-deps --format-version 1 |
    sed 's/.*"target_directory":"\([^"]*\)".*/\1/')

failed=0
for source in examples/*.rs; do
    name=$(basename "$source" .rs)
    expected=$(<"examples/expected/$name.txt")
    status=0
    output=$(timeout "$limit" "$target/debug/examples/$name" 2>&1 </dev/null) || status=$?
    if ((status == 0)) && matches "$expected" "$output"; then
        echo "ok      $name"
    else
        printf 'FAILED  %s (status %d)\nexpected:\n%s\nprinted:\n%s\n' \
            "$name" "$status" "$expected" "$output"
        failed=1
    fi
done
exit "$failed"
