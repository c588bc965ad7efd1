"""Goal: the real programs while processes are killed and stopped, disks fail, descriptors run out and files are damaged: what was acknowledged is
there, no verdict is ever wrong (503 is right), service comes back by itself. Invariants 2, 3 and 5.

The list of all faults and where each is tested is in tests/fault/README.md.
"""

import concurrent.futures
import errno
import json
import mmap
import os
import pathlib
import random
import re
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time

import pytest

from harness.daemon import APIKEY, ROOT, Daemon, kill, stand_still, state_of, wait_until
from harness.fcgi import params_for

LIMIT = 100000000


def deaths(d, role="keeper"):
    return len(re.findall(rf"event=child_died role={role} ", d.log()))


def admin(d, *requests):
    """What the keeper replies to operations, asked for without the tool."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
        s.settimeout(30)
        s.connect(str(d.dir / "run/keeper.sock"))
        for request in requests:
            body = json.dumps(request).encode()
            s.send(struct.pack(">BBHI", 1, 3, 0, len(body)) + body)
            reply = json.loads(s.recv(200000)[8:])
            assert reply["ok"], reply
            yield reply["result"]


def create_many(d, n):
    """{id: key}"""
    return {made["id"]: made["key"] for made in admin(d, *[{"op": "key.create", "owner": "acme"}] * n)}


# ---- kills, under load ----

class Witnesses:
    """tests/fault/witness.py, several times; their logs are what was acknowledged."""

    def __init__(self, daemon, directory, admins, clients):
        self.daemon, self.logs, self.running = daemon, [], []
        script = ROOT / "tests/fault/witness.py"
        for i, (role, *key) in enumerate([("admin",)] * admins + [("client", k) for k in clients]):
            self.logs.append(directory / f"witness-{i}")
            self.running.append(subprocess.Popen([sys.executable, script, role, self.logs[-1], daemon.dir / "run/keeper.sock", daemon.socket, *key],
                                                 stdin=subprocess.PIPE))

    def lines(self):
        return [json.loads(line) for log in self.logs for line in log.read_bytes().splitlines()]

    def acknowledged(self):
        return sum(log.read_bytes().count(b'"ack"') for log in self.logs if log.exists())

    def stop(self):
        for process in self.running:
            process.stdin.close()
        assert [process.wait(90) for process in self.running] == [0] * len(self.running)
        return self.lines()

    def kill(self):
        for process in self.running:
            process.kill()
            process.wait()


def check_acknowledged(daemon, lines):
    """Every key is in the state that was acknowledged last, or in the one that was asked for since."""
    keys, created, tried = {}, 0, 0
    for line in lines:
        if "try" in line and "id" in line:
            keys[line["id"]][1].append(line["state"])
        elif "try" in line:
            tried += 1
        elif "ack" in line and "key" in line:
            created += 1
            keys[line["id"]] = line["key"], ["active"]
        elif "ack" in line:
            keys[line["id"]][1][:] = [line["state"]]
    codes = {"active": None, "disabled": "key_disabled", "revoked": "key_revoked"}
    with daemon.connect() as c:
        for key, states in keys.values():
            reply = c.request(params_for(key))
            code = None if reply.status == 200 else reply.json()["code"]
            assert code in [codes[s] for s in states], (key[:16], states, reply.status, code)
    stored = len(daemon.json_lines("list", "--owner", "witness"))
    assert created <= stored <= tried
    return len(keys)


def opening(directory):
    """Seconds that it takes to open a store here and now, by a tool that is alone with it."""
    d, took = Daemon(directory / "other"), []
    d.pepper()
    for _ in range(3):
        began = time.monotonic()
        d.tool("list", check=0)
        took.append(time.monotonic() - began)
    return sorted(took)[1]


def test_kills_under_load(daemon, directory, scale):
    """The keeper is killed again and again, also while it recovers, the pepper is renewed meanwhile. Nobody is told anything wrong, nobody is
    refused, and the first answer after a kill comes soon."""
    kills = scale(15, 1500)
    daemon.write_conf(workers=2, keeper_timeout="30s", log_level="info")
    daemon.start()
    daemon.tool("plan", "set", "p", "--limit", f"hour={LIMIT}/1h", check=0)
    kid, key = daemon.create("acme", plan="p")
    _, other = daemon.create("acme", plan="p")
    witnesses = Witnesses(daemon, directory, 2, [key, other])
    pauses, random_pause = [], random.Random(1)
    try:
        with daemon.connect(timeout=60) as c:
            for i in range(kills):
                before = witnesses.acknowledged()
                wait_until(lambda: witnesses.acknowledged() > before, "changes are acknowledged", 60)
                time.sleep(random_pause.uniform(0, 0.03))  # which instruction is hit: not waited for anything
                pid = daemon.keeper_pid()
                killed = time.monotonic()
                kill(pid)
                if i % 5 == 4:
                    # Its successor as well, at some point of its recovery.
                    successor = wait_until(lambda: next((p for p in daemon.children("keeper") if p != pid), None), "another keeper")
                    time.sleep(random_pause.uniform(0, 0.02))
                    kill(successor)
                assert c.request(params_for(other)).status == 200
                if i % 5 != 4:
                    pauses.append(time.monotonic() - killed)
                if i % (kills // 3 + 1) == 1:
                    daemon.tool("pepper", "add", check=0)
        lines = witnesses.stop()
    finally:
        witnesses.kill()
    assert not [line for line in lines if "wrong" in line]
    counts = [line["count"] for line in lines if "count" in line]
    assert len(counts) == 4 and all(set(count) == {"200"} for count in counts[2:]), counts
    assert check_acknowledged(daemon, lines) > kills
    used = daemon.json("show", kid)["limits"][0]["used"]
    assert used == counts[2]["200"]
    pauses.sort()
    print(f"{kills} kills; first answer after {pauses[len(pauses) // 2] * 1000:.0f} ms (median), {pauses[int(len(pauses) * 0.99)] * 1000:.0f} ms (p99)")
    # A machine that is busy with other things, or has a slow disk, takes longer, for this as for opening a store at all. The long run wants to be alone.
    assert pauses[len(pauses) // 4] < 0.5 + 10 * opening(directory), pauses
    if kills > 1000:
        assert pauses[int(len(pauses) * 0.99)] < 0.25


def test_everything_is_killed(directory, scale):
    """Supervisor, keeper and workers at once, with what they hold; also in the first moments of a new store."""
    made = {}
    d = Daemon(directory / "d").start()
    d.tool("plan", "set", "p", "--limit", "hour=1000000/1h", check=0)
    kid, key = d.create("acme", plan="p")
    admitted, asked, pause = 0, 0, random.Random(2)
    for i in range(scale(6, 200)):
        made.update([d.create("acme")])
        for _ in range(20):
            admitted += d.ask(key).status == 200
        asked = admitted
        d.kill_all()
        d.start(wait=i % 2 == 0)
        if i % 2 == 1:
            # Killed on the way, wherever it is.
            time.sleep(pause.uniform(0, 0.1))
            d.kill_all()
            d.start()
    try:
        assert {d.ask(k).status for k in made.values()} == {200}
        assert d.json("show", kid)["limits"][0]["used"] == asked
    finally:
        d.stop()


def test_a_tool_that_is_killed(daemon, scale):
    """`apikey create` on its own owns the store: killed at any point, what it said is there, and at most one more."""
    daemon.pepper()
    daemon.create("acme")
    pause, told, runs = random.Random(3), 0, scale(5, 300)
    for _ in range(runs):
        p = subprocess.Popen([APIKEY, "-c", daemon.conf, "--json", "create", "--owner", "x"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        time.sleep(pause.uniform(0.005, 0.12))
        p.kill()
        told += b'"key"' in p.communicate()[0]
        listed = wait_until(lambda: daemon.tool("--json", "list", "--owner", "x"), "a list")
        assert listed.returncode == 0, listed.stderr
        assert told <= len(listed.stdout.splitlines()) <= runs
    assert daemon.tool("list", check=0)


def test_many_tools_and_daemons_at_once(daemon, directory):
    """Tools and a second daemon race for a store that nobody owns: each does what it was told, or says why not; nothing is half done."""
    daemon.pepper()
    tools = [subprocess.Popen([APIKEY, "-c", daemon.conf, "--json", "create", "--owner", f"o{i}"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
             for i in range(12)]
    daemon.start(wait=False)
    second = Daemon(directory / "e", state_dir=daemon.settings["state_dir"], pepper_file=daemon.settings["pepper_file"])
    second.start(wait=False)
    made = [tool.communicate(timeout=60) for tool in tools]
    done = {json.loads(out)["id"] for tool, (out, _) in zip(tools, made) if tool.returncode == 0}
    assert all(tool.returncode == 0 or error.startswith("apikey: ") for tool, (_, error) in zip(tools, made)), made
    wait_until(lambda: daemon.process.poll() is not None or second.process.poll() is not None, "one of them leaves", 30)
    winner = second if daemon.process.poll() is not None else daemon
    loser = daemon if winner is second else second
    assert loser.process.returncode != 0 and f"{daemon.settings['state_dir']}: process " in loser.log()
    try:
        # A slow machine's tools may have the store for longer than a daemon waits for it: then this one leaves, too, and comes again when they are through.
        wait_until(lambda: winner.process.poll() is not None or winner.said_ready(), "the other one serves")
        if winner.process.poll() is not None:
            assert f"{daemon.settings['state_dir']}: process " in winner.log()
            winner.start()
        winner.wait_ready()
        assert done <= {k["id"] for k in winner.json_lines("list")}
    finally:
        loser.process = None
        second.stop(expect=None)


# ---- processes that stand still, and what others left ----

def test_a_stopped_worker(daemon):
    """Its heartbeat stays away: it is replaced, the other one serves meanwhile."""
    daemon.start()
    _, key = daemon.create("acme")
    stopped = next(iter(daemon.children("worker")))
    stand_still(stopped)
    statuses = []

    def replaced():
        try:
            with daemon.connect(timeout=1) as c:
                statuses.append(c.request(params_for(key)).status)
        except (OSError, EOFError):
            pass                                    # it went to the stopped one
        return state_of(stopped) in (None, "Z") and len(daemon.children("worker")) == 2
    wait_until(replaced, "the worker is replaced", 30)
    assert set(statuses) == {200}
    assert "event=child_hangs role=worker" in daemon.log()


def test_files_of_the_dead(daemon):
    """Lock and pid file name a process that lives and is somebody else; there is a socket that nobody listens at."""
    daemon.start()
    _, key = daemon.create("acme")
    daemon.stop()
    state, run = daemon.dir / "state", daemon.dir / "run"
    run.mkdir(exist_ok=True)
    (state / "lock").write_text(f"{os.getpid()}\n")
    (run / "apikeyd.pid").write_text(f"{os.getpid()}\n")
    for name in ("fcgi.sock", "keeper.sock"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET if name[0] == "k" else socket.SOCK_STREAM) as s:
            s.bind(str(run / name))
    daemon.start()
    assert daemon.ask(key).status == 200


# ---- descriptors ----

def limit_files(pid, free):
    """Leaves a process so many descriptors more than it has now; returns the old limits."""
    used = max(int(fd) for fd in os.listdir(f"/proc/{pid}/fd")) + 1
    hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]
    return resource.prlimit(pid, resource.RLIMIT_NOFILE, (used + free, hard))


def test_no_descriptors_left(daemon):
    """Worker and keeper run out of them: whoever is connected is served, the others wait, nobody dies, and it goes on when there are some."""
    daemon.write_conf(workers=1)
    daemon.start()
    _, key = daemon.create("acme")
    before = daemon.children()
    worker, keeper = daemon.children("worker"), daemon.keeper_pid()
    with daemon.connect() as c:
        assert c.request(params_for(key)).status == 200
        for pid in (*worker, keeper):
            limits = limit_files(pid, 0)
            waiting = []
            for _ in range(4):
                if pid == keeper:
                    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                    s.connect(str(daemon.dir / "run/keeper.sock"))
                    body = b'{"op":"ping"}'
                    s.send(struct.pack(">BBHI", 1, 3, 0, len(body)) + body)
                    s.settimeout(20)
                    waiting.append(s)
                else:
                    waiting.append(daemon.connect(timeout=20))
            assert [c.request(params_for(key)).status for _ in range(20)] == [200] * 20
            assert daemon.children() == before
            resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
            for w in waiting:
                assert w.request(params_for(key)).status == 200 if pid != keeper else b'"ok":true' in w.recv(1000)
                w.close()
    assert daemon.children() == before


# ---- a disk that fails ----

class Disk:
    """What tests/lib/fault_shim.c does to the files in state_dir of a daemon that is started with its environment."""

    KINDS = ("open", "read", "write", "sync")

    def __init__(self, daemon, directory):
        shim, path = directory / "fault_shim.so", directory / "faults"
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", shim, ROOT / "tests/lib/fault_shim.c"], check=True)
        path.write_bytes(bytes(4 * 8 + 24))
        with open(path, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), 4 * 8 + 24)
        self.env = {"FAULT_SHIM": str(path), "FAULT_DIR": os.path.realpath(daemon.dir) + "/state", "LD_PRELOAD": str(shim)}

    def fail(self, kind, why, name=""):
        self.map[32:] = name.encode().ljust(24, b"\0")
        at = self.KINDS.index(kind) * 8
        self.map[at:at + 8] = struct.pack("=ii", why, 0)

    def heal(self):
        for at in range(0, 32, 8):
            self.map[at:at + 4] = bytes(4)

    def failed(self, kind):
        return struct.unpack_from("=i", self.map, self.KINDS.index(kind) * 8 + 4)[0]


@pytest.fixture
def disk(daemon, directory):
    return Disk(daemon, directory)


def test_fsync_fails(daemon, disk):
    """EIO: the keeper ends with 74 rather than acknowledging, and is replaced by one that starts from what is there; not in a loop."""
    daemon.write_conf(keeper_timeout=None)
    daemon.start(env=disk.env)
    kid, key = daemon.create("acme")
    disk.fail("sync", errno.EIO)
    late = subprocess.Popen([APIKEY, "-c", daemon.conf, "revoke", kid], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: "how=\"exit 74\"" in daemon.log(), "the keeper ended")
    assert "event=store_fsync_failed" in daemon.log()
    wait_until(lambda: deaths(daemon) >= 4, "it is tried again", 30)
    assert daemon.ask(key).status in (200, 401, 503)
    disk.heal()
    wait_until(lambda: daemon.ask(key).status != 503, "service is back", 30)
    # A revoke that was not acknowledged may be in force or not; one that is, is.
    late.communicate(timeout=60)
    daemon.tool("revoke", kid, check=0)
    assert daemon.ask(key).json()["code"] == "key_revoked"


def test_a_disk_that_fails_does_not_make_it_spin(daemon, disk):
    """However long no keeper can start, the pauses between two of them grow."""
    daemon.start(env=disk.env)
    disk.fail("sync", errno.EIO)
    kill(daemon.keeper_pid())
    wait_until(lambda: re.search(r"restart_in_ms=(399|[4-9]\d\d|\d{4,})", daemon.log()), "the pause has grown", 30)
    assert deaths(daemon) < 12


def test_reads_fail(daemon, disk):
    """EIO of one file: 503 for what needs it, the same keeper serves the rest, and all of it when the disk is well again."""
    daemon.start(env=disk.env)
    _, key = daemon.create("acme")
    kill(daemon.keeper_pid())
    # Ready, and keys not yet read: no request has come.
    wait_until(lambda: len(re.findall("event=child_ready role=keeper", daemon.log())) == 2, "another keeper is ready")
    keeper = daemon.keeper_pid()
    disk.fail("read", errno.EIO, "/keys.db")
    assert {daemon.ask(key).json()["code"] for _ in range(5)} == {"unavailable"}
    assert disk.failed("read") > 0, daemon.log()
    assert daemon.tool("plan", "list", check=0)
    disk.heal()
    assert daemon.ask(key).status == 200
    assert daemon.keeper_pid() == keeper


@pytest.mark.parametrize("name", ["log.", ".db"])
def test_no_space_for(daemon, disk, name):
    """ENOSPC for the log alone: what would write is refused, what only reads goes on. For the databases alone: everything goes on, the log holds it.
    Nothing acknowledged is lost, and space heals it."""
    daemon.write_conf(keeper_timeout=None)
    daemon.start(env=disk.env)
    daemon.tool("plan", "set", "p", "--limit", "hour=1000000/1h", check=0)
    kid, key = daemon.create("acme", plan="p")
    free_id, free_key = daemon.create("acme")
    keeper, admitted = daemon.keeper_pid(), 0
    disk.fail("write", errno.ENOSPC, name)
    statuses = [daemon.ask(key).status for _ in range(30)]
    assert set(statuses) == ({503} if name == "log." else {200})
    admitted += statuses.count(200)
    assert daemon.ask(free_key).status == 200
    done = daemon.tool("create", "--owner", "late")
    assert (done.returncode, "space" in done.stderr) == ((3, True) if name == "log." else (0, False)), done.stderr
    assert daemon.keeper_pid() == keeper
    if name == ".db":
        # What the log holds cannot be put where it belongs, either: it waits for space.
        kill(keeper)
        wait_until(lambda: "no space left for the store" in daemon.log(), "a keeper that cannot start")
        assert disk.failed("write") > 0 and daemon.ask(key).status == 503
        assert "restore a backup" not in daemon.log()
    disk.heal()
    admitted += wait_until(lambda: daemon.ask(key).status == 200, "service is back", 30)
    daemon.tool("revoke", free_id, check=0)
    keeper = daemon.keeper_pid()
    for how in (signal.SIGKILL, signal.SIGTERM):
        os.kill(daemon.keeper_pid(), how)
        wait_until(lambda: daemon.keeper_pid() != keeper, "another keeper")
        keeper = daemon.keeper_pid()
    assert daemon.ask(free_key).json()["code"] == "key_revoked"
    assert daemon.json("show", kid)["limits"][0]["used"] == admitted
    assert len(daemon.json_lines("list", "--owner", "late")) == (name == ".db")


def test_a_log_that_cannot_be_opened(daemon, disk):
    """EMFILE when the log goes on in a new file: Berkeley DB stops for good; the next keeper goes on, with all that was acknowledged."""
    (daemon.dir / "state").mkdir(mode=0o700)
    (daemon.dir / "state/DB_CONFIG").write_text("set_lg_bsize 65536\nset_lg_max 300000\n")
    daemon.start(env=disk.env)
    made = dict(daemon.create("acme") for _ in range(3))
    first = daemon.keeper_pid()
    disk.fail("open", errno.EMFILE, "log.")
    big = {f"m{i}": "x" * 250 for i in range(12)}
    with pytest.raises((OSError, AssertionError, ValueError)):
        for reply in admin(daemon, *[{"op": "key.create", "owner": "acme", "meta": big}] * 400):
            made[reply["id"]] = reply["key"]
    assert disk.failed("open") > 0 and len(made) < 400
    disk.heal()
    wait_until(lambda: {daemon.ask(key).status for key in made.values()} == {200}, "service is back, with all keys", 30)
    assert daemon.keeper_pid() != first


def test_read_only_while_it_runs(daemon, disk):
    """EROFS for every write: refused, not lost; reads go on."""
    daemon.start(env=disk.env)
    daemon.tool("plan", "set", "p", "--limit", "hour=1000000/1h", check=0)
    kid, key = daemon.create("acme", plan="p")
    free_id, free_key = daemon.create("acme")
    admitted = daemon.ask(key).status == 200
    disk.fail("write", errno.EROFS)
    statuses = {daemon.ask(key).status for _ in range(20)}
    assert statuses == {503}
    assert daemon.tool("revoke", free_id).returncode == 3
    assert daemon.ask(free_key).status in (200, 503)
    disk.heal()
    admitted += wait_until(lambda: daemon.ask(key).status == 200, "service is back", 30)
    assert daemon.json("show", kid)["limits"][0]["used"] == admitted
    assert daemon.ask(free_key).status == 200
    daemon.tool("revoke", free_id, check=0)
    assert daemon.ask(free_key).json()["code"] == "key_revoked"


# ---- damage while it runs ----

@pytest.mark.parametrize("how", ["bit", "zeros", "cut", "bit, encrypted"])
def test_damage_is_met(daemon, how):
    """keys.db is damaged while nobody looks: a key on a damaged page is unavailable, never unknown, each time; the others are served by the same
    keeper; the log names file, page and mend. A file that was cut is refused. What is restored is taken up."""
    how, _, encrypted = how.partition(", ")
    if encrypted:
        daemon.write_conf(encrypt_store=True)
        daemon.tool("pepper", "add", check=0)
    daemon.start()
    made = list(create_many(daemon, 60).values())
    daemon.stop()
    state, kept = daemon.dir / "state", daemon.dir / "kept"
    shutil.copytree(state, kept)
    path = state / "keys.db"
    data = bytearray(path.read_bytes())
    for page in range(8192, len(data), 8192):
        if how == "bit":
            data[page + 3000] ^= 4
        elif how == "zeros":
            data[page:page + 4096] = bytes(4096)
    path.write_bytes(data[:4096] if how == "cut" else data)
    daemon.log_path.write_text("")
    daemon.start(wait=False)
    if how == "cut":
        assert daemon.process.wait(30) == 3
        assert "keys.db: cut short" in daemon.log() and "restore a backup" in daemon.log()
        daemon.process = None
    else:
        wait_until(lambda: "event=ready workers" in daemon.log(), "it serves")
        keeper = daemon.keeper_pid()
        for _ in range(3):
            said = {key: daemon.ask(key).status for key in made}
            assert set(said.values()) == {200, 503}
        assert daemon.keeper_pid() == keeper and deaths(daemon) == 0
        wait_until(lambda: re.search(r"keys.db: page \d+ is damaged: restore a backup", daemon.log()), "the log says it")
        assert daemon.tool("create", "--owner", "new").returncode in (0, 3)
        daemon.stop()
    shutil.rmtree(state)
    shutil.copytree(kept, state)
    daemon.start()
    assert {daemon.ask(key).status for key in made} == {200}


def test_a_store_that_is_deleted(daemon):
    """Under a service that runs, by mistake. A keeper that was started again made an empty one, and every valid key was key_invalid."""
    daemon.write_conf(keeper_timeout=None)
    daemon.start()
    _, key = daemon.create("acme")
    state, away = daemon.dir / "state", daemon.dir / "away"
    away.mkdir()
    keeper = daemon.keeper_pid()
    # It renames a file of its own now and then.
    with daemon.halted(keeper):
        for path in state.iterdir():
            path.rename(away / path.name)
    kill(keeper)
    wait_until(lambda: "is gone: put it back" in daemon.log(), "what is missing is said")
    assert {daemon.ask(key).status for _ in range(3)} == {503}
    assert not (state / "meta.db").exists()
    # Nor does the tool make one, which the next keeper would have taken for the store.
    with concurrent.futures.ThreadPoolExecutor() as both:
        for done in both.map(lambda words: daemon.tool(*words), (["list"], ["create", "--owner", "new"])):
            # At the end of its patience it may meet the other, or a keeper that tries as well.
            assert done.returncode == 3 and re.search("is gone: put it back|another process owns the store", done.stderr), done
    assert not (state / "meta.db").exists()
    for path in away.iterdir():
        path.replace(state / path.name)
    wait_until(lambda: daemon.ask(key).status == 200, "service is back")


def test_what_waiting_does_not_mend_is_said_at_once(daemon):
    """A keeper that cannot start is not one that is about to come: the tool opened the store again and again for five seconds before it said why."""
    daemon.start()
    peppers = pathlib.Path(daemon.settings["pepper_file"])
    good = peppers.read_bytes()
    peppers.write_bytes(b"garbage\n")
    kill(daemon.keeper_pid())
    wait_until(lambda: "not a pepper" in daemon.log(), "the keeper says what it lacks")
    begin = time.monotonic()
    done = daemon.tool("list")
    assert done.returncode == 3 and "not a pepper" in done.stderr, done
    assert time.monotonic() - begin < 5, "shorter than it waits for a keeper"
    peppers.write_bytes(good)
    wait_until(lambda: daemon.tool("list").returncode == 0, "service is back")


def test_a_log_is_cut(daemon):
    """The log's last bytes are gone, or a bit in its middle is another, and with them what was acknowledged last: refused, each time, with the mend.
    Also when the file that says how far it was on disk is gone with them, or empty.  A revoked key is never valid again."""
    daemon.start()
    made = create_many(daemon, 20)
    list(admin(daemon, *[{"op": "key.revoke", "id": kid} for kid in made]))
    daemon.kill_all()
    state, kept = daemon.dir / "state", daemon.dir / "kept"
    shutil.copytree(state, kept)
    for cut, mark in ((1, True), (700, True), (-5000, True), (700, None), (700, ""), (0, None)):
        shutil.rmtree(state)
        shutil.copytree(kept, state)
        path = max(state.glob("log.*"))
        data = bytearray(path.read_bytes())
        end = len(data.rstrip(b"\0"))
        if cut > 0:
            del data[end - cut:]
        elif cut < 0:
            data[end + cut] ^= 1
        path.write_bytes(data)
        if mark is None:
            (state / "flushed").unlink()
        elif mark is not True:
            (state / "flushed").write_text(mark)
        said = "ends before what was acknowledged" if mark is True else "/flushed: "
        for _ in range(2):
            daemon.log_path.write_text("")
            daemon.start(wait=False)
            assert daemon.process.wait(30) == 3
            daemon.process = None
            assert said in daemon.log() and "restore a backup" in daemon.log()
        assert "restore a backup" in daemon.tool("list", check=3).stderr
    shutil.rmtree(state)
    shutil.copytree(kept, state)
    daemon.start()
    assert {daemon.ask(key).json()["code"] for key in made.values()} == {"key_revoked"}
