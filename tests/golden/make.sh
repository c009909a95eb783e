#!/usr/bin/env bash
# Makes a golden journal: a data directory as this version writes it, left by kill -9 in the middle of
# work. Later versions must go on from it (tests/e2e/golden.test.cpp). Run once for each release:
#   tests/golden/make.sh build/every_command tests/golden/NAME.tar.gz
set -euo pipefail
program=$(realpath "$1")
archive=$(realpath -m "$2")
folder=$(mktemp -d)
trap 'kill -9 "$node" 2>/dev/null || true; rm -rf "$folder"' EXIT

"$program" dev --listen 127.0.0.1:0 --data "$folder/data" --set storage.shard_count=4 \
  --set storage.ballast_bytes=0 >"$folder/out" 2>"$folder/err" &
node=$!
disown
for _ in $(seq 100); do
  grep -qs '^ready' "$folder/out" && break
  sleep 0.1
done
base=$(sed -n 's/^ready //p' "$folder/out")/v1/tenants/default

call() { # METHOD PATH [BODY]
  curl -sfS -X "$1" "$base/$2" -H 'content-type: application/json' ${3:+-d "$3"} >/dev/null
}

for n in 1 2 3; do
  curl -sfS "$base/topics/orders/events" -H 'content-type: application/cloudevents+json' -d \
    "{\"specversion\":\"1.0\",\"id\":\"o$n\",\"source\":\"/golden\",\"type\":\"order\",\"data\":$n}" >/dev/null
done
call PUT topics/orders/groups/billing '{"from":"first"}'
delivery=$(curl -sfS "$base/topics/orders/groups/billing/fetch" -d '{"max":1}' \
  | sed 's/.*"delivery":"\([^"]*\)".*/\1/')
call POST topics/orders/groups/billing/ack "{\"deliveries\":[\"$delivery\"]}"
call POST "workflows?wait_ms=5000" '{"type":"piece","id":"child","input":4}'
for id in done waiting; do
  call POST workflows "{\"type\":\"everything\",\"id\":\"$id\"}"
done
call POST workflows/done/signals/go 7
call GET "workflows/done/result?wait_ms=20000"
for _ in $(seq 100); do
  curl -sfS "$base/workflows/waiting/explain" | grep -q "the signal 'go'" && break
  sleep 0.1
done
call POST agents/tally/golden/add 3
call POST queues/mail/tasks '{"payload":"first","dedupe_key":"k1"}'
call POST queues/mail/tasks '{"payload":"second"}'
kill -9 "$node"
tar -C "$folder" --sort=name -czf "$archive" data
du -h "$archive"
