#!/usr/bin/env bash
# Runs the tests of the signal and its handler under AddressSanitizer, ThreadSanitizer and valgrind, as
# far as they are there. All slow everything down, so the heavy work is less, and valgrind's long waits
# are left out.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n== %s\n' "$*"; }

if [[ $(uname -sm) != "Linux x86_64" ]]; then
    echo "skipped: only Linux on x86-64"
    exit 0
fi

step "AddressSanitizer"
# A flag of the nightly compiler, which this variable lets the stable one take. Where code has no tables
# the next call is searched for, and what the sanitizer calls in between leaves return addresses there
# (flagged as ever): which one is found is tested without it. How deep the stack is that debug information is read
# from shows only if local variables are on it.
ASAN_OPTIONS=detect_stack_use_after_return=0 RUSTC_BOOTSTRAP=1 RUSTFLAGS="${RUSTFLAGS:-} -Zsanitizer=address" LOOPMON_STRESS=100 \
    cargo test --quiet --features stack --lib --target x86_64-unknown-linux-gnu \
    --target-dir target/asan stack:: -- --test-threads=2 \
    --skip without_tables::a_function_is_shown_or_missed

step "ThreadSanitizer"
# It takes the place of every handler and calls it later, on another stack. So only the tests that do not
# look at that, and whose threads allocate, which is when it calls them. Rust's own library is not
# instrumented: what that does so that threads may share things is not seen.
suppressions=$(mktemp)
trap 'rm -f "$suppressions"' EXIT
printf 'race:%s\n' std::sync::mpmc alloc::sync::Arc test:: >"$suppressions"
RUSTC_BOOTSTRAP=1 LOOPMON_STRESS=50 TSAN_OPTIONS="suppressions=$suppressions" \
    RUSTFLAGS="${RUSTFLAGS:-} -Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer" \
    cargo test --quiet --features stack --lib --target x86_64-unknown-linux-gnu \
    --target-dir target/tsan -- --test-threads=1 \
    sys::slot::tests sys::thread_set:: sys::threads:: sys::raw:: sys::program:: stress::while_it_allocates stress::while_it_ends

step "valgrind"
if ! command -v valgrind >/dev/null; then
    echo "skipped: it is not installed"
    exit 0
fi
tests=$(cargo test --features stack --lib --no-run --message-format=json 2>/dev/null |
    sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -n 1)
# It shows its own stacks in /proc, not the program's: so only what is asked by signal. And it loses
# track of which stack is in use when libgcc unwinds one that a handler has been on: so no panics. A step from
# a handler's stack to the thread's, which may lie close together, must not count as a large frame.
LOOPMON_STRESS=10 valgrind --quiet --error-exitcode=1 --fair-sched=yes --max-stackframe=16384 \
    "$tests" --test-threads=1 stack::sys stress::while_it_allocates
