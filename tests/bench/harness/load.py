"""One run against one contestant: wrk as fast as it goes (requests a second, latency, what the servers burned meanwhile), or pace.c at
a given rate (latency alone)."""

import dataclasses
import http.client
import json
import os
import resource
import time

from .arena import BENCH, TICKS, Trouble, run

CONNECTIONS = 32
NOISE_LIMIT = 0.1     # of the machine; a run with more is repeated
SETTLE_SECONDS = 0.2  # what a server does a moment later for these requests (flushes) counts as theirs


@dataclasses.dataclass
class Sample:
    """As fast as it goes."""
    rate: float     # requests a second
    cpu_us: float   # a request, over all server processes
    p50_ms: float
    p99_ms: float
    others: float   # what everything else on the machine used of it meanwhile, and what its host withheld: 0 to 1


@dataclasses.dataclass
class Paced:
    """At a given rate."""
    p50_ms: float
    p99_ms: float
    p999_ms: float
    others: float


def machine_seconds():
    """CPU time that was used or withheld since boot, of all cores."""
    with open("/proc/stat") as f:
        user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, f.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / TICKS


def children_seconds():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def get(port, key=None):
    """The status of one request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/", headers={"X-API-Key": key} if key else {})
        return connection.getresponse().status
    finally:
        connection.close()


def drive(yard, command):
    """Runs a load generator: the JSON that it prints last, the servers' CPU seconds meanwhile, and the others' share of the machine."""
    yard.check_alive()
    start, before = time.monotonic(), (yard.cpu_seconds(), children_seconds(), machine_seconds())
    out = run(command)
    time.sleep(SETTLE_SECONDS)
    after = yard.cpu_seconds(), children_seconds(), machine_seconds()
    capacity = (time.monotonic() - start) * os.cpu_count()
    burned, generator, everything = (b - a for a, b in zip(before, after))
    yard.check_alive()
    return json.loads(out.strip().splitlines()[-1]), burned, max(0, everything - burned - generator) / capacity


def measure(yard, port, keys, seconds, refused=False):
    """keys: the file that wrk draws from. refused: each answer must be a refusal; otherwise none may be."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", BENCH / "keys.lua", f"http://127.0.0.1:{port}/", "--", keys]
    result, burned, others = drive(yard, command)
    if result["requests"] == 0 or result["broken"]:
        raise Trouble(f"{yard.name}: {result['broken']} connections broke or timed out\n{yard.logs()}")
    expected = result["requests"] if refused else 0
    if result["refused"] != expected:
        raise Trouble(f"{yard.name}: {result['refused']} answers were refusals, not {expected}\n{yard.logs()}")
    return Sample(rate=result["requests"] / result["duration_us"] * 1e6, cpu_us=burned / result["requests"] * 1e6,
                  p50_ms=result["p50_us"] / 1000, p99_ms=result["p99_us"] / 1000, others=others)


def build_pace(folder):
    run(["cc", "-O2", "-o", folder / "pace", BENCH / "pace.c", "-lm"])
    return folder / "pace"


def measure_paced(pace, yard, port, keys, rate, seconds):
    result, _, others = drive(yard, [pace, port, round(rate), seconds, keys])
    if result["refused"]:
        raise Trouble(f"{yard.name}: {result['refused']} answers were refusals\n{yard.logs()}")
    return Paced(result["p50_ms"], result["p99_ms"], result["p999_ms"], others)


def quietest(attempts, measurement):
    """Up to so many attempts; the first one with little noise, else the one with the least. Chosen by the noise, never by the result."""
    best = None
    for _ in range(attempts):
        sample = measurement()
        if best is None or sample.others < best.others:
            best = sample
        if best.others <= NOISE_LIMIT:
            break
    return best
