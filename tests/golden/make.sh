#!/usr/bin/env bash
# Makes a golden journal: a data directory as this version writes it, left by kill -9 in the middle of
# work. Later versions must go on from it (tests/e2e/golden.test.cpp). Run once for each release:
#   tests/golden/make.sh build/every_command tests/golden/NAME.tar.gz
set -euo pipefail
program=$(realpath "$1")
archive=$(realpath -m "$2")
folder=$(mktemp -d)
node=
provider=
trap 'kill -9 $node $provider 2>/dev/null || true; rm -rf "$folder"' EXIT

# A provider of models that says what it was asked.
python3 - >"$folder/provider" <<'END' &
import http.server, json
class Provider(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        said = "You said: " + asked["messages"][-1]["content"]
        choice = {"index": 0, "finish_reason": "stop"}
        if asked.get("stream"):
            chunk = {"id": "c", "model": "m", "choices": [{**choice, "delta": {"content": said}}]}
            body, kind = f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n", "text/event-stream"
        else:
            message = {"role": "assistant", "content": said}
            body = json.dumps({"id": "c", "model": "m", "choices": [{**choice, "message": message}]})
            kind = "application/json"
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Provider)
print(server.server_address[1], flush=True)
server.serve_forever()
END
provider=$!
disown
for _ in $(seq 100); do
  [ -s "$folder/provider" ] && break
  sleep 0.1
done

start_node() {
  "$program" dev --listen 127.0.0.1:0 --data "$folder/data" --set storage.shard_count=4 \
    --set storage.ballast_bytes=0 --set storage.spare_log_bytes=1048576 --set models.order=main \
    --set models.main.default_model=m --set models.main.use_proxy=false \
    --set "models.main.base_url=http://127.0.0.1:$(cat "$folder/provider")/v1" \
    >"$folder/out" 2>"$folder/err" &
  node=$!
  disown
  for _ in $(seq 100); do
    grep -qs '^ready' "$folder/out" && break
    sleep 0.1
  done
  base=$(sed -n 's/^ready //p' "$folder/out")/v1/tenants/default
}
start_node

call() { # METHOD PATH [BODY]
  curl -sfS -X "$1" "$base/$2" -H 'content-type: application/json' ${3:+-d "$3"} >/dev/null
}

read_member() { # NAME: its first value in the JSON of the input
  sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"
}
until_told() { # ID TEXT: until `explain` of the workflow has it
  for _ in $(seq 200); do
    curl -sfS "$base/workflows/$1/explain" | grep -q "$2" && return
    sleep 0.1
  done
  echo "workflow $1 does not come to '$2'" >&2
  exit 1
}
work() { # QUEUE RESULT: one task is leased and completed
  local lease
  lease=$(curl -sfS "$base/queues/$1/lease" -d '{"max":1,"lease_ms":30000,"wait_ms":10000}' | read_member lease)
  call POST "leases/$lease/complete" "{\"result\":$2}"
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
work chores 16
call GET "workflows/done/result?wait_ms=20000"
until_told waiting "the signal 'go'"
call POST agents/tally/golden/add 3
call POST queues/mail/tasks '{"payload":"first","dedupe_key":"k1"}'
call POST queues/mail/tasks '{"payload":"second"}'

# A run that was begun anew, one that waits for its task, and a child that goes on without its parent.
call POST workflows '{"type":"everything","id":"anew"}'
until_told anew "the signal 'go'"
call POST workflows/anew/restart '{"from":"go","reason":"golden"}'
until_told anew "the signal 'go'"
call POST workflows '{"type":"everything","id":"working"}'
call POST workflows/working/signals/go 7
until_told working "task in queue 'chores'"
# A dead letter of a queue, a binding that has done its work, and a dead letter of it.
call POST queues/broken/tasks '{"payload":"bad"}'
lease=$(curl -sfS "$base/queues/broken/lease" -d '{"max":1,"lease_ms":30000,"wait_ms":10000}' | read_member lease)
call POST "leases/$lease/fail" '{"error":"no good","retryable":false}'
call PUT topics/placed
call PUT topics/placed/bindings/pieces '{"target":{"workflow":{"type":"piece","id":"piece-{subject}"}}}'
for subject in '"subject":"1",' ''; do
  curl -sfS "$base/topics/placed/events" -H 'content-type: application/cloudevents+json' -d \
    "{\"specversion\":\"1.0\",\"id\":\"p${#subject}\",\"source\":\"/golden\",$subject\"type\":\"placed\",\"data\":4}" >/dev/null
done
for _ in $(seq 100); do
  curl -sfS "$base/topics/placed/bindings/pieces/dead" | grep -q '"seq"' \
    && curl -sf "$base/workflows/piece-1/result" | grep -q '"result":8' && break
  sleep 0.1
done
# An agent that has gone on as new, runs that were ended, cancelled, forked and helped by hand.
for _ in $(seq 120); do
  call POST agents/tally/long/add 1
done
call POST workflows '{"type":"patient","id":"terminated"}'
call POST workflows/terminated/terminate '{"reason":"golden"}'
call POST workflows '{"type":"leaver","id":"leaving"}'
until_told leaving "task in queue 'errands'"
call POST workflows/leaving/cancel '{"reason":"golden"}'
call GET "workflows/leaving/result?wait_ms=20000"
call POST workflows/anew/fork '{"id":"forked","from":"go","reason":"golden"}'
until_told forked "the signal 'go'"
call POST workflows '{"type":"patient","id":"helped"}'
until_told helped "the signal 'never'"
call POST workflows/helped/commands/1/resolve '{"result":5,"reason":"golden"}'
call GET "workflows/helped/result?wait_ms=20000"
# A second life, so that some of it is in tables and some in logs. A group that has missed events; a run that
# put a step off, and one that waits.
for n in 1 2 3 4 5; do
  curl -sfS "$base/topics/brief/events" -H 'content-type: application/cloudevents+json' -d \
    "{\"specversion\":\"1.0\",\"id\":\"b$n\",\"source\":\"/golden\",\"type\":\"brief\",\"data\":$n}" >/dev/null
done
call PUT topics/brief/groups/late '{"from":"first"}'
kill "$node"
tail --pid="$node" -f /dev/null
start_node
call PUT topics/brief '{"retention":{"max_events":2}}'
for _ in $(seq 200); do
  curl -sfS "$base/topics/brief/groups/late" | grep -q '"missed":[1-9]' && break
  sleep 0.1
done
call POST workflows '{"type":"everything","id":"later"}'
until_told later "the signal 'go'"
call POST agents/tally/second/add 2
kill -9 "$node"
tar -C "$folder" --sort=name -czf "$archive" data
du -h "$archive"
