"""Goal: hostile and broken input at every door: FastCGI bytes, params, the keeper's socket, store files, disks. A clear answer or a closed
connection; no crash, nothing admitted, and the next good request is served. Invariants 5 and 6."""

import json
import os
import random
import socket
import struct
import subprocess

import pytest

from harness.daemon import Daemon, wait_until
from harness.fcgi import ABORT, BEGIN, END, FILTER, GET_VALUES, PARAMS, STDIN, Connection, pair, params_for, record, request_bytes, stream


@pytest.fixture(scope="module")
def good(shared):
    shared.tool("plan", "set", "lots", "--limit", "minute=100000000/60s", check=0)
    return shared.create("acme", plan="lots")[1]


@pytest.fixture(autouse=True)
def nobody_died(request):
    """After each test of the shared daemon: the same processes, and a good key works."""
    if "shared" not in request.fixturenames:
        yield
        return
    shared, key = request.getfixturevalue("shared"), request.getfixturevalue("good")
    before = set(shared.children())
    yield
    assert shared.ask(key).status == 200
    assert set(shared.children()) == before, shared.log()[-3000:]


def begin(role=1, flags=1, request_id=1):
    return record(BEGIN, struct.pack(">HB5x", role, flags), request_id)


GARBAGE = {
    "zeros": b"\0" * 100,
    "HTTP": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "version 2": record(BEGIN, b"\0\1\1\0\0\0\0\0", version=2),
    "short begin": record(BEGIN, b"\0\1"),
    "filter role": begin(FILTER) + record(PARAMS),
    "role 9": begin(9) + record(PARAMS),
    "request id 0": begin(request_id=0) + record(PARAMS, request_id=0),
    "params first": record(PARAMS, pair("A", "b")) + record(PARAMS),
    "stdin first": begin() + record(STDIN, b"x"),
    "abort before params": begin() + record(ABORT),
    "two begins": begin() + begin(),
    "other id": begin() + record(PARAMS, pair("A", "b"), 2) + record(PARAMS, b"", 2),
    "length beyond the stream": begin() + record(PARAMS, b"\xff\xff\xff\xff\xff\xff\xff\xff") + record(PARAMS),
    "name length without value": begin() + record(PARAMS, b"\x05") + record(PARAMS),
    "huge value length": begin() + record(PARAMS, b"\x01\xff\xff\xff\xffA") + record(PARAMS),
}


@pytest.mark.parametrize("case", GARBAGE)
def test_garbage(shared, good, case):
    with shared.connect() as c:
        c.send(GARBAGE[case])
        c.sock.shutdown(socket.SHUT_WR)
        try:
            answer = b"".join(iter(lambda: c.sock.recv(65536), b""))
        except ConnectionResetError:
            answer = b""
        assert b"Status: 2" not in answer


@pytest.mark.parametrize("role", [0, FILTER, 9])
def test_a_role_that_is_not_ours_is_said(shared, role):
    """A web server that is told so has something to log; and its request is read to the end, so that nothing resets the answer."""
    with shared.connect() as c:
        c.send(request_bytes({"HTTP_X": "y" * 60000}, role=role, stdin=b"x" * 200000))
        c.sock.shutdown(socket.SHUT_WR)
        assert b"".join(iter(lambda: c.sock.recv(65536), b"")) == record(END, b"\0\0\0\0\3\0\0\0")


def test_random_bytes(shared, good, scale):
    rng = random.Random(1)
    whole = request_bytes(params_for(good))
    for i in range(scale(300, 20000)):
        data = bytearray(whole)
        for _ in range(rng.randrange(1, 6)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        if rng.random() < 0.3:
            data = data[:rng.randrange(len(data))]
        with shared.connect() as c:
            c.send(bytes(data))
            c.sock.shutdown(socket.SHUT_WR)
            try:
                while c.sock.recv(65536):
                    pass
            except ConnectionResetError:
                pass


@pytest.mark.parametrize("params, status", [
    ({f"HTTP_X_{i}": "y" for i in range(256)}, 400),
    ({"HTTP_X_LONG": "y" * 8193}, 400),
    ({f"HTTP_X_{i}": "y" * 8000 for i in range(9)}, 400),
    ({"HTTP_X_LONG": "y" * 100000}, 400),
    ({"HTTP_X_LONG": "y" * 5000000}, 400),
    ({f"HTTP_X_{i}": "y" for i in range(20000)}, 400),
    ({"HTTP_X_LONG": "y" * 8000}, 200),
    ({f"HTTP_X_{i}": "y" for i in range(200)}, 200),
    ({f"HTTP_X_{i}": "y" * 8000 for i in range(7)}, 200),
])
@pytest.mark.parametrize("mode", ["serve", "auth_request"])
def test_limits_of_params(shared, good, params, status, mode):
    reply = shared.ask(good, **{"APIKEYD_MODE": mode, **params})
    if mode == "serve":
        assert reply.status == status
        if status == 400:
            assert reply.json()["code"] == "request_invalid" and reply.header("Content-Type") == "application/problem+json"
    elif status == 400:
        assert reply.status == 403 and reply.header("Apikey-Status") == "400"
    else:
        assert reply.status == 204


def test_params_in_small_records(shared, good):
    body = b"".join(pair(n, v) for n, v in params_for(good).items())
    with shared.connect() as c:
        c.send(begin() + b"".join(record(PARAMS, body[i:i + 1]) for i in range(len(body))) + record(PARAMS) + record(STDIN))
        assert c.response().status == 200


def test_a_head_that_trickles_holds_nobody(shared, good):
    """More half-sent requests than there are workers: others are served at once, the slow ones when they are complete."""
    whole = request_bytes(params_for(good))
    slow = [shared.connect() for _ in range(20)]
    for i, c in enumerate(slow):
        c.send(whole[:1 + i * 3])
    for _ in range(20):
        assert shared.ask(good).status == 200
    for i, c in enumerate(slow):
        c.send(whole[1 + i * 3:])
        assert c.response().status == 200
        c.close()


def test_many_idle_connections_hold_nobody(shared, good):
    idle = [shared.connect() for _ in range(200)]
    for c in idle[:100]:
        assert c.request(params_for(good)).status == 200
    assert shared.ask(good).status == 200
    for c in idle:
        assert c.request(params_for(good)).status == 200
        c.close()


@pytest.mark.parametrize("size", [1, 8192, 100000, 5000000])
@pytest.mark.parametrize("key", [True, False])
def test_bodies_are_ignored(shared, good, size, key):
    """A web server that sends the body anyway gets its answer; if the connection stays open, the next request on it is whole."""
    with shared.connect() as c:
        c.send(request_bytes(params_for(good if key else None, REQUEST_METHOD="POST"), stdin=b"x" * size))
        assert c.response().status == (200 if key else 401)


def test_the_peer_leaves_early(shared, good):
    for n in range(1, 60):
        with shared.connect() as c:
            c.send(request_bytes(params_for(good)))


def test_get_values_before_the_request(shared, good):
    with shared.connect() as c:
        c.send(record(GET_VALUES, pair("FCGI_MPXS_CONNS", ""), 0) + request_bytes(params_for(good)))
        assert c.response().status == 200


@pytest.mark.parametrize("name, value", [("REQUEST_URI", "/x\r\nEvil: 1"), ("HTTP_REFERER", "\r\nEvil: 1"), ("APIKEYD_REQUEST_ID", "a\r\nEvil: 1"), ("APIKEYD_SCOPE", "a\r\nEvil: 1"),
                                         ("REQUEST_METHOD", "GET\r\nEvil: 1"), ("HTTP_X_API_KEY", "x\r\nEvil: 1"), ("REMOTE_ADDR", "1\r\nEvil: 1"), ("SERVER_NAME", "\nlevel=info event=forged")])
def test_nothing_unchecked_is_echoed(shared, good, name, value):
    for mode in ("serve", "auth_request"):
        reply = shared.ask(None, **{name: value, "APIKEYD_MODE": mode})
        assert b"Evil" not in reply.raw.split(b"\r\n\r\n")[0].replace(b"\\r\\nEvil", b"")
        assert not reply.all("Evil")
    assert "\nEvil" not in shared.log() and "\nlevel=info event=forged" not in shared.log()


def message(kind, body, version=1, zero=0, length=None):
    return struct.pack(">BBHI", version, kind, zero, len(body) if length is None else length) + body


def test_the_keepers_socket(shared, good, scale):
    """Anything at all on the keeper's socket: refused or the connection closed, never a crash, never an `ok`."""
    path = str(shared.dir / "run" / "keeper.sock")
    rng = random.Random(2)
    cases = [b"", b"x", b"\0" * 8, message(9, b"{}"), message(3, b"{}", version=2), message(3, b"{}", zero=1), message(3, b"{}", length=99), message(3, b"not json"),
             message(3, b"[]"), message(3, b'{"op":"nonsense"}'), message(3, b'{"op":"key.create"}'), message(3, b'{"op":"key.create","owner":5}'), message(3, b'{"op":5}'),
             message(3, b'{"op":"key.show","id":"' + b"x" * 60000 + b'"}'), message(3, b'{"op":"key.list","max":-1}'), message(3, b'{"a":' * 5000), message(3, b'{"op":"ping"} x'),
             message(3, b'{"op":"ping","op":"key.list"}'), message(3, b'{"op":"key.create","owner":"a\\u0000b"}'), message(3, b'{"op":"key.create","owner":"a\\nb"}'),
             message(3, b'{"op":"plan.set","name":"x","limits":[{"name":"a","units":1e99,"window":"1s"}]}'), message(1, b""), message(1, b"\xff" * 200), message(2, b"\xff" * 50), message(4, b"{}")]
    cases += [message(1, rng.randbytes(rng.randrange(0, 300))) for _ in range(scale(200, 20000))]
    for case in cases:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
            s.connect(path)
            s.settimeout(10)
            try:
                s.send(case or b"\0")
                if case[:2] == b"\1\3" and case.count(b"op"):
                    answer = s.recv(200000)
                    if answer and b"ping" not in case:
                        assert json.loads(answer[8:])["ok"] is False or b"list" in case, case[:80]
            except (BrokenPipeError, ConnectionResetError):
                pass


@pytest.mark.parametrize("names", [["keys.db"], ["ids.db"], ["meta.db"], None])
def test_a_store_of_garbage(directory, names):
    """Once the daemon ended with 1 and "Invalid argument"."""
    d = Daemon(directory / "d")
    d.pepper()
    d.create("acme")
    state = directory / "d" / "state"
    for name in names or [n for n in os.listdir(state) if n.endswith(".db")]:
        path = state / name
        data = bytearray(path.read_bytes())
        for i in range(0, len(data), 97):
            data[i] ^= 0x5a
        path.write_bytes(data)
    named = str(state / names[0]) if names else str(state)
    done = d.tool("list", check=3)
    assert done.stderr.startswith("apikey: ") and named in done.stderr and "restore a backup" in done.stderr
    d.start(wait=False)
    assert d.process.wait(30) == 3
    d.process = None
    assert named in d.log() and "restore a backup" in d.log()


def test_a_store_directory_that_others_may_read(directory):
    d = Daemon(directory / "d")
    d.pepper()
    d.create("acme")
    os.chmod(d.settings["state_dir"], 0o755)
    done = d.tool("list")
    assert done.returncode == 3 and "chmod 700" in done.stderr


@pytest.mark.skipif(os.getuid() == 0, reason="root writes anyway")
def test_a_directory_that_cannot_be_written(directory):
    d = Daemon(directory / "d")
    d.pepper()
    d.create("acme")
    os.chmod(d.settings["state_dir"], 0o500)
    assert d.tool("list").returncode == 3


@pytest.fixture
def small_disk(directory):
    """A file system of 48 MB for the store; needs root and tmpfs."""
    if os.getuid() != 0:
        pytest.skip("needs root to mount a file system")
    path = directory / "disk"
    path.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m,mode=700", "none", path], capture_output=True).returncode:
        pytest.skip("cannot mount here")
    yield path
    subprocess.run(["umount", "-l", path], check=True)


def test_a_full_disk(directory, small_disk):
    """Full: limits and changes are refused (503, an error that says why), refusals and dry runs go on, revoke works, nothing acknowledged is
    lost; space again: everything goes on unaided."""
    d = Daemon(directory / "d", state_dir=str(small_disk / "state"), min_free_space="8M", cache_size="4M")
    d.start()
    try:
        d.tool("plan", "set", "p", "--limit", "hour=1000/1h", check=0)
        kid, key = d.create("acme", plan="p")
        free_id, free_key = d.create("acme")
        d.tool("plan", "set", "dry", "--limit", "hour=1/1h", "--dry-run", check=0)
        dry_id, dry_key = d.create("acme", plan="dry")
        statuses = []

        def ask():
            statuses.append(d.ask(key).status)
            return statuses[-1]
        assert ask() == 200
        filler = small_disk / "filler"
        with open(filler, "wb") as f:
            room = os.statvfs(small_disk)
            f.write(b"x" * (room.f_bavail * room.f_frsize - 4 * 1024 * 1024))
        wait_until(lambda: ask() == 503, "the keeper sees that the disk is full")
        assert d.ask(key).json()["code"] == "unavailable"
        assert d.ask(free_key).status == 200
        assert [d.ask(dry_key).status for _ in range(3)] == [200] * 3  # a dry run refuses nobody, and counts when it can
        assert d.ask("junk").status == 401
        full = d.tool("create", "--owner", "late")
        assert full.returncode == 3 and "space" in full.stderr
        d.tool("revoke", free_id, check=0)
        assert d.ask(free_key).json()["code"] == "key_revoked"
        filler.unlink()
        wait_until(lambda: ask() == 200, "service is back")
        d.create("late")
        assert set(statuses) == {200, 503}
        assert d.json("show", kid)["limits"][0]["used"] == statuses.count(200)
        assert d.json("show", dry_id)["limits"][0]["used"] == 0 and d.ask(dry_key).status == 200
        assert d.json("show", dry_id)["limits"][0]["used"] == 1
    finally:
        d.stop(expect=None)


def test_a_read_only_disk(directory, small_disk):
    d = Daemon(directory / "d", state_dir=str(small_disk / "state"))
    d.pepper()
    kid, key = d.create("acme")
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    done = d.tool("list")
    assert done.returncode == 3 and done.stderr.startswith("apikey: ") and "read-only" in done.stderr.lower().replace("read only", "read-only")
    d.start(wait=False)
    assert d.process.wait(30) != 0
    d.process = None
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    d.start()
    assert d.ask(key).status == 200
    d.stop()
