"""Goal: apikeyd started by others: workers under spawn-fcgi (descriptor 0) and systemd's socket activation (LISTEN_FDS), the units of conf/systemd as systemd reads them
and run line by line as they say. Invariants 3 and 5: whoever starts what, there is one keeper and one store."""

import contextlib
import os
import pathlib
import re
import select
import shlex
import signal
import socket
import subprocess
import threading

import pytest

from harness import fcgi
from harness.daemon import APIKEYD, BUILD, Daemon, kill, state_of, wait_until
from harness.mount import free_port

UNITS = BUILD / "conf" / "systemd"


def command_line(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]
    except (FileNotFoundError, ProcessLookupError):
        return []


def processes(daemon, role):
    """Ids of all processes of this daemon's configuration in a role, whoever started them."""
    ours = os.fsencode(daemon.dir) + b"/"
    return [int(p.name) for p in pathlib.Path("/proc").iterdir()
            if p.name.isdigit() and role.encode() in (words := command_line(p.name)) and any(w.startswith(ours) for w in words)]


def uid_of(pid):
    """None: there is no such process any more."""
    try:
        return int(re.search(r"^Uid:\t(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text(), re.M).group(1))
    except (FileNotFoundError, ProcessLookupError):
        return None


def end(pids):
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not any(command_line(p) for p in pids), "they are gone")


@pytest.fixture
def made(daemon):
    """A store with a key; and nothing of it runs when the test is over."""
    daemon.pepper()
    daemon.kid, daemon.key = daemon.create("acme")
    daemon.socket.parent.mkdir(exist_ok=True)
    yield daemon
    end(processes(daemon, "worker"))
    end(processes(daemon, "keeper"))


@contextlib.contextmanager
def started(*args, env=None, log=None, **how):
    """A process of the test's own, ended with it."""
    with open(log, "ab") as out:
        p = subprocess.Popen([str(a) for a in args], stdin=subprocess.DEVNULL, stdout=out, stderr=out, env={**os.environ, **(env or {})}, **how)
    try:
        yield p
    finally:
        if p.poll() is None:
            p.terminate()
        p.wait(30)


def ask(address, key=None, timeout=30):
    """One request, to a listener that need not be the configuration's."""
    with fcgi.Connection(address, timeout) as c:
        return c.request(fcgi.params_for(key), keep=False).status


# ---- spawn-fcgi ----

def spawn_fcgi(d, *args):
    done = subprocess.run(["spawn-fcgi", *map(str, args), "--", APIKEYD, "worker", "-c", d.conf], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr


def test_spawn_fcgi(made):
    """Two workers on descriptor 0, one keeper that they start, and all of it as when apikeyd started them itself."""
    spawn_fcgi(made, "-s", made.socket, "-F", 2)
    wait_until(lambda: len(processes(made, "worker")) == 2, "both run")
    assert [made.ask(made.key).status for _ in range(20)] == [200] * 20
    assert made.ask().status == 401
    # Both may have started one: who comes second finds the store taken, and leaves.
    wait_until(lambda: len(processes(made, "keeper")) == 1, "there is one keeper")
    # The tool finds the keeper, and what it changes holds at once.
    made.tool("disable", made.kid, check=0)
    assert made.ask(made.key).json()["code"] == "key_disabled"
    made.tool("enable", made.kid, check=0)
    # One worker ends, the other serves; the keeper is killed, the next request has a new one.
    end(processes(made, "worker")[:1])
    assert made.ask(made.key).status == 200
    [keeper] = wait_until(lambda: len(found := processes(made, "keeper")) == 1 and found, "there is one keeper")
    kill(keeper)
    wait_until(lambda: made.ask(made.key).status == 200, "there is a new keeper")
    wait_until(lambda: len(processes(made, "keeper")) == 1, "there is one keeper")
    assert processes(made, "keeper") != [keeper]


def test_spawn_fcgi_beside_the_daemon(made):
    """Workers of spawn-fcgi on another socket find the daemon's keeper and start none."""
    made.start()
    keeper = made.keeper_pid()
    other = made.dir / "other.sock"
    spawn_fcgi(made, "-s", other, "-F", 1)
    assert ask(other, made.key) == 200 and ask(other) == 401
    assert processes(made, "keeper") == [keeper]


def test_spawn_fcgi_over_tcp(made):
    port = free_port()
    spawn_fcgi(made, "-a", "127.0.0.1", "-p", port, "-F", 2)
    assert [ask(("127.0.0.1", port), made.key) for _ in range(10)] == [200] * 10


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to become another user")
def test_spawn_fcgi_as_root(directory):
    """Started as root the workers become the service user before they serve, and so does the keeper that they start."""
    directory.chmod(0o755)
    d = Daemon(directory / "d", user="nobody", group="nogroup")
    d.start().stop()
    _, key = d.create("acme")
    try:
        spawn_fcgi(d, "-s", d.socket, "-F", 2)
        assert d.ask(key).status == 200
        # The one that did not take the request may be on its way there.
        wait_until(lambda: [uid_of(p) for p in processes(d, "worker") + processes(d, "keeper")] == [65534] * 3, "all three are")
    finally:
        end(processes(d, "worker"))
        end(processes(d, "keeper"))


def test_a_worker_without_a_socket_says_so(made):
    done = subprocess.run([APIKEYD, "worker", "-c", made.conf], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20)
    assert done.returncode == 2 and "socket" in done.stderr
    # LISTEN_FDS of somebody else's is not ours.
    done = subprocess.run([APIKEYD, "worker", "-c", made.conf], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20, env={**os.environ, "LISTEN_FDS": "1", "LISTEN_PID": "1"})
    assert done.returncode == 2 and "socket" in done.stderr


# ---- socket activation ----

@pytest.mark.parametrize("args", [["-f"], ["worker"]])
def test_socket_activation(made, args):
    """The first request starts it and is answered; the socket that was handed over is the one it serves, whatever `listen` says, and is not its to remove."""
    handed = made.dir / "handed.sock"
    with started("systemd-socket-activate", "-l", handed, APIKEYD, *args, "-c", made.conf, log=made.log_path) as p:
        wait_until(lambda: handed.exists() and "Listening on" in made.log(), "it listens")
        assert command_line(p.pid)[0] == b"systemd-socket-activate"
        assert ask(handed, made.key) == 200
        assert command_line(p.pid)[0].endswith(b"apikeyd")
        assert [ask(handed, k) for k in (made.key, None) * 10] == [200, 401] * 10
        assert not made.socket.exists()
        p.terminate()
        assert p.wait(30) == 0, made.log()
    assert handed.exists()


def test_sockets_that_cannot_be_served(made):
    for listen in (["-l", made.dir / "a.sock", "-l", made.dir / "b.sock"], ["--seqpacket", "-l", made.dir / "a.sock"], ["-d", "-l", made.dir / "a.sock"]):
        made.log_path.write_text("")
        for name in ("a.sock", "b.sock"):
            (made.dir / name).unlink(missing_ok=True)
        with started("systemd-socket-activate", *listen, APIKEYD, "-f", "-c", made.conf, log=made.log_path) as p:
            wait_until(lambda: "Listening on" in made.log() and (made.dir / "a.sock").exists(), "it listens")
            kind = {"-d": socket.SOCK_DGRAM, "--seqpacket": socket.SOCK_SEQPACKET}.get(listen[0], socket.SOCK_STREAM)
            with socket.socket(socket.AF_UNIX, kind) as s:
                s.connect(str(made.dir / "a.sock"))
                s.send(b"x")
                assert p.wait(30) == 1, made.log()
                assert "LISTEN_FDS" in made.log()


class Manager:
    """What systemd does for the two units, as far as apikeyd can see it: holds the listening socket, runs the lines of the unit, listens to sd_notify."""

    def __init__(self, daemon):
        self.d = daemon
        self.service, self.sock_unit = (self.read(UNITS / f"apikeyd.{kind}") for kind in ("service", "socket"))
        self.listening = socket.socket(socket.AF_UNIX)
        self.listening.bind(str(daemon.socket))
        daemon.socket.chmod(int(self.one(self.sock_unit, "SocketMode"), 8))
        self.listening.listen(int(self.one(self.sock_unit, "Backlog")))
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.settimeout(30)
        self.notify.bind(str(daemon.dir / "notify"))
        self.said = ""
        self.main = None

    @staticmethod
    def read(path):
        return [line.split("=", 1) for line in path.read_text().splitlines() if re.match(r"[A-Z]\w*=", line)]

    @staticmethod
    def one(unit, name):
        [value] = [v for n, v in unit if n == name]
        return value

    def lines(self, name):
        """The command lines of the unit, with this build's program and this test's configuration."""
        for n, v in self.service:
            if n == name:
                words = shlex.split(v.replace("$MAINPID", str(self.main.pid) if self.main else ""))
                yield [str(APIKEYD), *words[1:], "-c", str(self.d.conf)] if words[0].endswith("/apikeyd") else words

    def run(self, name):
        for line in self.lines(name):
            done = subprocess.run(line, capture_output=True, text=True, timeout=60)
            assert done.returncode == 0, (line, done.stderr)

    def start(self):
        self.run("ExecStartPre")
        [line] = self.lines("ExecStart")
        env = {**os.environ, "NOTIFY_SOCKET": str(self.d.dir / "notify"), "LISTEN_FDS": "1", "WATCHDOG_USEC": str(int(self.one(self.service, "WatchdogSec")) * 1000000)}
        with open(self.d.log_path, "ab") as log:
            # The shell keeps its process id when it becomes apikeyd: LISTEN_PID.
            self.main = subprocess.Popen(["sh", "-c", 'LISTEN_PID=$$ WATCHDOG_PID=$$ exec "$@" 3<&0 </dev/null', "sh", *line], stdin=self.listening, stdout=log, stderr=log, env=env)
        self.wait_for("READY=1")

    def wait_for(self, word):
        """Until it says so, from now on."""
        got = ""
        while word not in got:
            got += self.notify.recv(4096).decode()
        self.said += got
        return got

    def reload(self):
        self.run("ExecReload")

    def stop(self):
        assert self.one(self.service, "KillMode") == "mixed"       # SIGTERM to the main process alone
        self.main.terminate()
        self.wait_for("STOPPING=1")
        assert self.main.wait(int(self.one(self.service, "TimeoutStopSec"))) == 0, self.d.log()
        self.main = None

    def close(self):
        if self.main:
            self.main.terminate()
            self.main.wait(30)
        self.listening.close()
        self.notify.close()


@pytest.fixture
def manager(made):
    m = Manager(made)
    yield m
    m.close()


def test_the_units_as_they_say(made, manager):
    """Start, ready, reload, stop; and start again: the socket stays, a request that comes in between waits and is answered."""
    manager.start()
    assert made.ask(made.key).status == 200           # ready means ready
    made.write_conf(realm="changed")
    manager.reload()
    told = manager.wait_for("RELOADING=1")
    assert re.search(r"^MONOTONIC_USEC=\d+$", told, re.M)
    if "READY=1" not in told.partition("RELOADING=1")[2]:
        manager.wait_for("READY=1")
    # An old worker may take one more connection before it hears that it is to leave.
    wait_until(lambda: made.ask().all("WWW-Authenticate")[0] == 'Bearer realm="changed"', "the new one is in force")
    # A mistake in the file: the unit's first ExecReload line fails, and the second is never run.
    made.conf.write_text(made.conf.read_text() + "nonsense = 1\n")
    with pytest.raises(AssertionError, match="nonsense"):
        manager.reload()
    made.write_conf()
    manager.stop()
    assert made.socket.exists()
    waiting = []
    t = threading.Thread(target=lambda: waiting.append(ask(made.socket, made.key, 60)))
    t.start()
    # What systemd sees of a client that waits: the listening socket is readable.
    assert select.select([manager.listening], [], [], 20)[0]
    assert waiting == []
    manager.start()
    t.join(60)
    assert waiting == [200]
    manager.stop()


def test_a_restart_loses_no_request(made, manager):
    """Clients one after the other while the service is restarted behind its socket."""
    manager.start()
    over, wrong, count = threading.Event(), [], []

    def client():
        while not over.is_set():
            try:
                status = made.ask(made.key).status
            except (OSError, EOFError) as e:
                status = repr(e)
            count.append(1)
            if status != 200:
                wrong.append(status)
    threads = [threading.Thread(target=client) for _ in range(2)]
    for t in threads:
        t.start()
    try:
        for _ in range(2):
            n = len(count)
            wait_until(lambda: len(count) > n + 20, "requests go on")
            manager.stop()
            manager.start()
        n = len(count)
        wait_until(lambda: len(count) > n + 20, "requests go on")
    finally:
        over.set()
        for t in threads:
            t.join(30)
    assert wrong == []
    manager.stop()


def test_the_watchdog_is_not_fed_by_a_stopped_service(made, manager):
    """SIGSTOP to the main process: nothing comes any more, which is what has systemd restart it."""
    manager.service = [(n, "1" if n == "WatchdogSec" else v) for n, v in manager.service]
    manager.start()
    manager.wait_for("WATCHDOG=1")
    os.kill(manager.main.pid, signal.SIGSTOP)
    try:
        wait_until(lambda: state_of(manager.main.pid) == "T", "it is stopped")
        manager.notify.settimeout(0)
        with contextlib.suppress(BlockingIOError):
            while True:
                manager.notify.recv(4096)
        manager.notify.settimeout(1.5)
        with pytest.raises(TimeoutError):
            manager.notify.recv(4096)
    finally:
        os.kill(manager.main.pid, signal.SIGCONT)
        manager.notify.settimeout(30)
    manager.wait_for("WATCHDOG=1")
    manager.stop()


# ---- the units ----

@pytest.fixture
def units(directory):
    """The built units with this build's program."""
    for kind in ("service", "socket"):
        text = (UNITS / f"apikeyd.{kind}").read_text()
        (directory / f"apikeyd.{kind}").write_text(re.sub(r"(?m)^(Exec\w+=)\S*/apikeyd\b", rf"\g<1>{APIKEYD}", text))
    return directory


def analyze(*args):
    return subprocess.run(["systemd-analyze", *map(str, args)], capture_output=True, text=True, timeout=60)


def test_units_verify(units):
    done = analyze("verify", "--man=no", units / "apikeyd.service", units / "apikeyd.socket")
    assert done.returncode == 0 and done.stderr == "", done.stderr
    # It would say so.
    path = units / "apikeyd.service"
    path.write_text(path.read_text().replace("NoNewPrivileges=yes", "NoNewPrivilege=yes"))
    assert "NoNewPrivilege" in analyze("verify", "--man=no", path).stderr


# What the service's unit takes away, once more: a line that goes from the unit has to go from here, with its reason. (systemd's measure forgives the loss of some.)
CONFINED = """
User=apikeyd Group=apikeyd StateDirectoryMode=0700 RuntimeDirectoryMode=0755 LimitCORE=0 NoNewPrivileges=yes CapabilityBoundingSet= AmbientCapabilities= UMask=0027
ProtectSystem=strict ProtectHome=yes PrivateTmp=yes PrivateDevices=yes PrivateMounts=yes RemoveIPC=yes ProtectProc=invisible ProtectClock=yes ProtectHostname=yes
ProtectKernelLogs=yes ProtectKernelModules=yes ProtectKernelTunables=yes ProtectControlGroups=yes IPAddressDeny=any IPAddressAllow=localhost RestrictNamespaces=yes
RestrictRealtime=yes RestrictSUIDSGID=yes LockPersonality=yes MemoryDenyWriteExecute=yes SystemCallArchitectures=native SystemCallFilter=~@privileged SystemCallErrorNumber=EPERM
"""


def test_the_unit_takes_all_of_it_away(units):
    lines = re.findall(r"^(\w+)=(.*)$", (units / "apikeyd.service").read_text(), re.M)
    assert not {tuple(word.split("=", 1)) for word in CONFINED.split()} - set(lines)
    # Nothing later gives it back, and nothing else is given: one value each, but of what is a list.
    names = [n for n, _ in lines]
    assert {n for n in names if names.count(n) > 1} <= {"ExecReload", "SystemCallFilter"}
    assert not {"ReadWritePaths", "BindPaths", "DeviceAllow", "RootDirectory", "SupplementaryGroups", "PermissionsStartOnly"} & set(names)
    assert dict(lines)["RestrictAddressFamilies"] == "AF_UNIX AF_INET AF_INET6"
    assert [v for n, v in lines if n == "SystemCallFilter"] == ["@system-service seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self", "~@privileged"]


def test_units_are_confined(units):
    """systemd's own measure: 0 is a locked box, 10 is none."""
    def exposure():
        return float(re.search(r"exposure level for apikeyd.service: ([\d.]+)", analyze("security", "--offline=true", "--no-pager", units / "apikeyd.service").stdout).group(1))
    assert exposure() < 1.5
    path = units / "apikeyd.service"
    path.write_text(path.read_text().replace("SystemCallFilter=@system-service\n", "").replace("CapabilityBoundingSet=\n", ""))
    assert exposure() > 2.0


def test_the_socket_unit_fits_the_service(units):
    """Named alike, so that systemd hands the one to the other; one stream socket outside of the directory that goes with the service."""
    sock = Manager.read(units / "apikeyd.socket")
    [path] = [v for n, v in sock if n == "ListenStream"]
    assert path.endswith("/apikeyd.sock") and not [1 for n, _ in sock if n in ("Accept", "Service", "ListenDatagram", "ListenSequentialPacket")]
    service = dict(Manager.read(units / "apikeyd.service"))
    assert service["Type"] == "notify" and f"/{service['RuntimeDirectory']}/" not in path
