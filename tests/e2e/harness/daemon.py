"""Starts the real programs on a directory of their own."""

import contextlib
import json
import os
import pathlib
import pwd
import select
import shutil
import signal
import socket
import subprocess
import threading
import time

from . import fcgi

ROOT = pathlib.Path(__file__).resolve().parents[3]
BUILD = pathlib.Path(os.environ.get("APIKEYD_BUILD", ROOT / "build"))
APIKEYD = BUILD / "apikeyd"
APIKEY = BUILD / "apikey"


def wait_until(condition, what, seconds=20, said=None):
    """Poll a condition of the outside world that offers nothing to wait on; fails loudly, with what said() tells by then."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"timed out waiting until {what}" + (f"\n{said()}" if said else ""))
        select.select([], [], [], 0.005)


def for_everybody(program, directory):
    """A copy that other users may run, wherever the build is (a checkout in /root is closed to them)."""
    path = pathlib.Path(directory) / program.name
    shutil.copy(program, path)
    path.chmod(0o755)
    return path


def kill(*pids):
    """SIGKILL, and back when the processes are gone: until then connections to their sockets are taken, and lost, and their locks are theirs."""
    fds = [os.pidfd_open(pid) for pid in pids]
    try:
        for fd in fds:
            signal.pidfd_send_signal(fd, signal.SIGKILL)
        for pid, fd in zip(pids, fds):
            assert select.select([fd], [], [], 20)[0], f"{pid} does not die"
    finally:
        for fd in fds:
            os.close(fd)


def state_of(pid):
    """As /proc has it: "T" stands still, "Z" is dead and waits for somebody to ask how it ended; None: there is none."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return None


def stand_still(pid):
    """SIGSTOP, and back when it does: one that has the signal, but not yet the processor, still takes what wakes only one of several."""
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: state_of(pid) == "T", f"{pid} stands still")


def children_of(pid):
    """Ids of a process's children. While one ends the kernel may leave out the next one: what is told twice is so."""
    path, told = pathlib.Path(f"/proc/{pid}/task/{pid}/children"), None
    while told != (told := path.read_text()):
        pass
    return list(map(int, told.split()))


def whole_lines(path):
    """What was written to a file, without the line that is just being written; "" without the file."""
    text = path.read_text(errors="replace") if path.exists() else ""
    return text[:text.rfind("\n") + 1]


class Daemon:
    """A configuration, a store, a pepper and (after start) a running apikeyd."""

    def __init__(self, directory, **settings):
        self.dir = pathlib.Path(directory)
        self.dir.mkdir(parents=True, exist_ok=True)
        os.chmod(self.dir, 0o755)
        self.process = None
        self.log_path = self.dir / "log"
        self.conf = self.dir / "apikeyd.conf"
        self.socket = self.dir / "run" / "fcgi.sock"
        self.settings = {
            "listen": str(self.socket),
            "user": pwd.getpwuid(os.getuid()).pw_name,
            "group": "root" if os.getuid() == 0 else "nogroup",
            "state_dir": str(self.dir / "state"),
            "run_dir": str(self.dir / "run"),
            "pepper_file": str(self.dir / "peppers"),
            "workers": 2,
            "log_level": "debug",
            "cache_size": "16M",
            # A slow disk's keeper may take longer to come back than the default's second; less than our own patience. Who waits for a 503 says None.
            "keeper_timeout": "8s",
            # All clients of a test have one address: the tests of blocking switch it on.
            "failed_attempts": 0,
        }
        self.settings.update(settings)
        self.write_conf()

    def write_conf(self, **changes):
        self.settings.update(changes)

        def text(v):
            if isinstance(v, bool):
                return "true" if v else "false"
            if isinstance(v, int):
                return str(v)
            if isinstance(v, (list, tuple)):
                return "{" + ", ".join(f'"{x}"' for x in v) + "}"
            return f'"{v}"'
        self.conf.write_text("".join(f"{k} = {text(v)}\n" for k, v in self.settings.items() if v is not None))

    # ---- the tool ----

    def tool(self, *args, input=None, check=None, env=None):
        """Run apikey; check=0 (or another code) asserts the exit status."""
        done = subprocess.run([APIKEY, "-c", self.conf, *map(str, args)], input=input, text=True, capture_output=True,
                              timeout=60, env={**os.environ, "LC_ALL": "C.UTF-8", **(env or {})})
        if check is not None:
            assert done.returncode == check, (args, done.returncode, done.stdout, done.stderr)
        return done

    def json(self, *args, input=None):
        return json.loads(self.tool("--json", *args, input=input, check=0).stdout)

    def json_lines(self, *args):
        return [json.loads(line) for line in self.tool("--json", *args, check=0).stdout.splitlines()]

    def pepper(self):
        self.tool("pepper", "add", check=0)

    def create(self, owner="acme", **flags):
        """A key: (id, key). create(scope=["a:b"], plan="p", expires="1d")"""
        args = ["create", "--owner", owner]
        for name, value in flags.items():
            for one in value if isinstance(value, (list, tuple)) else [value]:
                args += ["--" + name.replace("_", "-"), one]
        made = self.json(*args)
        return made["id"], made["key"]

    def expired(self, owner="acme", **members):
        """A key that has expired: (id, key)."""
        return self.create(owner, expires="2020-01-01", **members)

    # ---- the daemon ----

    def start(self, wait=True, args=("-f",), env=None):
        if not pathlib.Path(self.settings["pepper_file"]).exists():
            self.pepper()
        ready = self.said_ready()
        log = open(self.log_path, "ab")
        self.process = subprocess.Popen([APIKEYD, "-c", self.conf, *args], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                        env={**os.environ, **(env or {})})
        log.close()
        if wait:
            self.wait_ready()
        # The first worker answers before the last one is there; until then a keeper that cannot start is the end of the service.
        if wait and args == ("-f",) and self.settings["log_level"] in ("debug", "info") and "log" not in self.settings:
            wait_until(lambda: self.said_ready() > ready, "the supervisor is ready", said=self.log)
        return self

    def said_ready(self):
        return self.log().count("role=supervisor event=ready ")

    def wait_ready(self):
        def ready():
            assert self.process.poll() is None, f"apikeyd exited with {self.process.returncode}:\n{self.log()}"
            try:
                return self.ask().status in (200, 401)
            except (OSError, EOFError):
                return False
        wait_until(ready, "apikeyd answers", said=self.log)

    def stop(self, expect=0):
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"apikeyd did not stop on SIGTERM:\n{self.log()}")
        self.process = None
        if expect is not None:
            assert code == expect, f"apikeyd exited with {code}:\n{self.log()}"

    def log(self):
        return whole_lines(self.log_path)

    def children(self, role=None):
        """{pid: role} of the running daemon's children, from /proc."""
        found = {}
        for pid in children_of(self.process.pid):
            try:
                words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            except (FileNotFoundError, ProcessLookupError):
                continue
            if len(words) > 1 and words[1] in (b"keeper", b"worker"):
                found[pid] = words[1].decode()
        return {p: r for p, r in found.items() if role in (None, r)}

    def keeper_pid(self):
        return wait_until(lambda: next(iter(self.children("keeper")), None), "a keeper runs")

    def kill_all(self):
        """SIGKILL to the supervisor and all that it has started, whatever they are at; back when they are gone."""
        # From here on it starts nobody, and asks nobody how he ended: an id stays whose it is.
        stand_still(self.process.pid)
        kill(self.process.pid, *children_of(self.process.pid))
        self.process.wait()
        self.process = None

    @contextlib.contextmanager
    def without_keeper(self):
        """Workers run, no keeper does: the supervisor, stopped meanwhile, cannot start another."""
        stand_still(self.process.pid)
        try:
            # Zombies until the supervisor goes on.
            kill(*self.children("keeper"))
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)
            self.wait_ready()

    @contextlib.contextmanager
    def halted(self, *pids):
        """These children stand still, however long what is done meanwhile takes: the supervisor, which replaces who is not heard of for five seconds, stands still as well."""
        pids = [self.process.pid, *pids]
        try:
            for pid in pids:
                stand_still(pid)
            yield
        finally:
            for pid in reversed(pids):
                os.kill(pid, signal.SIGCONT)

    @contextlib.contextmanager
    def impostor(self, serve):
        """Listens where a stopped apikeyd did; serve(connection) runs in a thread for each connection. Yields the list of connections."""
        address, accepted = self.address, []
        server = socket.socket(socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if not isinstance(address, tuple):
            address.unlink(missing_ok=True)
        server.bind(address if isinstance(address, tuple) else str(address))
        server.listen(64)

        def one(connection):
            with connection, contextlib.suppress(OSError):
                serve(connection)

        def run():
            with contextlib.suppress(OSError):
                while True:
                    accepted.append(server.accept()[0])
                    threading.Thread(target=one, args=(accepted[-1],), daemon=True).start()
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield accepted
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(10)
            server.close()
            # A web server would go on with one that it has kept.
            for connection in accepted:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            if not isinstance(address, tuple):
                address.unlink(missing_ok=True)

    # ---- requests, as a web server sends them ----

    @property
    def address(self):
        """Where it listens: a path, or (host, port)."""
        listen = self.settings["listen"]
        if listen.startswith("/"):
            return pathlib.Path(listen)
        host, _, port = listen.rpartition(":")
        return host, int(port)

    def connect(self, timeout=10):
        return fcgi.Connection(self.address, timeout)

    def ask(self, key=None, role=fcgi.RESPONDER, **params):
        """One request on a connection of its own."""
        with self.connect() as c:
            return c.request(fcgi.params_for(key, **params), role=role, keep=False)
