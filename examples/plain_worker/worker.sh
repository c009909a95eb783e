#!/bin/sh
# A worker on a task queue, with curl, sed and iconv: ./worker.sh QUEUE COMMAND [ARGUMENT…]
#
# Runs COMMAND once per task, with the payload on its standard input, TASK, ATTEMPT and FENCING in
# its environment. Exit 0 completes the task, with the first 4,000 bytes of what it printed as the
# result, as UTF-8: bytes that are not are left out. 75 (EX_TEMPFAIL) lets it be tried again; anything
# else fails the attempt. The lease is extended while it runs; if it
# is lost all the same, or cannot be extended for as long as it lasts, COMMAND is stopped, as another
# worker has the task. What came of it is told until the server has answered; what the server will
# never take fails the task for good, with its reason.
# CALLBOARD_SERVER, CALLBOARD_TENANT and CALLBOARD_TOKEN are used as by `callboard`; COUNT=N stops
# after N tasks.
set -u

for program in curl iconv; do
  command -v $program >/dev/null || { echo "refused: this worker needs $program, which is not installed" >&2; exit 1; }
done
queue=$1
shift
case $queue in
  '' | *[!A-Za-z0-9_:.-]*)
    echo "refused: a queue's name has only A-Z a-z 0-9 _ : . -, but '$queue' has others" >&2
    exit 1 ;;
esac
base=${CALLBOARD_SERVER:-http://127.0.0.1:8700}/v1/tenants/${CALLBOARD_TENANT:-default}
lease_s=30

post() { # PATH, body on stdin
  curl --silent --show-error --max-time 40 --header 'Content-Type: application/json' \
    ${CALLBOARD_TOKEN:+--header "Authorization: Bearer $CALLBOARD_TOKEN"} --data-binary @- "$base$1"
}

tell() { # HOW BODY
  how=$1
  body=$2
  replaced=
  tries=0
  while [ "$tries" -lt "$lease_s" ]; do
    if said=$(printf '%s' "$body" | post "/leases/$lease/$how"); then
      case $said in
        '' | '{"dead":'*) return ;;
        *'"code":"lease_lost"'*) break ;;
        *'"status":4'*'"retryable":false'*)
          # Asked again it would be refused again, and left alone the lease would have to run out.
          [ -z "$replaced" ] || break
          replaced=yes
          why=$(printf '%s' "$said" | sed 's/.*"code":"\([a-z_]*\)","detail":"/\1: /; s/"}$//')
          body="{\"error\":\"the answer ($how) was refused: $why\",\"retryable\":false}"
          how=fail
          continue ;;
      esac
    fi
    tries=$((tries + 1))
    sleep "$tries"
  done
  echo "task $(member task): what came of it could not be told${said:+: $said}" >&2
}

keep() { # extends the lease for as long as it is ours, or may be
  until=$(($(date +%s) + lease_s))
  while sleep $((lease_s / 3)); do
    asked=$(date +%s)
    case $(printf '{}' | post "/leases/$lease/extend") in
      *'"lease_lost"'*) until=0 ;;
      *'"lease_ms"'*) until=$((asked + lease_s)) ;;
    esac
    if [ "$(date +%s)" -ge "$until" ]; then
      kill "$command" 2>/dev/null
      return
    fi
  done
}

quoted() { # stdin as a JSON string: text, not bytes. UTF-16 cannot hold what UTF-8 must not
  iconv -c -f UTF-8 -t UTF-16LE 2>/dev/null | iconv -f UTF-16LE -t UTF-8 | tr -d '\000-\010\013-\037' | sed 's/\\/\\\\/g; s/"/\\"/g; s/	/\\t/g' | sed ':a; N; $!ba; s/\n/\\n/g' |
    sed '1s/^/"/; $s/$/"/'
}

member() { # NAME of a number, or of a text without escapes
  printf '%s' "$answer" | sed -n "s/.*\"$1\":\"\{0,1\}\([^,\"}]*\).*/\1/p"
}

count=${COUNT:-0}
done=0
output=$(mktemp) || exit 1
input=$(mktemp) || exit 1
command=
keeper=
trap 'rm -f "$input" "$output"' EXIT
trap 'kill $command $keeper 2>/dev/null; exit 143' TERM INT

while [ "$count" -eq 0 ] || [ "$done" -lt "$count" ]; do
  answer=$(printf '{"worker":"sh-%s","max":1,"lease_ms":%s000,"wait_ms":20000}' "$$" "$lease_s" |
    post "/queues/$queue/lease") || { sleep 1; continue; }
  case $answer in
    '{"tasks":[]}') continue ;;
    '{"tasks":[{'*) ;;
    *'"code":"unauthorized"'* | *'"code":"forbidden"'* | *'"code":"not_found"'* | \
      *'"code":"bad_request"'* | *'"code":"invalid_name"'*)
      printf '%s' "$answer" | sed 's/.*"detail":"/refused: /; s/"}$//' >&2
      echo >&2
      exit 1 ;;
    *) printf '%s\n' "$answer" >&2; sleep 1; continue ;;
  esac
  # The payload stands between these two: its own text cannot be mistaken for the end of the task.
  printf '%s' "$answer" |
    sed 's/^{"tasks":\[{[^{]*"lease_ms":[0-9]*,"payload"://; s/,"enqueued":"[^"]*","deadline":"[^"]*"}\]}$//' >"$input"
  answer=${answer%%,\"payload\":*}
  lease=$(member lease)
  TASK=$(member task) ATTEMPT=$(member attempt) FENCING=$(member fencing) "$@" \
    <"$input" >"$output" 2>&1 &
  command=$!
  keep &
  keeper=$!
  wait "$command"
  status=$?
  command=
  text=$(head -c 4000 "$output" | quoted)
  case $status in
    0) tell complete "{\"result\":${text:-null}}" ;;
    75) tell fail "{\"error\":${text:-\"\"},\"retry_after_ms\":1000}" ;;
    *) tell fail "{\"error\":${text:-\"\"}}" ;;
  esac
  # Until here: whoever else got the task meanwhile would do it again.
  kill "$keeper" 2>/dev/null
  wait "$keeper" 2>/dev/null
  keeper=
  done=$((done + 1))
done
