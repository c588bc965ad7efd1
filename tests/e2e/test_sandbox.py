"""Goal: the service lives in its sandboxes: every process is in one, ordinary life (reload, kills, a new pepper, workers of others) goes on in them, and one that does what
it never should is killed, reported and replaced. What each sandbox forbids is tried in unit/test_sandbox and unit/test_takeover. Invariants 3, 4 and 5."""

import os
import pathlib
import re
import signal
import subprocess

import pytest

from harness.daemon import kill, wait_until
from test_launchers import UNITS, end, made, processes, spawn_fcgi  # noqa: F401

CALLS = pathlib.Path(__file__).resolve().parents[2] / "src" / "apikeyd"


def status(pid):
    return dict(re.findall(r"^(\w+):\t(.*)$", pathlib.Path(f"/proc/{pid}/status").read_text(), re.M))


def targets(pid):
    """What a process has open."""
    found = []
    for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.append(os.readlink(fd))
        except FileNotFoundError:
            pass
    return found


def everybody(daemon):
    """All of them, each in its sandbox: only then the supervisor says that it is ready."""
    wait_until(lambda: "role=supervisor event=ready " in daemon.log(), "all serve")
    return {daemon.process.pid: "supervisor", **daemon.children()}


def test_everybody_is_in_one(daemon):
    daemon.start()
    roles = everybody(daemon)
    assert sorted(roles.values()) == ["keeper", "supervisor", "worker", "worker"]
    for pid, role in roles.items():
        s = status(pid)
        assert s["NoNewPrivs"] == "1" and s["Seccomp"] == "2", role
        # Its own, and for children their supervisor's.
        assert int(s["Seccomp_filters"]) == (1 if role == "supervisor" else 2), role
    limits = pathlib.Path(f"/proc/{next(iter(daemon.children('worker')))}/limits").read_text()
    assert re.search(r"^Max processes +0 +0 ", limits, re.M)


def test_what_a_worker_has(daemon):
    """Sockets, pipes and the log: no file of the store or the peppers, nothing that leads to one. One keeper of two sockets."""
    daemon.start()
    _, key = daemon.create()
    assert daemon.ask(key).status == 200
    for pid in daemon.children("worker"):
        files = [t for t in targets(pid) if t.startswith("/") and not t.startswith("/dev/")]
        assert set(files) <= {str(daemon.log_path), str(daemon.dir / "run" / "clients")}, files
    assert (daemon.dir / "run" / "check.sock").is_socket() and (daemon.dir / "run" / "keeper.sock").is_socket()


def test_ordinary_life(daemon):
    """What reads files or starts processes while it runs."""
    daemon.start()
    _, key = daemon.create()
    # Reloads: running.conf is written and read again, workers are replaced.
    for realm in ("one", "two"):
        daemon.write_conf(realm=realm)
        before = set(daemon.children("worker"))
        daemon.process.send_signal(signal.SIGHUP)
        wait_until(lambda: daemon.ask().all("WWW-Authenticate")[0] == f'Bearer realm="{realm}"', "the new one is in force")
        wait_until(lambda: not before & set(daemon.children("worker")), "the old ones are gone")
    # A second pepper is read by the running keeper.
    daemon.pepper()
    assert len(daemon.json_lines("pepper", "list")) == 2
    _, newer = daemon.create()
    # The keeper is killed: workers are given connections to the next one.
    for _ in range(3):
        kill(daemon.keeper_pid())
        assert [daemon.ask(k).status for k in (key, newer)] == [200, 200]
    assert "signal 31" not in daemon.log()


@pytest.mark.parametrize("role, call", [("worker", "socket(2, 1, 0)"), ("keeper", "socket(2, 1, 0)"), ("worker", 'execl("/bin/true", "true", 0)')])
def test_a_violation_is_the_end_of_it(daemon, role, call):
    """A debugger makes a process do what an attacker would: it dies, the log says of what, and its successor serves."""
    daemon.start()
    assert len(everybody(daemon)) == 4
    _, key = daemon.create()
    victim = next(iter(daemon.children(role)))
    # A debugger may take its time: the supervisor would replace who stands still for so long.
    with daemon.halted():
        subprocess.run(["gdb", "-q", "-batch", "-p", str(victim), "-ex", f"print ((int(*)()){call.split('(')[0]})({call.split('(', 1)[1]}"], capture_output=True, timeout=60)
    wait_until(lambda: victim not in daemon.children(), "it is gone")
    wait_until(lambda: re.search(rf'event=child_died role={role} pid={victim} how="signal 31', daemon.log()), "the log says so")
    wait_until(lambda: len(daemon.children()) == 3, "there is another")
    assert daemon.ask(key).status == 200


def test_a_lone_worker(made):
    """One that a web server starts has a dialer of its own, which dials, starts a keeper, and is missed when it is killed."""
    spawn_fcgi(made, "-s", made.socket, "-F", 1)
    assert made.ask(made.key).status == 200
    [worker], [dialer], [keeper] = (processes(made, role) for role in ("worker", "dialer", "keeper"))
    for pid in (worker, dialer, keeper):
        assert status(pid)["Seccomp"] == "2" and status(pid)["NoNewPrivs"] == "1"
    assert not [t for t in targets(dialer) if "fcgi" in t]
    kill(keeper)
    wait_until(lambda: made.ask(made.key).status == 200, "there is another keeper")
    # Signals of a whole process group are the worker's to obey.
    for signo in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.kill(dialer, signo)
    assert made.ask(made.key).status == 200 and processes(made, "dialer") == [dialer]
    os.kill(dialer, signal.SIGKILL)
    wait_until(lambda: not processes(made, "worker"), "the worker leaves")


def test_a_dialer_leaves_with_its_worker(made):
    spawn_fcgi(made, "-s", made.socket, "-F", 2)
    assert made.ask(made.key).status == 200
    wait_until(lambda: len(processes(made, "dialer")) == 2, "each has one")
    end(processes(made, "worker"))
    wait_until(lambda: not processes(made, "dialer"), "they are gone")


def test_switched_off(daemon):
    """For finding out whether a fault comes from it; and the log says so."""
    daemon.write_conf(sandbox=False)
    daemon.start()
    assert {status(p)["Seccomp"] for p in everybody(daemon)} == {"0"}
    # What needs no kernel feature stays.
    assert {status(p)["NoNewPrivs"] for p in everybody(daemon)} == {"1"}
    assert daemon.log().count("event=sandbox_off") >= 4


def unit_allows(path):
    """The calls that the unit's SystemCallFilter lines leave."""
    def expand(name):
        if not name.startswith("@"):
            return {name}
        out = subprocess.run(["systemd-analyze", "syscall-filter", "--no-pager", name], capture_output=True, text=True, check=True).stdout
        words = [line.strip() for line in out.splitlines()[1:]]
        return set().union(*(expand(w) for w in words if w and not w.startswith("#")))
    allowed = set()
    for line in re.findall(r"^SystemCallFilter=(.*)$", path.read_text(), re.M):
        calls = set().union(*(expand(w) for w in line.lstrip("~").split()))
        allowed = allowed - calls if line.startswith("~") else allowed | calls
    return allowed


def test_the_unit_leaves_room(daemon):
    """systemd's filter comes first: were seccomp(2) not in it, there would be no sandbox under systemd, and that would look like a kernel without."""
    ours = set()
    for table in CALLS.glob("sandbox_*.c"):
        ours |= set(re.findall(r"SANDBOX_MAY\((\w+)\)", table.read_text()))
    assert len(ours) > 100 and "seccomp" in ours and "landlock_restrict_self" in ours
    # Of root alone, which the unit's service is not.
    root_only = {"chown", "fchown", "fchownat", "setgroups", "setresuid", "setresgid", "setuid", "setgid"}
    assert ours - unit_allows(UNITS / "apikeyd.service") <= root_only
