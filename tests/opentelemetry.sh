#!/usr/bin/env bash
# Sends what example 42 exports over OTLP to a real collector, and asks it what it has received.
#
# The collector is Rotel, from PyPI, into target/ and nowhere else. Needs python3 with pip.
set -euo pipefail
cd "$(dirname "$0")/.."

# It has builds for few platforms.
if [[ $(uname -sm) != "Linux x86_64" ]]; then
    echo "skipped: no collector is to be had here"
    exit 0
fi
target=$(cargo metadata --no-deps --format-version 1 |
    sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
agent=$target/rotel/rotel/rotel-agent
[[ -e $agent ]] || python3 -m pip install --quiet --disable-pip-version-check \
    --root-user-action=ignore --target "$target/rotel" rotel==0.0.1a15
chmod +x "$agent"

files=$(mktemp -d)
received=$files/received
printed=$files/printed
collector=
stop() {
    if [[ -n $collector ]]; then
        # It may have ended by itself. And how it was ended is no fault.
        kill "$collector" 2>/dev/null || echo "the collector had ended"
        wait "$collector" || echo "the collector ended with $?"
        collector=
    fi
}
trap 'stop; rm -r "$files"' EXIT

fail() {
    printf 'FAILED  %s\nreceived:\n' "$*"
    tail -n 400 "$received"
    exit 1
}

# Waits until a command succeeds, for ten seconds.
until_true() {
    for _ in {1..200}; do
        if "$@"; then return; fi
        sleep 0.05
    done
    return 1
}

# Below the ports that Linux gives out by itself. Somebody else may take one meanwhile: then once more.
start() {
    for _ in {1..5}; do
        read -r grpc http < <(shuf -i 20000-32000 -n 2 | xargs)
        "$agent" start --exporter blackhole --debug-log traces --debug-log metrics \
            --debug-log-verbosity detailed --otlp-grpc-endpoint "127.0.0.1:$grpc" \
            --otlp-http-endpoint "127.0.0.1:$http" >"$received" 2>&1 &
        collector=$!
        export OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:$http OTEL_METRIC_EXPORT_INTERVAL=100
        if until_true listens_or_has_ended && kill -0 "$collector" 2>/dev/null; then return; fi
        stop
    done
    fail "the collector does not start"
}
listens_or_has_ended() {
    ! kill -0 "$collector" 2>/dev/null || (: <"/dev/tcp/127.0.0.1/$http") 2>/dev/null
}

has_stalled_worker() { grep -a -A 11 'Name: loopmon.stall.active$' "$received" | grep -qx 'Value: 1'; }
has_span() { grep -aq 'Name  *: loopmon.stall$' "$received"; }

cargo build --quiet --all-features --example 42_opentelemetry
example=$target/debug/examples/42_opentelemetry

echo "a stall shows while the service stands still"
start
"$example" >"$printed" &
service=$!
until_true has_stalled_worker || fail "no stalled worker was told"
[[ ! -s $printed ]] || fail "the stalled worker was told when the stall was over"
wait "$service"
stop

echo "the collector has the histogram, the counter and the span with its culprit"
start
before=$(date +%s%N)
"$example" >"$printed"
after=$(date +%s%N)
until_true has_span || fail "no span"
stop
python3 - "$received" "$before" "$after" <<'PYTHON' || fail "the collector received something else"
import re, sys

received = open(sys.argv[1], errors="replace").read()
before, after = map(int, sys.argv[2:])
assert "InstrumentationScope loopmon " in received

def last(name):
    """What was received of a metric last."""
    found = re.split(rf"-> Name: {re.escape(name)}\n", received)
    assert len(found) > 1, name
    return re.split(r"\nMetric #|\nResource", found[-1])[0]

lag = last("loopmon.lag")
assert "Unit: s\n" in lag and "DataType: Histogram\n" in lag, lag
assert "loopmon.monitor.name: Str(service)" in lag, lag
assert int(re.search(r"\nCount: (\d+)", lag)[1]) >= 1, lag
assert float(re.search(r"\nMax: (\S+)", lag)[1]) > 0.5, lag

count = last("loopmon.stall.count")
counts = dict(re.findall(r"stall.cause: Str\((\w+)\)[^#]*?\nValue: (\d+)", count))
assert len(counts) == 6 and int(counts["blocked"]) >= 1, count

missed = last("loopmon.sample.missed")
assert missed.endswith("\nValue: 0"), missed

spans = re.findall(r"Span #\d+\n.*?(?=\nSpan #|\nResource|\Z)", received, re.DOTALL)
# A busy machine may have stalled it before.
span = max(spans, key=lambda span: "loopmon.stall.syscall: Str(wait" in span)
start, end = (int(re.search(rf"{edge} time: (\d+)", span)[1]) for edge in ("Start", "End"))
reported = int(re.search(r"loopmon.stall.report\s+-> Timestamp: (\d+)", span)[1])
assert before < start < end < after, (before, start, end, after)
assert end - start >= 900_000_000, span
assert reported - start >= 100_000_000, span
assert re.search(r"Parent ID +: *\n", span), span
for attribute in (
    "loopmon.monitor.name: Str(service)",
    "loopmon.worker.index: Int(0)",
    "loopmon.stall.id: Str(",
    "loopmon.stall.cause: Str(blocked)",
    "thread.name: Str(main)",
    "code.function.name: Str(_42_opentelemetry::report",
    "/examples/42_opentelemetry.rs",
    "code.stacktrace: Str(",
):
    assert attribute in span, (attribute, span)
PYTHON

echo "no collector does no harm"
"$example" >"$printed" 2>&1
[[ $(<"$printed") == "the report is done" ]] || fail "printed $(<"$printed")"
