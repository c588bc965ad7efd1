"""Goal: an address that shows too many bad keys is told 429 client_blocked instead of 401 for a while, exactly after so many, whichever workers it
meets; and nobody with a good key ever notices. Guards that a guesser locks out nobody but himself, and that what is shared by the workers can be
killed, restarted and overwritten without harm. (Every web server: test_mounts.py. The table itself: unit/test_clients.)"""

import contextlib
import json
import os
import signal
import time

import pytest

from harness import fcgi
from harness.backend import Backend
from harness.daemon import Daemon, kill, wait_until
from harness.nginx import NginxAuthRequest

ATTEMPTS = 20
JUNK = "junk"


@pytest.fixture
def gate(directory):
    """start(**settings): a daemon with the default rule unless they say otherwise."""
    made = []

    def start(**settings):
        made.append(Daemon(directory / f"d{len(made)}", **{"failed_attempts": None, **settings}).start())
        return made[-1]
    yield start
    for d in made:
        d.stop(expect=None)


def unknown(daemon):
    """A key of right form and checksum that is none (any more)."""
    id_, key = daemon.create("gone")
    daemon.tool("revoke", id_, check=0)
    return key


def fail(daemon, n=ATTEMPTS, key=JUNK, **params):
    """So many failed attempts, each on a connection of its own, all of them 401."""
    for i in range(n):
        got = daemon.ask(key, **params)
        assert got.status == 401, (i, got.raw)


def check_blocked(got, seconds=300):
    assert got.status == 429
    body = got.json()
    assert body == {"type": "urn:apikeyd:problem:client_blocked", "title": "Too many failed attempts", "status": 429, "detail": body["detail"],
                    "code": "client_blocked", "instance": body["instance"]}
    assert got.header("Content-Type") == "application/problem+json" and got.header("Cache-Control") == "no-store"
    assert got.header("Apikey-Denied") == "client_blocked"
    assert got.all("WWW-Authenticate") == [] and got.all("RateLimit") == []
    assert 1 <= int(got.header("Retry-After")) <= seconds


@contextlib.contextmanager
def alone(daemon, pid):
    """Every request meets this worker."""
    with daemon.halted(*[p for p in daemon.children("worker") if p != pid]):
        yield


def blocks(daemon):
    return [e for e in daemon.json_lines("audit") if e["op"] == "client.blocked"]


def test_twenty_then_blocked(gate):
    """By default, sequential requests over four workers."""
    daemon = gate(workers=4)
    _, good = daemon.create("acme")
    revoked = unknown(daemon)
    me = {"REMOTE_ADDR": "203.0.113.5"}
    # What the worker refuses alone and what the keeper refuses count alike.
    for pid in daemon.children("worker"):
        with alone(daemon, pid):
            fail(daemon, 3, **me)
            fail(daemon, 2, key=revoked, **me)
    for _ in range(3):
        check_blocked(daemon.ask(JUNK, **me))
        check_blocked(daemon.ask(revoked, **me))
        check_blocked(daemon.ask(None, **me))  # like every 401
        assert daemon.ask(good, **me).status == 200
        assert daemon.ask(JUNK, REMOTE_ADDR="203.0.113.6").status == 401


def test_only_a_401_is_replaced(gate):
    daemon = gate()
    daemon.tool("plan", "set", "one", "--limit", "hour=1/1h", check=0)
    _, limited = daemon.create("acme", plan="one")
    _, bound = daemon.create("acme", allow_ip="192.0.2.0/24")
    _, good = daemon.create("acme")
    me = {"REMOTE_ADDR": "203.0.113.5"}
    fail(daemon, **me)
    assert daemon.ask(limited, **me).status == 200
    assert daemon.ask(limited, **me).header("Apikey-Denied") == "rate_limited"
    assert daemon.ask(bound, **me).header("Apikey-Denied") == "ip_denied"
    assert daemon.ask(good, APIKEYD_SCOPE="a:b", **me).header("Apikey-Denied") == "scope_insufficient"
    assert daemon.ask(good, HTTP_X_API_KEY="other", **me).header("Apikey-Denied") == "request_invalid"
    assert daemon.ask(good, HTTPS=None, REQUEST_SCHEME="http", **me).header("Apikey-Denied") == "https_required"
    assert daemon.ask(good, APIKEYD_MODE="?", **me).header("Apikey-Denied") == "misconfigured"
    check_blocked(daemon.ask(JUNK, **me))


def test_who_is_counted(gate):
    """IPv6 by /64, IPv4 however it is written, the client behind a proxy and not the proxy; not who is exempt or not known."""
    daemon = gate(trusted_proxies=["10.0.0.0/8"], block_exempt=["198.51.100.0/24"])
    for i in range(ATTEMPTS):
        assert daemon.ask(JUNK, REMOTE_ADDR=f"2001:db8:7:7::{i + 1:x}").status == 401
    check_blocked(daemon.ask(JUNK, REMOTE_ADDR="2001:db8:7:7:ffff::1"))
    assert daemon.ask(JUNK, REMOTE_ADDR="2001:db8:7:8::1").status == 401
    fail(daemon, ATTEMPTS // 2, REMOTE_ADDR="::ffff:192.0.2.9")
    fail(daemon, ATTEMPTS // 2, REMOTE_ADDR="192.0.2.9")
    check_blocked(daemon.ask(JUNK, REMOTE_ADDR="192.0.2.9"))
    fail(daemon, REMOTE_ADDR="10.1.1.1", HTTP_X_FORWARDED_FOR="1.2.3.4, 203.0.113.77")
    check_blocked(daemon.ask(JUNK, REMOTE_ADDR="203.0.113.77"))
    check_blocked(daemon.ask(JUNK, REMOTE_ADDR="10.9.9.9", HTTP_X_FORWARDED_FOR="203.0.113.77"))
    assert daemon.ask(JUNK, REMOTE_ADDR="1.2.3.4").status == 401
    # Forged by a client, it is that client who is counted.
    for i in range(ATTEMPTS):
        assert daemon.ask(JUNK, REMOTE_ADDR="203.0.113.78", HTTP_X_FORWARDED_FOR=f"192.0.2.{i + 20}").status == 401
    check_blocked(daemon.ask(JUNK, REMOTE_ADDR="203.0.113.78"))
    for addr in "10.1.1.1", "198.51.100.3", "no address", None:
        fail(daemon, 2 * ATTEMPTS, REMOTE_ADDR=addr)
    # Nor is a request without a key an attempt.
    for _ in range(2 * ATTEMPTS):
        assert daemon.ask(None, REMOTE_ADDR="192.0.2.10").header("Apikey-Denied") == "key_missing"
    assert daemon.ask(JUNK, REMOTE_ADDR="192.0.2.10").status == 401


def test_in_every_mode(gate):
    daemon = gate()
    fail(daemon)
    got = daemon.ask(JUNK, APIKEYD_MODE="auth_request")
    assert got.status == 403 and got.header("Apikey-Status") == "429" and json.loads(got.header("Apikey-Problem"))["code"] == "client_blocked"
    assert 1 <= int(got.header("Retry-After")) <= 300 and got.all("WWW-Authenticate") == []
    got = daemon.ask(JUNK, APIKEYD_MODE="accel", APIKEYD_PASS="@b")
    check_blocked(got)
    assert got.header("X-Accel-Redirect") is None
    got = daemon.ask(JUNK, role=fcgi.AUTHORIZER)
    check_blocked(got)
    assert not [n for n, _ in got.headers if n.startswith("Variable-")]
    # What an earlier call decided is shown, not counted and not replaced.
    problem = json.dumps({"code": "key_invalid", "status": 401})
    fresh = {"REMOTE_ADDR": "192.0.2.30", "APIKEYD_MODE": "render", "APIKEYD_RENDER": problem}
    for addr in ("192.0.2.7", *["192.0.2.30"] * (2 * ATTEMPTS)):
        got = daemon.ask(None, **{**fresh, "REMOTE_ADDR": addr})
        assert got.status == 401 and got.json()["code"] == "key_invalid"
    assert daemon.ask(JUNK, REMOTE_ADDR="192.0.2.30").status == 401


def test_a_block_ends(gate):
    """After block_time, whatever was tried meanwhile; then it takes as many failures again."""
    daemon = gate(failed_attempts=3, block_time="2s", failed_window="1h")
    fail(daemon, 3)
    began = time.monotonic()
    first = daemon.ask(JUNK)
    check_blocked(first, 2)

    def tried_again():
        asked = time.monotonic()
        got = daemon.ask(JUNK)
        return asked if got.status == 401 else check_blocked(got, 2)
    over = wait_until(tried_again, "the block is over")
    # A tick of a quarter of a second; and our own clock was read before the block began.
    assert over - began > 1.0
    fail(daemon, 2)
    check_blocked(daemon.ask(JUNK), 2)


def test_the_trail_tells_it_once(gate):
    daemon = gate(block_time="10m")
    fail(daemon, REMOTE_ADDR="203.0.113.5")
    for _ in range(5):
        check_blocked(daemon.ask(JUNK, REMOTE_ADDR="203.0.113.5"), 600)
    fail(daemon, REMOTE_ADDR="2001:db8:5:5::9")
    entries = wait_until(lambda: len(found := blocks(daemon)) == 2 and found, "two blocks are in the trail")
    assert [e["subject"] for e in entries] == ["203.0.113.5", "2001:db8:5:5::/64"]
    for e in entries:
        assert e["actor"] == "gate" and e["detail"] == {"attempts": 20, "for": "10m"}
    assert "client.blocked" in daemon.tool("audit", check=0).stdout


def test_what_is_in_the_trail_is_bounded(gate):
    """A worker that reports without end, as one in an attacker's hands would, fills no disk: sixty a minute, and one that counts the others."""
    daemon = gate(failed_attempts=1)
    _, good = daemon.create("acme")
    for i in range(100):
        assert daemon.ask(JUNK, REMOTE_ADDR=f"198.18.0.{i}").status == 401
    # What a worker reports goes the way of what it asks: when that is answered the keeper has heard of all of them.
    for pid in daemon.children("worker"):
        with alone(daemon, pid):
            assert daemon.ask(good).status == 200
    assert len(blocks(daemon)) == 60
    daemon.stop()
    daemon.start()
    entries = blocks(daemon)
    assert len(entries) == 61 and entries[-1]["subject"] == "others" and entries[-1]["detail"] == {"clients": 40}


def test_kills_restarts_and_reloads_forgive_nothing(gate):
    daemon = gate()
    me = {"REMOTE_ADDR": "203.0.113.5"}
    fail(daemon, 5, **me)
    # One that ends before it has ever served is a mistake that the supervisor does not repeat.
    wait_until(lambda: daemon.log().count("event=child_ready role=worker") == 2, "both serve")
    for pid in list(daemon.children("worker")):
        before = set(daemon.children("worker"))
        kill(pid)
        wait_until(lambda: (now := set(daemon.children("worker"))) != before and len(now) == 2, "it is back")
    daemon.wait_ready()
    fail(daemon, 5, **me)
    before = set(daemon.children("worker"))
    daemon.process.send_signal(signal.SIGHUP)
    wait_until(lambda: (now := set(daemon.children("worker"))) and not now & before, "new workers serve")
    fail(daemon, 5, **me)
    daemon.stop()
    daemon.start()
    fail(daemon, 5, **me)
    check_blocked(daemon.ask(JUNK, **me))
    table = daemon.dir / "run" / "clients"
    assert table.stat().st_mode & 0o7777 == 0o600
    # Unless somebody wants it.
    table.unlink()
    before = set(daemon.children("worker"))
    daemon.process.send_signal(signal.SIGHUP)
    wait_until(lambda: (now := set(daemon.children("worker"))) and not now & before, "new workers serve")
    fail(daemon, **me)
    check_blocked(daemon.ask(JUNK, **me))


def test_garbage_in_the_table(gate):
    """Whatever is in it: workers live, nobody is let in, nobody with a key is kept out."""
    daemon = gate()
    _, good = daemon.create("acme")
    workers = set(daemon.children("worker"))
    with open(daemon.dir / "run" / "clients", "r+b") as f:
        size = os.fstat(f.fileno()).st_size
        for data in (os.urandom(size), b"\xff" * size, b"\0" * size, bytes([0, 0, 0, 0, 0, 0, 0, 0x80]) * (size // 8)):
            os.pwrite(f.fileno(), data, 0)
            for i in range(100):
                assert daemon.ask(JUNK, REMOTE_ADDR=f"192.0.2.{i}").status in (401, 429)
                assert daemon.ask(None, REMOTE_ADDR=f"192.0.2.{i}").status in (401, 429)
            assert daemon.ask(good).status == 200
    assert set(daemon.children("worker")) == workers
    # Where there is none to share each worker counts alone.
    daemon.stop()
    (daemon.dir / "run" / "clients").unlink()
    (daemon.dir / "run" / "clients").mkdir()
    daemon.start()
    assert "event=attempts_not_shared" in daemon.log()
    with daemon.connect() as c:
        for _ in range(ATTEMPTS):
            assert c.request(fcgi.params_for(JUNK)).status == 401
        assert c.request(fcgi.params_for(JUNK)).status == 429
    assert daemon.ask(good).status == 200


def test_the_keeper_is_not_asked(gate):
    """Junk is refused and counted without it: one that hangs is no help to a guesser, and a flood no burden to it."""
    daemon = gate(keeper_timeout="60s")
    with daemon.halted(daemon.keeper_pid()):
        begin = time.monotonic()
        fail(daemon)
        check_blocked(daemon.ask(JUNK))
        assert time.monotonic() - begin < 50, "nobody waited for the keeper"
    wait_until(lambda: blocks(daemon), "the block is told when it is back")


def test_through_nginx(gate, directory):
    """As a client sees it; and doctor passes with the default settings, and says so where its address is blocked."""
    daemon = gate()
    _, good = daemon.create("acme")
    directory.chmod(0o755)
    backend = Backend()
    with contextlib.closing(backend), NginxAuthRequest(directory / "m", daemon, backend) as m:
        def doctor(*args):
            done = daemon.tool("--json", "doctor", m.url("/api/x"), "--http-url", m.url("/api/x", plain=True), "--cacert", m.cert, *args)
            return done.returncode, {line["probe"]: line for line in map(json.loads, done.stdout.splitlines()) if "probe" in line}
        # Each run shows few bad keys, so that several in a row do not block who runs them.
        for _ in range(4):
            code, lines = doctor()
            assert (code, [p for p in lines.values() if p["result"] == "fail"]) == (0, [])
        for _ in range(ATTEMPTS + 1):
            reply = m.curl("/api/x", key=JUNK)
        check_blocked(reply)
        assert m.curl("/api/x", key=good).status == 200
        code, lines = doctor()
        # It says so, and never that all is well: nothing was proved.
        assert code == 1 and {p["cause"] for p in lines.values() if p["result"] == "fail"} == {"blocked"}
        assert lines["no-key"]["result"] == "fail"
