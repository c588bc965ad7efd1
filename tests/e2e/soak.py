#!/usr/bin/python3
"""Goal: nothing grows. Some millions of requests - good keys, limited, disabled, revoked, rotated and made-up ones, each set of them in use for a
moment only - and then memory, descriptors and files are what they were after the first part of them. Guards against leaks that no single test sees.

    tests/e2e/soak.py [--requests 10000000]

Tells how it goes and the figures at the end; exit 1 when something grew. test_soak.py runs a short one."""

import argparse
import contextlib
import pathlib
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from harness.admin import Admin  # noqa: E402
from harness.daemon import Daemon, wait_until  # noqa: E402
from harness.load import descriptors, flood, memory  # noqa: E402

CONNECTIONS = 32
KEYS = 60  # made for a round, gone after it
SAMPLES = 40
ROUNDS = 8  # at least: on a loaded machine many requests are made in each
MIB = 1 << 20

# What may be more in the last quarter than in the second one. The keeper's cache fills when it fills; log files of the store come and go.
CACHE_MIB = 8
MORE_KIB = {"worker": 1024, "keeper": (CACHE_MIB + 6) * 1024}  # two huge pages of it are chance
MORE_BYTES = 48 * MIB
MORE_FILES = 4


class Soak:
    def __init__(self, directory, requests, say=lambda text: None):
        self.requests, self.say = requests, say
        self.daemon = Daemon(pathlib.Path(directory) / "d", log_level="info", failed_attempts=None, revoked_retention="0s", audit_retention="1m",
                             cache_size=f"{CACHE_MIB}M")
        self.samples = []  # (requests so far, {(role, pid): KiB}, number of files, their bytes)
        self.rounds = self.seconds = 0

    def run(self):
        """What has grown: a list of sentences."""
        self.daemon.start()
        try:
            wait_until(lambda: len(self.daemon.children()) == 3, "all processes are there")
            for name, limit, per in ("soak-lots", "1000000/1h", "key"), ("soak-few", "100/1s", "key"), ("soak-owner", "5000/10s", "owner"):
                self.daemon.tool("plan", "set", name, "--limit", f"a={limit}", "--per", per, check=0)
            with Admin(self.daemon, 8) as admin:
                admin.all([{"op": "ping"}] * 8)  # accepted, all of them
                self.sample(0)
                before = descriptors(self.daemon)
                begin = time.monotonic()
                self.flood(admin)
                self.seconds = time.monotonic() - begin
                return self.compare() + self.still_open(before)
        finally:
            self.daemon.stop()

    # ---- load ----

    def churn(self, admin, old):
        """A new set of keys in the place of the old one: their ids, and the keys to ask with."""
        admin.all([{"op": "key.revoke", "id": i} for i in old])
        after = ""
        while old and after is not None:
            after = admin.all([{"op": "key.purge", "after": after}])[0]["next"]
        plans = "soak-lots", "soak-few", "soak-owner"
        made = admin.all([{"op": "key.create", "owner": f"owner{n % 7}", "plan": plans[n % 3]} for n in range(KEYS)])
        ids, keys = [m["id"] for m in made], [m["key"] for m in made]
        admin.all([{"op": "key.disable", "id": i} for i in ids[:5]] + [{"op": "key.revoke", "id": i} for i in ids[5:10]])
        keys += [m["key"] for m in admin.all([{"op": "key.rotate", "id": i} for i in ids[10:20]])]
        return ids[:5] + ids[10:], [*keys, "junk", "ak_live_junk"]

    def flood(self, admin):
        ids, keys = self.churn(admin, [])
        step, done = max(2000, self.requests // 2000), 0
        with contextlib.ExitStack() as stack:
            floods = []
            # One for each worker: left alone, the one that wakes first takes all connections of a burst.
            for pid in self.daemon.children("worker"):
                with self.daemon.halted(*set(self.daemon.children("worker")) - {pid}):
                    floods.append(stack.enter_context(flood(self.daemon, "ask", CONNECTIONS, keys)))
                    floods[-1].reached(1)
            while done < self.requests or self.rounds < ROUNDS:
                for f in floods:
                    f.reached(f.done + step // len(floods), 600)
                done = sum(f.done for f in floods)
                ids, keys = self.churn(admin, ids)
                for f in floods:
                    f.keys(keys)
                self.rounds += 1
                if done - self.samples[-1][0] >= self.requests / SAMPLES:
                    self.sample(done)
        self.sample(done)

    # ---- figures ----

    def sample(self, done):
        found = [p.stat() for p in (self.daemon.dir / "state").rglob("*") if p.is_file()]
        self.samples.append((done, memory(self.daemon), len(found), sum(s.st_blocks * 512 for s in found)))
        resident = " ".join(f"{role} {kib / 1024:.1f}" for (role, _), kib in sorted(self.samples[-1][1].items()))
        self.say(f"{done:>10} requests, {self.rounds:>5} sets of keys; MiB resident: {resident}; files: {len(found)} of {self.samples[-1][3] / MIB:.1f} MiB")

    def still_open(self, before):
        with contextlib.suppress(AssertionError):
            wait_until(lambda: descriptors(self.daemon) == before, "the floods' connections are closed", 10)
        after = descriptors(self.daemon)
        return [f"{role} {pid} has {after.get((role, pid))} descriptors instead of {n}" for (role, pid), n in before.items() if after.get((role, pid)) != n]

    def compare(self):
        quarter = self.samples[-1][0] / 4
        early = [s for s in self.samples if quarter <= s[0] <= 2 * quarter] or \
            [next(s for s in self.samples if s[0] >= quarter)]  # never what was before all of them
        late = [s for s in self.samples if s[0] >= 3 * quarter]
        if any(s[1].keys() != self.samples[0][1].keys() for s in self.samples):
            return ["a process has died and come back"]
        grown = []
        for who in self.samples[0][1]:
            more = max(s[1][who] for s in late) - max(s[1][who] for s in early)
            if more > MORE_KIB[who[0]]:
                grown.append(f"{who[0]} {who[1]} has {more} KiB more")
        if (more := max(s[3] for s in late) - max(s[3] for s in early)) > MORE_BYTES:
            grown.append(f"the store has {more / MIB:.1f} MiB more")
        if (more := max(s[2] for s in late) - max(s[2] for s in early)) > MORE_FILES:
            grown.append(f"the store has {more} files more")
        return grown


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--requests", type=int, default=200000)
    with tempfile.TemporaryDirectory(prefix="apikeyd-") as directory:
        soak = Soak(directory, options.parse_args().requests, lambda text: print(text, flush=True))
        grown = soak.run()
        print(f"{soak.samples[-1][0]} requests in {soak.seconds:.0f} s, {soak.rounds} sets of {KEYS} keys: {'; '.join(grown) or 'nothing grew'}")
    return 1 if grown else 0


if __name__ == "__main__":
    sys.exit(main())
