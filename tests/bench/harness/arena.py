"""A temporary directory, the server processes started in it, and what they cost; gone with the bench."""

import os
import pathlib
import pwd
import grp
import shutil
import socket
import subprocess
import tempfile
import time

BENCH = pathlib.Path(__file__).resolve().parents[1]
ROOT = BENCH.parents[1]
PEERS = BENCH / "peers"
TICKS = os.sysconf("SC_CLK_TCK")


class Trouble(Exception):
    """What went wrong, for the user."""


def run(argv, **options):
    """A command that has to succeed; returns its standard output."""
    done = subprocess.run(list(map(str, argv)), text=True, capture_output=True, **options)
    if done.returncode != 0:
        raise Trouble(f"{argv[0]} failed ({done.returncode}):\n{done.stdout}{done.stderr}")
    return done.stdout


def wait_until(condition, what, alive=lambda: True, seconds=30):
    """Polls a condition of a program that offers nothing to wait on."""
    end = time.monotonic() + seconds
    while not condition():
        if not alive() or time.monotonic() > end:
            raise Trouble(f"waited in vain until {what}")
        time.sleep(0.02)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Arena:
    def __init__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="apikeyd-bench."))
        os.chmod(self.dir, 0o755)  # servers that drop root pass through it
        self.yards = []
        root = os.getuid() == 0
        self.user = "nobody" if root else pwd.getpwuid(os.getuid()).pw_name
        self.group = grp.getgrgid(pwd.getpwnam(self.user).pw_gid).gr_name
        self.nginx_user = f"user {self.user} {self.group};" if root else ""

    def yard(self, name):
        yard = Yard(self, name)
        self.yards.append(yard)
        return yard

    def close(self):
        for yard in self.yards:
            yard.stop()
        shutil.rmtree(self.dir, ignore_errors=True)


class Yard:
    """Where the servers of one stack live: all that they cost is what its process trees cost."""

    def __init__(self, arena, name):
        self.arena, self.name = arena, name
        self.dir = arena.dir / name
        self.dir.mkdir(mode=0o755)
        self.processes = []
        self.ports = {}
        self.filled = {"DIR": self.dir, "USER": arena.nginx_user, "USER_NAME": arena.user, "GROUP_NAME": arena.group,
                       "PEER": self.dir, "MODULES": ""}

    def own(self, path):
        """Gives a path to the user that the servers become."""
        if os.getuid() == 0:
            shutil.chown(path, self.arena.user, self.arena.group)
        return path

    def secret(self, name, text):
        """A file with keys in it: for the servers' and the load generator's eyes."""
        path = self.dir / name
        path.touch(mode=0o600)
        path.write_text(text)
        return self.own(path)

    def fill(self, source, target=None, **more):
        """Copies a file of peers/ here with its @...@ filled in; returns the copy's path."""
        text = (PEERS / source).read_text()
        for name, value in {**self.filled, **more}.items():
            text = text.replace(f"@{name}@", str(value))
        path = self.dir / (target or pathlib.Path(source).name)
        path.write_text(text)
        return path

    def start(self, argv, env=None, **options):
        log = open(self.dir / f"{pathlib.Path(argv[0]).name}.log", "ab")
        process = subprocess.Popen(list(map(str, argv)), stdout=log, stderr=log, cwd=self.dir, start_new_session=True,
                                   env={**os.environ, **(env or {})}, **{"stdin": subprocess.DEVNULL, **options})
        log.close()
        self.processes.append(process)
        return process

    def nginx(self, site, ports, modules=()):
        """nginx with peers/nginx.conf around the site, twice: with one worker process, and with one a core on ports of their own, whose
        names end in -CORES. ports: the NAME of each @PORT_NAME@ in the site."""
        self.filled["MODULES"] = "\n".join(f"load_module /usr/lib/nginx/modules/{module}.so;" for module in modules)
        for suffix, workers in ("", 1), ("-CORES", os.cpu_count()):
            folder = self.dir / f"www{suffix}"
            folder.mkdir(mode=0o755)
            numbers = {name: free_port() for name in ports}
            self.ports.update({f"{name}{suffix}": port for name, port in numbers.items()})
            self.filled.update({f"PORT_{name}": port for name, port in numbers.items()})
            self.filled.update(NGINX_DIR=folder, NGINX_WORKERS=workers, SITE=self.fill(site, f"site{suffix}.conf"))
            process = self.start(["nginx", "-p", folder, "-c", self.fill("nginx.conf", f"nginx{suffix}.conf")])
            for port in numbers.values():
                self.listens(("127.0.0.1", port), process)

    def redis(self):
        """A Redis of this stack's own; returns the path of its socket."""
        path = self.dir / "redis.sock"
        self.listens(path, self.start(["redis-server", self.fill("redis.conf")]))
        return path

    def listens(self, address, process):
        def answers():
            with socket.socket(socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX) as s:
                return s.connect_ex(address if isinstance(address, tuple) else str(address)) == 0
        try:
            wait_until(answers, f"{self.name} listens on {address}", lambda: process.poll() is None)
        except Trouble as trouble:
            raise Trouble(f"{trouble}\n{self.logs()}") from None

    def logs(self):
        return "".join(f"--- {path.name}\n{path.read_text(errors='replace')[-3000:]}\n"
                       for path in sorted(self.dir.glob("**/*.log")) if path.stat().st_size)

    def cpu_seconds(self):
        """User and system time of all process trees so far, with that of children that ended and were waited for."""
        times, parent = {}, {}
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                with open(f"/proc/{entry}/stat") as f:
                    fields = f.read().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            parent[int(entry)] = int(fields[1])
            times[int(entry)] = sum(map(int, fields[11:15]))
        total = 0
        roots = {process.pid for process in self.processes}
        for pid, ticks in times.items():
            ancestor = pid
            while ancestor in parent and ancestor not in roots:
                ancestor = parent[ancestor]
            if ancestor in roots:
                total += ticks
        return total / TICKS

    def check_alive(self):
        for process in self.processes:
            if process.poll() is not None:
                raise Trouble(f"{self.name}: {process.args[0]} ended with {process.returncode}\n{self.logs()}")

    def stop(self):
        for process in reversed(self.processes):
            if process.poll() is None:
                process.terminate()
        for process in self.processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
