"""Goal: every subcommand of apikey, with and without a running keeper, the same both ways; exit codes; nothing that is a key
in an argument. Invariants 3 (an acknowledged change holds) and 4."""

import contextlib
import json
import os
import re
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.daemon import APIKEY, Daemon, wait_until

KEY = re.compile(r"ak_(live|test)_[0-9A-Za-z]{38}")


@pytest.fixture(scope="module", params=["alone", "with a keeper"])
def box(request, tmp_path_factory):
    import shutil
    import tempfile
    path = tempfile.mkdtemp(prefix="apikeyd-")
    d = Daemon(path + "/d")
    d.pepper()
    if request.param == "with a keeper":
        d.start()
    yield d
    d.stop()
    shutil.rmtree(path, ignore_errors=True)


def test_create_shows_the_key_once(box):
    text = box.tool("create", "--owner", "acme", "--name", "CI", check=0).stdout
    assert len(KEY.findall(text)) == 1 and "key_" in text
    quiet = box.tool("create", "--owner", "acme", "--quiet", check=0).stdout
    assert KEY.fullmatch(quiet.strip())
    made = box.json("create", "--owner", "acme", "--env", "test")
    assert made["key"].startswith("ak_test_") and re.fullmatch(r"key_[0-9A-Za-z]{16}", made["id"])
    shown = box.tool("show", made["id"], check=0).stdout + box.tool("--json", "show", made["id"], check=0).stdout
    assert made["key"] not in shown and made["key"][:12] in shown


def test_create_show_set(box):
    box.tool("plan", "set", "gold", "--limit", "minute=100/60s", check=0)
    kid, _ = box.create("acme", name="web", member="ann", plan="gold", scope=["a:read", "b:*"], allow_ip=["10.0.0.0/8", "2001:db8::1"],
                        referrer="https://example.com/x", app="ios", expires="2099-01-31", meta=["k=v", "n=1"])
    shown = box.json("show", kid)
    assert shown["owner"] == "acme" and shown["name"] == "web" and shown["member"] == "ann" and shown["plan"] == "gold"
    assert shown["scopes"] == ["a:read", "b:*"] and shown["meta"] == {"k": "v", "n": "1"} and shown["state"] == "active"
    assert shown["allow_ips"] == ["10.0.0.0/8", "2001:db8::1"] or shown["allow_ips"] == ["10.0.0.0/8", "2001:db8::1/128"]
    assert shown["expires"].startswith("2099-01-31")
    box.tool("set", kid, "--owner", "other", "--scope", "c:write", "--expires", "never", "--plan", "default", check=0)
    shown = box.json("show", kid)
    assert shown["owner"] == "other" and shown["scopes"] == ["c:write"] and shown["expires"] is None and shown["plan"] == "default"
    assert shown["member"] == "ann" and shown["meta"] == {"k": "v", "n": "1"}
    assert kid in [k["id"] for k in box.json_lines("list", "--owner", "other")]
    assert kid not in [k["id"] for k in box.json_lines("list", "--owner", "acme")]


def test_states(box):
    kid, _ = box.create("states")
    state = lambda: box.json("show", kid)["state"]
    box.tool("disable", kid, check=0)
    assert state() == "disabled"
    box.tool("enable", kid, check=0)
    assert state() == "active"
    box.tool("revoke", kid, "--reason", "lost laptop", check=0)
    assert state() == "revoked" and box.json("show", kid)["reason"] == "lost laptop"
    done = box.tool("enable", kid, check=1)
    assert done.stderr.startswith("apikey: ") and done.stderr.count("\n") == 1
    box.tool("set", kid, "--name", "x", check=1)


def test_list_filters(box):
    ids = {box.create("filters", member=m, expires=e)[0]: (m, e) for m in ("ann", "bob") for e in ("5d", "90d", "never")}
    every = {k["id"] for k in box.json_lines("list", "--owner", "filters")}
    assert every == set(ids)
    pick = lambda *a: {k["id"] for k in box.json_lines("list", "--owner", "filters", *a)}
    assert pick("--member", "ann") == {i for i, (m, _) in ids.items() if m == "ann"}
    assert pick("--expiring", "14d") == {i for i, (_, e) in ids.items() if e == "5d"}
    assert pick("--never-expires") == {i for i, (_, e) in ids.items() if e == "never"}
    assert pick("--exposed") == set() and pick("--state", "disabled") == set()
    text = box.tool("list", "--owner", "filters", check=0).stdout
    assert all(i in text for i in ids)
    # Columns are aligned: the id begins at the same place in every line.
    lines = [line for line in text.splitlines() if "key_" in line]
    assert len({line.index("key_") for line in lines}) == 1 and "\033" not in text


def test_lists_of_many_are_paged(box):
    # One after the other: alone, each waits for the store, and gives up after five seconds.
    made = {box.create("many")[0] for _ in range(40)}
    listed = [k["id"] for k in box.json_lines("list", "--owner", "many")]
    assert set(listed) == made and len(listed) == len(made)


def test_plans(box):
    box.tool("plan", "set", "p1", "--limit", "burst=10/1s", "--limit", "day=1000/1d", check=0)
    plan = box.json("plan", "show", "p1")
    assert [(x["name"], x["limit"], x["window_seconds"]) for x in plan["limits"]] == [("burst", 10, 1), ("day", 1000, 86400)] and plan["per"] == "key"
    box.tool("plan", "set", "p1", "--limit", "burst=20/2s", "--per", "owner", "--dry-run", check=0)
    plan = box.json("plan", "show", "p1")
    assert len(plan["limits"]) == 1 and plan["per"] == "owner" and plan["limits"][0]["dry_run"] is True
    assert "p1" in [p["name"] for p in box.json_lines("plan", "list")]
    kid, _ = box.create("acme", plan="p1")
    refused = box.tool("plan", "remove", "p1", check=1)
    assert "p1" in refused.stderr
    box.tool("set", kid, "--plan", "default", check=0)
    box.tool("plan", "remove", "p1", check=0)
    box.tool("plan", "show", "p1", check=1)
    box.tool("create", "--owner", "a", "--plan", "p1", check=1)


def test_check_explains_and_counts_nothing(box):
    box.tool("plan", "set", "two", "--limit", "hour=2/1h", check=0)
    kid, key = box.create("acme", plan="two", scope="a:b", allow_ip="10.0.0.0/8")
    for _ in range(5):
        done = box.tool("check", "--ip", "10.1.2.3", "--scope", "a:b", "--uri", "/x", "--method", "GET", input=key + "\n", check=0)
        assert kid in done.stdout and key not in done.stdout
    assert box.json("show", kid)["limits"][0]["used"] == 0
    for args, code in [(["--ip", "11.0.0.1"], "ip_denied"), (["--ip", "10.0.0.1", "--scope", "c:d"], "scope_insufficient"), (["--ip", "10.0.0.1", "--cost", "3"], "rate_limited")]:
        done = box.tool("--json", "check", *args, input=key, check=1)
        assert json.loads(done.stdout)["code"] == code
    assert json.loads(box.tool("--json", "check", input="junk", check=1).stdout)["code"] == "key_invalid"


def test_audit(box):
    kid, key = box.create("audited")
    box.tool("disable", kid, check=0)
    box.tool("revoke", kid, "--reason", "done", check=0)
    entries = box.json_lines("audit", "--key", kid)
    assert [e["op"] for e in entries] == ["key.create", "key.disable", "key.revoke"]
    assert all(e["uid"] == os.getuid() and e["subject"] == kid and e["time"] for e in entries)
    assert [e["seq"] for e in entries] == sorted(e["seq"] for e in entries)
    text = box.tool("audit", check=0).stdout
    assert kid in text and key not in text
    assert box.json_lines("audit", "--since", "1h") and not box.json_lines("audit", "--since", "2099-01-01T00:00:00Z")


def test_pepper_versions(box):
    before, key = box.create("peppered")
    assert [p["newest"] for p in box.json_lines("pepper", "list")].count(True) == 1
    box.pepper()
    after, _ = box.create("peppered")
    versions = {k["id"]: k["pepper"] for k in box.json_lines("list", "--owner", "peppered")}
    assert versions[after] == versions[before] + 1
    box.tool("check", input=key, check=0)
    assert oct(os.stat(box.settings["pepper_file"]).st_mode & 0o7777) == "0o400"


def test_db_stat(box):
    stat = box.json("db", "stat")
    assert stat["keys"] == len(box.json_lines("list")) and "Berkeley DB" in stat["engine"]
    assert box.tool("db", "stat", check=0).stdout


@pytest.mark.parametrize("args", [
    [], ["nonsense"], ["create"], ["create", "--owner"], ["create", "--owner", ""], ["create", "--owner", "a", "--nonsense"], ["create", "--owner", "a", "--expires", "soon"],
    ["create", "--owner", "a", "--allow-ip", "10.0.0.1/8"], ["create", "--owner", "a", "--allow-ip", "x"], ["create", "--owner", "a", "--env", "prod"],
    ["create", "--owner", "a", "extra"], ["create", "--owner", "a", "--meta", "novalue"], ["create", "--owner", "a", "--scope", "a:b*c"], ["create", "--owner", "a", "--scope", "a b"],
    ["show"], ["plan"], ["plan", "set"], ["plan", "set", "x"], ["plan", "set", "x", "--limit", "nonsense"], ["plan", "set", "x", "--limit", "a=0/1s"],
    ["plan", "set", "x", "--limit", "a=1/0s"], ["plan", "set", "x", "--limit", "a=1/1y"], ["plan", "set", "x", "--limit", "a=1/1s", "--limit", "a=2/2s"], ["plan", "set", "x", "--per", "moon", "--limit", "a=1/1s"],
    ["list", "--state", "sleeping"], ["list", "--expiring", "x"], ["audit", "--since", "yesterday?"], ["check", "--cost", "-1"], ["check", "--ip", "x"],
    # These are found by the keeper.
    ["plan", "set", "bad name", "--limit", "a=1/1s"], ["plan", "set", "x" * 300, "--limit", "a=1/1s"], ["create", "--owner", "ä ö"], ["create", "--owner", "x" * 300],
    ["create", "--owner", "a", "--plan", "x" * 300], ["create", "--owner", "a", "--name", "x" * 300], ["create", "--owner", "a", "--not-before", "2d", "--expires", "1d"],
])
def test_usage_errors(box, args):
    done = box.tool(*args, input="")
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert done.stderr.startswith("apikey: ") or done.stderr.startswith("usage: ")


@pytest.mark.parametrize("args", [["show", "key_AAAAAAAAAAAAAAAA"], ["disable", "key_AAAAAAAAAAAAAAAA"], ["plan", "show", "none"], ["plan", "remove", "none"],
                                  # What cannot be the name of anything names nothing that there is.
                                  ["show", "nonsense"], ["set", "nonsense", "--name", "x"], ["disable", "key_"], ["enable", "x" * 300], ["revoke", "nonsense"],
                                  ["plan", "show", "bad name"], ["plan", "show", "x" * 300], ["plan", "remove", "x" * 300]])
def test_refusals(box, args):
    done = box.tool(*args)
    assert done.returncode == 1 and done.stderr.startswith("apikey: ") and done.stderr.count("\n") == 1, done.stderr


def test_a_key_is_never_an_argument(box):
    _, key = box.create("careless")
    for args in (["show", key], ["check", key], ["create", "--owner", key], ["revoke", key, "--reason", "x"], ["create", "--owner", "a", f"--name={key}"]):
        done = box.tool(*args, input="")
        assert done.returncode == 2 and key not in done.stderr + done.stdout


def test_help(box):
    overview = box.tool("--help", check=0).stdout
    for command in ("create", "list", "show", "set", "revoke", "disable", "enable", "check", "plan", "pepper", "audit", "db"):
        assert command in overview
        assert box.tool(command, "--help", check=0).stdout
    assert re.search(r"\d+\.\d+", box.tool("--version", check=0).stdout)


def test_without_a_pepper(directory):
    done = Daemon(directory / "d").tool("create", "--owner", "a")
    assert done.returncode == 3 and "apikey pepper add" in done.stderr


def test_many_tools_at_once_without_a_keeper(directory, scale):
    """Each makes its key; or, where a disk is slow, says who else had the store for all of the five seconds that it waits."""
    d = Daemon(directory / "d")
    d.pepper()
    n = scale(12, 100)

    def create(_):
        began = time.monotonic()
        done = d.tool("--json", "create", "--owner", "crowd")
        if done.returncode == 0:
            return json.loads(done.stdout)["id"]
        assert done.returncode == 3 and "owns the store" in done.stderr and time.monotonic() - began > 5, done
        return None
    with ThreadPoolExecutor(6) as pool:
        made = set(pool.map(create, range(n))) - {None}
    assert made and {k["id"] for k in d.json_lines("list")} == made


def test_tools_while_the_daemon_comes_and_goes(directory):
    """Each acknowledged create is there at the end, whoever did it."""
    d = Daemon(directory / "d")
    d.pepper()
    made = []
    with ThreadPoolExecutor(3) as pool:
        jobs = [pool.submit(lambda: d.tool("--json", "create", "--owner", "moving")) for _ in range(24)]
        for _ in range(3):
            d.start(wait=False)
            # Or leaves: it waits for a store for three seconds, as long as the tools may have it.
            wait_until(lambda: d.process.poll() is not None or d.said_ready(), "it serves")
            assert d.process.poll() is None or "owns the store" in d.log()
            d.stop(expect=None)
            d.log_path.write_text("")
        for job in jobs:
            done = job.result()
            assert done.returncode in (0, 3), done.stderr
            if done.returncode == 0:
                made.append(json.loads(done.stdout)["id"])
    assert made
    assert set(made) <= {k["id"] for k in d.json_lines("list")}


def test_bad_configuration(directory):
    d = Daemon(directory / "d")
    d.conf.write_text('nonsense = 1\n')
    done = d.tool("list")
    assert done.returncode == 2 and f"{d.conf}:1" in done.stderr
    missing = subprocess.run([APIKEY, "-c", "/nonexistent", "list"], capture_output=True, text=True)
    assert missing.returncode == 2 and "/nonexistent" in missing.stderr


def test_output_on_a_terminal_has_colour_and_fits(directory):
    """Whatever there is to be said of a key: only a key of the last ten seconds, of which all is said in few words, fitted once."""
    import pty
    import fcntl
    import struct
    import termios
    d = Daemon(directory / "d")
    d.pepper()
    d.create("acme", name="a rather long name that goes on and on and on for a while, really")
    lines = [{"owner": "an-owner-with-a-name", "name": "some name", "created": "2020-01-01T00:00:00Z", "state": state, "exposed": ways and "2020-01-01T00:00:00Z" or None, "exposed_ways": ways}
             for state in ("active", "disabled", "revoked") for ways in ([], ["url"])]
    d.tool("import", input="".join(json.dumps(x) + "\n" for x in lines), check=0)
    for expires in "59m", "23h", "29d", "11w":
        d.create("acme", name="x" * 100, expires=expires, member="m" * 50)
    for columns in 80, 109, 140:
        parent, child = pty.openpty()
        fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        subprocess.run([APIKEY, "-c", d.conf, "list"], stdin=child, stdout=child, stderr=child, check=True, env={**os.environ, "TERM": "xterm", "LC_ALL": "C.UTF-8"})
        os.close(child)
        text = b""
        with contextlib.suppress(OSError):       # at its end, of which the kernel tells so
            while more := os.read(parent, 65536):
                text += more
        os.close(parent)
        assert b"\033[" in text
        # Progress, which is drawn when it takes long, is erased by what is written over it.
        plain = [line.rstrip("\r").rpartition("\r")[2] for line in re.sub(r"\033\[[0-9;]*m", "", text.decode()).rstrip("\n").split("\n")]
        assert len(plain) == 12 and [line for line in plain if len(line) > columns] == []
        assert sum("exposed" in line for line in plain) == 3
