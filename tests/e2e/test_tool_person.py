"""Goal: the admin tool as a person at a terminal and as root uses it: a key is typed without echo and the terminal comes back
whatever happens, human output of every command, what root makes belongs to the service user, and a standard stream that is
closed or full loses no key silently. Invariant 4 (no key where it does not belong)."""

import fcntl
import json
import os
import pathlib
import pty
import pwd
import re
import signal
import struct
import subprocess
import termios
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.daemon import APIKEY, APIKEYD, Daemon, for_everybody, stand_still, wait_until

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can give files to the service user")


@pytest.fixture
def box(directory):
    d = Daemon(directory / "d")
    d.pepper()
    yield d
    d.stop(expect=None)


class Typed:
    """The tool on a terminal of its own, its input typed."""

    def __init__(self, d, *args, env=None):
        self.parent, child = pty.openpty()
        self.out = b""
        # A group of its own in the session of its parent is not an orphaned one: the tool can be stopped.
        self.process = subprocess.Popen([APIKEY, "-c", d.conf, *args], stdin=child, stdout=child, stderr=child,
                                        process_group=0, env={**os.environ, "TERM": "xterm", "LC_ALL": "C.UTF-8", **(env or {})})
        os.close(child)

    def read_until(self, text):
        while text not in self.out:
            try:
                more = os.read(self.parent, 4096)
            except OSError:
                more = b""
            assert more, self.out
            self.out += more
        return self

    def echo(self):
        return bool(termios.tcgetattr(self.parent)[3] & termios.ECHO)

    def mute(self):
        wait_until(lambda: not self.echo(), "echo is off")
        return self

    def type(self, text):
        os.write(self.parent, text.encode())
        return self

    def end(self):
        """(exit status, everything shown)"""
        try:
            while more := os.read(self.parent, 4096):
                self.out += more
        except OSError:
            pass
        os.close(self.parent)
        return self.process.wait(20), self.out.decode()


def test_a_key_is_typed_without_echo(box):
    kid, key = box.create("typist")
    typed = Typed(box, "check").read_until(b"Key: ").mute()
    code, shown = typed.type(key + "\n").end()
    assert code == 0 and key not in shown and kid in shown
    assert "\u2713" in shown and "\033[32m" in shown and "admitted" in shown


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_the_terminal_comes_back_when_interrupted(box, number):
    typed = Typed(box, "check").read_until(b"Key: ").mute()
    typed.process.send_signal(number)
    assert typed.process.wait(20) == -number
    assert typed.echo()
    os.close(typed.parent)


def test_the_terminal_comes_back_while_stopped(box):
    _, key = box.create("typist")
    typed = Typed(box, "check").read_until(b"Key: ").mute()
    typed.process.send_signal(signal.SIGTSTP)
    assert os.WIFSTOPPED(os.waitpid(typed.process.pid, os.WUNTRACED)[1])
    assert typed.echo()
    typed.out = b""
    typed.process.send_signal(signal.SIGCONT)
    code, shown = typed.read_until(b"Key: ").mute().type(key + "\n").end()
    assert code == 0 and key not in shown


def test_nothing_typed(box):
    code, shown = Typed(box, "check").read_until(b"Key: ").mute().type("\x04").end()
    assert code == 2 and "never an argument" in shown


@pytest.mark.parametrize("text, code, words", [
    ("", 2, "no key"), ("\n", 2, "no key"), ("x" * 513, 2, "512 bytes"), ("one\ntwo\n", 2, "more than one line"), ("x" * 512, 1, ""),
    ("a\x01b\n", 2, "characters"), ("junk\r\n", 1, ""),
])
def test_what_is_not_a_key_on_standard_input(box, text, code, words):
    done = box.tool("check", input=text, check=code)
    assert words in done.stderr and "x" * 40 not in done.stdout + done.stderr


def test_check_without_utf8_marks_steps_in_ascii(box):
    _, key = box.create("plain")
    done = box.tool("check", "--scope", "a:b", input=key, check=1, env={"LC_ALL": "C"})
    assert done.stdout.isascii() and re.search(r"^ok  checksum", done.stdout, re.M) and re.search(r"^no  scope", done.stdout, re.M)


def test_no_colour_when_asked(box):
    box.create("plain")
    code, shown = Typed(box, "list", env={"NO_COLOR": "1"}).end()
    assert code == 0 and "\033" not in shown
    code, shown = Typed(box, "list", "--owner", "nobody", env={"NO_COLOR": "1"}).end()
    assert code == 0 and shown.strip() == "There are no such keys."


def test_human_output(box):
    box.tool("plan", "set", "free", "--limit", "minute=100/60s", "--limit", "day=1000/1d", check=0)
    assert "minute 100/1m, day 1000/1d" in box.tool("plan", "list", check=0).stdout
    assert "minute 100/1m" in box.tool("plan", "show", "free", check=0).stdout
    text = box.tool("create", "--owner", "acme", "--plan", "free", "--meta", "team=red", "--scope", "a:b", "--expires", "90d", check=0).stdout
    assert "Store it now" in text and "team = red" in text and "in 3 months" in text
    kid, _ = box.create("acme", plan="free")
    shown = box.tool("show", kid, check=0).stdout
    assert re.search(r"^minute +100  of 100 in 1m", shown, re.M) and re.search(r"^expires +never", shown, re.M)
    assert "is now disabled" in box.tool("disable", kid, check=0).stdout
    assert re.search(rf"key\.disable +{kid}", box.tool("audit", check=0).stdout)
    assert re.search(r"1 +2 +0 +0  new keys", box.tool("pepper", "list", check=0).stdout)
    assert "pepper 2 is in" in box.tool("pepper", "add", check=0).stdout
    assert re.search(r"^engine +Berkeley DB", box.tool("db", "stat", check=0).stdout, re.M)
    box.tool("plan", "set", "free", "--no-limits", check=0)
    assert re.search(r"^limits +none", box.tool("plan", "show", "free", check=0).stdout, re.M)
    assert re.search(r"^limits +no limits, built in$", box.tool("plan", "show", "default", check=0).stdout, re.M)
    assert re.search(r"^default +key +no limits, built in ", box.tool("plan", "list", check=0).stdout, re.M)
    box.tool("plan", "set", "idle", "--limit", "a=1/1s", check=0)
    assert "plan idle is removed" in box.tool("plan", "remove", "idle", check=0).stdout
    box.tool("set", kid, check=2)


def test_options_of_create_that_set_cannot_have(box):
    """They used to be unknown, with a meaningless suggestion."""
    kid, _ = box.create("acme")
    assert "create a new key" in box.tool("set", kid, "--env", "test", check=2).stderr
    for quiet in ("-q", "--quiet"):
        assert "set prints no key" in box.tool("set", kid, "--name", "x", quiet, check=2).stderr
    assert not re.search(r"--env|--quiet", box.tool("help", "set", check=0).stdout)


def test_clearing(box):
    kid, _ = box.create("acme", name="n", member="m", scope="a", allow_ip="10.0.0.0/8", referrer="*.example.com", app="x", meta="k=v", expires="9d")
    box.tool("set", kid, "--name", "", "--member=", "--no-scopes", "--no-allow-ip", "--no-referrer", "--no-app", "--no-meta", "--expires", "never", check=0)
    record = box.json("show", kid)
    assert [record[m] for m in ("name", "member", "expires")] == [None] * 3
    assert [record[m] for m in ("scopes", "allow_ips", "referrers", "apps")] == [[]] * 4 and record["meta"] == {}


def test_help(box):
    assert "plan set" in box.tool("help", check=0).stdout
    assert "--dry-run" in box.tool("help", "plan", "set", check=0).stdout
    overview = box.tool("help", "pepper", check=0).stdout
    assert "pepper add" in overview and "create" not in overview
    assert "did you mean list?" in box.tool("help", "lsit", check=2).stderr


def test_a_key_that_cannot_be_shown_is_told(box):
    """It exists and nobody has it: it is revoked, and that is said."""
    with open("/dev/full", "wb") as full:
        done = subprocess.run([APIKEY, "-c", box.conf, "create", "--owner", "lost"], stdout=full, stderr=subprocess.PIPE, text=True)
    made = box.json_lines("list", "--owner", "lost")[0]
    assert done.returncode == 3 and f"{made['id']} was revoked again" in done.stderr
    assert made["state"] == "revoked" and made["reason"] == "could not be shown"
    closed = subprocess.run(["sh", "-c", 'exec "$@" >&-', "sh", APIKEY, "-c", box.conf, "create", "--owner", "lost", "-q"], capture_output=True, text=True)
    assert closed.returncode == 3 and "ak_live_" not in closed.stderr


@needs_root
def test_what_root_makes_belongs_to_the_service_user(directory):
    d = Daemon(directory / "d", user="nobody", group="nogroup", state_dir=str(directory / "deep/er/state"), pepper_file=str(directory / "etc/peppers"))
    directory.chmod(0o755)
    os.umask(0o077)
    d.pepper()
    os.umask(0o022)
    kid, _ = d.create("acme")
    uid = pwd.getpwnam("nobody").pw_uid
    state = pathlib.Path(d.settings["state_dir"])
    assert oct(state.stat().st_mode & 0o7777) == "0o700"
    assert {f.stat().st_uid for f in [state, *state.iterdir(), directory / "etc/peppers"]} == {uid}
    assert oct((directory / "etc").stat().st_mode & 0o7777) == "0o755"
    assert [e["uid"] for e in d.json_lines("audit", "--key", kid)] == [0]
    # Anyone else is told what would help.
    done = subprocess.run([for_everybody(APIKEY, directory), "-c", d.conf, "list"], user="daemon", group="daemon", extra_groups=[], capture_output=True, text=True)
    assert done.returncode == 3 and "root or the user nobody" in done.stderr


@needs_root
@pytest.mark.parametrize("settings, mend", [({"user": "no-such-user"}, "adduser --system"), ({"user": "nobody", "group": "no-such-group"}, "addgroup --system")])
def test_a_missing_service_user(directory, settings, mend):
    d = Daemon(directory / "d", **settings)
    for args in (["pepper", "add"], ["list"]):
        assert mend in d.tool(*args, check=3).stderr
    assert not pathlib.Path(d.settings["state_dir"]).exists()


def make_many(d, n, **flags):
    """Keys made quickly: by a keeper that is stopped again."""
    d.start()
    with ThreadPoolExecutor(4) as pool:
        made = set(pool.map(lambda i: d.create("many", **flags)[0], range(n)))
    d.stop()
    return made


@pytest.mark.parametrize("n, meta", [(60, []), (300, [f"m{i}=" + "x" * 240 for i in range(16)])], ids=["one page", "more than is gathered"])
def test_a_pager_does_not_hold_the_store(box, n, meta):
    """`apikey list | less` without a keeper: whoever reads slowly keeps nobody from the store."""
    made = make_many(box, n, meta=meta)
    out, into = os.pipe()
    fcntl.fcntl(into, fcntl.F_SETPIPE_SZ, 4096)
    full = lambda: struct.unpack("i", fcntl.ioctl(out, termios.FIONREAD, b"    "))[0] == 4096
    reader = subprocess.Popen([APIKEY, "-c", box.conf, "--json", "list"], stdout=into)
    os.close(into)
    wait_until(full, "the pipe is full")
    kid, _ = box.create("other")
    with open(out) as lines:
        listed = {json.loads(line)["id"] for line in lines}
    assert reader.wait(20) == 0 and made <= listed <= made | {kid}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_key_that_is_made_is_shown_before_a_signal_is_obeyed(box, number):
    """Ctrl-C between the making and the showing lost the key."""
    box.start()
    with box.halted(box.keeper_pid()):
        tool = subprocess.Popen([APIKEY, "-c", box.conf, "create", "--owner", "acme", "-q"], stdout=subprocess.PIPE, text=True)
        held = lambda: int(re.search(r"^SigBlk:\t(\w+)", open(f"/proc/{tool.pid}/status").read(), re.M)[1], 16)
        wait_until(lambda: held() >> (number - 1) & 1, "the tool holds the signal back")
        tool.send_signal(number)
    key = tool.communicate(timeout=20)[0].strip()
    assert tool.returncode == -number
    box.tool("check", input=key, check=0)
    box.stop()


def test_a_keeper_that_does_not_answer(box):
    """Asking took half a minute, and then a change that nobody had asked for was unknown."""
    # On its own: a supervisor would kill it in time.
    with open(box.log_path, "ab") as log:
        keeper = subprocess.Popen([APIKEYD, "-c", box.conf, "keeper"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    wait_until((box.dir / "run" / "keeper.sock").exists, "the keeper listens")
    try:
        box.tool("list", check=0)
        stand_still(keeper.pid)
        # This one sends its request long before the other has given up.
        change = subprocess.Popen([APIKEY, "-c", box.conf, "create", "--owner", "acme"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        began = time.monotonic()
        done = box.tool("list", check=3)
        assert 9 < time.monotonic() - began < 20
        assert "did not answer in time: is it stopped" in done.stderr and "restart apikeyd" in done.stderr and "changed" not in done.stderr and done.stderr.count("\n") == 1
        assert change.poll() is None
    finally:
        keeper.kill()
        keeper.wait()
    out, complaint = change.communicate(timeout=20)
    assert change.returncode == 3 and out == "" and complaint.count("\n") == 1
    assert "whether anything was changed is unknown" in complaint and "apikey show, list and audit tell" in complaint


def test_a_key_into_a_pipe_that_nobody_reads_is_revoked(box):
    out, into = os.pipe()
    os.close(out)
    for how in (["-q"], ["--json"], []):
        done = subprocess.run([APIKEY, "-c", box.conf, "create", "--owner", "lost", *how], stdout=into, stderr=subprocess.PIPE, text=True)
        assert done.returncode == 3 and "was revoked again" in done.stderr and done.stderr.count("\n") == 1, done
    os.close(into)
    assert [k["state"] for k in box.json_lines("list", "--owner", "lost")] == ["revoked"] * 3
