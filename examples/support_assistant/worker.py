#!/usr/bin/env python3
"""The look-ups of the support assistant: a worker on the queue `lookups` of some tenants.

    worker.py --tenant NAME [--tenant NAME ...] [--threads N] [--server URL] [--token TOKEN]

With Python's standard library only. A look-up is quick, so its lease is never extended;
examples/plain_worker shows how slow work keeps one. Each line on standard output tells of one task
that was carried out and of what the queue said: a task whose answer was late is carried out again.
"""

import argparse
import http.client
import json
import os
import signal
import sys
import threading
import traceback
import urllib.parse

LEASE_MS = 30_000
WAIT_MS = 20_000
TASKS_AT_ONCE = 4
PAUSE_SECONDS = 0.3
# Answers under which the same request is worth another try.
PASSING = ("overloaded", "rate_limited", "outcome_unknown", "draining", "timeout")

SHELVES = {
    "delivery": "Order {order} left our warehouse yesterday and arrives on Thursday.",
    "refund": "The refund for order {order} was booked this morning.",
    "invoice": "The invoice for order {order} is in the customer's account.",
    "other": "Order {order} is complete.",
}


telling = threading.Lock()


class Refused(Exception):
    def __init__(self, problem):
        super().__init__(problem.get("detail", "refused"))
        self.code = problem.get("code", "")
        self.retry_after = problem.get("retry_after_ms", 500) / 1000


class Node:
    """One kept connection to the node, made anew when it breaks. One thread."""

    def __init__(self, server, tenant, token):
        self.url = urllib.parse.urlsplit(server)
        self.base = f"/v1/tenants/{urllib.parse.quote(tenant, safe='')}"
        self.headers = {"Content-Type": "application/json"}
        if token:
            self.headers["Authorization"] = f"Bearer {token}"
        self.connection = None

    def post(self, path, body):
        if self.connection is None:
            made = (http.client.HTTPSConnection if self.url.scheme == "https"
                    else http.client.HTTPConnection)
            self.connection = made(self.url.hostname, self.url.port, timeout=WAIT_MS / 1000 + 10)
        try:
            self.connection.request("POST", self.base + path, json.dumps(body), self.headers)
            answer = self.connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as broken:
            self.connection.close()
            self.connection = None
            raise ConnectionError(str(broken)) from None
        value = json.loads(text) if text else {}
        if answer.status >= 400:
            raise Refused(value)
        return value


def look_up(payload):
    """The look-up itself. A customer's last order is as good as their name."""
    customer, category = payload["customer"], payload["category"]
    order = 1000 + sum(customer.encode()) % 9000
    return {"facts": SHELVES.get(category, SHELVES["other"]).format(order=order)}


def carry_out(node, tenant, task, stopping):
    ticket = ""
    try:
        ticket = task["payload"]["ticket"]
        how, body = "complete", {"result": look_up(task["payload"])}
    except (AttributeError, KeyError, TypeError) as wrong:
        how, body = "fail", {"error": f"cannot read the task: {wrong}", "retryable": False}
    told = {"tenant": tenant, "task": task["task"], "attempt": task["attempt"],
            "ticket": ticket, "answer": how}
    while not stopping.is_set():
        try:
            node.post(f"/leases/{task['lease']}/{how}", body)
            break
        except Refused as refusal:
            if refusal.code == "lease_lost":
                told["answer"] = "late"
                break
            if refusal.code not in PASSING:
                raise
            stopping.wait(refusal.retry_after)
        except ConnectionError:
            # The answer may have arrived: then the next try is told `lease_lost`.
            stopping.wait(PAUSE_SECONDS)
    # In one piece: several threads tell.
    with telling:
        print(json.dumps(told), flush=True)


def serve(given, tenant, stopping):
    node = Node(given.server, tenant, given.token)
    asked = {"worker": f"{os.uname().nodename}-{os.getpid()}", "max": TASKS_AT_ONCE,
             "lease_ms": LEASE_MS, "wait_ms": WAIT_MS}
    while not stopping.is_set():
        try:
            for task in node.post("/queues/lookups/lease", asked)["tasks"]:
                carry_out(node, tenant, task, stopping)
        except Refused as refusal:
            if refusal.code not in PASSING:
                print(f"{tenant}: {refusal}", file=sys.stderr)
                os._exit(1)
            stopping.wait(refusal.retry_after)
        except ConnectionError:
            stopping.wait(PAUSE_SECONDS)
        except Exception:
            # A mistake of this program: better gone, and started again, than there and deaf.
            traceback.print_exc()
            os._exit(1)


def main():
    options = argparse.ArgumentParser(description="Look-ups of the support assistant.")
    options.add_argument("--tenant", action="append", required=True)
    options.add_argument("--threads", type=int, default=2, help="of each tenant")
    options.add_argument(
        "--server", default=os.environ.get("CALLBOARD_SERVER", "http://127.0.0.1:8700"))
    options.add_argument("--token", default=os.environ.get("CALLBOARD_TOKEN", ""))
    given = options.parse_args()
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    for tenant in given.tenant:
        for _ in range(given.threads):
            threading.Thread(target=serve, args=(given, tenant, stopping), daemon=True).start()
    print("ready", flush=True)
    # What waits in a long poll is given back by the end of its connection.
    stopping.wait()


if __name__ == "__main__":
    main()
