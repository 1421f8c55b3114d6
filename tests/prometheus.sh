#!/usr/bin/env bash
# Checks what is in monitoring/: the rules by promtool, then all of it on a Prometheus that scrapes
# examples/40_prometheus.rs, which is stuck for 12 of every 15 seconds. Installs Prometheus with promtool
# (2.42 or later), curl and jq by apt where they are missing. Takes half a minute.
set -euo pipefail
cd "$(dirname "$0")/.."

limit=60 # seconds to wait for anything

fail() {
    echo "FAILED  $*" >&2
    exit 1
}

for tool in prometheus promtool curl jq; do
    command -v "$tool" >/dev/null && continue
    { apt-get update -qq && apt-get install -qq -y --no-install-recommends prometheus curl jq; } ||
        fail "$tool is missing, and apt could not install it"
    break
done

echo "== rules"
promtool check rules monitoring/alerts.yml monitoring/rules.yml
promtool test rules monitoring/alerts_test.yml

cargo build --quiet --features metrics --example 40_prometheus
target=$(cargo metadata --no-deps --format-version 1 | jq -r .target_directory)
work=$(mktemp -d "$target/prometheus.XXXXXX")
started=()
clean_up() {
    # Some may have ended by themselves.
    kill "${started[@]}" 2>/dev/null || echo "some had ended"
    wait
    rm -r "$work"
}
trap clean_up EXIT

# The page for operators has rules, too.
# shellcheck disable=SC2016 # The backticks are Markdown's.
sed -n '/^```yaml$/,/^```$/{/^```/!p}' src/docs/operating.md >"$work/docs.yml"
[[ -s $work/docs.yml ]] || fail "docs::operating has no rules"
promtool check rules "$work/docs.yml"
# Of two processes of the service one is without loopmon.
cat >"$work/docs_test.yml" <<'END'
rule_files: [docs.yml]
tests:
  - interval: 15s
    input_series:
      - {series: 'up{job="service", instance="with"}', values: 1x120}
      - {series: 'loopmon_tasks{job="service", instance="with", monitor="main"}', values: 0x120}
      - {series: 'up{job="service", instance="without"}', values: 1x120}
      - {series: 'up{job="service", instance="down"}', values: 0x120}
    promql_expr_test:
      - expr: sum by (alertname, instance) (ALERTS{alertstate="firing"})
        eval_time: 20m
        exp_samples:
          - {labels: '{alertname="ServiceDown", instance="down"}', value: 1}
          - {labels: '{alertname="ServiceWithoutLoopmon", instance="without"}', value: 1}
END
promtool test rules "$work/docs_test.yml"

# Below the ports that Linux gives out by itself.
free_port() {
    local port
    while port=$(shuf -i 20000-32000 -n 1) && (: </dev/tcp/127.0.0.1/"$port") 2>/dev/null; do :; done
    echo "$port"
}

# until_true COMMAND...
until_true() {
    local until=$((SECONDS + limit))
    until "$@"; do
        ((SECONDS < until)) || fail "not within $limit s: $*"
        sleep 0.5
    done
}

service=127.0.0.1:$(free_port)
prometheus=127.0.0.1:$(free_port)
cat >"$work/prometheus.yml" <<END
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [$PWD/monitoring/alerts.yml, $PWD/monitoring/rules.yml]
scrape_configs:
  - {job_name: service, static_configs: [{targets: ["$service"]}]}
END
promtool check config --syntax-only "$work/prometheus.yml"
prometheus --config.file="$work/prometheus.yml" --storage.tsdb.path="$work/data" \
    --web.listen-address="$prometheus" >"$work/log" 2>&1 &
started+=($!)
until_true curl -sf -o "$work/ready" "http://$prometheus/-/ready"

"$target/debug/examples/40_prometheus" "$service" 12 >"$work/service" &
started+=($!)
until_true curl -sf -o "$work/metrics" "http://$service/metrics"
echo "== metrics"
promtool check metrics <"$work/metrics"

# Whether a query gives anything.
has() {
    curl -sf --data-urlencode "query=$1" "http://$prometheus/api/v1/query" |
        jq -e '.data.result | length > 0' >/dev/null
}
fires() {
    curl -sf "http://$prometheus/api/v1/alerts" | jq -e --arg alert "$1" '.data.alerts | any(
        .labels.alertname == $alert and .labels.monitor == "main" and .state == "firing")' >/dev/null
}

echo "== a real Prometheus"
expected=(
    'histogram_quantile(0.99, rate(loopmon_lag_seconds_bucket{monitor="main"}[30s])) > 0'
    'increase(loopmon_stalls_total{monitor="main", cause="blocked"}[30s]) > 0'
    'increase(loopmon_stall_seconds_total{monitor="main"}[30s]) > 0'
    # It answers while it is stuck.
    'up == 1 and on (instance) loopmon_stalled_workers{monitor="main"} == 1'
    'loopmon_stall_in_progress_seconds{monitor="workers"} == 0'
    # What docs::operating says of their number, with 14 buckets: for each of two monitors.
    'count({__name__=~"loopmon_.+"}) == 2 * 30'
    'count({__name__=~"job_monitor.+"}) == 2 * 24'
    'count({__name__=~"instance_monitor.+"}) == 2 * 2'
)
for query in "${expected[@]}"; do
    until_true has "$query"
    echo "ok      $query"
done
until_true fires LoopmonWorkerStuck
echo "ok      LoopmonWorkerStuck fires"

# Each query of the dashboard gives something, with its variables as they are at first: all. Those of
# stuck workers and of alerts do while there are any, which is most of the time here.
echo "== the dashboard"
mapfile -t queries < <(jq -r '.. | .expr? // empty' monitoring/dashboard.json)
mapfile -t variables < <(jq -r '.templating.list[].query.query? // empty' monitoring/dashboard.json |
    sed -E 's/^label_values\((.*), ([a-z]+)\)$/group by (\2) (\1)/')
((${#queries[@]} >= 20 && ${#variables[@]} == 3)) || fail "the dashboard's queries were not found"
for query in "${queries[@]}" "${variables[@]}"; do
    query=${query//\$__rate_interval/15s}
    for variable in job monitor instance; do
        query=${query//\$$variable/.+}
    done
    [[ $query != *\$* ]] || fail "a variable that is not known: $query"
    until_true has "$query"
    echo "ok      $query"
done
