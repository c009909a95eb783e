#!/usr/bin/env bash
# Makes a golden journal: a data directory as this version writes it, left by kill -9 in the middle of
# work, with every kind of record and every event of runs. Later versions must go on from it
# (tests/e2e/golden.test.cpp, which names the newest). Run once for each release:
#   ninja -C build every_command every_command_changed
#   tests/golden/make.sh build/tests/e2e/every_command build/tests/e2e/every_command_changed tests/golden/NAME.tar.gz
set -euo pipefail
program=$(realpath "$1")
changed=$(realpath "$2")
archive=$(realpath -m "$3")
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

start_node() { # PROGRAM
  rm -f "$folder/out"
  "$1" dev --listen 127.0.0.1:0 --data "$folder/data" --set storage.shard_count=4 \
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
start_node "$program"
kill_node() {
  kill -9 "$node"
  tail --pid="$node" -f /dev/null
}

call() { # METHOD PATH [BODY]
  curl -sfS -X "$1" "$base/$2" -H 'content-type: application/json' ${3:+-d "$3"} >/dev/null && return
  echo "refused: $*" >&2
  exit 1
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
call POST workflows/done/signals/soon 3
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
call POST workflows/working/signals/soon 3
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
start_node "$program"
call PUT topics/brief '{"retention":{"max_events":2}}'
for _ in $(seq 200); do
  curl -sfS "$base/topics/brief/groups/late" | grep -q '"missed":[1-9]' && break
  sleep 0.1
done
call POST workflows '{"type":"everything","id":"later"}'
until_told later "the signal 'go'"
call POST agents/tally/second/add 2
# A group that is changed, and one with a snapshot; who is present, before a start and behind it; dead letters
# and tasks that were changed by hand; a queue that is gone for all but one of two runs that wait for its tasks.
call PUT topics/orders/groups/billing '{"hold_ms":60000}'
events=
for n in $(seq 300); do
  events+=",{\"specversion\":\"1.0\",\"id\":\"m$n\",\"source\":\"/golden\",\"type\":\"many\",\"data\":$n}"
done
curl -sfS "$base/topics/many/events" -H 'content-type: application/cloudevents-batch+json' \
  -d "[${events:1}]" >/dev/null
call PUT topics/many/groups/slow '{"from":"first","hold_ms":600000}'
for seq in $(seq 290); do
  call POST topics/many/groups/slow/ack "{\"up_to_seq\":$seq}"
done
call PUT presence/room/ann '{"seat":1}'
letter=$(curl -sfS "$base/queues/broken/dead" | sed -n 's/.*"task":\([0-9]*\).*/\1/p')
call PUT "queues/broken/dead/$letter" '{"payload":"mended"}'
call PUT queues/purged '{"attempts_max":2}'
call PUT queues/purged '{"attempts_max":3}'
call POST queues/purged/tasks '{"payload":"first"}'
call POST queues/purged/purge '{"dead":true}'
letter=$(curl -sfS "$base/topics/placed/bindings/pieces/dead" | sed -n 's/.*"seq":\([0-9]*\).*/\1/p')
call PUT "topics/placed/bindings/pieces/dead/$letter" '{"data":5}'
call POST workflows '{"type":"patient","id":"skipped"}'
until_told skipped "the signal 'never'"
call POST workflows/skipped/commands/1/skip '{"reason":"golden"}'
call GET "workflows/skipped/result?wait_ms=20000"
call POST workflows '{"type":"everything","id":"mirrored","mirror":"watch"}'
until_told mirrored "the signal 'go'"
call POST workflows '{"type":"redone","id":"chained"}'
until_told chained "the signal 'go'"
curl -sfS "$base/workflows/chained/signals/go" -H 'idempotency-key: k1' -d 7 >/dev/null
until_told chained "the signal 'late'"
call POST workflows '{"type":"dated","id":"dated"}'
until_told dated "the signal 'go'"
call POST workflows '{"type":"fickle","id":"fickle"}'
until_told fickle "the signal 'go'"
call POST workflows '{"type":"patient","id":"rebuilt"}'
until_told rebuilt "the signal 'never'"
# A third life, by another build, which blocks a run and goes on with one; and a fourth, by the first again.
kill_node
start_node "$changed"
until_told fickle command_differs
call POST workflows/rebuilt/signals/unread 7
call POST workflows '{"type":"late_sender","id":"deaf","input":"closed"}'
until_told deaf "task in queue 'closed'"
kill_node
start_node "$program"
until_told fickle "the signal 'go'"
call POST workflows '{"type":"sender","id":"sent","input":"closed"}'
until_told sent "task in queue 'closed'"
call DELETE queues/closed
call GET "workflows/sent/result?wait_ms=20000"
for mood in calm glad; do
  call PUT presence/room/ann "{\"mood\":\"$mood\"}"
  call PUT presence/room/bob "{\"mood\":\"$mood\"}"
done
# What says that something was deleted is given back at once, so the node must die between the two.
for _ in $(seq 50); do
  call PUT topics/passing
  call PUT topics/many/groups/passing '{"from":"first"}'
  call PUT queues/passing
  curl -sfSZ --no-progress-meter -X DELETE "$base/topics/passing" "$base/topics/many/groups/passing" "$base/queues/passing"
  kill_node
  "$program" journal dump --data "$folder/data" --output json >"$folder/dump"
  missing=
  for kind in topic group queue; do
    grep -q "\"kind\":\"${kind}_deleted\"" "$folder/dump" || missing=$kind
  done
  [ -n "$missing" ] || break
  echo "no ${missing}_deleted" >&2
  start_node "$program"
done
[ -z "$missing" ]
tar -C "$folder" --sort=name -czf "$archive" data
du -h "$archive"
