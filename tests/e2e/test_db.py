"""
Goal: backups of a store in use are whole, of one moment, and bring everything back; damage is found and named; nothing is ever restored or
loaded over a store that somebody owns, nor half.  Guards Invariants 3 and 5, and 4 for what a dump says.
"""

import contextlib
import fcntl
import getpass
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import threading

import pytest
from harness.daemon import APIKEY, Daemon, kill, wait_until

STATE = "state"


def tool(d, *args, status=0, **kw):
    done = subprocess.run([APIKEY, "-c", d.conf, *map(str, args)], capture_output=True, text=True, timeout=120, **kw)
    assert done.returncode == status, done
    return done


def ids(d):
    return sorted(json.loads(line)["id"] for line in tool(d, "--json", "list").stdout.splitlines())


def flip(path, at):
    with open(path, "r+b") as f:
        f.seek(at)
        byte = f.read(1)
        f.seek(at)
        f.write(bytes([byte[0] ^ 1]))


def test_a_backup_of_a_store_in_use(daemon, directory):
    """What was acknowledged before the backup began is in it, whatever happens meanwhile; the keeper goes on working."""
    daemon.start()
    before = [json.loads(tool(daemon, "--json", "create", "--owner", "early").stdout) for _ in range(3)]
    stop, made = threading.Event(), []

    def create():
        while not stop.is_set():
            made.append(json.loads(tool(daemon, "--json", "create", "--owner", "meanwhile").stdout)["id"])

    def ask():
        while not stop.is_set():
            assert daemon.ask(before[0]["key"]).status == 200

    threads = [threading.Thread(target=f) for f in (create, ask)]
    for t in threads:
        t.start()
    wait_until(lambda: len(made) > 3, "keys are made")
    known = list(made)
    tool(daemon, "db", "backup", directory / "b")
    tool(daemon, "db", "verify", directory / "b")
    stop.set()
    for t in threads:
        t.join()
    assert len(made) >= len(known)
    tool(daemon, "revoke", before[1]["id"])
    daemon.stop()

    tool(daemon, "db", "restore", directory / "b")
    there = ids(daemon)
    assert set(known) | {k["id"] for k in before} <= set(there) <= set(made) | {k["id"] for k in before}
    daemon.start()
    assert [daemon.ask(k["key"]).status for k in before] == [200, 200, 200]
    # The store that was there is aside, and whole.
    (aside,) = pathlib.Path(daemon.settings["state_dir"]).glob("replaced-*")
    other = Daemon(directory / "other", pepper_file=daemon.settings["pepper_file"], state_dir=str(directory / "moved"))
    shutil.copytree(aside, directory / "moved")
    assert set(ids(other)) == set(made) | {k["id"] for k in before}


def test_the_keeper_dies_while_it_holds(daemon, directory):
    """A copy that was made over the end of a keeper is made again: the backup verifies, and has what was there."""
    daemon.start()
    key = json.loads(tool(daemon, "--json", "create", "--owner", "a").stdout)["id"]
    stop = threading.Event()

    def kills():
        while not stop.is_set():
            # One that finds the store taken leaves by itself.
            with contextlib.suppress(ProcessLookupError):
                kill(*daemon.children("keeper"))
            stop.wait(0.3)

    t = threading.Thread(target=kills)
    t.start()
    try:
        done = subprocess.run([APIKEY, "-c", daemon.conf, "db", "backup", directory / "b"], capture_output=True, text=True, timeout=120)
    finally:
        stop.set()
        t.join()
    if done.returncode == 0:
        tool(daemon, "db", "verify", directory / "b")
    else:
        assert not os.path.exists(directory / "b") and done.stderr.startswith("apikey: ")
    tool(daemon, "db", "backup", directory / "b")
    daemon.stop()
    tool(daemon, "db", "restore", directory / "b")
    assert key in ids(daemon)


def test_never_over_a_live_store(daemon, directory):
    daemon.start()
    tool(daemon, "create", "--owner", "a")
    tool(daemon, "db", "backup", directory / "b")
    tool(daemon, "create", "--owner", "b")
    there = ids(daemon)
    assert "stop it first" in tool(daemon, "db", "restore", directory / "b", status=3).stderr
    assert ids(daemon) == there


def test_a_store_in_service_is_no_backup(daemon, directory):
    """Its files are being written: looked at without its keeper they seem damaged now and then, and a backup would be restored for nothing."""
    daemon.start()
    tool(daemon, "create", "--owner", "a")
    assert "owns the store" in tool(daemon, "db", "verify", daemon.settings["state_dir"], status=3).stderr
    assert "is whole" in tool(daemon, "db", "verify").stdout
    daemon.stop()
    assert "is whole" in tool(daemon, "db", "verify", daemon.settings["state_dir"]).stdout


def test_what_is_no_backup(daemon, directory):
    (directory / "mine").mkdir()
    (directory / "mine" / "thesis").write_text("years of work")
    daemon.pepper()
    tool(daemon, "create", "--owner", "a")
    assert "not a backup" in tool(daemon, "db", "backup", directory / "mine", status=1).stderr
    assert (directory / "mine" / "thesis").read_text() == "years of work"
    assert "no backup" in tool(daemon, "db", "restore", directory / "mine", status=1).stderr
    assert len(ids(daemon)) == 1


def test_a_bucket_of_zeros_is_found(daemon):
    """Berkeley DB's verification takes it for one that was never written; the records are found to be missing: damage, not a store that is away."""
    daemon.start()
    tool(daemon, "import", "-", "--batch", "100", input='{"owner":"acme"}\n' * 300)
    daemon.stop()
    keys = daemon.dir / STATE / "keys.db"
    whole = keys.read_bytes()
    page = 4096
    for at in range(page, len(whole), page):
        if any(whole[at:at + page]):
            keys.write_bytes(whole[:at] + bytes(page) + whole[at + page:])
            done = tool(daemon, "db", "verify", status=1)
            assert "keys" in done.stdout and "restore a backup" in done.stdout and "apikey-work" not in done.stdout, done.stdout
            break
    keys.write_bytes(whole)
    tool(daemon, "db", "verify")


@pytest.mark.parametrize("file", ["keys.db", "ids.db", "plans.db", "audit.db"])
def test_damage_is_found(daemon, directory, file):
    """A bit of a page: verify names the file and says the mend, and a backup of it is refused both ways."""
    daemon.pepper()
    tool(daemon, "plan", "set", "p", "--limit", "a=1/1s")
    tool(daemon, "create", "--owner", "a", "--plan", "p")
    assert "is whole" in tool(daemon, "db", "verify").stdout
    tool(daemon, "db", "backup", directory / "b")
    flip(directory / "b" / file, 4096 + 100)
    done = tool(daemon, "db", "verify", directory / "b", status=1)
    assert file.split(".")[0] in done.stdout and "restore" in done.stdout
    assert "damaged" in tool(daemon, "db", "restore", directory / "b", status=3).stderr
    assert len(ids(daemon)) == 1
    flip(pathlib.Path(daemon.settings["state_dir"]) / file, 4096 + 100)
    done = subprocess.run([APIKEY, "-c", daemon.conf, "db", "backup", directory / "c"], capture_output=True, text=True)
    assert done.returncode != 0 and not os.path.exists(directory / "c"), done


def test_an_index_that_lacks_a_key_is_found(daemon, directory):
    """Whole pages, and yet not a whole store: records are held against their indexes."""
    daemon.pepper()
    for owner in ("a", "b"):
        tool(daemon, "create", "--owner", owner)
    tool(daemon, "db", "backup", directory / "b")
    owners = directory / "b" / "owners.db"
    text = subprocess.run(["db5.3_dump", owners], capture_output=True, text=True, check=True).stdout.splitlines()
    at = text.index("HEADER=END") + 1
    del text[at : at + 2]
    owners.unlink()
    subprocess.run(["db5.3_load", "-c", "chksum=1", owners], input="\n".join(text) + "\n", text=True, check=True)
    for log in (directory / "b").glob("log.*"):
        assert log.exists()
    done = tool(daemon, "db", "verify", directory / "b", status=1)
    assert "owners" in done.stdout, done
    # What is wrong with the description does not keep the records from being looked at.
    (directory / "b" / "backup.json").write_bytes(b"{")
    done = tool(daemon, "db", "verify", directory / "b", status=1)
    assert "owners" in done.stdout and "backup.json: not of a backup" in done.stdout, done


def test_compact(daemon, directory):
    """What deleted records have left is given back, slice by slice, while requests are answered."""
    daemon.start()
    plans = pathlib.Path(daemon.settings["state_dir"]) / "plans.db"
    for i in range(60):
        tool(daemon, "plan", "set", f"plan-{i:03}", *[x for n in range(8) for x in ("--limit", f"limit-with-a-rather-long-name-{n}={i + 1}/1d")])
    daemon.stop()
    size = os.stat(plans).st_size
    daemon.start()
    for i in range(60):
        tool(daemon, "plan", "remove", f"plan-{i:03}")
    assert json.loads(tool(daemon, "--json", "db", "compact").stdout)["pages"] > 0
    daemon.stop()
    assert os.stat(plans).st_size < size
    assert "is whole" in tool(daemon, "db", "verify").stdout


def test_dump_and_load(daemon, directory):
    """What a dump holds comes back as it was, limits included; it says no key and no pepper."""
    daemon.pepper()
    tool(daemon, "plan", "set", "p", "--limit", "day=5/1d")
    daemon.start()
    made = [json.loads(tool(daemon, "--json", "create", "--owner", o, "--plan", "p", "--name", "n\u00e4me").stdout) for o in ("a", "b")]
    assert [daemon.ask(made[0]["key"]).status for _ in range(3)] == [200] * 3
    dump = tool(daemon, "db", "dump").stdout
    shown = json.loads(tool(daemon, "--json", "show", made[0]["id"]).stdout)
    audit = tool(daemon, "--json", "audit").stdout
    pepper = pathlib.Path(daemon.settings["pepper_file"]).read_text().split()
    for secret in [k["key"] for k in made] + [p for p in pepper if len(p) > 20]:
        assert secret not in dump and secret.encode().hex() not in dump
    lines = [json.loads(line) for line in dump.splitlines()]
    assert lines[0]["apikeyd_dump"] == 1 and lines[-1]["records"] == len(lines) - 2
    daemon.stop()

    other = Daemon(directory / "other", pepper_file=daemon.settings["pepper_file"])
    tool(other, "db", "load", input=dump)
    loaded = json.loads(tool(other, "--json", "show", made[0]["id"]).stdout)
    # When a key was last used is stored once a minute, and at the end.
    for record in (shown, loaded):
        del record["last_used"]
        for limit in record["limits"]:
            del limit["reset"]
    assert loaded == shown
    assert tool(other, "--json", "audit").stdout == audit
    other.start()
    assert [other.ask(made[0]["key"]).status for _ in range(3)] == [200, 200, 429]
    assert other.ask(made[1]["key"]).status == 200
    assert "stop it first" in tool(other, "db", "load", input=dump, status=3).stderr
    other.stop()
    assert "is whole" in tool(other, "db", "verify").stdout


def test_a_dump_that_is_not_whole(daemon, directory):
    """Cut, changed, of another kind: nothing is taken, and what was there stays."""
    daemon.pepper()
    for i in range(3):
        tool(daemon, "create", "--owner", f"o{i}")
    there = ids(daemon)
    dump = tool(daemon, "db", "dump").stdout
    lines = dump.splitlines(keepends=True)
    at = next(i for i, line in enumerate(lines) if '"db":"keys"' in line)
    wrong = {
        "cut": "".join(lines[:-1]),
        "cut in a line": dump[: len(dump) // 2],
        "a line less": "".join(lines[:at] + lines[at + 1 :]),
        "two in other order": "".join(lines[:at] + [lines[at + 1], lines[at]] + lines[at + 2 :]),
        "another value": dump.replace(lines[at], lines[at][:-4] + ("00" if lines[at][-5:-3] != "00" else "11") + '"}\n'),
        "no dump": '{"hello":"world"}\n',
        "of tomorrow": dump.replace('"apikeyd_dump":1', '"apikeyd_dump":2', 1),
        "nothing": "",
        "two": dump + dump,
        "a line without an end": lines[0] + '{"db":"keys","key":"' + "00" * 1000000,
        "no JSON": "\x00\xff\n" * 3,
    }
    for name, text in wrong.items():
        done = subprocess.run([APIKEY, "-c", daemon.conf, "db", "load", "--restart"], input=text, capture_output=True, text=True, timeout=60)
        assert done.returncode in (1, 2, 3) and done.stderr.startswith("apikey: db load: "), (name, done)
        assert ids(daemon) == there, name


def test_an_interrupted_load_goes_on(daemon, directory):
    """A part of a dump, then all of it: the second load does what is left. Another dump is refused meanwhile."""
    daemon.pepper()
    for i in range(5):
        tool(daemon, "create", "--owner", f"o{i}")
    # More than a batch of records.
    keys = [{"digest": "sha256:" + hashlib.sha256(b"%d" % i).hexdigest(), "owner": f"i{i}"} for i in range(150)]
    tool(daemon, "import", "-", input="".join(json.dumps(k) + "\n" for k in keys))
    tool(daemon, "db", "load", input=tool(daemon, "db", "dump").stdout)
    for i in range(40):
        tool(daemon, "plan", "set", f"p{i}", "--limit", "a=1/1s")
    there = ids(daemon)
    dump = tool(daemon, "db", "dump").stdout
    lines = dump.splitlines(keepends=True)
    assert "cut short" in tool(daemon, "db", "load", input="".join(lines[:-1]), status=2).stderr
    assert ids(daemon) == there
    # A smaller one: it ends before the place to which the first one came.
    other = Daemon(directory / "other", pepper_file=daemon.settings["pepper_file"])
    tool(other, "create", "--owner", "a")
    small = tool(other, "db", "dump").stdout
    assert len(small.splitlines()) < len(lines)
    assert "another dump" in tool(daemon, "db", "load", input=small, status=1).stderr
    assert ids(daemon) == there
    tool(daemon, "db", "load", input=dump)
    assert ids(daemon) == there and len(list(pathlib.Path(daemon.settings["state_dir"]).glob("replaced-*"))) == 2
    assert not os.path.exists(pathlib.Path(daemon.settings["state_dir"]) / "loading")


def test_an_encrypted_store(daemon, directory):
    """With encrypt_store nothing of a record stands in a file; the store is switched by dump and load; another key, or none, is told."""
    daemon.pepper()
    daemon.start()
    plain = json.loads(tool(daemon, "--json", "create", "--owner", "visible-owner").stdout)
    dump = tool(daemon, "db", "dump").stdout
    tool(daemon, "db", "backup", directory / "plain")
    daemon.stop()
    state = pathlib.Path(daemon.settings["state_dir"])
    assert any(b"visible-owner" in f.read_bytes() for f in state.iterdir() if f.is_file())

    daemon.write_conf(encrypt_store=True)
    assert "no key for it" in tool(daemon, "list", status=3).stderr
    for command in ("restore", "verify"):
        said = tool(daemon, "db", command, directory / "plain", status=1).stderr
        assert f"{directory}/plain: the store in it is not encrypted, but encrypt_store is set" in said, said
    tool(daemon, "db", "load", input=dump)
    assert plain["id"] in ids(daemon)
    daemon.start()
    assert daemon.ask(plain["key"]).status == 200
    key = json.loads(tool(daemon, "--json", "create", "--owner", "hidden-owner").stdout)
    kill(daemon.keeper_pid())
    assert daemon.ask(key["key"]).status == 200
    tool(daemon, "db", "backup", directory / "b")
    assert "is whole" in tool(daemon, "db", "verify").stdout and "is whole" in tool(daemon, "db", "verify", directory / "b").stdout
    daemon.stop()
    for f in [f for d in (state, directory / "b") for f in d.iterdir() if f.is_file()]:
        assert b"-owner" not in f.read_bytes(), f
    assert "hidden-owner" in bytes.fromhex(json.loads(next(x for x in tool(daemon, "db", "dump").stdout.splitlines() if '"db":"owners"' in x and "68696464656e" in x))["key"]).decode()
    tool(daemon, "db", "restore", directory / "b")
    assert key["id"] in ids(daemon)

    # Without the setting, and with another key: a mend, and nothing is touched.
    daemon.write_conf(encrypt_store=False)
    assert "is encrypted" in tool(daemon, "list", status=3).stderr
    for command in ("restore", "verify"):
        said = tool(daemon, "db", command, directory / "b", status=1).stderr
        assert f"{directory}/b: the store in it is encrypted, but encrypt_store is not set" in said, said
    daemon.write_conf(encrypt_store=True)
    peppers = pathlib.Path(daemon.settings["pepper_file"])
    text = peppers.read_text()
    os.chmod(peppers, 0o600)
    peppers.write_text("".join(line if not line.startswith("store ") else "store " + "ab" * 32 + "\n" for line in text.splitlines(keepends=True)))
    os.chmod(peppers, 0o400)
    assert "another key" in tool(daemon, "list", status=3).stderr
    os.chmod(peppers, 0o600)
    peppers.write_text(text)
    os.chmod(peppers, 0o400)
    assert key["id"] in ids(daemon)


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to become another user")
def test_root_is_not_led_out_of_the_store(directory):
    """Root loads and restores in a directory of the service user. Whatever that one has put there, nothing elsewhere is written, removed or given away."""
    directory.chmod(0o755)
    d = Daemon(directory / "service", user="nobody", group="nogroup")
    d.pepper()
    os.chown(d.settings["pepper_file"], 65534, 65534)
    kid = d.create()[0]
    dump = tool(d, "db", "dump").stdout
    tool(d, "db", "backup", directory / "b")
    state, mine = pathlib.Path(d.settings["state_dir"]), directory / "mine"
    assert state.stat().st_uid == 65534
    mine.mkdir()
    for name in ("keys.db", "log.0000000001", "backup.json", "thesis"):
        (mine / name).write_text("years of work")
    (directory / "elsewhere").mkdir(0o777)

    def untouched():
        there = {p.name: (p.read_text(), p.stat().st_uid) for p in mine.iterdir()}
        assert there == dict.fromkeys(("keys.db", "log.0000000001", "backup.json", "thesis"), ("years of work", 0))
        assert list((directory / "elsewhere").iterdir()) == []

    for at in ("loading", "restoring"):
        (state / at).symlink_to(mine)
        for command in (["db", "load"], ["db", "load", "--restart"], ["db", "restore", directory / "b"]):
            done = subprocess.run([APIKEY, "-c", d.conf, *command], input=dump, capture_output=True, text=True, timeout=60)
            assert done.returncode == 0 or done.stderr.startswith("apikey: db "), done
            untouched()
        # A load may have put its name out of the way.
        for left in state.glob(at + "*"):
            left.unlink() if left.is_symlink() else shutil.rmtree(left)
    # A configuration of Berkeley DB's, which would lead it elsewhere, and a log that is a link.
    (directory / "elsewhere").chmod(0o755)
    shutil.rmtree(state / "loading", ignore_errors=True)
    (state / "loading").mkdir()
    (state / "loading" / "DB_CONFIG").write_text(f"set_lg_dir {directory / 'elsewhere'}\n")
    for p in (state / "loading", state / "loading" / "DB_CONFIG"):
        os.chown(p, 65534, 65534)
    (state / "loading").chmod(0o700)
    subprocess.run([APIKEY, "-c", d.conf, "db", "load"], input=dump, capture_output=True, text=True, timeout=60)
    untouched()
    for left in state.glob("loading*"):
        shutil.rmtree(left)
    # The lock as a name of somebody else's file (where the kernel lets users make such links).
    (state / "lock").unlink()
    os.link(mine / "thesis", state / "lock")
    assert "lock" in tool(d, "db", "restore", directory / "b", status=3).stderr
    untouched()
    (state / "lock").unlink()

    tool(d, "db", "restore", directory / "b")
    tool(d, "db", "load", input=dump)
    assert ids(d) == [kid]
    (state / "flushed").unlink()
    tool(d, "db", "restore", "--accept-log", state)
    assert ids(d) == [kid]
    assert {p.stat().st_uid for p in state.rglob("*")} == {65534}


def test_the_keeper_tells_what_was_accepted(daemon, directory):
    """The tool was killed, or had no peppers, before it came to tell the trail that a log was accepted: the next keeper does, and logs it."""
    daemon.pepper()
    tool(daemon, "create", "--owner", "a")
    state, peppers = pathlib.Path(daemon.settings["state_dir"]), pathlib.Path(daemon.settings["pepper_file"])
    (state / "flushed").unlink()
    peppers.rename(directory / "kept")
    done = tool(daemon, "db", "restore", "--accept-log", state, status=3)
    assert "the files are in place, but do not open" in done.stderr, done
    (directory / "kept").rename(peppers)
    daemon.start()
    assert "event=log_accepted " in daemon.log()
    assert [r["detail"] for r in daemon.json_lines("audit") if r["op"] == "db.restore"] == [{"log_accepted": True}]
    daemon.stop()
    told = daemon.log().count("event=log_accepted ")
    daemon.start()
    assert daemon.log().count("event=log_accepted ") == told
    # A restore of a whole backup is not told: it accepts nothing.
    daemon.stop()
    tool(daemon, "db", "backup", directory / "b")
    tool(daemon, "db", "restore", directory / "b")
    assert len([r for r in daemon.json_lines("audit") if r["op"] == "db.restore"]) == 1


def test_what_a_killed_restore_left(daemon, directory):
    """Its half copy, with the files that Berkeley DB makes for a moment, goes; a stranger's file stays, and is named."""
    daemon.pepper()
    tool(daemon, "create", "--owner", "a")
    tool(daemon, "db", "backup", directory / "b")
    left = pathlib.Path(daemon.settings["state_dir"]) / "restoring"
    left.mkdir(mode=0o700)
    for name in ("__db.001", "__db.keys", "keys.db", "log.0000000001", "flushed", "flushed.new", "lock"):
        (left / name).write_text("half")
    tool(daemon, "db", "restore", directory / "b")
    assert not left.exists()
    left.mkdir(mode=0o700)
    (left / "thesis").write_text("years of work")
    done = tool(daemon, "db", "restore", directory / "b", status=3)
    assert "restoring" in done.stderr and (left / "thesis").exists(), done


def test_only_a_backup_is_replaced(daemon, directory):
    """What is beside a backup, or has the name of one being made, is somebody's: it stays."""
    daemon.pepper()
    tool(daemon, "create", "--owner", "a")
    (directory / "b.new").mkdir()
    (directory / "b.new" / "thesis").write_text("years of work")
    assert "b.new" in tool(daemon, "db", "backup", directory / "b", status=1).stderr
    assert (directory / "b.new" / "thesis").read_text() == "years of work" and not os.path.exists(directory / "b")
    shutil.rmtree(directory / "b.new")
    tool(daemon, "db", "backup", directory / "b")
    (directory / "b" / "notes").write_text("why")
    assert "not a backup" in tool(daemon, "db", "backup", directory / "b", status=1).stderr
    assert (directory / "b" / "notes").read_text() == "why"
    (directory / "b" / "notes").unlink()
    # Of one that was killed.
    shutil.copytree(directory / "b", directory / "b.new")
    tool(daemon, "db", "backup", f"{directory}/b/")
    assert not os.path.exists(directory / "b.new")
    for inside in ("", "/", "/b", "/x/../b"):
        done = subprocess.run([APIKEY, "-c", daemon.conf, "db", "backup", daemon.settings["state_dir"] + inside], capture_output=True, text=True)
        assert done.returncode in (1, 2, 3) and not os.path.exists(daemon.settings["state_dir"] + "/b"), done
    assert len(ids(daemon)) == 1


def test_two_backups_of_one_name(daemon, directory):
    """One is being made (its directory is locked): another leaves it alone. Many at once: each makes one or leaves it, and what is there is whole."""
    daemon.start()
    tool(daemon, "create", "--owner", "a")
    (directory / "b.new").mkdir(0o700)
    (directory / "b.new" / "keys.db").write_text("half a copy")
    fd = os.open(directory / "b.new", os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    assert "another backup" in tool(daemon, "db", "backup", directory / "b", status=3).stderr
    assert (directory / "b.new" / "keys.db").read_text() == "half a copy"
    os.close(fd)
    tool(daemon, "db", "backup", directory / "b")
    for _ in range(3):
        running = [subprocess.Popen([APIKEY, "-c", daemon.conf, "db", "backup", directory / "b"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) for _ in range(4)]
        ends = [(p.communicate(timeout=120)[1], p.returncode) for p in running]
        assert any(status == 0 for _, status in ends) and all(status == 0 or "another backup" in said for said, status in ends), ends
        assert "is whole" in tool(daemon, "db", "verify", directory / "b").stdout
        assert not os.path.exists(directory / "b.new")
    assert os.path.exists(directory / "b" / "backup.json")


def test_a_load_that_did_not_come_to_its_end(daemon, directory):
    """All of one dump is in the place where stores are loaded, but not in service: another dump does not come on top of it."""
    daemon.pepper()
    for i in range(3):
        tool(daemon, "plan", "set", f"p{i}", "--limit", "a=1/1s")
    big = tool(daemon, "db", "dump").stdout
    tool(daemon, "plan", "remove", "p0")
    small = tool(daemon, "db", "dump").stdout
    state = pathlib.Path(daemon.settings["state_dir"])
    # A name that the restore needs and does not get.
    (state / "restoring").write_text("")
    assert "restoring" in tool(daemon, "db", "load", input=big, status=3).stderr
    assert (state / "loading").is_dir()
    (state / "restoring").unlink()
    tool(daemon, "db", "load", input=small)
    names = {json.loads(line)["name"] for line in tool(daemon, "--json", "plan", "list").stdout.splitlines()}
    assert {"p1", "p2"} <= names and "p0" not in names
    assert "is whole" in tool(daemon, "db", "verify").stdout


def cut_log(directory, bytes):
    path = max(pathlib.Path(directory).glob("log.*"))
    end = len(path.read_bytes().rstrip(b"\0"))
    os.truncate(path, end - bytes)


BAD_MARKS = {
    "gone": lambda d: (d / "flushed").unlink(),
    "empty": lambda d: os.truncate(d / "flushed", 0),
    "garbage": lambda d: (d / "flushed").write_text("0000000001 0000jklmno\n"),
    "log cut": lambda d: cut_log(d, 3000),
    "gone, log cut": lambda d: (cut_log(d, 3000), (d / "flushed").unlink()),
}


@pytest.mark.parametrize("bad", BAD_MARKS)
def test_a_backup_whose_log_is_not_whole(daemon, directory, bad):
    """verify says it; restore finds it before it touches anything (the store went aside for it once). Asked to, it takes the log as it is."""
    daemon.pepper()
    tool(daemon, "create", "--owner", "a")
    tool(daemon, "db", "backup", directory / "b")
    assert (directory / "b" / "flushed").exists()
    tool(daemon, "create", "--owner", "b")
    there, state = ids(daemon), pathlib.Path(daemon.settings["state_dir"])
    BAD_MARKS[bad](directory / "b")
    done = tool(daemon, "db", "verify", directory / "b", status=1)
    said = f"{directory}/b: the log (files log.*) ends before" if bad == "log cut" else f"{directory}/b/flushed: {'missing' if 'gone' in bad else 'unreadable'}"
    assert said in done.stdout and "apikey-work" not in done.stdout, done
    finding = json.loads(tool(daemon, "--json", "db", "verify", directory / "b", status=1).stdout.splitlines()[0])
    assert said in finding["finding"]
    done = tool(daemon, "db", "restore", directory / "b", status=3)
    assert f"nothing was changed: {said}" in done.stderr and str(state) not in done.stderr, done
    assert ids(daemon) == there and not list(state.glob("re*"))
    # What was behind the cut is of closing the copy: nothing that somebody would miss.
    report = json.loads(tool(daemon, "--json", "db", "restore", "--accept-log", directory / "b").stdout)
    assert report["log_accepted"] is True and report["keys"] == 1 and report["replaced"]
    assert len(ids(daemon)) == 1
    assert "is whole" in tool(daemon, "db", "verify").stdout


def link(path):
    path.rename(path.parent / "elsewhere")
    path.symlink_to("elsewhere")


# What is done to a backup, and what verify says of it; None: it is none, which is no finding.
SPOILT = {
    "a database": (lambda d: (d / "journal.db").unlink(), "journal.db: missing"),
    "the format's": (lambda d: (d / "meta.db").unlink(), "meta.db: missing"),
    "a link": (lambda d: link(d / "keys.db"), "keys.db: is no file"),
    "a pipe": (lambda d: ((d / "keys.db").unlink(), os.mkfifo(d / "keys.db")), "keys.db: is no file"),
    "the logs": (lambda d: [f.unlink() for f in d.glob("log.*")], "there is no log"),
    "all but one": (lambda d: [f.unlink() for f in d.iterdir() if f.name not in ("keys.db", "backup.json")], "meta.db: missing"),
    "empty": (lambda d: (d / "keys.db").write_bytes(b""), "keys.db: page 0 is damaged"),
    "longer": (lambda d: os.truncate(d / "uses.db", 64 << 20), "uses.db: longer than its first page says"),
    "a long log": (lambda d: os.truncate(max(d.glob("log.*")), 1 << 40), "longer than a log can be"),
    "its description": (lambda d: (d / "backup.json").write_bytes(b"{"), "backup.json: not of a backup"),
    "its time": (lambda d: (d / "backup.json").write_text('{"apikeyd_backup": 1, "made": "\\u001b]0;x\\u0007"}'), "backup.json: not of a backup"),
    "everything": (lambda d: [f.unlink() for f in d.iterdir()], None),
    "the directory": (shutil.rmtree, None),
    "no directory": (lambda d: (shutil.rmtree(d), d.write_bytes(b"")), None),
}


def test_spoilt_backups(daemon, directory):
    """A finding of verify, exit 1, whatever it is (a database that was missing was exit 3, as if there were no store); restore leaves the store as it is."""
    daemon.pepper()
    tool(daemon, "create", "--owner", "a")
    tool(daemon, "db", "backup", directory / "whole")
    tool(daemon, "create", "--owner", "b")
    there, state = ids(daemon), pathlib.Path(daemon.settings["state_dir"])
    for what, (spoil, said) in SPOILT.items():
        shutil.copytree(directory / "whole", directory / "b")
        spoil(directory / "b")
        done = tool(daemon, "db", "verify", directory / "b", status=1)
        if said is None:
            assert done.stdout == "" and f"{directory}/b: " in done.stderr and "no backup" in done.stderr, (what, done)
        else:
            assert said in done.stdout and done.stderr == "", (what, done)
        done = tool(daemon, "db", "restore", directory / "b", status=1 if said is None else 3)
        assert f"{directory}/b" in done.stderr, (what, done)
        assert ids(daemon) == there and not list(state.glob("re*")), what
        if (directory / "b").is_dir():
            shutil.rmtree(directory / "b")
        (directory / "b").unlink(missing_ok=True)


def test_a_store_without_its_mark(daemon, directory):
    """Copied without the file `flushed`: refused by everything, and each names the mend; put back, or accepted, it is the store again."""
    daemon.pepper()
    daemon.start()
    key = json.loads(tool(daemon, "--json", "create", "--owner", "a").stdout)
    # In use its owner makes it anew.
    state = pathlib.Path(daemon.settings["state_dir"])
    (state / "flushed").unlink()
    wait_until(lambda: (state / "flushed").exists() and (state / "flushed").stat().st_size == 22, "the mark is there again")
    daemon.stop()
    mark = (state / "flushed").read_bytes()
    (state / "flushed").unlink()
    for command in (["list"], ["db", "stat"], ["db", "backup", directory / "b"], ["db", "dump"]):
        done = tool(daemon, *command, status=3)
        assert f"{state}/flushed: missing" in done.stderr and f"apikey db restore --accept-log {state}" in done.stderr, done
    done = tool(daemon, "db", "verify", status=1)
    assert f"{state}/flushed: missing" in done.stdout, done
    assert not (directory / "b").exists() and not (state / "flushed").exists()
    # A backup from before, over a store that does not open; and what is no backup is none without being asked to take it.
    assert "there is no backup" in tool(daemon, "db", "restore", state, status=1).stderr
    (state / "flushed").write_bytes(mark)
    assert ids(daemon) == [key["id"]]
    (state / "flushed").unlink()
    done = tool(daemon, "db", "restore", "--accept-log", state)
    assert "restored 1 keys" in done.stdout and "may be missing" in done.stdout and "replaced-" in done.stdout, done
    assert "is whole" in tool(daemon, "db", "verify").stdout
    # Who took it, in the trail, once.
    def told():
        return [(r["actor"], r["via"], r["uid"], r["detail"]) for r in daemon.json_lines("audit") if r["op"] == "db.restore"]
    assert told() == [(getpass.getuser(), "tool", os.getuid(), {"log_accepted": True})]
    assert json.loads(tool(daemon, "--json", "audit", "--verify").stdout)["intact"] is True
    daemon.start()
    assert len(told()) == 1
    assert daemon.ask(key["key"]).status == 200
    assert "stop it first" in tool(daemon, "db", "restore", "--accept-log", state, status=3).stderr
    other = Daemon(directory / "other", pepper_file=daemon.settings["pepper_file"])
    assert "stop it first" in tool(other, "db", "restore", "--accept-log", state, status=3).stderr
