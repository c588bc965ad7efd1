"""Goal: peppers are added and retired online, under load and kills, and no key is ever lost between two versions. Invariants 3 and 5."""

import os
import pathlib
import random
import shutil
import signal
import threading

from harness import fcgi
from harness.daemon import kill, wait_until


def versions(daemon):
    return {p["version"]: p for p in daemon.json_lines("pepper", "list")}


def in_file(daemon):
    lines = pathlib.Path(daemon.settings["pepper_file"]).read_text().splitlines()
    return [int(line.split()[0]) for line in lines if line and line[0] != "#"]


class Load:
    """Clients that use valid keys without pause; what they are told is kept."""

    def __init__(self, daemon, keys, clients=2):
        self.daemon, self.keys = daemon, keys
        self.told, self.rounds = {}, [0] * clients
        self.ended = threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(i,), daemon=True) for i in range(clients)]

    def run(self, n):
        connection = None
        while not self.ended.is_set():
            admitted = True
            for key in self.keys[n::len(self.threads)]:
                try:
                    if connection is None:
                        connection = self.daemon.connect(timeout=30)
                    answer = connection.request(fcgi.params_for(key))
                    told = answer.status, answer.json().get("code")
                except (OSError, EOFError):
                    connection, told = None, ("connection", None)
                self.told[told] = self.told.get(told, 0) + 1
                admitted = admitted and told[0] == 200
            self.rounds[n] += admitted
        if connection is not None:
            connection.close()

    def whole_rounds(self, n):
        """Every key has been used n more times, from begin to end, each time with success."""
        begin = list(self.rounds)
        wait_until(lambda: all(now > then + n for now, then in zip(self.rounds, begin)), f"{n} rounds of load, {self.told}", 60)

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        for t in self.threads:
            t.join(40)


def test_added_and_retired_under_load_and_kills(daemon, scale):
    """Valid keys answer 200 or 503, never 401, while versions come and go and keeper and tool are killed at random."""
    daemon.start()
    keys = [daemon.create(f"owner{n % 3}")[1] for n in range(scale(12, 60))]
    dice = random.Random(7)
    with Load(daemon, keys) as load:
        load.whole_rounds(1)
        for _ in range(scale(7, 60)):
            if dice.random() < 0.7:
                kill(daemon.keeper_pid())
            daemon.tool("pepper", "add")
            if dice.random() < 0.7:
                kill(daemon.keeper_pid())
            # At once, while most keys are under the older versions, and when all were used: refused, killed on its way, or done.
            for rounds in 0, 1:
                if rounds:
                    load.whole_rounds(rounds)
                for version in sorted(in_file(daemon))[:-1]:
                    daemon.tool("pepper", "retire", version)
                    if dice.random() < 0.4:
                        kill(daemon.keeper_pid())
        wait_until(lambda: daemon.tool("pepper", "list").returncode == 0, "a keeper answers")
        load.whole_rounds(2)
        # All of them are under the newest now, and everything else can go.
        newest = max(in_file(daemon))
        for version in sorted(in_file(daemon))[:-1]:
            daemon.tool("pepper", "retire", version, check=0)
        load.whole_rounds(1)
    assert set(load.told) <= {(200, None), (503, "unavailable")} and load.told[200, None] > 100, load.told
    assert in_file(daemon) == [newest]
    assert versions(daemon)[newest]["keys"] == len(keys)
    daemon.stop()
    assert "is whole" in daemon.tool("db", "verify", check=0).stdout
    daemon.start()
    assert {daemon.ask(key).status for key in keys} == {200}


def test_refused_while_keys_need_it(daemon):
    daemon.start()
    used, key = daemon.create()
    idle, other = daemon.create()
    done = daemon.tool("pepper", "retire", 1, check=1)
    assert "newest" in done.stderr and len(done.stderr.splitlines()) == 1
    daemon.pepper()
    assert daemon.ask(key).status == 200
    assert {v: p["keys"] for v, p in versions(daemon).items()} == {1: 1, 2: 1}
    assert "--force" in daemon.tool("pepper", "retire", 1, check=1).stderr
    assert [k["id"] for k in daemon.json_lines("list", "--pepper", 1)] == [idle]
    # A disabled key needs it too; a revoked one does not.
    daemon.tool("disable", idle, check=0)
    daemon.tool("pepper", "retire", 1, check=1)
    daemon.tool("revoke", idle, check=0)
    done = daemon.json("pepper", "retire", 1)
    assert done == {"version": 1, "lost": 0, "source": "file", "removed": True}
    assert in_file(daemon) == [2] and oct(os.stat(daemon.settings["pepper_file"]).st_mode & 0o7777) == "0o400"
    assert daemon.ask(key).status == 200 and daemon.ask(other).json()["code"] == "key_invalid"
    assert versions(daemon)[1] == {"version": 1, "keys": 0, "previous": 0, "revoked": 1, "newest": False, "in_use": False}
    assert [a["detail"] for a in daemon.json_lines("audit") if a["op"] == "pepper.retire"][-1]["version"] == 1
    assert daemon.tool("pepper", "retire", 9).returncode == 1
    for wrong in "0", "x", "-1", "4294967296":
        assert daemon.tool("pepper", "retire", "--", wrong).returncode == 2, wrong


def test_by_force(daemon):
    daemon.start()
    lost, key = daemon.create()
    daemon.pepper()
    done = daemon.tool("pepper", "retire", 1, "--force", check=0)
    assert "keys lost: 1" in done.stdout
    assert daemon.ask(key).json()["code"] == "key_invalid"
    assert [k["id"] for k in daemon.json_lines("list", "--pepper", 1)] == [lost]
    assert "gone" in daemon.tool("pepper", "list", check=0).stdout
    daemon.stop()
    daemon.start()
    assert daemon.create()[1]


def test_a_missing_version_is_missed(daemon):
    """A file from before the last add, with keys under the one that it lacks: not served; the file comes back, or the keys are given up."""
    daemon.start()
    path = pathlib.Path(daemon.settings["pepper_file"])
    shutil.copy(path, path.with_suffix(".old"))
    _, key = daemon.create()
    daemon.pepper()
    assert daemon.ask(key).status == 200
    daemon.stop()
    path.rename(path.with_suffix(".new"))
    shutil.copy(path.with_suffix(".old"), path)
    path.chmod(0o400)
    done = daemon.tool("create", "--owner", "x", check=1)
    assert "pepper 2 is not in" in done.stderr and "1 keys" in done.stderr
    assert daemon.start(wait=False).process.wait(30) != 0
    assert "pepper 2 is not in" in daemon.log()
    shutil.copy(path.with_suffix(".new"), path)
    path.chmod(0o400)
    daemon.start()
    assert daemon.ask(key).status == 200
    # One that runs keeps what it has, whatever becomes of the file.
    shutil.copy(path.with_suffix(".old"), path)
    path.chmod(0o400)
    os.kill(daemon.keeper_pid(), signal.SIGHUP)
    wait_until(lambda: "event=peppers_kept" in daemon.log(), "the keeper says that it keeps its peppers")
    assert daemon.ask(key).status == 200
    daemon.stop()
    shutil.copy(path.with_suffix(".old"), path)
    path.chmod(0o400)
    daemon.tool("pepper", "retire", 2, "--force", check=0)
    daemon.start()
    assert daemon.ask(key).json()["code"] == "key_invalid"


def test_a_credential_cannot_be_written(daemon, directory):
    """With systemd's credential the tool says what to do instead of writing a file that nobody reads."""
    daemon.pepper()
    daemon.pepper()
    credentials = directory / "credentials"
    credentials.mkdir(mode=0o700)
    shutil.move(daemon.settings["pepper_file"], credentials / "peppers")
    pathlib.Path(daemon.settings["pepper_file"]).write_text("1 " + "0" * 64 + "\n")
    os.chmod(daemon.settings["pepper_file"], 0o400)
    daemon.start(env={"CREDENTIALS_DIRECTORY": str(credentials)})
    done = daemon.tool("pepper", "add", check=1)
    assert "3 $(openssl rand -hex 32)" in done.stderr
    assert in_file(daemon) == [1]
    # Retired in the store; the line is passed over until it is taken out.
    done = daemon.tool("pepper", "retire", 1, check=0)
    assert "credential" in done.stderr
    assert list(versions(daemon)) == [2]
    daemon.stop()
    daemon.start(env={"CREDENTIALS_DIRECTORY": str(credentials)})
    assert list(versions(daemon)) == [2]
