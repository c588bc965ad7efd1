"""Goal: whoever writes to the closed store finds no way to change the audit trail that `apikey audit --verify` does not name, with and
without a keeper, then and after the trail has gone on; the trail tells what was before and after, who was refused and what the gate saw;
--follow misses nothing. The databases are edited with Berkeley DB's own tools. Invariant 4 and DESIGN.md "The audit trail"."""

import contextlib
import json
import os
import pathlib
import pwd
import re
import shutil
import signal
import subprocess
import tempfile

import pytest

from harness.daemon import APIKEY, Daemon, for_everybody, kill, wait_until

RECORDS = 24


# ---- stores, and what somebody does to them ----

@pytest.fixture(scope="module")
def made():
    """A closed store with RECORDS records."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="apikeyd-"))
    d = Daemon(path / "made").start()
    kid, _ = d.create("acme")
    for n in range(RECORDS - 1):
        d.tool("set", kid, "--name", f"name {n}", check=0)
    d.stop()
    yield d
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def store(made, directory):
    """A copy of it, closed."""
    d = Daemon(directory / "d")
    shutil.copytree(made.dir / "state", d.dir / "state")
    shutil.copy2(made.settings["pepper_file"], d.settings["pepper_file"])
    yield d
    d.stop(expect=None)


def dump(daemon, name):
    """[header lines], [(key, value)], as db_dump has them."""
    lines = subprocess.run(["db5.3_dump", f"{daemon.settings['state_dir']}/{name}.db"], capture_output=True, text=True, check=True).stdout.splitlines()
    start, end = lines.index("HEADER=END") + 1, lines.index("DATA=END")
    return lines[:start], list(zip(lines[start:end:2], lines[start + 1:end:2]))


def load(daemon, name, header, records):
    path = pathlib.Path(daemon.settings["state_dir"]) / f"{name}.db"
    mode, owner = path.stat().st_mode, path.stat()
    path.unlink()
    text = "\n".join([*header, *(line for record in records for line in record), "DATA=END", ""])
    subprocess.run(["db5.3_load", path], input=text, text=True, check=True)
    path.chmod(mode & 0o777)
    os.chown(path, owner.st_uid, owner.st_gid)


def edit(daemon, change, name="audit"):
    header, records = dump(daemon, name)
    records = change(records)
    load(daemon, name, header, records)


def verify(daemon, *args):
    """(exit status, what is wrong: [(problem, from, to)], the whole answer)"""
    done = daemon.tool("--json", "audit", "--verify", *args)
    said = json.loads(done.stdout)
    assert said["intact"] == (done.returncode == 0) == (said["problems"] == []), done
    return done.returncode, [(p["problem"], p["from"], p["to"]) for p in said["problems"]], said


def with_value(record, old, new):
    assert old.encode().hex() in record[1]
    return record[0], record[1].replace(old.encode().hex(), new.encode().hex())


def swapped(records, i, j):
    records = list(records)
    records[i], records[j] = (records[i][0], records[j][1]), (records[j][0], records[i][1])
    return records


EDITS = {
    "an operation": (lambda r: [*r[:4], with_value(r[4], "key.set", "key.get"), *r[5:]], [("changed", 5, 5)]),
    "a name in the detail": (lambda r: [*r[:9], with_value(r[9], "name 8", "name 7"), *r[10:]], [("changed", 10, 10)]),
    "the time of the last": (lambda r: [*r[:-1], (r[-1][0], r[-1][1][:6] + ("ff" if r[-1][1][6:8] != "ff" else "00") + r[-1][1][8:])], [("changed", RECORDS, RECORDS)]),
    "one cut short": (lambda r: [*r[:6], (r[6][0], r[6][1][:-2]), *r[7:]], [("unreadable", 7, 7)]),
    "the first removed": (lambda r: r[1:], [("missing", 1, 1)]),
    "some removed": (lambda r: [*r[:10], *r[13:]], [("missing", 11, 13)]),
    "the last removed": (lambda r: r[:-1], [("missing", RECORDS, RECORDS)]),
    "the last five removed": (lambda r: r[:-5], [("missing", RECORDS - 4, RECORDS)]),
    "all removed": (lambda r: [], [("missing", 1, RECORDS)]),
    "two neighbours swapped": (lambda r: swapped(r, 7, 8), [("changed", 8, 8), ("changed", 9, 9)]),
    "two far apart swapped": (lambda r: swapped(r, 2, 20), [("changed", 3, 3), ("changed", 21, 21)]),
    "one repeated at the end": (lambda r: [*r, (f" {RECORDS + 1:016x}", r[3][1])], [("changed", RECORDS + 1, RECORDS + 1)]),
    "those behind moved up": (lambda r: [*r[:5], *((a[0], b[1]) for a, b in zip(r[5:], r[6:]))],
                              [*(("changed", n, n) for n in range(6, RECORDS)), ("missing", RECORDS, RECORDS)]),
}


# ---- verifying ----

def test_nothing_is_wrong(store):
    done = store.tool("audit", "--verify", check=0)
    assert done.stdout == f"{RECORDS} records, chain intact\n" and done.stderr == ""
    store.start()
    assert store.tool("audit", "--verify", check=0).stdout == f"{RECORDS} records, chain intact\n"
    status, problems, said = verify(store)
    assert status == 0 and said["records"] == RECORDS and said["head"]["seq"] == RECORDS and re.fullmatch("[0-9a-f]{64}", said["head"]["hash"])
    assert "audit_tampered" not in store.log()
    # Dumping and loading alone changes nothing.
    store.stop()
    edit(store, lambda r: r)
    assert verify(store)[0] == 0


@pytest.mark.parametrize("what", EDITS)
def test_an_edit_is_named(store, what):
    change, expected = EDITS[what]
    edit(store, change)
    status, problems, said = verify(store)
    assert status == 1 and problems == expected
    done = store.tool("audit", "--verify", check=1)
    assert len(done.stdout.splitlines()) == len(expected) and done.stderr.startswith("apikey: audit: ") and done.stderr.count("\n") == 1
    assert re.search(rf"\brecords? {expected[0][1]}\b", done.stdout)
    # A keeper finds the same, and so it stays when it has gone on.
    store.start()
    assert verify(store)[1] == expected
    store.create("more")
    assert verify(store)[1] == expected
    assert store.json_lines("audit")[-1]["op"] == "key.create"


HEAD = " " + b"audit".hex()


def with_head(records, value):
    """meta's records with this head of the trail; None: without one."""
    rest = [r for r in records if r[0] != HEAD]
    return sorted([*rest, (HEAD, value)] if value else rest)


def test_the_mark_of_the_end_is_not_made(store):
    """The last records go, and the mark in meta.db is taken away, made to fit, or that of a new store."""
    edit(store, lambda r: r[:-3])
    head = dict(dump(store, "meta")[1])[HEAD]
    assert f"{RECORDS:016x}" in head
    for value in (None, head.replace(f"{RECORDS:016x}", f"{RECORDS - 3:016x}", 1), " 01" + "00" * (len(head) // 2 - 1)):
        edit(store, lambda r, value=value: with_head(r, value), "meta")
        assert verify(store)[:2] == (1, [("head", 0, RECORDS - 3)])
    store.start()
    assert "audit_tampered" in store.log()
    store.create("more")
    assert verify(store)[:2] == (1, [("missing", RECORDS - 2, RECORDS - 2)])


def test_a_store_put_back_is_found_by_a_hash_kept_elsewhere(store):
    before = pathlib.Path(store.settings["state_dir"])
    kept = before.with_name("kept")
    shutil.copytree(before, kept)
    store.create("unwanted")
    head = verify(store)[2]["head"]
    known = f"{head['seq']}:{head['hash']}"
    assert verify(store, "--expect", known)[0] == 0
    shutil.rmtree(before)
    kept.rename(before)
    # Nothing in the store can tell, and that is said in apikey(1).
    assert verify(store)[0] == 0
    assert verify(store, "--expect", known)[1] == [("unexpected", RECORDS + 1, RECORDS + 1)]
    store.create("another")
    assert verify(store, "--expect", known)[1] == [("unexpected", RECORDS + 1, RECORDS + 1)]


def test_peppers_that_go_take_no_proof_along(store):
    store.start()
    kid, key = store.create("acme")
    store.tool("pepper", "add", check=0)
    for k in store.json_lines("list"):
        store.tool("revoke", k["id"], check=0)
    store.tool("pepper", "retire", "1", "--force", check=0)
    assert verify(store)[0] == 0
    store.stop()
    assert verify(store)[0] == 0
    edit(store, lambda r: [*r[:4], with_value(r[4], "key.set", "key.get"), *r[5:]])
    assert verify(store)[1] == [("changed", 5, 5)]


def test_wrong_words(store):
    for args in (["--verify", "--key", "key_0123456789abcdef"], ["--verify", "--follow"], ["--expect", "1:" + "0" * 64], ["--verify", "--expect", "1:xyz"], ["--verify", "--since", "1d"]):
        assert store.tool("audit", *args, check=2).stderr.startswith("apikey: audit: ")


def test_intact_through_kills(store, scale):
    """A keeper that is killed leaves no record that does not fit, and none that is missing."""
    store.start()
    kid = store.json_lines("list")[0]["id"]
    kills = scale(3, 15)
    for n in range(kills):
        tools = [subprocess.Popen([APIKEY, "-c", store.conf, "set", kid, "--name", f"k{n}.{i}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for i in range(3)]
        tools[n % 3].wait(60)
        kill(store.keeper_pid())
        for t in tools:
            t.wait(60)
    store.wait_ready()
    status, problems, said = verify(store)
    assert status == 0 and said["records"] >= RECORDS + kills, (problems, said)


# ---- what it tells ----

def test_before_and_after(store):
    store.start()
    kid, key = store.create("acme", name="web")
    store.tool("set", kid, "--name", "shop", "--scope", "a:b", check=0)
    store.tool("revoke", kid, "--reason", "lost", check=0)
    created, changed, revoked = store.json_lines("audit", "--key", kid)
    assert created["detail"]["owner"] == "acme" and created["detail"]["name"] == "web"
    assert changed["detail"] == {"name": {"from": "web", "to": "shop"}, "scopes": {"from": None, "to": ["a:b"]}}
    assert revoked["detail"]["state"] == {"from": "active", "to": "revoked"} and revoked["detail"]["reason"] == {"from": None, "to": "lost"}
    for e in (created, changed, revoked):
        assert e["via"] == "socket" and e["pid"] > 1 and e["address"] is None and e["error"] is None and e["admin_key"] is None
    assert "name=web->shop" in store.tool("audit", check=0).stdout
    store.stop()
    store.tool("enable", kid, check=1)
    last = store.json_lines("audit")[-1]
    assert (last["op"], last["subject"], last["error"], last["via"]) == ("key.enable", kid, "conflict", "tool")


def test_refused_attempts(store, directory):
    store.start()
    directory.chmod(0o755)
    os.chmod(store.conf, 0o644)
    tool = for_everybody(APIKEY, directory)
    seen = len(store.json_lines("audit"))
    if os.getuid() == 0:
        for _ in range(4):
            done = subprocess.run([tool, "-c", store.conf, "revoke", "key_0123456789abcdef"], user="nobody", group="nogroup", extra_groups=[], capture_output=True, text=True)
            assert done.returncode == 1, done
        denied = store.json_lines("audit")[seen:]
        uid = pwd.getpwnam("nobody").pw_uid
        assert [(e["op"], e["uid"], e["actor"], e["error"], e["detail"]) for e in denied] == [("request", uid, str(uid), "denied", {"attempts": 1})]
        # The keeper looks no stranger up; who reads the trail can.
        assert re.search(r"socket \d+ +nobody +request \(denied\) +attempts=1", store.tool("audit", check=0).stdout)
        seen += 1
    # An id that exists nowhere is told; a key in its place is not.
    store.tool("revoke", "key_0123456789abcdef", check=1)
    _, key = store.create("acme")
    store.tool("set", "key_0123456789abcdef", "--plan", "nosuch", check=1)
    told = store.json_lines("audit")[seen:]
    assert [(e["op"], e["subject"], e["error"]) for e in told] == [("key.revoke", "key_0123456789abcdef", "not_found"), ("key.create", told[1]["subject"], None),
                                                                   ("key.set", "key_0123456789abcdef", "not_found")]
    assert verify(store)[0] == 0


def test_exposure_is_told_with_way_and_address(store):
    store.start()
    kid, key = store.create("acme")
    for _ in range(3):
        store.ask(key, HTTPS="off", REQUEST_SCHEME="http", REMOTE_ADDR="203.0.113.9")
    wait_until(lambda: store.json("show", kid)["exposed"], "the key is marked exposed")
    told = [e for e in store.json_lines("audit", "--key", kid) if e["op"] == "key.exposed"]
    assert [(e["actor"], e["via"], e["address"], e["detail"]["way"]) for e in told] == [("gate", "gate", "203.0.113.9", "http")]
    assert key not in store.log() and key not in store.tool("audit", check=0).stdout


# ---- retention ----

def test_old_records_go_and_the_rest_is_verified(store):
    store.write_conf(audit_retention="1s")
    store.start()
    pruned = wait_until(lambda: [e for e in store.json_lines("audit") if e["op"] == "audit.prune"], "old records were pruned")
    assert pruned[0]["actor"] == pruned[0]["via"] == "keeper" and pruned[0]["detail"]["from"] == 1
    assert pruned[0]["detail"]["to"] >= RECORDS - 1
    assert min(e["seq"] for e in store.json_lines("audit")) > 1
    assert verify(store)[0] == 0
    store.stop()
    store.write_conf(audit_retention=0)
    store.create("more")
    first = min(e["seq"] for e in store.json_lines("audit"))
    assert verify(store)[0] == 0
    edit(store, lambda r: r[1:])
    assert verify(store)[1] == [("missing", first, first)]


# ---- following ----

@contextlib.contextmanager
def following(daemon, *args):
    p = subprocess.Popen([APIKEY, "-c", daemon.conf, *args, "audit", "--follow"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield p
    finally:
        p.kill()
        p.communicate()


def test_following(store):
    store.start()
    with following(store, "--json") as p:
        assert [json.loads(p.stdout.readline())["seq"] for _ in range(10)] == list(range(RECORDS - 9, RECORDS + 1))
        kid, _ = store.create("acme")
        assert json.loads(p.stdout.readline())["subject"] == kid
        # Another keeper, and what was done meanwhile.
        kill(store.keeper_pid())
        store.wait_ready()
        store.tool("disable", kid, check=0)
        said = json.loads(p.stdout.readline())
        assert (said["op"], said["seq"]) == ("key.disable", RECORDS + 2)
        store.stop()
        store.start()
        store.tool("enable", kid, check=0)
        assert json.loads(p.stdout.readline())["op"] == "key.enable"
        p.send_signal(signal.SIGINT)
        assert p.wait(30) == 0 and p.stdout.read() == ""


def test_following_as_a_table_and_nobody_reads(store):
    store.start()
    with following(store) as p:
        assert p.stdout.readline().split()[:3] == ["SEQ", "WHEN", "FROM"]
        assert len([p.stdout.readline() for _ in range(10)]) == 10
        p.stdout.close()
        assert p.wait(30) in (0, -signal.SIGPIPE)


def test_following_without_a_keeper(store):
    p = subprocess.Popen([APIKEY, "-c", store.conf, "--json", "audit", "--follow", "--since", "1d"], stdout=subprocess.PIPE, text=True)
    try:
        assert [json.loads(p.stdout.readline())["seq"] for _ in range(RECORDS)] == list(range(1, RECORDS + 1))
        # It keeps nobody from the store.
        kid, _ = store.create("acme")
        assert json.loads(p.stdout.readline())["subject"] == kid
        p.terminate()
        assert p.wait(30) == 0
    finally:
        p.kill()
        p.wait()
        p.stdout.close()
