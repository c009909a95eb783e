#!/usr/bin/env python3
"""A worker on a task queue, with Python's standard library and nothing else.

    worker.py QUEUE [--server URL] [--tenant NAME] [--token TOKEN] [--count N]

Replace `work` with what your tasks are. The rest is what every worker owes its queue:
- It asks with a long poll, and backs off while the server cannot be reached.
- It extends its lease while it works, from a thread of its own, so that slow work keeps it. If
  that fails for a whole lease, somebody else has the task by now: `lost` is set, and `work` should
  stop at the next moment that it can.
- It says how the task ended. A result that is no JSON, or that the server refuses, would be refused
  each time: it fails the task for good. `lease_lost` means that the answer came too late and counts
  for nothing. Whatever `work` did must be harmless to do twice: hand `task["fencing"]` to what it
  writes to, where that can refuse an older number.
"""

import argparse
import http.client
import json
import os
import re
import signal
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

LEASE_MS = 30_000
WAIT_MS = 5_000


class Refused(Exception):
    """The server's answer to a request that it did not carry out."""

    def __init__(self, status, problem):
        super().__init__(problem.get("detail", f"status {status}"))
        self.code = problem.get("code", "")
        self.is_final = status < 500 and problem.get("retryable") is False
        self.retry_after = problem.get("retry_after_ms", 1000) / 1000


class Queue:
    def __init__(self, server, tenant, name, token):
        # Whatever the names are, the server says what is wrong with them.
        self.base = f"{server}/v1/tenants/{urllib.parse.quote(tenant, safe='')}"
        self.name = urllib.parse.quote(name, safe="")
        self.token = token

    def call(self, path, body, timeout=10):
        return self.send(path, json.dumps(body), timeout)

    def send(self, path, text, timeout=10):
        request = urllib.request.Request(
            self.base + path, text.encode(), {"Content-Type": "application/json"})
        if self.token:
            request.add_header("Authorization", f"Bearer {self.token}")
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                said = answer.read()
                return json.loads(said) if said else {}
        except urllib.error.HTTPError as refusal:
            try:
                problem = json.loads(refusal.read())
            except ValueError:
                problem = {}
            raise Refused(refusal.code, problem) from None
        except http.client.HTTPException as broken:
            raise ConnectionError(f"no answer that is HTTP ({broken!r})") from None

    def lease(self):
        body = {"worker": f"{os.uname().nodename}-{os.getpid()}",
                "max": 1, "lease_ms": LEASE_MS, "wait_ms": WAIT_MS}
        return self.call(f"/queues/{self.name}/lease", body, WAIT_MS / 1000 + 10)["tasks"]

    def end(self, task, how, text):
        return self.send(f"/leases/{task['lease']}/{how}", text)


def keep(queue, task, ended, lost):
    """Extends the lease three times as often as needed, until `ended`."""
    until = time.monotonic() + LEASE_MS / 1000
    while not ended.wait(LEASE_MS / 3000):
        try:
            asked = time.monotonic()
            queue.end(task, "extend", "{}")
            until = asked + LEASE_MS / 1000
        except Refused as refusal:
            if refusal.code == "lease_lost":
                return lost.set()
        except OSError:
            pass
        if time.monotonic() >= until:
            return lost.set()


def failed(error, is_retryable=True):
    # What came from the operating system may hold halves of characters, which are not JSON.
    text = error[:500].encode("utf-8", "replace").decode()
    return "fail", json.dumps({"error": text, "retryable": is_retryable})


def outcome(task, lost):
    """How the task ended, and the body that says so."""
    try:
        result = work(task, lost)
    except Exception as failure:  # whatever it is, the queue decides what follows
        return failed(f"{type(failure).__name__}: {failure}")
    try:
        # NaN and Infinity are Python's own; the server refuses them.
        return "complete", json.dumps({"result": result}, allow_nan=False)
    except Exception as failure:
        return failed(f"the result is no JSON: {type(failure).__name__}: {failure}", False)


def carry_out(queue, task):
    ended, lost = threading.Event(), threading.Event()
    keeper = threading.Thread(target=keep, args=(queue, task, ended, lost), daemon=True)
    keeper.start()
    try:
        how, body = outcome(task, lost)
    finally:
        ended.set()
        keeper.join()
    is_replaced = False
    # After that long nobody waits for this answer any more.
    until = time.monotonic() + LEASE_MS / 1000
    while not lost.is_set() and time.monotonic() < until:
        try:
            queue.end(task, how, body)
            print(f"task {task['task']} attempt {task['attempt']}: {how}", flush=True)
            return
        except Refused as refusal:
            if refusal.code == "lease_lost":
                break
            if not refusal.is_final:
                time.sleep(refusal.retry_after)
                continue
            if is_replaced or refusal.code in ("unauthorized", "forbidden"):
                raise
            # Asked again it would be refused again, and left alone the lease would have to run out.
            how, body = failed(f"the answer ({how}) was refused: {refusal.code}: {refusal}", False)
            is_replaced = True
        except OSError:
            time.sleep(1)
    print(f"task {task['task']} attempt {task['attempt']}: lease lost", flush=True)


def work(task, lost):
    """Your work: returns a result, or raises. This one sleeps and echoes."""
    payload = task["payload"]
    if isinstance(payload, dict):
        lost.wait(payload.get("seconds", 0))
        if "fail" in payload:
            raise RuntimeError(payload["fail"])
    return payload


def main():
    options = argparse.ArgumentParser(description="A worker on a Callboard task queue.")
    options.add_argument("queue")
    options.add_argument(
        "--server", default=os.environ.get("CALLBOARD_SERVER", "http://127.0.0.1:8700"))
    options.add_argument("--tenant", default=os.environ.get("CALLBOARD_TENANT", "default"))
    options.add_argument("--token", default=os.environ.get("CALLBOARD_TOKEN", ""))
    options.add_argument("--count", type=int, default=0, help="stop after so many tasks")
    given = options.parse_args()
    if not re.fullmatch(r"https?://[!-~]+", given.server):
        sys.exit(f"refused: --server is no URL such as http://127.0.0.1:8700: {given.server!r}")
    queue = Queue(given.server.rstrip("/"), given.tenant, given.queue, given.token)
    stopping = threading.Event()
    # The task at hand is finished first, and so is a long poll: a task that just came with its
    # answer would have to wait for the end of a lease.
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    done, pause = 0, 0.2
    while not stopping.is_set() and (given.count == 0 or done < given.count):
        try:
            for task in queue.lease():
                carry_out(queue, task)
                done += 1
            pause = 0.2
        except Refused as refusal:
            if refusal.code in (
                    "unauthorized", "forbidden", "not_found", "bad_request", "invalid_name"):
                sys.exit(f"refused: {refusal}")
            print(f"refused: {refusal}", file=sys.stderr)
            stopping.wait(refusal.retry_after)
        except OSError as failure:
            print(f"cannot reach the server: {failure}", file=sys.stderr)
            stopping.wait(pause)
            pause = min(pause * 2, 10)


if __name__ == "__main__":
    main()
