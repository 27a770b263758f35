"""Results as nimsync_bench writes them (version 2), of a run that never was: every workload, plausible numbers."""

MACHINE = {"processor": "Synthetic & Sons <9> 'Quoted'", "cpus": 2, "kernel": "6.1.0-test", "near_cpu": 0, "far_cpu": 1}
PING_PONG = "two-line ping-pong"
BOOST = "boost spsc_queue, managed segment"
LAYOUTS = ("stamped", "stamped, protected", "dense", "dense, protected")
# A peer's round trip at 8 B in ns; its messages a second, in millions, follow from that.
PEERS = {
    BOOST: 230,
    "boost spsc_queue, two threads": 215,
    "boost message_queue": 2300,
    "readerwriterqueue, two threads": 240,
    "pipe": 5200,
    "unix stream socket": 7100,
    "unix seqpacket socket": 7600,
    "posix message queue": 5900,
    "zeromq ipc": 81000,
    "iceoryx": 1900,
}
LAYOUT_NS = {"stamped": 130, "stamped, protected": 152, "dense": 171, "dense, protected": 197}
LAYOUT_RATE = {"stamped": 180, "stamped, protected": 165, "dense": 240, "dense, protected": 140}


def summary(median, count=51):
    """Quartiles a few per cent around the median."""
    return {"median": median, "q1": median * 0.96, "q3": median * 1.07, "count": count}


def row(contestant, kind, median, over=(), percentiles=False):
    tail = {"p50": median, "p90": median * 1.1, "p99": median * 1.9, "p99.9": median * 12, "max": median * 90}
    return {
        "contestant": contestant,
        "kind": kind,
        "value": summary(median),
        "ratios": [summary(median / other) | {"over": name} for name, other in over],
        "percentiles": tail if percentiles else None,
        "kept": 51,
        "dropped": 3,
    }


def table(workload, size, unit, better, rows, batch=0, note="capacity 64", left_out=()):
    return {
        "workload": workload,
        "size": size,
        "batch": batch,
        "note": note,
        "unit": unit,
        "better": better,
        "regime_ns": None if workload == "open" else summary(85),
        "rows": rows,
        "left_out": [{"contestant": name, "reason": reason} for name, reason in left_out],
    }


def rtt(size):
    slower = 1 + size / 400
    both = [(PING_PONG, 121), (BOOST, 230 * slower)]
    rows = [row(PING_PONG, "limit", 121, percentiles=size == 8)]
    for layout in LAYOUTS:
        for kind, name in (("nimsync", "nimsync"), ("bare", "bare ring")):
            rows.append(row(f"{name} {layout}", kind, LAYOUT_NS[layout] * slower, both, size == 8))
    rows += [row(name, "peer", ns * slower, both[:1], size == 8) for name, ns in PEERS.items()]
    return table("rtt", size, "ns", "less", rows, left_out=[("iceoryx", "RouDi did not start")] if size == 4096 else ())


def throughput(size, batch=0):
    slower = 1 + size / 60
    gain = 1 + batch / 8
    boost = [(BOOST, 110 / slower)]
    rows = [row("dirty lines", "limit", 800 / slower), row("memcpy", "limit", 4000 / slower)]
    for layout in LAYOUTS:
        for variant, factor in (("", 1), (", in place", 1.4), (", class member", 0.4)):
            rate = LAYOUT_RATE[layout] * factor * gain / slower
            rows.append(row(f"nimsync {layout}{variant}", "nimsync", rate, boost))
        rows.append(row(f"bare ring {layout}", "bare", LAYOUT_RATE[layout] * gain / slower, boost))
    rows += [row(name, "peer", 25300 / ns / slower, boost) for name, ns in PEERS.items()]
    return table("batch" if batch else "throughput", size, "M/s", "more", rows, batch, "capacity 1024")


def frames(size):
    def rate(best, overhead):
        return best * size / (size + overhead)

    rows = [row("memcpy, 1 MiB", "limit", rate(11, 60))]
    for ring, best in (("256 KiB", 2.4), ("1 MiB", 5.1), ("4 MiB", 7.4), ("8 MiB", 8.1)):
        rows.append(row(f"nimsync framed, {ring} ring", "nimsync", rate(best, 700)))
    rows.append(row("pipe", "peer", rate(1.9, 9000)))
    rows.append(row("unix stream socket", "peer", rate(1.4, 12000)))
    rows.append(row("zeromq ipc", "peer", rate(0.9, 30000)))
    return table("frames", size, "GB/s", "more", rows)


def wake():
    waking = [("nimsync, backoff", "nimsync", 69), ("nimsync, doorbell", "nimsync", 31), ("pipe", "peer", 27)]
    rows = [row(*each, percentiles=True) for each in waking]
    return table("wake", 8, "us", "less", rows, note="")


def results():
    """A fresh document each time."""
    tables = [rtt(size) for size in (8, 24, 56, 64, 256, 1024, 4096)]
    tables += [throughput(size) for size in (8, 56, 64, 256, 1024)]
    tables += [throughput(size, batch) for size in (8, 64) for batch in (16, 64)]
    tables += [frames(16 * 4**power) for power in range(9)]
    boost = "boost spsc_queue"
    alone = [row("nimsync stamped", "nimsync", 310.0, [(boost, 200)]), row(boost, "peer", 200.0)]
    tables.append(table("single-thread", 8, "Mops/s", "more", alone))
    tables.append(wake())
    opening = [row("connect, open, map", "nimsync", 314.0, [("bare JSON round trip", 60)])]
    tables.append(table("open", 8, "us", "less", opening + [row("bare JSON round trip", "peer", 60.0)], note=""))
    goal = {"workload": "rtt", "size": 8, "batch": 0, "contestant": "nimsync stamped", "over": PING_PONG}
    goals = [goal | {"at_most": 1.25, "value": 1.07, "met": True}]
    goals.append(goal | {"workload": "throughput", "over": BOOST, "at_least": 2.0, "value": 1.64, "met": False})
    return {
        "version": 2,
        "program": "nimsync_bench 0.1.0",
        "machine": dict(MACHINE),
        "rounds": 51,
        "tables": tables,
        "goals": goals,
    }
