"""Prints what bench/peers.sh measured as ratios to the targets. Usage: compare.py FOLDER."""
import json
import os
import sys


def lines(*path):
    name = os.path.join(*path)
    if not os.path.exists(name):
        return []
    with open(name, encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.startswith("{")]


def own(folder, name):
    return [row for row in lines(folder, name + ".jsonl") if "workload" in row]


def peer(rows, name, **wanted):
    """The first row of a peer whose parameters are those."""
    for row in rows:
        if row["peer"] == name and all(row["params"].get(k) == v for k, v in wanted.items()):
            return row
    return None


def sustained(rows, name, connections):
    """The best sustained step of a peer."""
    steps = [
        row
        for row in rows
        if row["peer"] == name
        and row["params"].get("conns") == connections
        and "NOT sustained" not in row.get("notes", "")
    ]
    return max(steps, key=lambda row: row["throughput"], default=None)


class report:
    def __init__(self):
        self.rows = []

    def add(self, what, ours, target, theirs, at_least=True):
        """`target`: the wanted ratio to `theirs`, or None if `theirs` is an absolute bound."""
        if ours is None:
            return
        bound = None if theirs is None else theirs * (target or 1)
        if bound is None:
            met = "-"
        else:
            met = "yes" if (ours >= bound if at_least else ours <= bound) else "NO"
        show = lambda value: "-" if value is None else f"{value:,.2f}" if value < 1000 else f"{value:,.0f}"
        ratio = "-" if not theirs else f"{ours / theirs:.2f}"
        self.rows.append((what, show(ours), show(theirs), ratio, show(bound), met))

    def print(self):
        titles = ("what", "callboard", "beside", "ratio", "target", "met")
        widths = [max(len(row[i]) for row in [titles, *self.rows]) for i in range(len(titles))]
        for row in [titles, *self.rows]:
            cells = [row[0].ljust(widths[0])] + [c.rjust(w) for c, w in zip(row[1:], widths[1:])]
            print("  ".join(cells))


def value(row, key):
    return None if row is None else row[key]


def main(folder):
    w1 = lines(folder, "peers", "W1.jsonl")
    w2 = lines(folder, "peers", "W2.jsonl")
    w3 = lines(folder, "peers", "W3.jsonl")
    strict = {"durability": "fsync-before-ack", "topics": 1, "size": 256}
    out = report()

    proto = {row["mode"]: row for row in own(folder, "publish-proto")}
    text = {row["mode"]: row for row in own(folder, "publish-json")}
    redis, nats = (peer(w1, name, conns=8, **strict) for name in ("redis", "nats"))
    full = value(proto.get("window"), "events_per_s")
    out.add("durable publish/s, proto, beside Redis", full, 1, value(redis, "throughput"))
    out.add("durable publish/s, proto, beside NATS", full, 50, value(nats, "throughput"))
    out.add("durable publish/s, JSON, beside own proto", value(text.get("window"), "events_per_s"), 0.4, full)
    out.add("publish p99 ms at half load, proto", value(proto.get("half load"), "p99_ms"), None, 10, False)
    out.add("publish p99 ms at half load, JSON", value(text.get("half load"), "p99_ms"), None, 10, False)

    latency = next(iter(own(folder, "latency")), None)
    out.add("delivery p50 ms at 2,000/s", value(latency, "delivery_p50_ms"), None, 1, False)
    out.add("delivery p99 ms at 2,000/s", value(latency, "delivery_p99_ms"), None, 3, False)
    for name in ("redis", "nats"):
        row = peer(w2, name, **strict)
        out.add(f"delivery p50 ms, beside {name}", value(latency, "delivery_p50_ms"), 1, value(row, "p50_ms"), False)
        out.add(f"delivery p99 ms, beside {name}", value(latency, "delivery_p99_ms"), 1, value(row, "p99_ms"), False)

    for connections in (1000, 5000):
        steps = [row for row in own(folder, f"fanout-{connections}") if row["sustained"] == "yes"]
        best = max(steps, key=lambda row: row["deliveries_per_s"], default=None)
        for name in ("nats-ws", "ws", "socket.io"):
            row = sustained(w3, name, connections)
            what = f"fan-out to {connections}, beside {name}"
            rate = value(best, "deliveries_per_s")
            out.add(f"{what}: deliveries/s", rate, 1.5 if name == "nats-ws" else 1, value(row, "throughput"))
            if row and best:
                # Latency is compared at the rate that the peer still sustains.
                level = min(steps, key=lambda s: abs(s["deliveries_per_s"] - row["throughput"]))
                out.add(f"{what}: p99 ms near its rate", level["p99_ms"], 0.5, row["p99_ms"], False)

    workflow = next(iter(own(folder, "workflow")), None)
    out.add("workflows of 5 steps p99 ms", value(workflow, "p99_ms"), None, 15, False)
    w4 = [row for row in lines(folder, "peers", "W4.jsonl") if row["params"]["durability"] == "fsync-before-ack"]
    for row in w4:
        target = {"restate": 10, "bullmq": 5}.get(row["peer"], 1)
        partitions = row["params"].get("partitions")
        with_partitions = f", {partitions} partitions" if partitions else ""
        what = f"workflows of 5 steps, beside {row['peer']}{with_partitions}"
        out.add(f"{what}: workflows/s", value(workflow, "workflows_per_s"), target, row["throughput"])
        out.add(f"{what}: p99 ms", value(workflow, "p99_ms"), 1, row["p99_ms"], False)

    killed = {row["what"]: row for row in own(folder, "recovery")}
    crash = killed.get("kill -9")
    out.add("workflows lost by kill -9", value(crash, "lost"), None, 0, False)
    out.add("steps recorded twice", value(crash, "recorded_twice"), None, 0, False)
    for row in lines(folder, "peers", "W6.jsonl"):
        what = f"recovery beyond the step time ms, beside {row['peer']} ({row['params']['killed']})"
        out.add(what, value(crash, "beyond_ms"), 1, row["overhead_ms"], False)
    for what in ("one long run", "many small runs"):
        out.add(f"replay of {what}, records/s", value(killed.get(what), "records_per_s"), None, 200_000)
    out.print()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
