"""One run of wrk against one contestant: requests a second, latency, and what the servers burned meanwhile."""

import dataclasses
import http.client
import json
import os
import resource
import time

from .arena import BENCH, TICKS, Trouble, run

CONNECTIONS = 32
SETTLE_SECONDS = 0.2  # what a server does a moment later for these requests (flushes) counts as theirs


@dataclasses.dataclass
class Sample:
    rate: float     # requests a second
    cpu_us: float   # a request, over all server processes
    p50_ms: float
    p99_ms: float
    others: float   # what everything else on the machine used of it meanwhile, and what its host withheld: 0 to 1


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


def measure(yard, port, keys, seconds, refused=False):
    """keys: the file that wrk draws from. refused: each answer must be a refusal; otherwise none may be."""
    yard.check_alive()
    start, before = time.monotonic(), (yard.cpu_seconds(), children_seconds(), machine_seconds())
    out = run(["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", BENCH / "keys.lua", f"http://127.0.0.1:{port}/", "--", keys])
    time.sleep(SETTLE_SECONDS)
    after = yard.cpu_seconds(), children_seconds(), machine_seconds()
    capacity = (time.monotonic() - start) * os.cpu_count()
    burned, wrk, everything = (b - a for a, b in zip(before, after))
    yard.check_alive()
    result = json.loads(out.strip().splitlines()[-1])
    if result["requests"] == 0 or result["broken"]:
        raise Trouble(f"{yard.name}: {result['broken']} connections broke or timed out\n{out}\n{yard.logs()}")
    expected = result["requests"] if refused else 0
    if result["refused"] != expected:
        raise Trouble(f"{yard.name}: {result['refused']} answers were refusals, not {expected}\n{out}\n{yard.logs()}")
    return Sample(rate=result["requests"] / result["duration_us"] * 1e6, cpu_us=burned / result["requests"] * 1e6,
                  p50_ms=result["p50_us"] / 1000, p99_ms=result["p99_us"] / 1000,
                  others=max(0, everything - burned - wrk) / capacity)
