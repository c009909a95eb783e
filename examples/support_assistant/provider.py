#!/usr/bin/env python3
"""A provider of chat completions for demos and tests, with Python's standard library only.

    provider.py [--port N] [--token-ms N]

It knows two questions, those of support.cpp, and answers them from their own words: no network, no
key, no chance. What it is for is counting: `GET /counts` says for each Idempotency-Key how often it
was asked, how many answers went out whole and how many were cut because the caller was gone.
`POST /pace {"token_ms": N}` changes the time between two words of a streamed answer.
"""

import argparse
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BODY_BYTES_MAX = 1 << 20
CATEGORIES = {
    "delivery": ("where", "arrive", "deliver", "parcel"),
    "refund": ("refund", "money back", "return"),
    "invoice": ("invoice", "bill", "charged"),
}


class Ledger:
    """What was asked, by key. Any thread."""

    def __init__(self, token_ms):
        self.lock = threading.Lock()
        self.token_ms = token_ms
        self.keys = {}

    def asked(self, key, kind, user):
        with self.lock:
            entry = self.keys.setdefault(
                key, {"kind": kind, "user": user, "requests": 0, "whole": 0, "cut": 0})
            entry["requests"] += 1
            return entry

    def ended(self, entry, how):
        with self.lock:
            entry[how] += 1

    def counts(self):
        with self.lock:
            entries = [{"key": key, **entry} for key, entry in self.keys.items()]
        return {"requests": sum(entry["requests"] for entry in entries), "keys": entries}


def category_of(question):
    for category, words in CATEGORIES.items():
        if any(word in question.lower() for word in words):
            return category
    return "other"


def answer_to(messages):
    """The kind of question, and the answer as words."""
    system, question = messages[0]["content"], messages[-1]["content"]
    if "one word" in system:
        return "classify", [category_of(question)]
    facts = system.partition("facts only: ")[2]
    name = question.partition(" asks: ")[0].capitalize()
    text = (f"Dear {name}, thank you for writing to us; we looked into it right away. {facts} "
            "If anything else is unclear, just answer this message: a person reads it, and we "
            "will be back within the day. Kind regards, your support desk")
    words = text.split()
    return "draft", [word + " " for word in words[:-1]] + words[-1:]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    ledger = None

    def log_message(self, *_):
        pass

    def send_json(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def refuse(self, status, message):
        self.close_connection = True
        self.send_json(status, {"error": {"message": message, "type": "invalid_request_error",
                                          "code": "bad_request"}})

    def do_GET(self):
        if self.path == "/counts":
            return self.send_json(200, self.ledger.counts())
        self.refuse(404, "there is /counts")

    def do_POST(self):
        try:
            size = int(self.headers.get("Content-Length", ""))
            if not 0 <= size <= BODY_BYTES_MAX:
                raise ValueError("too large")
            body = json.loads(self.rfile.read(size))
            if self.path == "/pace":
                self.ledger.token_ms = max(0, int(body["token_ms"]))
                return self.send_json(200, {})
            if self.path != "/v1/chat/completions":
                return self.refuse(404, "there are /v1/chat/completions and /pace")
            kind, words = answer_to(body["messages"])
        except (ValueError, KeyError, IndexError, TypeError) as wrong:
            return self.refuse(400, f"cannot read the request: {wrong}")
        key = self.headers.get("Idempotency-Key", "")
        entry = self.ledger.asked(key, kind, body.get("user", ""))
        usage = {"prompt_tokens": 20, "completion_tokens": len(words),
                 "total_tokens": 20 + len(words)}
        head = {"id": f"chat-{key[-12:]}", "model": body.get("model", "test")}
        try:
            if body.get("stream"):
                self.stream(head, words, usage)
            else:
                self.send_json(200, {**head, "object": "chat.completion", "usage": usage, "choices": [
                    {"index": 0, "finish_reason": "stop",
                     "message": {"role": "assistant", "content": "".join(words)}}]})
            self.ledger.ended(entry, "whole")
        except OSError:
            self.close_connection = True
            self.ledger.ended(entry, "cut")

    def stream(self, head, words, usage):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        head = {**head, "object": "chat.completion.chunk"}
        for word in words:
            time.sleep(self.ledger.token_ms / 1000)
            self.chunk({**head, "choices": [{"index": 0, "delta": {"content": word}}]})
        self.chunk({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        self.chunk({**head, "choices": [], "usage": usage})
        self.write("data: [DONE]\n\n")
        self.wfile.write(b"0\r\n\r\n")

    def chunk(self, value):
        self.write(f"data: {json.dumps(value)}\n\n")

    def write(self, text):
        data = text.encode()
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512


def main():
    options = argparse.ArgumentParser(description="A test provider of chat completions.")
    options.add_argument("--port", type=int, default=8702, help="on 127.0.0.1; 0 = any free one")
    options.add_argument("--token-ms", type=int, default=60, help="time between two words")
    given = options.parse_args()
    Handler.ledger = Ledger(given.token_ms)
    server = Server(("127.0.0.1", given.port), Handler)
    print(f"ready http://127.0.0.1:{server.server_address[1]}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
