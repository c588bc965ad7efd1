"""Goal: apikeyd as an operator meets it: start, stop, reload, what dies is restarted, two never share anything.
Invariant 5 (whatever is killed, acknowledged changes are there and service comes back)."""

import fcntl
import os
import pwd
import re
import shutil
import signal
import socket
import stat
import struct
import subprocess
import termios
import threading
import time

import pytest

from harness.daemon import APIKEY, APIKEYD, Daemon, for_everybody, kill, stand_still, wait_until
from harness.fcgi import params_for, request_bytes
from harness.mount import free_port


def run(d, *args, **how):
    return subprocess.run([APIKEYD, "-c", d.conf, *args], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, **how)


def test_start_and_stop(daemon):
    daemon.start()
    assert sorted(daemon.children().values()) == ["keeper", "worker", "worker"]
    assert oct(os.stat(daemon.socket).st_mode & 0o777) == "0o660"
    assert oct(os.stat(daemon.settings["state_dir"]).st_mode & 0o777) == "0o700"
    pid_file = daemon.dir / "run" / "apikeyd.pid"
    assert int(pid_file.read_text()) == daemon.process.pid
    pids = list(daemon.children())
    daemon.stop(expect=0)
    assert not daemon.socket.exists() and not pid_file.exists()
    assert not any(os.path.exists(f"/proc/{p}") for p in pids)


def test_stopped_children_do_not_delay_a_stop(daemon):
    """Who looked into a worker and left it stopped (SIGSTOP) had the service wait ten seconds for it, and then kill it."""
    daemon.start()
    for pid in daemon.children():
        os.kill(pid, signal.SIGSTOP)
    began = time.monotonic()
    daemon.stop(expect=0)
    assert time.monotonic() - began < 8
    assert "child_died" not in daemon.log() and "child_hangs" not in daemon.log()


def test_who_is_woken_for_each_request_waits_for_its_turn(daemon):
    """Workers and keeper interrupt nobody when they are woken; the supervisor is an ordinary process."""
    daemon.start()
    # One of the workers has answered; the other may be just starting.
    wait_until(lambda: [os.sched_getscheduler(pid) for pid in daemon.children()] == [os.SCHED_BATCH] * 3, "all three are batch processes")
    assert os.sched_getscheduler(daemon.process.pid) == os.SCHED_OTHER


def test_background(daemon):
    """Without -f the command returns when the daemon answers, not before, and leaves a pid file."""
    daemon.pepper()
    assert run(daemon).returncode == 0
    pid = int((daemon.dir / "run" / "apikeyd.pid").read_text())
    try:
        assert daemon.ask().status == 401
    finally:
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not os.path.exists(f"/proc/{pid}"), "the daemon is gone")


def test_no_pepper_is_said_at_once(daemon):
    done = run(daemon, "-f")
    assert done.returncode not in (0, 2) and "apikey pepper add" in done.stderr


@pytest.mark.parametrize("mode", [0o640, 0o404, 0o444, 0o600, 0o777])
def test_a_loose_pepper_file_is_refused(daemon, mode):
    daemon.pepper()
    os.chmod(daemon.settings["pepper_file"], mode)
    done = run(daemon, "-f")
    assert done.returncode != 0 and "0400" in done.stderr


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to give a file away")
def test_a_pepper_file_of_somebody_else_is_refused(daemon):
    daemon.pepper()
    os.chown(daemon.settings["pepper_file"], 12345, 12345)
    done = run(daemon, "-f")
    assert done.returncode != 0 and "belong" in done.stderr


@pytest.mark.parametrize("text", ["", "1 abc\n", "x " + "0" * 64 + "\n", "1 " + "0" * 63 + "g\n", "1 " + "0" * 64 + "\n1 " + "1" * 64 + "\n", "\0" * 100, "1 " + "0" * 64 + " more\n"])
def test_a_malformed_pepper_file_is_refused(daemon, text):
    daemon.pepper()
    path = daemon.settings["pepper_file"]
    os.chmod(path, 0o600)
    with open(path, "w") as f:
        f.write(text)
    os.chmod(path, 0o400)
    done = run(daemon, "-f")
    assert done.returncode != 0 and path in done.stderr
    assert "0000000000" not in done.stderr


def test_a_lost_pepper_file_is_not_replaced_by_another(daemon):
    """Made anew it would have a version 1 as well, under which every key is unknown: said, and nothing is served with it."""
    daemon.start()
    _, key = daemon.create("acme")
    path = daemon.settings["pepper_file"]
    with open(path) as f:
        text = f.read()
    daemon.stop()
    os.unlink(path)
    done = run(daemon, "-f")
    assert done.returncode != 0 and "backup" in done.stderr and path in done.stderr
    assert "backup" in daemon.tool("list", check=3).stderr
    daemon.tool("pepper", "add", check=0)
    done = run(daemon, "-f")
    assert done.returncode != 0 and "backup" in done.stderr
    assert "backup" in daemon.tool("create", "--owner", "x").stderr
    os.unlink(path)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o400), "w") as f:
        f.write(text)
    daemon.start()
    assert daemon.ask(key).status == 200


def test_killed_processes_come_back(daemon, scale):
    daemon.start()
    kid, key = daemon.create("acme")
    for _ in range(scale(3, 100)):
        for role in ("keeper", "worker"):
            for pid in daemon.children(role):
                kill(pid)
            # Requests wait for the new one rather than failing.
            assert daemon.ask(key).status == 200
    daemon.tool("revoke", kid, check=0)
    kill(daemon.keeper_pid())
    assert daemon.ask(key).json()["code"] == "key_revoked"


def test_nothing_is_left_when_the_supervisor_is_killed(daemon):
    daemon.start()
    pids = list(daemon.children())
    daemon.process.kill()
    daemon.process.wait()
    daemon.process = None
    wait_until(lambda: not any(os.path.exists(f"/proc/{p}") for p in pids), "the children are gone")
    # The stale socket and pid file do not stop a new one.
    daemon.start()
    assert daemon.ask().status == 401


def test_a_stopped_keeper_is_replaced(daemon):
    """SIGSTOP: the heartbeat stays away, the supervisor kills and replaces it."""
    daemon.write_conf(keeper_timeout=None)
    daemon.start()
    _, key = daemon.create("acme")
    old = daemon.keeper_pid()
    stand_still(old)
    assert daemon.ask(key).status == 503
    wait_until(lambda: old not in daemon.children() and daemon.children("keeper"), "the keeper is replaced", 30)
    wait_until(lambda: daemon.ask(key).status == 200, "service is back")


def test_a_keeper_that_cannot_start_is_tried_again(daemon):
    """Its pepper file is gone when it is killed: the reason is logged, pauses grow, and service comes back with the file."""
    daemon.write_conf(keeper_timeout=None)
    daemon.start()
    _, key = daemon.create("acme")
    peppers = daemon.settings["pepper_file"]
    os.rename(peppers, peppers + ".away")
    kill(daemon.keeper_pid())
    assert daemon.ask(key).status == 503
    wait_until(lambda: "restart_in_ms=199" in daemon.log(), "the pause has grown")
    assert f"the pepper file {peppers} is gone" in daemon.log()
    done = daemon.tool("list", check=3)
    assert peppers in done.stderr
    os.rename(peppers + ".away", peppers)
    wait_until(lambda: daemon.ask(key).status == 200, "service is back")


def test_sigterm_while_it_starts(daemon):
    """At whatever point of the start: it ends, and leaves neither processes nor files that a next one trips over."""
    daemon.pepper()
    said = ["child_started role=keeper", "child_ready role=keeper", "child_started role=worker", "event=ready"]
    for point in ["", *said]:
        daemon.log_path.write_text("")
        daemon.start(wait=False)
        wait_until(lambda: point in daemon.log(), point)
        daemon.process.send_signal(signal.SIGTERM)
        # Before it has a handler the signal itself ends it.
        assert daemon.process.wait(30) in ((-signal.SIGTERM, 0) if point == "" else (0,)), daemon.log()
        assert os.listdir(daemon.settings["run_dir"]) == [] if os.path.exists(daemon.settings["run_dir"]) else point == ""
    daemon.start().stop()


def test_killed_while_it_starts(daemon):
    """A child that somebody kills before the service has ever served once ended the start, and nothing was there any more."""
    daemon.pepper()
    for role in ("keeper", "worker"):
        daemon.log_path.write_text("")
        daemon.start(wait=False)
        killed = []
        served = lambda pid: f"event=child_ready role={role} pid={pid} " in daemon.log()
        # On a busy machine we may come too late for one or the other.
        while len(killed) < 3 or all(map(served, killed)):
            assert len(killed) < 20, "none was killed before it served"
            pid = wait_until(lambda: next((p for p in daemon.children(role) if p not in killed), None), f"a {role} is there")
            kill(pid)
            wait_until(lambda: f" role={role} pid={pid} how=" in daemon.log(), "its death is told")
            killed.append(pid)
        daemon.wait_ready()
        daemon.stop()


def test_hups_in_quick_succession(daemon):
    """While the workers of the first reload start the second one comes, and old workers die: the last configuration is in force."""
    daemon.start()

    def realm():
        try:
            return daemon.ask().all("WWW-Authenticate")[0]
        except (OSError, EOFError):
            return None                      # a worker was killed before it answered

    wait_until(lambda: "event=ready workers=2" in daemon.log(), "all workers serve")
    for i in range(3):
        daemon.write_conf(realm=f"r{i}")
        daemon.process.send_signal(signal.SIGHUP)
        for pid in daemon.children("worker"):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
    # A reload whose new workers die is abandoned, and the file may have been read half written: a last, quiet one.
    daemon.process.send_signal(signal.SIGHUP)
    wait_until(lambda: realm() == 'Bearer realm="r2"', "the last one is in force")
    wait_until(lambda: len(daemon.children("worker")) == 2, "as many workers as before")


def test_a_second_daemon_is_refused(daemon, directory):
    daemon.start()
    # Its pid file alone is enough to know.
    same = run(daemon, "-f")
    assert same.returncode != 0 and f"another apikeyd (pid {daemon.process.pid}) runs in" in same.stderr
    # Another run directory, the same socket: a live socket is never stolen.
    other = Daemon(directory / "e", listen=str(daemon.socket))
    other.pepper()
    done = run(other, "-f")
    assert done.returncode != 0 and str(daemon.socket) in done.stderr
    # Another socket, the same store.
    third = Daemon(directory / "f", state_dir=daemon.settings["state_dir"])
    third.pepper()
    done = run(third, "-f")
    assert done.returncode != 0 and daemon.settings["state_dir"] in done.stderr
    assert daemon.ask().status == 401


def test_a_file_that_is_no_socket_is_not_removed(daemon):
    daemon.pepper()
    daemon.socket.parent.mkdir()
    daemon.socket.write_text("precious")
    done = run(daemon, "-f")
    assert done.returncode != 0 and daemon.socket.read_text() == "precious"


def test_a_socket_that_is_removed(daemon):
    """The file of the listening socket goes (rm, a cleaner of /tmp): it is made again, with its mode, and who is connected notices nothing."""
    daemon.write_conf(listen_mode="0620")
    daemon.start()
    _, key = daemon.create()
    old = set(daemon.children("worker"))
    with daemon.connect() as kept:
        assert kept.request(params_for(key), keep=True).status == 200
        for again in (1, 2):
            daemon.socket.unlink()
            wait_until(lambda: daemon.log().count("event=listening_again") == again, "there are workers on a new one")
            assert stat.S_IMODE(daemon.socket.stat().st_mode) == 0o620
            assert daemon.ask(key).status == 200
    wait_until(lambda: not old & set(daemon.children("worker")), "the old workers have left")
    assert daemon.log().count("event=socket_made_again") == 2
    # Reloads go on as ever.
    daemon.write_conf(realm="changed")
    daemon.process.send_signal(signal.SIGHUP)
    wait_until(lambda: daemon.ask().all("WWW-Authenticate")[0] == 'Bearer realm="changed"', "the new configuration is in force")
    daemon.stop()
    assert not daemon.socket.exists()


def test_a_socket_that_is_replaced(daemon, directory):
    """What somebody else has put there is neither taken nor removed: the log says so, once, and how to mend it; put back or taken away, all is well."""
    daemon.start()
    _, key = daemon.create()
    mine = directory / "mine"
    mine.write_text("mine")
    os.link(daemon.socket, directory / "aside")
    # By a rename, so that there is no moment in which nothing is there.
    mine.rename(daemon.socket)
    wait_until(lambda: "event=socket_lost " in daemon.log(), "it is noticed")
    [line] = [line for line in daemon.log().splitlines() if "event=socket_lost " in line]
    assert f"something else is at {daemon.socket}" in line and "mend=" in line
    assert daemon.socket.read_text() == "mine"
    (directory / "aside").rename(daemon.socket)
    wait_until(lambda: "event=socket_back " in daemon.log(), "it is there again")
    assert daemon.ask(key).status == 200 and "socket_made_again" not in daemon.log()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(mine))
        other.listen()
        mine.rename(daemon.socket)
        wait_until(lambda: daemon.log().count("event=socket_lost ") == 2, "it is noticed")
        daemon.socket.unlink()
        wait_until(lambda: "event=listening_again" in daemon.log(), "it is made again where nothing is")
    assert daemon.ask(key).status == 200


def test_a_socket_that_cannot_be_made_again(daemon, directory):
    """Its whole directory is gone: said, and gone on with; as soon as there is one again it is in it."""
    place = directory / "place"
    place.mkdir()
    daemon.socket = place / "fcgi.sock"
    daemon.write_conf(listen=str(daemon.socket))
    daemon.start()
    shutil.rmtree(place)
    wait_until(lambda: "event=socket_lost " in daemon.log(), "it is noticed")
    place.mkdir()
    wait_until(lambda: "event=listening_again" in daemon.log(), "it is made again")
    assert daemon.ask().status == 401
    assert daemon.log().count("event=socket_lost ") == 1


def test_reload(daemon):
    daemon.start()
    old = daemon.children("worker")
    daemon.write_conf(realm="changed", workers=3)
    daemon.process.send_signal(signal.SIGHUP)
    wait_until(lambda: len(daemon.children("worker")) == 3 and not set(old) & set(daemon.children("worker")), "new workers run")
    assert daemon.ask().all("WWW-Authenticate")[0] == 'Bearer realm="changed"'
    # A mistake in the file: said with its line, the old configuration stays.
    daemon.conf.write_text(daemon.conf.read_text() + 'realm = 5 5\n')
    daemon.process.send_signal(signal.SIGHUP)
    wait_until(lambda: f"{daemon.conf}:" in daemon.log(), "the mistake is in the log")
    assert daemon.ask().all("WWW-Authenticate")[0] == 'Bearer realm="changed"'


def test_reload_loses_no_request(daemon, scale):
    """Keep-alive clients under load while the daemon reloads: a client may find its idle connection closed (and asks again on a
    new one, as web servers do), but a request that got any answer got the right one, and a fresh connection never fails."""
    daemon.start()
    _, key = daemon.create("acme")
    stop, wrong, done = threading.Event(), [], []

    def client(fresh):
        connection, served = None, 0
        while not stop.is_set():
            try:
                if connection is None:
                    connection, served = daemon.connect(), 0
                status = connection.request(params_for(key), keep=not fresh).status
                served += 1
                done.append(1)
                if status != 200:
                    wrong.append(status)
            except (EOFError, ConnectionError) as e:
                if served == 0:
                    wrong.append(repr(e))
                connection, served = None, 0
            if fresh:
                connection = None

    threads = [threading.Thread(target=client, args=(i % 2 == 0,)) for i in range(4)]
    for t in threads:
        t.start()
    for _ in range(scale(4, 40)):
        old, count = set(daemon.children("worker")), len(done)
        daemon.process.send_signal(signal.SIGHUP)
        wait_until(lambda: not old & set(daemon.children("worker")) and len(daemon.children("worker")) == 2, "new workers run")
        wait_until(lambda: len(done) > count + 20, "requests go on")
    stop.set()
    for t in threads:
        t.join()
    assert not wrong, wrong[:5]


def test_sigterm_finishes_what_is_in_hand(daemon):
    daemon.start()
    _, key = daemon.create("acme")
    keeper = daemon.keeper_pid()
    stand_still(keeper)                      # a request that is in hand while TERM arrives
    with daemon.connect() as c:
        c.send(request_bytes(params_for(key)))
        unread = lambda: struct.unpack("i", fcntl.ioctl(c.sock, termios.TIOCOUTQ, b"    "))[0]
        wait_until(lambda: unread() == 0, "the worker has read the request")
        daemon.process.send_signal(signal.SIGTERM)
        os.kill(keeper, signal.SIGCONT)
        assert c.response().status in (200, 503)
    daemon.stop(expect=0)


def test_nothing_is_inherited(daemon, directory):
    """What who starts it has open by mistake is open in no process of it: a worker taken over would have it."""
    (directory / "secret").write_text("of who starts it")
    daemon.pepper()
    with open(directory / "secret") as secret, open(daemon.log_path, "ab") as log:
        daemon.process = subprocess.Popen([APIKEYD, "-c", daemon.conf, "-f"], pass_fds=[secret.fileno()], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    wait_until(daemon.said_ready, "all serve")
    assert len(daemon.children()) == 3
    with daemon.halted(*daemon.children()):
        opened = {pid: [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")] for pid in [daemon.process.pid, *daemon.children()]}
    for pid, fds in opened.items():
        assert fds and not [f for f in fds if f.endswith("/secret")], (pid, fds)


def test_check_configuration(daemon):
    ok = run(daemon, "-t")
    assert ok.returncode == 0
    daemon.conf.write_text('realm = "a"\nworkers = many\n')
    bad = run(daemon, "-t")
    assert bad.returncode != 0 and f"{daemon.conf}:2" in bad.stderr
    daemon.conf.write_text('realm = "a\\"b"\nnonsense = true\n')
    bad = run(daemon, "-t")
    assert bad.returncode != 0 and f"{daemon.conf}:" in bad.stderr
    daemon.conf.write_text('keeper_timeout = "5 parsecs"\n\nworkers = -1\ntrusted_proxies = {"10.0.0.0/8", "x"}\n')
    bad = run(daemon, "-t")
    for line in (1, 3, 4):
        assert f"{daemon.conf}:{line}" in bad.stderr


@pytest.mark.parametrize("args", [["--nonsense"], ["nonsense"], ["-c"], ["worker", "extra"]])
def test_usage(daemon, args):
    done = subprocess.run([APIKEYD, *args], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=20)
    assert done.returncode == 2 and done.stderr


def test_tcp(directory):
    port = free_port()
    d = Daemon(directory / "d", listen=f"127.0.0.1:{port}")
    d.socket = ("127.0.0.1", port)
    d.start()
    try:
        assert d.ask(d.create("acme")[1]).status == 200
    finally:
        d.stop()


def test_sd_notify(daemon, directory):
    path = directory / "notify"
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    s.bind(str(path))
    s.settimeout(20)
    daemon.start(wait=False, env={"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "1000000"})
    seen = b""
    while b"READY=1" not in seen:
        seen += s.recv(4096) + b"\n"
    # Ready means ready: the very next request is answered.
    assert daemon.ask().status == 401
    while b"WATCHDOG=1" not in seen:
        seen += s.recv(4096) + b"\n"
    daemon.process.send_signal(signal.SIGTERM)
    while b"STOPPING=1" not in seen:
        seen += s.recv(4096) + b"\n"
    daemon.stop()


@pytest.mark.skipif(os.getuid() != 0, reason="needs root")
def test_privileges_are_dropped(directory):
    os.chmod(directory, 0o755)
    d = Daemon(directory / "d", user="nobody", group="nogroup")
    d.start()
    try:
        nobody = pwd.getpwnam("nobody").pw_uid
        for pid in [d.process.pid, *d.children()]:
            status = open(f"/proc/{pid}/status").read()
            uids = [line for line in status.splitlines() if line.startswith("Uid:")][0].split()[1:]
            assert uids == [str(nobody)] * 4, pid
            groups = [line for line in status.splitlines() if line.startswith("Groups:")][0].split()[1:]
            assert "0" not in groups
        for name in os.listdir(d.settings["state_dir"]):
            assert os.stat(os.path.join(d.settings["state_dir"], name)).st_uid == nobody
        _, key = d.create("acme")
        assert d.ask(key).status == 200
        d.stop()
        # The tool alone, as root: leaves nothing that the daemon cannot open.
        d.create("acme")
        d.pepper()
        assert all(os.stat(os.path.join(d.settings["state_dir"], n)).st_uid == nobody for n in os.listdir(d.settings["state_dir"]))
        d.start()
        assert d.ask(key).status == 200
    finally:
        d.stop(expect=None)


@pytest.mark.skipif(os.getuid() != 0, reason="needs root")
def test_privileges_are_dropped_by_a_keeper_and_a_worker_alone(directory):
    """Started by hand, or by a spawner that is root."""
    os.chmod(directory, 0o755)
    d = Daemon(directory / "d", user="nobody", group="nogroup")
    d.pepper()
    os.chown(d.settings["pepper_file"], pwd.getpwnam("nobody").pw_uid, -1)
    with socket.socket(socket.AF_UNIX) as listening, open(d.log_path, "ab") as log:
        keeper = subprocess.Popen([APIKEYD, "keeper", "-c", d.conf], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            wait_until(lambda: (directory / "d" / "run" / "check.sock").exists(), "the keeper serves")
            listening.bind(str(d.socket))
            listening.listen()
            worker = subprocess.Popen([APIKEYD, "worker", "-c", d.conf], stdin=listening, stdout=log, stderr=log)
            try:
                assert d.ask().status == 401
                for process in (keeper, worker):
                    status = open(f"/proc/{process.pid}/status").read()
                    assert re.search(r"^Uid:(\s+65534){4}$", status, re.M) and re.search(r"^Gid:(\s+65534){4}$", status, re.M), status
                    assert not {"0", "4"} & set(re.search(r"^Groups:(.*)$", status, re.M).group(1).split())
            finally:
                worker.terminate()
                worker.wait(20)
        finally:
            keeper.terminate()
            keeper.wait(20)


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to become the service user")
@pytest.mark.parametrize("setting", ["run_dir", "state_dir"])
def test_a_directory_of_somebody_else(directory, setting):
    """Root made it by hand: the mend is named, and nothing is left in it that the service could not remove."""
    directory.chmod(0o755)
    d = Daemon(directory / "d", user="nobody", group="nogroup")
    d.pepper()
    os.mkdir(d.settings[setting], 0o700)
    done = run(d, "-f")
    assert done.returncode == 1 and f"chown nobody {d.settings[setting]}" in done.stderr
    assert os.listdir(d.settings[setting]) == []
    os.chown(d.settings[setting], 65534, 65534)
    os.chmod(d.settings[setting], 0o755 if setting == "run_dir" else 0o700)
    d.start().stop()


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to be somebody else")
def test_an_ordinary_user_is_told_who_may(directory):
    directory.chmod(0o755)
    d = Daemon(directory / "d", user="nobody", group="nogroup")
    d.start().stop()
    somebody = {"user": "daemon", "group": "daemon", "extra_groups": []}
    done = subprocess.run([for_everybody(APIKEYD, directory), "-c", d.conf, "-f"], capture_output=True, text=True, timeout=60, **somebody)
    assert done.returncode == 1 and "as root or as the service user" in done.stderr
    done = subprocess.run([for_everybody(APIKEY, directory), "-c", d.conf, "pepper", "add"], capture_output=True, text=True, **somebody)
    assert done.returncode == 3 and "root or the user nobody" in done.stderr


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to be somebody else")
def test_other_users_may_only_ask_for_checks(daemon):
    daemon.start()
    script = """
import os, socket, sys, json, struct
os.setgid(65534); os.setuid(65534)
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); s.connect(sys.argv[1])
body = json.dumps({"op": "key.list"}).encode()
s.send(struct.pack(">BBHI", 1, 3, 0, len(body)) + body)
print(s.recv(200000)[8:].decode())
"""
    os.chmod(daemon.dir.parent, 0o755)
    out = subprocess.run(["/usr/bin/python3", "-c", script, daemon.dir / "run" / "keeper.sock"], capture_output=True, text=True, timeout=20)
    assert '"ok":false' in out.stdout and '"denied"' in out.stdout, out
