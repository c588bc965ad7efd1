"""Goal: over raw FastCGI an unknown key and known ones that are refused take the same time, and look alike but for what their holder is told. The keeper's own part, where a difference would
arise, is measured to some nanoseconds in unit/test_timing; this is what a client could see of it. What limits and denials promise: "a denial never reveals whether an unknown key resembles a real one"."""

import random
import statistics
import string
import time
import zlib

import pytest

from harness import fcgi

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase


def with_checksum(body):
    n, out = zlib.crc32(body.encode()), ""
    for _ in range(6):
        n, rest = divmod(n, 62)
        out = ALPHABET[rest] + out
    return body + out


@pytest.fixture
def kinds(daemon):
    daemon.start()
    made = {}
    for kind in ("revoke", "disable"):
        pairs = [daemon.create() for _ in range(8)]
        for kid, _ in pairs:
            daemon.tool(kind, kid, check=0)
        made[kind] = [key for _, key in pairs]
    made["unknown"] = [with_checksum("ak_live_" + "".join(random.choices(ALPHABET, k=32))) for _ in range(8)]
    return made


def test_errors_alike(daemon, kinds):
    """Same status, same headers, same size of what is not the text itself."""
    codes = {"revoke": "key_revoked", "disable": "key_disabled", "unknown": "key_invalid"}
    shapes = set()
    for kind, keys in kinds.items():
        answer = daemon.ask(keys[0])
        body = answer.json()
        assert answer.status == 401 and body["code"] == codes[kind]
        shapes.add((tuple(n for n, _ in answer.headers), tuple(sorted(body))))
    assert len(shapes) == 1, shapes


def test_no_usable_difference(daemon, kinds, scale):
    """Medians of interleaved requests on one connection."""
    rounds, allowed = scale(400, 6000), scale(0.10, 0.04)
    for attempt in range(5):
        took = {kind: [] for kind in kinds}
        with daemon.connect() as c:
            for i in range(rounds):
                for kind in random.sample(sorted(kinds), len(kinds)):
                    params = fcgi.params_for(kinds[kind][i % 8])
                    start = time.perf_counter_ns()
                    status = c.request(params, keep=True).status
                    took[kind].append(time.perf_counter_ns() - start)
                    assert status == 401
        medians = {kind: statistics.median(t) for kind, t in took.items()}
        off = max(abs(m - medians["unknown"]) for m in medians.values()) / medians["unknown"]
        if off <= allowed:
            return
    raise AssertionError(f"{medians} after {attempt + 1} tries")
