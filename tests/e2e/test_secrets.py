"""Goal: no key and no pepper in anything that a used instance leaves or shows: files, log, argv, environment, core. Invariant 4."""

import json
import os
import pathlib
import resource
import subprocess

import pytest

from harness.backend import Backend
from harness.daemon import Daemon, state_of, wait_until
from harness.nginx import NginxAuthRequest


@pytest.fixture
def used(daemon, directory):
    """A daemon that has seen keys in every way that is allowed and every way that is not; (daemon, secrets)."""
    daemon.start()
    backend = Backend()
    nginx = NginxAuthRequest(directory / "n", daemon, backend).start()
    daemon.tool("plan", "set", "p", "--limit", "hour=3/1h", check=0)
    made = [daemon.create(f"owner{i}", plan="p", name="n") for i in range(3)]
    keys = [k for _, k in made]
    unknown = keys[0][:-6] + "AAAAAA"
    for key in [*keys, unknown]:
        for _ in range(5):
            daemon.ask(key)
        daemon.ask(HTTP_X_API_KEY=key)
        daemon.ask(HTTP_X_API_KEY=f"{key},{key}")
        daemon.ask(key, HTTP_X_API_KEY="other")
        daemon.ask(REQUEST_URI=f"/x?api_key={key}")
        daemon.ask(key, HTTPS=None, REQUEST_SCHEME="http")
        daemon.ask(key, APIKEYD_MODE="auth_request")
        daemon.ask(key, APIKEYD_MODE="bad")
        daemon.ask(key, HTTP_X_FILLER="x" * 9000)
        daemon.ask(key, **{f"HTTP_X_{i}": "y" for i in range(300)})
        nginx.curl("/api/x", key=key)
        daemon.tool("check", input=key)
        daemon.tool("show", key)
    daemon.tool("revoke", made[2][0], check=0)
    daemon.pepper()
    daemon.tool("check", input=keys[0], check=1)
    peppers = [line.split()[1] for line in pathlib.Path(daemon.settings["pepper_file"]).read_text().splitlines() if line and line[0] != "#"]
    yield daemon, keys + [unknown], peppers
    nginx.stop()
    backend.close()


def forms(keys, peppers):
    """What must not be found: keys but for their visible start, peppers as text and as bytes."""
    for key in keys:
        yield key[12:].encode()
    for pepper in peppers:
        yield pepper.encode()
        yield bytes.fromhex(pepper)


def holders(paths, needles):
    return [(str(p), n) for p in paths for n in needles if n in p.read_bytes()]


def test_files_and_log(used):
    daemon, keys, peppers = used
    needles = list(forms(keys, peppers))
    daemon.stop()
    pepper_file = pathlib.Path(daemon.settings["pepper_file"])
    files = [p for p in daemon.dir.rglob("*") if p.is_file() and p != pepper_file]
    assert any("log." in p.name for p in files), "the store's files are among them"
    assert not holders(files, needles)
    assert daemon.log()


def test_argv_and_environment(used):
    daemon, keys, peppers = used
    for pid in [daemon.process.pid, *daemon.children()]:
        for name in ("cmdline", "environ"):
            data = pathlib.Path(f"/proc/{pid}/{name}").read_bytes()
            assert not [n for n in forms(keys, peppers) if n in data]


def test_no_core(used):
    daemon, *_ = used
    for pid in daemon.children():
        limits = pathlib.Path(f"/proc/{pid}/limits").read_text()
        core = [line for line in limits.splitlines() if line.startswith("Max core file size")][0]
        assert core.split()[4:6] == ["0", "0"]
        # Not dumpable: /proc/PID/mem and the like belong to root.
        assert os.stat(f"/proc/{pid}/mem").st_uid == 0


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to look into a process that is not dumpable")
@pytest.mark.parametrize("role", ["worker", "keeper"])
def test_memory_of_a_used_process(used, directory, role):
    """What a core of root's making (gcore) would hold: the mappings that dumps include, of a process that is idle again."""
    daemon, keys, peppers = used
    daemon.ask()
    needles = list(forms(keys, peppers))
    for pid in daemon.children(role):
        # An answer is sent before what it was made of is wiped.
        wait_until(lambda: state_of(pid) == "S", f"{pid} waits for the next request")
        with daemon.halted(pid):
            done = subprocess.run(["gcore", "-o", str(directory / "core"), str(pid)], capture_output=True, text=True, timeout=60)
            core = directory / f"core.{pid}"
            assert core.exists(), done.stdout + done.stderr
            data = core.read_bytes()
            assert b"apikeyd" in data
            assert not [n for n in needles if n in data]


def locked(pid):
    """KiB of the mappings of a process that are kept from swap and from dumps."""
    total = size = 0
    for line in pathlib.Path(f"/proc/{pid}/smaps").read_text().splitlines():
        word = line.split()
        if word[0] == "Size:":
            size = int(word[1])
        elif word[0] == "VmFlags:" and {"lo", "dd"} <= set(word):
            total += size
    return total


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to look into a process that is not dumpable, and to start one as another user")
@pytest.mark.parametrize("kib, enough", [(4096, True), (64, False)])
def test_what_keys_pass_through_is_locked(directory, kib, enough):
    """The keeper's buffers for credentials, requests and replies. Where it may not lock them it serves all the same, and says so; the peppers' memory is locked in any case."""
    directory.chmod(0o755)
    d = Daemon(directory / "d", user="nobody", group="nogroup")
    d.pepper()
    os.chown(d.settings["pepper_file"], 65534, 65534)
    before = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (kib * 1024, before[1]))
    try:
        d.start()
    finally:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, before)
    try:
        _, key = d.create()
        assert d.ask(key).status == 200
        # Datagrams of a round, a message in, a reply and its message out.
        assert (locked(d.keeper_pid()) >= 64 + 2048 + 128 + 256) == enough and locked(d.keeper_pid()) >= 64
        assert ("buffers_not_locked" in d.log()) != enough
    finally:
        d.stop()


def test_a_key_where_none_belongs(daemon):
    """In a request id, an import, a reason: refused, and nothing of it is kept, listed or told."""
    daemon.start()
    key = daemon.create()[1]
    reply = daemon.ask(key, APIKEYD_REQUEST_ID=key)
    assert reply.status == 500 and key.encode() not in reply.body
    for line in ({"owner": "a", "name": key}, {"owner": "a", "meta": {"old": "x" + key + "y"}}, {"owner": "a", "plan": key}, {"owner": "a", key: 1}):
        done = daemon.tool("import", input=json.dumps(line) + "\n")
        assert done.returncode == 1 and "API key" in done.stderr and key not in done.stdout + done.stderr
    script = """
import json, socket, struct, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); s.connect(sys.argv[1])
body = json.dumps({"op": "key.create", "owner": "a", "name": sys.stdin.read()}).encode()
s.send(struct.pack(">BBHI", 1, 3, 0, len(body)) + body)
print(s.recv(200000)[8:].decode())
"""
    done = subprocess.run(["/usr/bin/python3", "-c", script, daemon.dir / "run" / "keeper.sock"], input=key, capture_output=True, text=True, timeout=20)
    assert '"ok":false' in done.stdout and "API key" in done.stdout and key not in done.stdout
    daemon.stop()
    for path in [daemon.log_path, *(daemon.dir / "state").iterdir()]:
        assert key.encode() not in path.read_bytes(), path
