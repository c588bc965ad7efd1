"""Goal: `apikey scan` finds every key wherever it stands in files, directories and pipes, says where, shows none, asks and revokes
only what it was told to, and no file, name or patch that a stranger made leads it astray. Invariant 4 (no key in any output)."""

import contextlib
import fcntl
import json
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import zlib

import pytest

from harness.daemon import APIKEY, ROOT, Daemon, wait_until

DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
KEY = re.compile(r"[a-z][a-z0-9]*_(live|test)_[0-9A-Za-z]{38}")


def a_key(n, prefix="ak", env="live"):
    """The n-th key that nobody made: the checksum by another implementation."""
    text = f"{prefix}_{env}_" + f"{n:032d}"
    crc, check = zlib.crc32(text.encode()), ""
    for _ in range(6):
        crc, digit = divmod(crc, 62)
        check = DIGITS[digit] + check
    return text + check


# An empty configuration, whatever this machine has.
EMPTY = tempfile.NamedTemporaryFile(suffix=".conf")
os.chmod(EMPTY.name, 0o644)
ENV = {**os.environ, "LC_ALL": "C.UTF-8", "APIKEYD_CONF": EMPTY.name}


def open_fifo(path, reader):
    """For writing, once the process has it open for reading; or is gone."""
    fifo = os.fdopen(os.open(path, os.O_RDWR), "wb", buffering=0)

    def opened():
        if reader.poll() is not None:
            return True
        with contextlib.suppress(FileNotFoundError):     # closed meanwhile
            return str(path) in [os.readlink(fd) for fd in pathlib.Path(f"/proc/{reader.pid}/fd").iterdir()]
    wait_until(opened, f"{path} is being read")
    return fifo


def scan(*args, input=b"", cwd=None):
    """apikey scan, without a store: (exit status, lines of output, standard error). No key is ever in either."""
    done = subprocess.run([APIKEY, "scan", *map(os.fspath, args)], input=input, capture_output=True, timeout=60, cwd=cwd, env=ENV)
    out, err = done.stdout.decode(), done.stderr.decode()
    assert not KEY.search(out + err)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", out + err)
    return done.returncode, out.splitlines(), err


def test_files_directories_and_standard_input(directory):
    deep = directory / "a" / "b" / ("c" * 200)
    deep.mkdir(parents=True)
    (directory / "one.env").write_text(f"# secrets\nPORT=80\nKEY=\"{a_key(1)}\"\n")
    (deep / "two.bin").write_bytes(b"\x7fELF\0\0\xff" + a_key(2, env="test").encode() + b"\0")
    (deep / "windows.txt").write_bytes(("\ufeffline\r\n" + a_key(3)).encode("utf-16-le"))
    (deep / "big-endian.txt").write_bytes(("\n\nkey " + a_key(4) + "\n").encode("utf-16-be"))
    (directory / "clean").write_text("nothing here: ak_live_ and " + a_key(5)[:-1] + "\n")
    code, lines, err = scan(directory)
    assert code == 1 and sorted(lines) == sorted([
        f"{directory}/one.env:3: ak_live_0000…", f"{deep}/two.bin:1: ak_test_0000…",
        f"{deep}/windows.txt:2: ak_live_0000…", f"{deep}/big-endian.txt:3: ak_live_0000…"])
    assert err.strip().startswith("4 keys in 4 of 5 files")
    assert scan("one.env", cwd=directory)[1] == ["one.env:3: ak_live_0000…"]
    assert scan(".", cwd=deep)[1][0].startswith("./")
    assert scan(directory / "clean")[:2] == (0, [])
    # Standard input, named or not; with no newline at its end.
    for args in ([], ["-"]):
        assert scan(*args, input=b"x\n\n" + a_key(6).encode())[:2] == (1, ["(standard input):3: ak_live_0000…"])
    assert scan("-", input=b"")[0] == 0
    assert scan(directory / "one.env", "-", directory / "clean", input=a_key(7).encode())[0] == 1


def test_json(directory):
    (directory / "f").write_text("ab\n  " + a_key(1, env="test") + a_key(2))
    code, lines, err = scan("--json", directory / "f")
    assert code == 1 and err == ""
    first, second = map(json.loads, lines)
    assert first == {"file": str(directory / "f"), "line": 2, "column": 3, "offset": 5, "start": "ak_test_0000", "env": "test"}
    assert (second["column"], second["offset"], second["env"]) == (49, 51, "live")


def test_prefixes(directory):
    (directory / "f").write_text("\n".join([a_key(1), a_key(2, "acme"), a_key(3, "k9"), a_key(4, "prefix7890123456")]))
    found = lambda *a: [int(line.rsplit(":", 2)[1]) for line in scan(*a, directory / "f")[1]]
    assert found() == [1] and found("--prefix", "acme") == [2] and found("--prefix", "k9", "--prefix", "acme", "--prefix", "prefix7890123456") == [2, 3, 4]
    for bad in "Ak", "a_k", "9a", "a" * 17, "":
        assert scan("--prefix", bad, directory / "f")[0] == 2
    # Of the configuration, if there is one.
    conf = directory / "conf"
    conf.write_text('key_prefix = "k9"\n')
    assert found("-c", conf) == [3]
    # One that is none is no leak either (its mistakes are told with the words that are there).
    assert scan("-c", directory / "f", directory / "f")[0] == 2 and scan("-c", "/nonexistent", directory / "f")[0] == 2


def test_across_blocks(directory):
    """Keys at every place around the ends of the blocks that are read, from a file and from a pipe in small pieces."""
    for start in (262144 - 70, 2 * 262144 - 70):
        text = bytearray(b"." * (3 * 262144))
        places = [start + 45 * i for i in range(3)]
        for i, at in enumerate(places):
            text[at:at + 46] = a_key(i).encode()
        for shift in range(0, 46, 5):
            (directory / "f").write_bytes(b"\n" * shift + text)
            found = [json.loads(line) for line in scan("--json", directory / "f")[1]]
            # They overlap by one byte: the last of each is overwritten by the next.
            assert [f["offset"] for f in found] == [places[-1] + shift]
        assert [json.loads(line)["offset"] for line in scan("--json", input=bytes(text))[1]] == [places[-1]]


def test_what_is_not_read(directory):
    """Links are not followed, special files are skipped, what is named is read through a link; what cannot be read is told."""
    outside = directory / "outside"
    outside.mkdir()
    (outside / "secret").write_text(a_key(1))
    tree = directory / "tree"
    tree.mkdir()
    (tree / "file-link").symlink_to(outside / "secret")
    (tree / "dir-link").symlink_to(outside)
    (tree / "loop").symlink_to(".")
    (tree / "dangling").symlink_to("nothing")
    os.mkfifo(tree / "fifo")
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(tree / "socket"))
        code, lines, err = scan(tree)
    assert code == 0 and lines == [] and err.count("not a regular file: skipped") == 2 and "2 skipped" in err
    assert scan(tree / "file-link")[0] == 1 and scan(tree / "dir-link")[0] == 1
    for missing in (tree / "dangling", tree / "nothing", "/dev/zero", "/proc"):
        code, lines, err = scan(missing)
        assert code == 2 and "1 could not be read" in err, err
    # A key that was found is told by the exit status, whatever else could not be read.
    assert scan(tree / "nothing", outside)[0] == 1
    assert scan("/proc/self/status")[0] == 0


def test_unreadable(directory):
    tree = directory / "tree"
    (tree / "closed").mkdir(parents=True)
    (tree / "open").write_text("nothing")
    (tree / "file").write_text(a_key(1))
    (tree / "file").chmod(0)
    (tree / "closed").chmod(0)
    if os.getuid() != 0:
        code, lines, err = scan(tree)
    else:
        # root reads everything: as somebody else
        os.chmod(directory, 0o755)
        shutil.copy(APIKEY, directory / "apikey")
        done = subprocess.run([directory / "apikey", "scan", tree], user=65534, group=65534, extra_groups=[], capture_output=True, text=True, env=ENV)
        code, lines, err = done.returncode, done.stdout.splitlines(), done.stderr
    assert code == 2 and lines == []
    assert f"{tree}/file: Permission denied" in err and f"{tree}/closed: Permission denied" in err
    assert "no keys in 1 file, 7 bytes; 2 could not be read" in err


def test_hostile_names(directory):
    """No name steers a terminal, none shows a key, and a key in a name is a finding."""
    names = [b"new\nline", b"esc\x1b[2Jape", b"bad\xff\xfeutf8", "right‮left".encode(), b"-dash", b"tab\there"]
    for name in names:
        pathlib.Path(os.fsdecode(os.fsencode(directory) + b"/" + name)).write_text(a_key(1))
    (directory / ("x" + a_key(2) + ".txt")).write_text("nothing")
    (directory / (a_key(3) + "d")).mkdir()
    (directory / (a_key(3) + "d") / "in").write_text(a_key(4))
    done = subprocess.run([APIKEY, "scan", directory], capture_output=True, env=ENV)
    assert done.returncode == 1
    out = done.stdout.decode()
    assert not KEY.search(out) and "‮" not in out and not re.search(r"[\x00-\x09\x0b-\x1f]", out)
    assert len(out.splitlines()) == len(names) + 3 and out.count("in its name") == 2
    as_json = subprocess.run([APIKEY, "scan", "--json", directory], capture_output=True, env=ENV).stdout.decode().splitlines()
    found = [json.loads(line)["file"] for line in as_json]
    assert f"{directory}/new\nline" in found and f"{directory}/bad??utf8" in found and not any(map(KEY.search, found))
    # Named by somebody.
    for name in names:
        path = os.fsencode(directory) + b"/" + name
        assert subprocess.run([APIKEY, "scan", path], capture_output=True, env=ENV).returncode == 1
    assert scan("--", "-dash", cwd=directory)[0] == 1
    # One that holds a key is an argument that holds a key.
    assert scan("x" + a_key(2) + ".txt", cwd=directory)[0] == 2


def test_a_fifo_that_is_named(directory):
    os.mkfifo(directory / "fifo")
    process = subprocess.Popen([APIKEY, "scan", directory / "fifo"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENV)
    with open_fifo(directory / "fifo", process) as fifo:
        for i in range(1000):
            fifo.write(b"line\n" + a_key(i).encode()[:20])
            fifo.write(a_key(i).encode()[20:] + b"\n")
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 1 and out.count(b"\n") == 1000 and b"fifo:2000: " in out


def test_holes_and_long_lines(directory):
    """A file of terabytes with nothing in it takes no time; a line may be as long as it likes."""
    with open(directory / "sparse", "wb") as f:
        f.write(b"\n" + a_key(1).encode())
        f.seek(1 << 40)
        f.write(a_key(2).encode())
        f.truncate(3 << 40)
    found = [json.loads(line) for line in scan("--json", directory / "sparse")[1]]
    assert [(f["offset"], f["line"]) for f in found] == [(1, 2), (1 << 40, 2)]
    (directory / "line").write_bytes(b"x" * 5_000_000 + a_key(3).encode() + b"y" * 5_000_000 + b"\n" + a_key(4).encode())
    found = [json.loads(line) for line in scan("--json", directory / "line")[1]]
    assert [(f["line"], f["column"]) for f in found] == [(1, 5_000_001), (2, 1)]


def test_deep_directories(directory):
    """Deeper than descriptors reach: told, not fatal, and what else is there is found."""
    path, depth = os.open(directory, os.O_RDONLY), 300
    for _ in range(depth):
        os.mkdir("d", dir_fd=path)
        below = os.open("d", os.O_RDONLY, dir_fd=path)
        os.close(path)
        path = below
    os.close(path)
    (directory / "key").write_text(a_key(1))
    code, lines, err = scan(directory)
    assert code == 1 and lines == [f"{directory}/key:1: ak_live_0000…"] and "too many directories" in err


def test_many_findings_in_little_memory(directory, scale):
    n = scale(200_000, 2_000_000)
    (directory / "f").write_bytes((a_key(1) + "\n").encode() * n)
    process = subprocess.Popen([APIKEY, "scan", directory / "f"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENV)
    peak, count = 0, 0
    for line in process.stdout:
        count += 1
        if count % 50000 == 0:
            status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
            rss = re.search(r"VmRSS:\s+(\d+)", status)
            peak = max(peak, int(rss[1]) if rss else 0)  # it may have ended already
    err = process.stderr.read().decode()
    assert process.wait() == 1 and count == n and err.startswith(f"{n} keys in 1 of 1 file")
    assert peak < 40_000, f"{peak} kB"


# ---- patches ----

@pytest.fixture
def repository(directory):
    repo = directory / "repo"
    repo.mkdir()

    def git(*args, **kw):
        return subprocess.run(["git", "-c", "user.name=n", "-c", "user.email=e@x", "-c", "commit.gpgsign=false", "-C", repo, *args],
                              check=kw.pop("check", True), capture_output=True, env={**ENV, "HOME": str(directory), "GIT_CONFIG_NOSYSTEM": "1",
                                                                                     "PATH": f"{pathlib.Path(APIKEY).parent}:{os.environ['PATH']}"}, **kw)
    git("init", "-q", "-b", "main")
    return repo, git


def test_git_history(repository):
    repo, git = repository
    (repo / "app.py").write_text("a\nb\nc\n")
    git("add", ".")
    git("commit", "-qm", "one")
    (repo / "app.py").write_text(f"a\nb\nkey = '{a_key(1)}'\nc\n")
    (repo / "with space.txt").write_text("-- x\n++ y\n" + a_key(2) + "\n")
    (repo / "naïve").write_bytes(b"\0\n" + a_key(3).encode())
    git("add", ".")
    git("commit", "-qm", "two\n\n++ b/none\n@@ -1 +1 @@\n" + a_key(4))
    two = git("rev-parse", "HEAD").stdout.decode().strip()
    (repo / "app.py").write_text("a\nb\nc\n")
    git("commit", "-qam", "three")
    three = git("rev-parse", "HEAD").stdout.decode().strip()
    history = git("log", "-p", "--all", "--text").stdout
    code, lines, err = scan("-", input=history)
    assert code == 1
    assert [line for line in lines if "standard input" not in line] == [
        f"{three[:12]}:app.py:3 (removed): ak_live_0000…", f"{two[:12]}:app.py:3: ak_live_0000…",
        f"{two[:12]}:na\\303\\257ve:2: ak_live_0000…", f"{two[:12]}:with space.txt:3: ak_live_0000…"]
    assert len(lines) == 5
    found = [json.loads(line) for line in scan("--json", "-", input=history)[1]]
    assert {"commit": two, "file": "with space.txt", "line": 3, "change": "added"} in [f["patch"] for f in found]
    assert [f["patch"]["change"] for f in found].count(None) == 1
    added = scan("--added", "-", input=history)[1]
    assert added == [line for line in lines if "(removed)" not in line]
    mails = git("format-patch", "--stdout", "--text", "--root", "HEAD").stdout
    assert f"{two[:12]}:app.py:3: ak_live_0000…" in scan("-", input=mails)[1]
    # In pieces of any size.
    process = subprocess.Popen([APIKEY, "scan", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=ENV)
    for i in range(0, len(history), 37):
        process.stdin.write(history[i:i + 37])
        process.stdin.flush()
    out, _ = process.communicate(timeout=30)
    assert out.decode().splitlines() == lines


def test_the_pre_commit_hook(repository):
    repo, git = repository
    hook = repo / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    shutil.copy(ROOT / "examples" / "git-pre-commit", hook)
    (repo / "config").write_text("one\ntwo\n")
    git("add", ".")
    git("commit", "-qm", "clean")
    (repo / "config").write_text(f"one\nkey={a_key(1)}\ntwo\n")
    git("add", ".")
    refused = git("commit", "-qm", "leak", check=False)
    err = refused.stderr.decode()
    assert refused.returncode == 1 and "config:2: ak_live_0000" in err and "--no-verify" in err and not KEY.search(err)
    git("commit", "-qm", "leak", "--no-verify")
    # Taking a key out, or changing what stands beside it, is no leak.
    (repo / "config").write_text("two\n")
    git("commit", "-qam", "mended")
    (repo / "blob").write_bytes(b"\0\1\2" + a_key(2, "acme").encode())
    git("add", ".")
    git("config", "apikey.prefix", "acme")
    assert b"blob:1: acme_live_0000" in git("commit", "-qm", "binary", check=False).stderr
    git("config", "apikey.prefix", "NOT A PREFIX")
    assert git("commit", "-qm", "broken", check=False).returncode == 1


# ---- the store ----

@pytest.fixture(scope="module", params=["alone", "with a keeper"])
def box(request):
    path = tempfile.mkdtemp(prefix="apikeyd-")
    d = Daemon(path + "/d")
    d.pepper()
    if request.param == "with a keeper":
        d.start()
    yield d
    d.stop()
    shutil.rmtree(path, ignore_errors=True)


def lookup(box, *args, input=None):
    done = box.tool("--json", "scan", *args, input=input)
    assert not KEY.search(done.stdout + done.stderr)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def test_lookup_tells_ids_and_states_alone(box, directory):
    made = {name: box.create(name) for name in ("active", "disabled", "revoked", "pending")}
    made["expired"] = box.expired()
    box.tool("disable", made["disabled"][0], check=0)
    box.tool("revoke", made["revoked"][0], check=0)
    box.tool("set", made["pending"][0], "--not-before", "2d", check=0)
    states = {name: box.json("show", kid)["state"] for name, (kid, _) in made.items()}
    text = "\n".join(key for _, key in made.values()) + "\n" + a_key(1) + "\n"
    before = box.json_lines("audit")
    code, found = lookup(box, "--lookup", "-", input=text)
    assert code == 1
    assert [(f["lookup"], f["id"], f["state"]) for f in found] == [("known", kid, states[name]) for name, (kid, _) in made.items()] + [("unknown", None, None)]
    assert {tuple(f) for f in found} == {("file", "line", "column", "offset", "start", "env", "lookup", "id", "state", "until")}
    # Looking is reading: nothing is marked, nothing in the trail.
    assert box.json_lines("audit") == before and box.json("show", made["active"][0])["exposed"] is None
    lines = box.tool("scan", "--lookup", "-", input=text, check=1).stdout.splitlines()
    assert lines[0].endswith(f"{made['active'][0]} active") and lines[-1].endswith(" unknown")
    assert box.tool("scan", "--lookup", "-", input="nothing", check=0).stdout == ""


def test_revoke_acts_once_on_what_is_live(box, directory):
    kid, key = box.create("leaky")
    off, off_key = box.create("off")
    gone, gone_key = box.create("gone")
    safe, _ = box.create("safe")
    box.tool("disable", off, check=0)
    box.tool("revoke", gone, "--reason", "before", check=0)
    for i in range(5):
        (directory / f"f{i}").write_text("\n" * i + key)
    (directory / "more").write_text(f"{off_key} {gone_key} {a_key(1)}")
    code, found = lookup(box, "--revoke", directory)
    assert code == 1 and len(found) == 8 + 2
    acted = {f["id"]: f["reason"] for f in found if f.get("revoked_now")}
    assert set(acted) == {kid, off}
    shown = box.json("show", kid)
    assert shown["state"] == "revoked" and re.fullmatch(rf"found by apikey scan in {directory}/f(\d):(\d)", shown["reason"]) and shown["reason"] == acted[kid]
    assert box.json("show", gone)["reason"] == "before" and box.json("show", safe)["state"] == "active"
    assert [e["op"] for e in box.json_lines("audit", "--key", kid)] == ["key.create", "key.revoke"]
    # A second time there is nothing left to be done.
    code, found = lookup(box, "--revoke", "--yes", directory)
    assert code == 1 and not any(f.get("revoked_now") for f in found) and {f["state"] for f in found} == {"revoked", None}


def test_a_replaced_secret_takes_nothing_along(box, directory):
    """What was rotated because it leaked is found for ever: the key that came after it stays. While its grace lasts that is what is ended."""
    kid, old = box.create("rotated")
    fresh = box.json("rotate", kid, "--grace", "1h")["key"]
    assert "replaced, works until 20" in box.tool("scan", "--lookup", "-", input=old, check=1).stdout
    code, found = lookup(box, "--revoke", "-", input=f"{old} {old}")
    assert code == 1 and [(f["id"], f["state"]) for f in found] == [(kid, "replaced")] * 3 and found[0]["until"] == found[1]["until"] > found[0]["until"][:4]
    assert found[2]["revoked_now"] and found[2]["reason"] == "found by apikey scan in standard input:1"
    shown = box.json("show", kid)
    assert shown["state"] == "active" and shown["reason"] is None and shown["previous_until"] <= shown["changed"]
    assert box.json("check", input=fresh)["code"] == "ok"
    assert json.loads(box.tool("--json", "check", input=old, check=1).stdout)["code"] == "key_expired"
    [ended] = [e["detail"] for e in box.json_lines("audit", "--key", kid) if e["op"] == "key.end_old_secret"]
    assert ended == {"previous_until": {"from": found[0]["until"], "to": shown["previous_until"]}, "reason": found[2]["reason"]}
    # What is over stays over, and says nothing of the key.
    code, found = lookup(box, "--revoke", "-", input=old)
    assert code == 1 and [(f["id"], f["state"], f["until"]) for f in found] == [(kid, "replaced", None)]
    code, found = lookup(box, "--revoke", "-", input=f"{old} {fresh}")
    assert [f["state"] for f in found] == ["replaced", "active", "revoked"] and box.json("show", kid)["state"] == "revoked"


def test_long_names_and_bad_ones_in_the_reason(box, directory):
    path = os.fsencode(directory) + b"/" + b"\xff\x1b" + b"d" * 200
    os.mkdir(path)
    kid, key = box.create("long")
    with open(path + b"/" + "ä".encode() * 100 + b".txt", "w") as f:
        f.write("\n\n" + key)
    code, found = lookup(box, "--revoke", directory)
    reason = box.json("show", kid)["reason"]
    assert code == 1 and reason.startswith("found by apikey scan in ") and reason.endswith("ä.txt:3") and len(reason.encode()) <= 256


def test_many_keys_are_asked_about_in_batches(box, directory, scale):
    made = dict(box.create("crowd") for _ in range(scale(5, 300)))
    n = 1000
    keys = [a_key(i) for i in range(n)] + list(made.values())
    text = "\n".join(keys + keys)
    code, found = lookup(box, "--lookup", "-", input=text)
    assert code == 1 and [f["line"] for f in found] == list(range(1, 2 * len(keys) + 1))
    assert [f["id"] for f in found] == 2 * ([None] * n + list(made))


def test_what_is_found_in_a_slow_pipe_is_told_at_once(box):
    """Of a log that is followed nothing waits for the next line, looked up or not."""
    kid, key = box.create("followed")
    for args in ["scan", "-"], ["scan", "--lookup", "-"]:
        process = subprocess.Popen([APIKEY, "-c", box.conf, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                   env={**os.environ, "LC_ALL": "C.UTF-8"})
        for line in 1, 2:
            process.stdin.write(key.encode() + b"\n")
            process.stdin.flush()
            assert select.select([process.stdout], [], [], 20)[0], "nothing was told"
            out = os.read(process.stdout.fileno(), 1000).decode()
            assert out.startswith(f"(standard input):{line}: {key[:12]}") and out.count("\n") == 1 and (kid in out) == ("--lookup" in args)
        process.stdin.close()
        assert process.wait(20) == 1


def test_usage(box, directory):
    box.tool("scan", "--yes", directory, check=2)
    box.tool("scan", "--nonsense", directory, check=2)
    box.tool("scan", "", check=2)


def test_without_a_store(directory):
    (directory / "f").write_text(a_key(1))
    d = Daemon(directory / "d")
    assert d.tool("scan", directory / "f", check=1).stdout
    done = d.tool("scan", "--lookup", directory / "f", check=3)
    assert done.stdout == "" and "apikey pepper add" in done.stderr
    assert subprocess.run([APIKEY, "-c", "/nonexistent", "scan", "--lookup", directory / "f"], capture_output=True).returncode == 2


def test_the_store_goes_away_meanwhile(directory):
    """What was found is told all the same, and the exit status says that it could not be looked up."""
    d = Daemon(directory / "d")
    kid, key = d.start().create("acme")
    process = subprocess.Popen([APIKEY, "-c", d.conf, "scan", "--lookup", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               env=ENV)
    process.stdin.write("x" * 10)
    process.stdin.flush()
    # It reads: the store was there when it was asked first.
    waiting = lambda: struct.unpack("i", fcntl.ioctl(process.stdin, termios.FIONREAD, b"\0" * 4))[0]
    wait_until(lambda: waiting() == 0, "what was written was read")
    shutil.move(d.settings["pepper_file"], directory / "elsewhere")
    d.stop()
    out, err = process.communicate(key + "\n", timeout=60)
    assert process.returncode == 3 and "could not be looked up" in out and key not in out + err and "apikey: scan: " in err


# ---- people ----

class Terminal:
    def __init__(self, *args, stdin=None):
        self.parent, child = pty.openpty()
        fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 200, 0, 0))
        self.bytes, self.text = b"", ""
        self.process = subprocess.Popen([APIKEY, *map(str, args)], stdin=stdin or child, stdout=child, stderr=child, start_new_session=True,
                                        preexec_fn=lambda: fcntl.ioctl(1, termios.TIOCSCTTY, 0), env={**ENV, "TERM": "dumb"})
        os.close(child)

    def seen(self):
        """All that was written until now."""
        while select.select([self.parent], [], [], 0)[0]:
            try:
                self.bytes += os.read(self.parent, 65536)
            except OSError:
                break  # the other side is closed
        self.text = self.bytes.decode(errors="replace")
        return self.text

    def read(self, until):
        wait_until(lambda: re.search(until, self.seen()), f"{until!r} is on the terminal: {self.text!r}")

    def type(self, text):
        os.write(self.parent, text.encode())

    def end(self):
        wait_until(lambda: self.seen() is not None and self.process.poll() is not None, "it ends")
        self.seen()
        os.close(self.parent)
        return self.process.returncode


def test_asks_first_on_a_terminal(directory):
    d = Daemon(directory / "d")
    d.pepper()
    kid, key = d.create("acme")
    # Twice, with more between than is asked about at once: it is one key.
    (directory / "f").write_text("\n".join([key, *map(a_key, range(300)), key]))
    for answer in "\n", "n\n", "x\n":
        t = Terminal("-c", d.conf, "scan", "--revoke", directory / "f")
        t.read(r"Revoke 1 key\?")
        t.type(answer)
        assert t.end() == 1 and "1 known key was not revoked" in t.text and key not in t.text
        assert d.json("show", kid)["state"] == "active"
    # Also when standard input is what is searched: then the terminal is asked.
    with open(directory / "f") as f:
        t = Terminal("-c", d.conf, "scan", "--revoke", "-", stdin=f)
        t.read(r"Revoke 1 key\?")
        t.type("y\n")
        assert t.end() == 1
    assert d.json("show", kid)["state"] == "revoked" and d.json("show", kid)["reason"] == "found by apikey scan in standard input:1"
    kid, key = d.create("acme")
    (directory / "f").write_text(key)
    t = Terminal("-c", d.conf, "scan", "--revoke", "-y", directory / "f")
    assert t.end() == 1 and "Revoke 1" not in t.text and d.json("show", kid)["state"] == "revoked"


def test_progress_and_interruption(directory):
    """Progress on a terminal alone, erased behind it; Ctrl-C tells what was found so far."""
    os.mkfifo(directory / "fifo")
    t = Terminal("scan", directory / "fifo")
    with open_fifo(directory / "fifo", t.process) as fifo:
        fifo.write((a_key(1) + "\n").encode())
        t.read(r"fifo:1: ak_live_0000…")
        # Drawn when time has passed and something came.
        wait_until(lambda: fifo.write(b"\n") and "0 files, " in t.seen() and ": 1 found" in t.text, "progress is drawn")
        fifo.write((a_key(2) + "\n").encode())
        t.read(r"\r +\r[^\r]*fifo:\d+: ak_live_0000…")
        t.type("\x03")
        assert t.end() == -signal.SIGINT
    assert re.search(r"interrupted: so far 2 keys in 1 of 1 file, ", t.text)
    assert not KEY.search(t.text)
    code, _, err = scan("-", input=a_key(1).encode())
    assert "\x1b" not in err and "\r" not in err


SWAPS = """
import ctypes, sys
swap = ctypes.CDLL(None).renameat2
pairs = [tuple(name.encode() for name in pair.split("=")) for pair in sys.argv[1:]]
while True:
    for one, other in pairs:
        swap(-100, one, -100, other, 2)
"""


def test_no_swap_leads_out(directory, scale):
    """A file and a directory change places with links out of the tree, without end: what the links lead to is never searched.
    (Without O_NOFOLLOW it is in 1 of 50 runs: --long surely sees it.)"""
    for name in "tree/dir", "out", "other":
        (directory / name).mkdir(parents=True)
    (directory / "tree" / "file").write_text("nothing")
    (directory / "out" / "secret").write_text(a_key(1))
    (directory / "other" / "file").symlink_to("../out/secret")
    (directory / "other" / "dir").symlink_to("../out")
    swapper = subprocess.Popen([sys.executable, "-c", SWAPS, *(f"{directory}/tree/{name}={directory}/other/{name}" for name in ("file", "dir"))])
    try:
        wait_until(lambda: (directory / "tree" / "file").is_symlink(), "they change places")
        for _ in range(scale(20, 500)):
            code, lines, err = scan(directory / "tree")
            # A link that came in the last moment could not be opened: that is told.
            assert code in (0, 2) and lines == []
    finally:
        swapper.kill()
        swapper.wait()


def test_files_that_shrink_and_grow(directory):
    """Files change under it: it ends, and takes no harm."""
    path = directory / "f"
    stop = threading.Event()

    def change():
        while not stop.is_set():
            with open(path, "wb") as f:
                f.write(b"x" * 3_000_000)
            os.truncate(path, 10)
    path.write_bytes(b"x")
    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(30):
            assert scan(path)[0] == 0
    finally:
        stop.set()
        thread.join()
