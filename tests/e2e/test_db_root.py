"""
Goal: a store that somebody else could have made is never parsed by root, root's directories and terminal are of no use to who parses it, and no copy of it
outlives its run. Guards Invariant 4, and 5 for copies that are killed.
"""

import fcntl
import json
import os
import pathlib
import pty
import select
import shutil
import signal
import subprocess
import termios

import pytest
from harness.daemon import APIKEY, ROOT, Daemon, children_of, for_everybody, state_of, wait_until

NOBODY = 65534
COPIES = "apikey-work-*"

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="needs root to become another user")


class Engine:
    """tests/lib/engine_shim.c: who made handles of Berkeley DB."""

    def __init__(self, directory):
        shim, self.path = directory / "engine_shim.so", directory / "engine"
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", shim, ROOT / "tests/lib/engine_shim.c"], check=True)
        self.env = {**os.environ, "ENGINE_SHIM": str(self.path), "LD_PRELOAD": str(shim)}
        self.forget()

    def forget(self):
        self.path.write_text("")
        self.path.chmod(0o666)

    def users(self):
        return [json.loads(line) for line in self.path.read_text().splitlines()]


@pytest.fixture
def engine(directory):
    directory.chmod(0o755)
    return Engine(directory)


@pytest.fixture
def tmp(directory, monkeypatch):
    """A TMPDIR as /tmp is."""
    path = directory / "tmp"
    path.mkdir()
    path.chmod(0o1777)
    monkeypatch.setenv("TMPDIR", str(path))
    return path


@pytest.fixture
def service(directory):
    """A store of another user than root, who may enter its directory."""
    directory.chmod(0o755)
    d = Daemon(directory / "service", user="nobody", group="nogroup")
    d.pepper()
    os.chown(d.settings["pepper_file"], NOBODY, NOBODY)
    d.kid = d.create()[0]
    yield d
    d.stop(expect=None)


def run(d, *args, **kw):
    return subprocess.run([APIKEY, "-c", d.conf, "db", *map(str, args)], capture_output=True, text=True, timeout=60, **kw)


def tool(d, *args, status=0, **kw):
    done = run(d, *args, **kw)
    assert done.returncode == status, done
    return done


@needs_root
@pytest.mark.parametrize("running", [True, False])
def test_root_parses_nothing(service, directory, engine, tmp, running):
    """Whatever the command: Berkeley DB is used by the service user, who cannot come back, and has no terminal."""
    engine.env["TMPDIR"] = str(tmp)
    dump = tool(service, "dump").stdout
    tool(service, "backup", directory / "old")
    if running:
        service.start()
    commands = [["verify"], ["verify", directory / "old"], ["backup", directory / "b"], ["backup", directory / "b"], ["dump"]]
    if running:
        # Of these nothing is the tool's work.
        for command in (["stat"], ["compact"]):
            engine.forget()
            tool(service, *command, env=engine.env)
            assert engine.users() == [], command
    else:
        commands += [["stat"], ["compact"], ["restore", directory / "b"], ["load"]]
    for command in commands:
        engine.forget()
        tool(service, *command, env=engine.env, input=dump)
        users = engine.users()
        assert users, command
        for u in users:
            assert u["uids"] == [NOBODY] * 3 and not u["root_group"] and u["nnp"] and u["dumpable"] == 0 and u["leader"], (command, u)
            assert u["seccomp"] == 2, (command, u)
    if not running:
        assert service.json_lines("list")[0]["id"] == service.kid


@needs_root
def test_it_has_no_terminal(service, engine, tmp):
    """Root's terminal is written to, and neither read nor typed into."""
    main, side = pty.openpty()

    def own():
        os.setsid()
        fcntl.ioctl(side, termios.TIOCSCTTY, 0)
        for fd in (0, 1, 2):
            os.dup2(side, fd)

    for command in ("verify", "stat"):  # in a process apart, and where the tool works alone
        engine.forget()
        p = subprocess.Popen([APIKEY, "-c", service.conf, "db", command], preexec_fn=own, env=engine.env)
        said = b""
        while p.poll() is None or select.select([main], [], [], 0)[0]:
            if select.select([main], [], [], 0.05)[0]:
                said += os.read(main, 4096)
        assert p.returncode == 0 and (b"is whole" in said or b"keys" in said), said
        for u in engine.users():
            assert u["tty"] == 0 and u["modes"] == [os.O_RDONLY, os.O_WRONLY, os.O_WRONLY] and u["leader"], u
    os.close(main)
    os.close(side)


@needs_root
def test_directories_of_root_alone(service, directory, tmp):
    """What only root can enter is where backups belong: made there, replaced, verified, restored. They are root's, and nobody else's."""
    roots = directory / "roots"
    roots.mkdir(0o700)
    service.start()
    for umask in (0o022, 0o777):
        tool(service, "backup", roots / "b", umask=umask)
        assert os.listdir(roots) == ["b"]
        for path in (roots / "b", *(roots / "b").iterdir()):
            st = path.stat()
            assert (st.st_uid, st.st_gid, st.st_mode & 0o777) == (0, 0, 0o700 if path.is_dir() else 0o600), path
    assert "is whole" in tool(service, "verify", roots / "b").stdout
    with open(roots / "dump", "w") as f:
        subprocess.run([APIKEY, "-c", service.conf, "db", "dump"], stdout=f, check=True, timeout=60)
    service.stop()
    tool(service, "restore", roots / "b")
    tool(service, "load", roots / "dump")
    assert service.json_lines("list")[0]["id"] == service.kid
    state = pathlib.Path(service.settings["state_dir"])
    assert {p.stat().st_uid for p in [state, *state.rglob("*")]} == {NOBODY}
    # Damage is still named, in a place that the service user cannot reach by its name.
    with open(roots / "b" / "keys.db", "r+b") as f:
        f.seek(4096 + 100)
        byte = f.read(1)
        f.seek(4096 + 100)
        f.write(bytes([byte[0] ^ 1]))
    assert "keys.db" in tool(service, "verify", roots / "b", status=1).stdout
    assert "damaged" in tool(service, "restore", roots / "b", status=3).stderr
    assert service.json_lines("list")[0]["id"] == service.kid and list(tmp.iterdir()) == []


@needs_root
def test_what_cannot_work_is_told_first(service, directory, tmp, monkeypatch):
    """A TMPDIR that the service user cannot use, a service user that is none: a mend, before a file is made."""
    backup = directory / "b"
    tool(service, "backup", backup)
    service.start()
    tmp.chmod(0o700)
    for command in (["verify"], ["verify", backup], ["dump"]):
        done = tool(service, *command, status=3)
        assert "TMPDIR" in done.stderr and "nobody" in done.stderr and done.stdout == "", done
    assert list(tmp.iterdir()) == []
    # As on a file system where root may give nothing away.
    weak = ["setpriv", "--inh-caps=-chown", "--bounding-set=-chown"]
    done = subprocess.run([*weak, APIKEY, "-c", service.conf, "db", "backup", directory / "c"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 3 and "as the user nobody" in done.stderr and not (directory / "c.new").exists(), done
    service.stop()
    service.write_conf(user="no-such-user")
    there = sorted(os.listdir(directory))
    for command in (["verify"], ["verify", backup], ["dump"], ["backup", directory / "c"], ["backup", backup], ["restore", backup], ["load"], ["stat"], ["compact"]):
        done = tool(service, *command, status=3, input="")
        assert "no-such-user" in done.stderr and "adduser" in done.stderr and done.stdout == "", done
    assert sorted(os.listdir(directory)) == there


@needs_root
def test_a_key_that_only_root_can_read(directory, engine, tmp):
    """An encrypted store whose keeper has its peppers as a credential: root has the file, and reads from it what the service user needs."""
    d = Daemon(directory / "service", user="nobody", group="nogroup", encrypt_store=True)
    d.pepper()
    credentials = directory / "credentials"
    credentials.mkdir()
    shutil.copy(d.settings["pepper_file"], credentials / "peppers")
    os.chown(credentials / "peppers", NOBODY, NOBODY)
    os.chown(d.settings["pepper_file"], 0, 0)
    d.start(env={"CREDENTIALS_DIRECTORY": str(credentials)})
    try:
        kid = d.create()[0]
        tool(d, "backup", directory / "b", env=engine.env)
        assert "is whole" in tool(d, "verify", env=engine.env).stdout and "is whole" in tool(d, "verify", directory / "b", env=engine.env).stdout
        assert kid.encode().hex() in tool(d, "dump", env=engine.env).stdout
        assert {u["uids"][1] for u in engine.users()} == {NOBODY}
    finally:
        d.stop()


@needs_root
@pytest.mark.parametrize("how", [{"ENGINE_NAME": "plans.db"}, {"ENGINE_NAME": "plans.db", "ENGINE_HARD": "yes"}, {"ENGINE_NAME": "notes", "ENGINE_HARD": "yes"},
                                 {"ENGINE_NAME": "notes", "ENGINE_PLAIN": "yes"}, {"ENGINE_NAME": "__db.notes", "ENGINE_PLAIN": "yes"}])
def test_what_is_put_into_a_backup(service, directory, engine, how):
    """Who parses the copy may be taken over by it: what he leaves in the directory is followed nowhere and given to nobody, and there is no backup."""
    # Another process of that user can do it, too: so not for want of the right system call.
    service.write_conf(sandbox=False)
    service.start()
    mine = directory / "mine"
    mine.write_text("years of work")
    mine.chmod(0o644)
    os.chown(mine, NOBODY, NOBODY)
    done = tool(service, "backup", directory / "b", status=1, env={**engine.env, "ENGINE_LINK": str(mine), **how})
    assert "somebody put something else into it" in done.stderr
    assert mine.stat().st_uid == NOBODY and mine.stat().st_mode & 0o777 == 0o644 and not (directory / "b").exists()
    if how["ENGINE_NAME"] == "notes":
        # It is somebody's: we do not remove it.
        assert "not a backup" in tool(service, "backup", directory / "b", status=1).stderr
        (directory / "b.new" / "notes").unlink()
    else:
        assert not (directory / "b.new").exists()
    tool(service, "backup", directory / "b")


@needs_root
def test_another_directory_in_its_place(service, directory, engine, tmp):
    """Who works in the directory owns it meanwhile, so that it can be renamed even where others' stay (/tmp): another one does not become the backup."""
    service.start()
    p, worker = standing(service, engine, "backup", tmp / "b")
    moves = "import os, sys; os.chdir(sys.argv[1]); os.rename('b.new', 'mine'); os.mkdir('b.new'); open('b.new/keys.db', 'w')"
    subprocess.run(["/usr/bin/python3", "-c", moves, tmp], user=NOBODY, group=NOBODY, extra_groups=[], check=True)
    os.kill(worker, signal.SIGCONT)
    said = p.communicate(timeout=20)[1]
    assert p.returncode == 1 and "put something else in its place" in said and not (tmp / "b").exists(), said
    assert (tmp / "b.new" / "keys.db").exists() and list((tmp / "mine").iterdir()) == []


@needs_root
def test_what_root_is_asked_to_open(service, directory, tmp):
    """A directory of another user's with a second name of a file of root's in it: root does not open that for the service user."""
    secret, theirs = directory / "secret", directory / "theirs"
    secret.write_text("root's alone")
    secret.chmod(0o600)
    tool(service, "backup", theirs)
    for path in (theirs, *theirs.iterdir()):
        os.chown(path, NOBODY, NOBODY)
    assert "is whole" in tool(service, "verify", theirs).stdout
    assert "belongs to user id" in tool(service, "backup", theirs, status=1).stderr
    (theirs / "uses.db").unlink()
    os.link(secret, theirs / "uses.db")
    for command in (["verify", theirs], ["restore", theirs]):
        assert "uses.db" in tool(service, *command, status=1).stderr
    (theirs / "uses.db").unlink()
    (theirs / "uses.db").symlink_to(secret)
    assert "uses.db: is no file" in tool(service, "verify", theirs, status=1).stdout
    assert "uses.db: is no file" in tool(service, "restore", theirs, status=3).stderr
    assert secret.read_text() == "root's alone" and secret.stat().st_uid == 0
    assert service.json_lines("list")[0]["id"] == service.kid


# ---- copies that nobody keeps ----

def standing(d, engine, *command, **kw):
    """A run that stands still with its copy made: the tool, and the process that works."""
    kw = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True, **kw}
    p = subprocess.Popen([APIKEY, "-c", d.conf, "db", *map(str, command)], env={**engine.env, "ENGINE_STOP": "1"}, **kw)
    return p, wait_until(lambda: next((c for c in children_of(p.pid) if state_of(c) == "T"), None), "the copy is opened")


def stopped(d, engine, tmp, *command):
    """And the copy."""
    before = set(tmp.glob(COPIES))
    engine.env["TMPDIR"] = str(tmp)
    p, worker = standing(d, engine, *command)
    (copy,) = set(tmp.glob(COPIES)) - before
    assert (copy / "store" / "keys.db").exists()
    return p, worker, copy


@pytest.fixture
def runs(request, directory):
    """As the service user, and as root with another one."""
    if request.param == "root":
        if os.getuid() != 0:
            pytest.skip("needs root to become another user")
        return request.getfixturevalue("service")
    d = Daemon(directory / "d")
    d.pepper()
    d.create()
    request.addfinalizer(lambda: d.stop(expect=None))
    return d


@pytest.mark.parametrize("runs", ["user", "root"], indirect=True)
def test_no_copy_is_left(runs, directory, engine, tmp):
    """Ended by a signal: gone at once. Killed, so that nobody can: gone with the next run; of the living, and of others, nothing is touched."""
    runs.start()
    for sig in (signal.SIGTERM, signal.SIGINT):
        p, worker, copy = stopped(runs, engine, tmp, "verify")
        p.send_signal(sig)
        assert p.wait(20) == -sig and list(tmp.iterdir()) == []
        p.stderr.close()
    p, worker, copy = stopped(runs, engine, tmp, "dump")
    os.kill(worker, signal.SIGKILL)
    said = p.communicate(timeout=20)[1]
    assert p.returncode == 3 and "signal 9" in said and list(tmp.iterdir()) == []

    alive, living, its = stopped(runs, engine, tmp, "verify")
    p, worker, copy = stopped(runs, engine, tmp, "dump")
    p.kill()
    p.communicate(timeout=20)
    wait_until(lambda: not os.path.exists(f"/proc/{worker}"), "it ends with the tool")
    assert (copy / "store" / "keys.db").exists()
    mine = directory / "mine"
    (mine / "store").mkdir(parents=True)
    (mine / "store" / "keys.db").write_text("years of work")
    (tmp / "apikey-work-linked").symlink_to(mine)
    shutil.copytree(mine, tmp / "apikey-work-aaaaaa")
    shutil.copytree(mine, tmp / "other-work-bbbbbb")
    owner = (tmp / copy.name).stat()
    os.chmod(tmp / "apikey-work-aaaaaa", 0o755)
    others = [mine, tmp / "apikey-work-aaaaaa", tmp / "other-work-bbbbbb"]
    if os.getuid() == 0:
        shutil.copytree(mine, tmp / "apikey-work-cccccc")
        os.chmod(tmp / "apikey-work-cccccc", 0o700)
        os.chown(tmp / "apikey-work-cccccc", owner.st_uid + 1, owner.st_gid)
        others.append(tmp / "apikey-work-cccccc")
    assert "is whole" in tool(runs, "verify").stdout
    assert not copy.exists() and (its / "store" / "keys.db").exists()
    assert all((o / "store" / "keys.db").read_text() == "years of work" for o in others)
    # A backup is one of the tools that clean up, too.
    alive.kill()
    alive.communicate(timeout=20)
    wait_until(lambda: not os.path.exists(f"/proc/{living}"), "it ends with the tool")
    tool(runs, "backup", directory / "b")
    assert not its.exists()


@pytest.mark.parametrize("runs", ["user", "root"], indirect=True)
def test_a_backup_that_is_ended(runs, directory, engine):
    """Its half is removed; a killed one's by the next backup of that name."""
    runs.start()
    for sig, left in ((signal.SIGTERM, False), (signal.SIGKILL, True)):
        p, worker = standing(runs, engine, "backup", directory / "b", stderr=None)
        assert (directory / "b.new" / "keys.db").exists()
        p.send_signal(sig)
        assert p.wait(20) == -sig and (directory / "b.new").exists() == left
        wait_until(lambda: not os.path.exists(f"/proc/{worker}"), "it ends with the tool")
    tool(runs, "backup", directory / "b")
    assert not (directory / "b.new").exists() and "is whole" in tool(runs, "verify", directory / "b").stdout


@pytest.mark.parametrize("runs", ["user", "root"], indirect=True)
def test_no_half_of_anything(runs, directory, engine):
    """A signal in the very moment when a backup's directory is made or gets its name, or when a store's files are moved: nothing of it stays, or all of it is done."""
    # A name that no temporary directory's ends with by chance.
    backup, new = directory / "the-backup", directory / "the-backup.new"
    tool(runs, "backup", backup)
    for command, at, status in (("backup", new.name, -signal.SIGTERM), ("backup", backup.name, -signal.SIGTERM), ("restore", "meta.db", 3)):
        done = run(runs, command, backup, env={**engine.env, "ENGINE_SIGNAL": str(int(signal.SIGTERM)), "ENGINE_AT": at})
        assert done.returncode == status and not new.exists(), done
        assert "is whole" in tool(runs, "verify", backup).stdout and "is whole" in tool(runs, "verify").stdout
    assert len(list(pathlib.Path(runs.settings["state_dir"]).glob("replaced-*/meta.db"))) == 1


@pytest.mark.parametrize("runs", ["user", "root"], indirect=True)
def test_what_is_ignored_ends_nothing(runs, directory, engine):
    """nohup, `... &` in a script: a signal that the tool was told to ignore neither ends it nor costs the backup."""
    runs.start()
    for sig in (signal.SIGHUP, signal.SIGINT):
        p, worker = standing(runs, engine, "backup", directory / "b", preexec_fn=lambda s=sig: signal.signal(s, signal.SIG_IGN))
        p.send_signal(sig)
        os.kill(worker, signal.SIGCONT)
        assert p.communicate(timeout=20)[1] == "" and p.returncode == 0
        assert "is whole" in tool(runs, "verify", directory / "b").stdout


@needs_root
def test_a_umask_that_takes_everything(service, directory, tmp):
    """For the service user, too, who cannot go past a mode as root can: what is made is usable, its user's alone, and gone behind."""
    program = for_everybody(APIKEY, directory)
    place = directory / "place"
    place.mkdir()
    os.chown(place, NOBODY, NOBODY)
    dump = tool(service, "dump").stdout
    for command in (["backup", place / "b"], ["verify", place / "b"], ["verify"], ["dump"], ["restore", place / "b"], ["load"]):
        done = subprocess.run([program, "-c", service.conf, "db", *map(str, command)], user=NOBODY, group=NOBODY, extra_groups=[], umask=0o777,
                              input=dump, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done
    assert os.listdir(place) == ["b"] and list(tmp.iterdir()) == []
    assert {p.stat().st_mode & 0o777 for p in (place / "b").iterdir()} == {0o600} and (place / "b").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("runs", ["user", "root"], indirect=True)
def test_half_of_a_loaded_store_is_none(runs, directory, engine):
    """A load that is killed while it removes what it has put in place leaves files of which the next one makes no store."""
    dump = tool(runs, "dump").stdout
    for name in ("meta.db", "keys.db", "owners.db"):
        killed = tool(runs, "load", input=dump, status=3, env={**engine.env, "ENGINE_SIGNAL": str(int(signal.SIGKILL)), "ENGINE_UNLINK": name})
        assert "signal 9" in killed.stderr
        tool(runs, "load", input=dump)
        assert not list(pathlib.Path(runs.settings["state_dir"]).glob("loading*")) and "is whole" in tool(runs, "verify").stdout
