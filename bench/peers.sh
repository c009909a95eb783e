#!/usr/bin/env bash
# Callboard beside other systems, on this machine and in one run, so that only ratios count.
#
#   bench/peers.sh [publish] [latency] [fanout] [workflow] [recovery]        (all of them)
#
# CALLBOARD   the program                       (build/callboard)
# PEERS       the peers' workload scripts       (../shared/peers beside the repository)
# REPEATS     how often each peer runs          (1)
# OUT         where the JSON lines go           (a temporary folder)
#
# Peers that are not there or not installed (install.sh beside their scripts) are left out and said
# so; Callboard's own figures are printed either way.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
callboard=${CALLBOARD:-$here/../build/callboard}
peers=${PEERS:-$here/../../shared/peers}
out=${OUT:-$(mktemp -d)}
export REPEATS=${REPEATS:-1} RESULTS=$out/peers
mkdir -p "$RESULTS"

say() { printf '\033[1m%s\033[0m\n' "$*" >&2; }

[[ -x $callboard ]] || { echo "peers.sh: no program at $callboard; ./dev build makes it" >&2; exit 1; }

have_peers=no
if [[ ! -d $peers ]]; then
  say "no peers at $peers: only Callboard is measured"
elif [[ ! -d ${PEERS_HOME:-${TMPDIR:-/tmp}/callboard-peers}/root ]]; then
  say "the peers are not installed ($peers/install.sh does it): only Callboard is measured"
else
  have_peers=yes
fi

# own NAME ARGS...: one workload of Callboard, its JSON lines in $out/NAME.jsonl
own() {
  local name=$1
  shift
  say "callboard bench $*"
  sync
  "$callboard" bench "$@" --output json | tee "$out/$name.jsonl"
}

# peer SCRIPT NAMES...
peer() {
  [[ $have_peers == yes ]] || return 0
  say "$*"
  local script=$1
  shift
  "$peers/$script" "$@" >"$RESULTS/$script.log" 2>&1 || say "$script failed: $RESULTS/$script.log"
}

run_publish() {
  own publish-proto publish --seconds 5
  peer w1.sh redis nats
  own publish-json publish --seconds 5 --json
}

run_latency() {
  own latency latency --seconds 10
  peer w2.sh redis nats
}

run_fanout() {
  own fanout-1000 fanout --connections 1000
  own fanout-5000 fanout --connections 5000
  peer w3.sh ws socketio nats
}

run_workflow() {
  own workflow workflow
  peer w4.sh restate bullmq dbos
}

run_recovery() {
  own recovery recovery
  peer w6.sh
}

(($#)) || set -- publish latency fanout workflow recovery
for workload in "$@"; do
  case $workload in
    publish | latency | fanout | workflow | recovery) "run_$workload" ;;
    *) echo "peers.sh: unknown workload $workload" >&2; exit 2 ;;
  esac
done
python3 "$here/compare.py" "$out"
say "JSON lines: $out"
