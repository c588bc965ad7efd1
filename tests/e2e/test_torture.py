"""Goal: whichever single allocation or system call fails, while a key is checked or changed, in a worker or in the keeper: the answer is right or a denial,
what was acknowledged is there, and service is back by itself. Invariants 1, 2, 3, 5 and 6.

The calls of the real programs and of their libraries are counted, and one of them fails (tests/lib/torture_shim.c): the first, the second, ... until
one is asked for that is not made any more. `--long` fails each of them, with each of its errors; the short run some.
"""

import contextlib
import json
import mmap
import socket
import struct
import subprocess

import pytest

from harness.daemon import ROOT, Daemon, kill, wait_until

ALLOCATION, CALL = 1, 2
SHORT = {ALLOCATION: 8, CALL: 30}  # faults of one kind in the short run, about
WAIT = 15   # seconds that nobody has to wait, whatever failed


class Shim:
    """struct shim of tests/lib/torture_shim.c."""

    ROLE, KIND, AT, SEEN, NAME, ADDRESS, SIZE = 0, 16, 20, 32, 44, 64, 136

    def __init__(self, directory):
        shim, path = directory / "torture_shim.so", directory / "torture"
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", shim, ROOT / "tests/lib/torture_shim.c"], check=True)
        path.write_bytes(bytes(self.SIZE))
        path.chmod(0o666)
        with open(path, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), self.SIZE)
        self.env = {"TORTURE_SHIM": str(path), "LD_PRELOAD": str(shim)}
        self.seen = self.failed = 0

    def _kind(self, kind):
        self.map[self.KIND:self.KIND + 4] = struct.pack("=i", kind)

    @contextlib.contextmanager
    def armed(self, role, kind, at=0, how=0):
        self._kind(0)
        self.map[self.ROLE:self.ROLE + 16] = role.encode().ljust(16, b"\0")
        self.map[self.AT:] = struct.pack("=iq", how, at).ljust(self.SIZE - self.AT, b"\0")
        self._kind(kind)
        try:
            yield
        finally:
            self._kind(0)
            self.seen, self.failed = struct.unpack_from("=qi", self.map, self.SEEN)

    def __str__(self):
        """Which call it was, and where: addr2line -e OBJECT ADDRESS"""
        name, rest = self.map[self.NAME:self.ADDRESS], self.map[self.ADDRESS:]
        return f"{name.rstrip(bytes(1)).decode()} at {rest[8:].rstrip(bytes(1)).decode()}+{struct.unpack_from('=Q', rest)[0]:#x}"


class World:
    """A daemon, keys of which each has one right answer, and what it acknowledged."""

    def __init__(self, directory):
        self.shim = Shim(directory)
        other = Daemon(directory / "o")
        other.pepper()
        self.daemon = d = Daemon(directory / "d", workers=1).start(env=self.shim.env)
        d.tool("plan", "set", "many", "--limit", "day=1000000/1d", check=0)
        d.tool("plan", "set", "one", "--limit", "day=1/1d", check=0)
        self.id, valid = d.create("acme", plan="many")
        used, revoked = d.create("acme", plan="one"), d.create("acme")
        d.tool("revoke", revoked[0], check=0)
        assert d.ask(used[1]).status == 200
        self.keys = {"valid": (valid, self.id), "unknown": (other.create()[1], "key_invalid"), "revoked": (revoked[1], "key_revoked"),
                     "used up": (used[1], "rate_limited")}
        self.asked = self.admitted = self.created = 0
        self.acknowledged = {}  # key: the id that it has, or what it is refused with
        self.members = None

    # ---- what clients see ----

    def answer(self, key):
        """The id of an admitted key, or why it is refused; None: the connection ended."""
        try:
            reply = self.daemon.ask(key, APIKEYD_MODE="auth_request")
        except TimeoutError:
            raise AssertionError(f"no answer; {self.shim} failed\n{self.daemon.log()[-3000:]}")
        except (OSError, EOFError):
            return None
        return reply.header("Apikey-Id") if reply.status == 204 else reply.header("Apikey-Denied")

    def check(self, name):
        key, right = self.keys[name]
        said = self.answer(key)
        assert said in (right, "unavailable", None), (name, said)
        self.asked += name == "valid"
        self.admitted += name == "valid" and said == right

    # ---- what admins see ----

    def ask(self, **request):
        """The result; None: it was refused, or nobody knows."""
        body = json.dumps(request).encode()
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
            s.settimeout(WAIT)
            try:
                s.connect(str(self.daemon.dir / "run/keeper.sock"))
                s.send(struct.pack(">BBHI", 1, 3, 0, len(body)) + body)
                reply = s.recv(200000)
            except TimeoutError:
                raise AssertionError(f"no reply to {request['op']}; {self.shim} failed\n{self.daemon.log()[-3000:]}")
            except OSError:
                return None
        if not reply:
            return None
        reply = json.loads(reply[8:])
        assert reply["ok"] or reply["error"] in ("system", "full"), reply
        return reply["result"] if reply["ok"] else None

    def create(self):
        self.created += 1
        # Restrictions: what must not get lost on the way.
        made = self.ask(op="key.create", owner="made", scopes=["a:b", "c:d"], methods=["GET"], meta={"k": "v"})
        if made is None:
            return
        self.members = self.members or set(made)
        assert set(made) == self.members and "key" in made, made
        assert (made["scopes"], made["methods"], made["meta"]) == (["a:b", "c:d"], ["GET"], {"k": "v"})
        self.acknowledged[made["key"]] = made["id"]

    def revoke(self):
        """A key that create made: refused from the reply on; before it, and without one, either."""
        key, kid = self.victim
        if self.ask(op="key.revoke", id=kid) is not None:
            self.acknowledged[key] = "key_revoked"
        else:
            self.acknowledged.pop(key)
            said = self.answer(key)
            assert said in (kid, "key_revoked", "unavailable", None), said

    def prepare(self, name):
        """What an operation needs, made while nothing fails."""
        if name == "revoke":
            before = set(self.acknowledged)
            wait_until(lambda: (self.create(), set(self.acknowledged) - before)[1], "a key is made")
            self.victim = next((k, v) for k, v in self.acknowledged.items() if k not in before)

    # ---- the torture ----

    def back(self):
        """It is as it was, without anybody's help."""
        key, right = self.keys["valid"]

        def served():
            said = self.answer(key)
            assert said in (right, "unavailable", None), said
            self.asked += 1
            self.admitted += said == right
            return said == right
        wait_until(served, f"service is back after {self.shim} has failed\n{self.daemon.log()[-3000:]}")

    def run(self, name, role, kind, at=0, how=0):
        self.prepare(name)
        with self.shim.armed(role, kind, at, how):
            getattr(self, name)() if name in ("create", "revoke") else self.check(name)
        self.back()
        return self.shim.failed

    def torture(self, name, role, kind, every):
        """Returns how many calls failed."""
        self.run(name, role, kind)
        step = 1 if every else max(1, self.shim.seen // SHORT[kind])
        failed = 0
        for how in (0,) if kind == ALLOCATION or not every else (0, 1):
            at, missed = 1, 0
            # How many calls there are differs a little: the keeper has a second thread, and a clock.
            while missed < 3:
                hit = self.run(name, role, kind, at, how if every else at // step % 2)
                failed += hit
                missed = 0 if hit else missed + 1
                at += step
        return failed

    def verify(self):
        """All that was acknowledged, now and after recovery."""
        d = self.daemon
        for again in range(2):
            assert {key: self.answer(key) for key in self.acknowledged} == self.acknowledged
            there = len(d.json_lines("list", "--owner", "made"))
            assert len(self.acknowledged) <= there <= self.created
            used = d.json("show", self.id)["limits"][0]["used"]
            assert self.admitted <= used <= self.asked
            keeper = d.keeper_pid()
            if not again:
                kill(keeper)
                wait_until(lambda: d.keeper_pid() != keeper, "another keeper")
                self.back()
        d.tool("audit", "--verify", check=0)
        d.stop()
        d.tool("db", "verify", check=0)


@pytest.fixture
def world(directory):
    w = World(directory)
    yield w
    w.daemon.stop(expect=None)


@pytest.mark.parametrize("kind", [ALLOCATION, CALL], ids=["allocations", "system calls"])
@pytest.mark.parametrize("role", ["worker", "keeper"])
def test_each_fails_in_turn(world, role, kind, scale):
    failed = {}
    for name in (*world.keys, *(("create", "revoke") if role == "keeper" else ())):
        failed[name] = world.torture(name, role, kind, scale(False, True))
    print(failed)
    assert min(failed.values()) >= 1, failed
    world.verify()
