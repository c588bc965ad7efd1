"""Goal: keys of another system come in by their SHA-256 and work as they are; bulk import is all or nothing by batch, tells every refused line, and can be gone on with.

Invariants 3, 4 and 5: what was told as imported is there, and neither a key nor its hash is in any file or message.
"""

import base64
import contextlib
import hashlib
import json
import signal
import subprocess
import threading

from harness.daemon import APIKEY, Daemon, kill, wait_until

FOREIGN = "legacy-7f3a.9c1e~b2/d4+55=="


def digest(key):
    return "sha256:" + hashlib.sha256(key.encode()).hexdigest()


def code(answer):
    return "ok" if answer.status == 200 else answer.json()["code"]


def lines(records):
    return "".join(json.dumps(r) + "\n" for r in records)


def load(daemon, records, *args, check=None):
    """(exit status, told lines, the tally)"""
    done = daemon.tool("--json", "import", *args, input=records if isinstance(records, str) else lines(records), check=check)
    told = [json.loads(line) for line in done.stdout.splitlines()]
    return done.returncode, told[:-1], told[-1]


# ---- one key by its hash ----

def test_a_foreign_key(daemon):
    daemon.write_conf(accept_foreign_keys=True)
    daemon.start()
    assert code(daemon.ask(FOREIGN)) == "key_invalid"
    made = daemon.json("create", "--owner", "acme", "--import-digest", digest(FOREIGN), "--start", "legacy-7", "--scope", "a:b", "--env", "test")
    assert "key" not in made and made["imported"] is True and made["start"] == "legacy-7" and made["env"] == "test"
    answer = daemon.ask(FOREIGN)
    assert answer.status == 200 and answer.json()["key"]["id"] == made["id"]
    assert daemon.ask(None, HTTP_AUTHORIZATION=f"Bearer {FOREIGN}").status == 200
    # Neither the hash, nor anything near the key, is one.
    for wrong in FOREIGN[:-1], FOREIGN + "x", hashlib.sha256(FOREIGN.encode()).hexdigest(), digest(FOREIGN), "x", "y" * 512, "z" * 513:
        assert code(daemon.ask(wrong)) == "key_invalid", wrong
    # It goes the way of all keys.
    daemon.tool("disable", made["id"], check=0)
    assert code(daemon.ask(FOREIGN)) == "key_disabled"
    daemon.tool("enable", made["id"], check=0)
    daemon.pepper()
    assert daemon.ask(FOREIGN).status == 200
    daemon.tool("pepper", "retire", 1, check=0)
    kill(daemon.keeper_pid())
    wait_until(lambda: daemon.ask(FOREIGN).status == 200, "it is known under the new pepper, after a kill")
    daemon.tool("revoke", made["id"], check=0)
    assert code(daemon.ask(FOREIGN)) == "key_revoked"
    # Once there, by whatever pepper, it cannot be brought in again: a revoked key stays revoked.
    done = daemon.tool("create", "--owner", "other", "--import-digest", digest(FOREIGN), check=1)
    assert made["id"] in done.stderr and digest(FOREIGN)[7:] not in done.stderr


def test_rotated(daemon):
    """An imported key is rotated into one of our own; the old one works through its grace."""
    daemon.write_conf(accept_foreign_keys=True)
    daemon.start()
    made = daemon.json("create", "--owner", "acme", "--import-digest", digest(FOREIGN))
    fresh = daemon.json("rotate", made["id"], "--grace", "1d")
    assert fresh["id"] == made["id"] and fresh["imported"] is False
    assert daemon.ask(fresh["key"]).status == 200 and daemon.ask(FOREIGN).status == 200
    daemon.pepper()
    assert daemon.ask(FOREIGN).status == 200 and daemon.ask(fresh["key"]).status == 200
    daemon.tool("pepper", "retire", 1, check=0)
    assert daemon.ask(FOREIGN).status == 200 and daemon.ask(fresh["key"]).status == 200


def test_only_where_accepted(daemon):
    """Without accept_foreign_keys a foreign form is refused by its form; keys of our own form work when imported."""
    daemon.start()
    other = Daemon(daemon.dir / "other")
    other.pepper()
    own = other.create()[1]
    daemon.json("create", "--owner", "acme", "--import-digest", digest(FOREIGN))
    daemon.json("create", "--owner", "acme", "--import-digest", digest(own))
    assert code(daemon.ask(FOREIGN)) == "key_invalid" and daemon.ask(own).status == 200
    assert "form" in daemon.tool("check", input=FOREIGN + "\n", check=1).stdout
    daemon.write_conf(accept_foreign_keys=True)
    daemon.process.send_signal(signal.SIGHUP)
    wait_until(lambda: daemon.ask(FOREIGN).status == 200, "the setting is taken up")
    assert "accept_foreign_keys" in daemon.tool("check", input=FOREIGN + "\n", check=0).stdout


def test_digests_that_are_none(daemon):
    daemon.start()
    for wrong in "", "sha256:", "sha256:" + "0" * 63, "sha256:" + "g" * 64, "sha512:" + "0" * 64, "0" * 64, "sha256:" + "0" * 65:
        done = daemon.tool("create", "--owner", "acme", "--import-digest", wrong)
        assert done.returncode == 2 and (len(wrong) < 60 or wrong[7:] not in done.stderr), wrong
    assert daemon.tool("create", "--owner", "acme", "--start", "x").returncode == 2
    assert daemon.tool("create", "--owner", "acme", "--quiet", "--import-digest", digest("x")).returncode == 2
    assert daemon.json_lines("list") == []


def test_foreign_keys_where_they_must_not_be(daemon):
    """In a named parameter of the URL, and over plain HTTP: refused and marked, whatever the form."""
    daemon.write_conf(accept_foreign_keys=True)
    daemon.start()
    key = "F0reign.key-of.32.characters!!!!"
    made = daemon.json("create", "--owner", "acme", "--import-digest", digest(key))
    answer = daemon.ask(None, REQUEST_URI=f"/x?api_key={key}", QUERY_STRING=f"api_key={key}")
    assert code(answer) == "key_in_url"
    wait_until(lambda: "url" in daemon.json("show", made["id"])["exposed_ways"], "the mark is there")
    assert code(daemon.ask(key, HTTPS=None, REQUEST_SCHEME="http")) == "https_required"
    wait_until(lambda: "http" in daemon.json("show", made["id"])["exposed_ways"], "the other mark is there")
    # What is short is taken for something else, and so is what stands under another name.
    assert code(daemon.ask(key, REQUEST_URI="/x?key=name", QUERY_STRING="key=name")) == "ok"
    assert code(daemon.ask(key, REQUEST_URI=f"/x?page={key}", QUERY_STRING=f"page={key}")) == "ok"
    assert key not in daemon.log()


def test_nothing_of_it_is_left(daemon):
    """Invariant 4: neither the key nor its SHA-256 is in the store, the log, or the audit trail, in any form."""
    daemon.write_conf(accept_foreign_keys=True)
    daemon.start()
    key = "weak-key"
    daemon.json("create", "--owner", "acme", "--import-digest", digest(key))
    load(daemon, [{"owner": "acme", "digest": digest("weak-2")}], check=0)
    load(daemon, [{"owner": "acme", "digest": digest("weak-2")}], check=1)
    assert daemon.ask(key).status == 200 and daemon.ask("weak-2").status == 200
    said = daemon.tool("--json", "audit", check=0).stdout + daemon.tool("--json", "list", check=0).stdout
    daemon.stop()
    needles = []
    for one in (key, "weak-2"):
        raw = hashlib.sha256(one.encode()).digest()
        needles += [one.encode(), raw, raw.hex().encode(), base64.b64encode(raw).rstrip(b"=")]
    for path in [p for p in daemon.dir.rglob("*") if p.is_file()]:
        assert not [n for n in needles if n in path.read_bytes()], path
    assert not [n for n in needles if n in said.encode()]


# ---- many ----

def test_bulk(daemon):
    daemon.write_conf(accept_foreign_keys=True)
    daemon.start()
    daemon.tool("plan", "set", "gold", "--limit", "m=5/60s", check=0)
    records = [{"owner": f"o{n % 3}", "digest": digest(f"foreign-{n}"), "member": "ann", "plan": "gold", "scopes": ["a:b"], "meta": {"n": str(n)}} for n in range(120)]
    records += [{"owner": "new"}, {"owner": "new", "env": "test", "state": "disabled"}]
    status, told, tally = load(daemon, records)
    assert status == 0 and tally == {"imported": 122, "existing": 0, "refused": 0, "not_imported": 0}
    assert [t["line"] for t in told] == list(range(1, 123))
    assert ["key" in t for t in told] == [False] * 120 + [True] * 2
    assert code(daemon.ask("foreign-7")) == "ok" and daemon.ask(told[120]["key"]).status == 200
    assert told[121]["key"].startswith("ak_test_") and code(daemon.ask(told[121]["key"])) == "key_disabled"
    shown = daemon.json("show", told[7]["id"])
    assert (shown["owner"], shown["member"], shown["plan"], shown["scopes"], shown["meta"]) == ("o1", "ann", "gold", ["a:b"], {"n": "7"})
    assert [a["op"] for a in daemon.json_lines("audit", "--key", told[7]["id"])] == ["key.import"]
    # The same again: all of it is there. To go on with a file is to pass that over.
    status, again, tally = load(daemon, records[:120])
    assert status == 1 and tally["imported"] == 0 and tally["refused"] == 120 and "already" in again[0]["message"]
    status, again, tally = load(daemon, records[:120] + [{"owner": "o9", "digest": digest("one more")}], "--skip-existing")
    assert status == 0 and (tally["imported"], tally["existing"]) == (1, 120)
    assert {t["id"] for t in again if t["result"] == "existing"} == {t["id"] for t in told[:120]}
    assert len(daemon.json_lines("list")) == 123


def test_all_or_nothing_by_batch(daemon):
    daemon.pepper()
    good = [{"owner": "acme", "digest": digest(f"k{n}")} for n in range(10)]
    records = [*good[:5], {"owner": "acme", "plan": "no-such"}, {"owner": ""}, *good[5:]]
    text = lines(records[:6]) + "not json\n\n" + lines(records[6:])
    file = daemon.dir / "keys"
    file.write_text(text)
    done = daemon.tool("import", "--batch", "5", str(file), check=1)
    report = done.stderr.splitlines()
    assert [line.split(": ")[0] for line in report[:3]] == [f"{file}:7", f"{file}:6", f"{file}:9"]
    assert "no plan" in report[1] and "owner" in report[2] and report[3] == f"{file}:6-11: 2 lines not imported because of line 7"
    assert report[4:] == ["8 imported, 0 there already, 3 refused, 2 not imported with them"]
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [t["line"] for t in told] == [1, 2, 3, 4, 5, 12, 13, 14]
    assert len(daemon.json_lines("list")) == 8
    # Mended, and gone on with.
    file.write_text(lines(good))
    done = daemon.tool("import", "--skip-existing", str(file), check=0)
    assert done.stderr.splitlines() == ["2 imported, 8 there already, 0 refused, 0 not imported with them"]


REFUSED = [
    ({}, "owner"),
    ({"owner": 5}, "owner"),
    ({"owner": "a", "colour": "red"}, "colour"),
    ({"owner": "a", "key": "x" * 50}, "key"),
    ({"owner": "a", "digest": "sha256:0"}, "digest"),
    ({"owner": "a", "digest": 5}, "digest"),
    ({"owner": "a", "id": "key_1"}, "id"),
    ({"owner": "a", "state": "odd"}, "state"),
    ({"owner": "a", "created": "yesterday"}, "created"),
    ({"owner": "a", "exposed_ways": ["moon"]}, "exposed_ways"),
    ({"owner": "a", "allow_ips": ["10.0.0.1/8"]}, "allow_ips"),
    ({"owner": "a", "scopes": ["not a scope"]}, "scope"),
    ({"owner": "a", "digest": digest("a"), "start": "x" * 40}, "start"),
]


def test_refused_lines(daemon):
    daemon.start()
    for record, words in REFUSED:
        status, told, tally = load(daemon, [{"owner": "fine"}, record])
        assert status == 1 and tally == {"imported": 0, "existing": 0, "refused": 1, "not_imported": 1}, record
        assert told[0]["line"] == 2 and words in told[0]["message"] and told[1]["because_of"] == 2, record
    assert daemon.json_lines("list") == []


def test_lines_of_any_length(daemon):
    daemon.pepper()
    text = '{"owner":"a"}\r\n' + '{"owner":"' + "x" * 300000 + '"}\n \t\n' + '{"owner":"b","meta":{"m":"' + "y" * 4000 + '"}}\n' + "z" * 100002 + '\n{"owner":"last"}'
    status, told, tally = load(daemon, text, "--batch", "1")
    assert [(t["line"], t.get("result", t.get("message"))) for t in told] == [
        (1, "imported"), (2, "longer than 100000 bytes"), (4, "imported"), (5, "longer than 100000 bytes"), (6, "imported")]
    assert tally == {"imported": 3, "existing": 0, "refused": 2, "not_imported": 0} and status == 1
    assert daemon.tool("import", str(daemon.dir / "none")).returncode == 2
    assert daemon.tool("import", str(daemon.dir)).returncode != 0
    assert daemon.tool("import", "--batch", "0", input="").returncode == 2 and daemon.tool("import", "--batch", "101", input="").returncode == 2
    assert load(daemon, "")[2]["imported"] == 0


def test_conflicts_within_a_file(daemon):
    daemon.pepper()
    twice = {"owner": "a", "digest": digest("twice")}
    assert load(daemon, [twice, twice])[2]["refused"] == 1
    ids = {"owner": "a", "id": "key_0123456789abcdef"}
    assert load(daemon, [ids, ids])[2]["refused"] == 1
    assert daemon.json_lines("list") == []
    assert load(daemon, [{**ids, **twice}])[0] == 0
    # The same id with another secret, the same secret under another id: not the same key, so never passed over.
    for other in {**ids, "digest": digest("else")}, {**twice, "id": "key_fedcba9876543210"}:
        status, told, _ = load(daemon, [other], "--skip-existing")
        assert status == 1 and told[0]["error"] == "conflict"
    # What cannot be recognised again would be made twice.
    assert load(daemon, [{"owner": "a"}], "--skip-existing")[0] == 1
    status, told, tally = load(daemon, [{"owner": "b"}], "--dry-run")
    assert (status, told, tally["imported"]) == (0, [], 1) and len(daemon.json_lines("list")) == 1


def test_export_is_what_import_takes(daemon, directory):
    daemon.start()
    daemon.tool("plan", "set", "gold", "--limit", "m=5/60s", check=0)
    first = daemon.json("create", "--owner", "acme", "--member", "ann", "--plan", "gold", "--scope", "a:b", "--allow-ip", "10.0.0.0/8", "--expires", "30d", "--meta", "k=v")
    off = daemon.json("create", "--owner", "acme")
    gone = daemon.json("create", "--owner", "other")
    daemon.tool("disable", off["id"], check=0)
    daemon.tool("revoke", gone["id"], "--reason", "left", check=0)
    daemon.tool("owner", "disable", "acme", check=0)
    out = daemon.tool("export", check=0).stdout
    assert first["key"] not in out and '"digest"' not in out and len(out.splitlines()) == 3
    assert [json.loads(line)["id"] for line in daemon.tool("export", "--owner", "other", check=0).stdout.splitlines()] == [gone["id"]]
    other = Daemon(directory / "other")
    other.pepper()
    assert load(other, out)[2]["refused"] == 1  # the plan is not there
    other.tool("plan", "set", "gold", "--limit", "m=5/60s", check=0)
    status, told, _ = load(other, out)
    assert status == 0 and {t["id"] for t in told} == {first["id"], off["id"], gone["id"]} and all("key" in t for t in told)
    there = {k["id"]: k for k in other.json_lines("list")}
    assert {i: k["state"] for i, k in there.items()} == {first["id"]: "active", off["id"]: "disabled", gone["id"]: "revoked"}
    was = daemon.json("show", first["id"])
    for member in "owner", "member", "plan", "scopes", "allow_ips", "expires", "created", "meta":
        assert there[first["id"]][member] == was[member], member
    assert there[gone["id"]]["reason"] == "left"


class Import:
    """An import that runs meanwhile, reading what it is fed; ${told} grows as it tells."""

    def __init__(self, daemon, *args):
        self.told = []
        self.process = subprocess.Popen([APIKEY, "-c", daemon.conf, "--json", "import", *args, "-"], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            self.told.append(json.loads(line))

    def feed(self, text):
        """It may have ended for want of a keeper: then the rest is for nobody."""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(text)
            self.process.stdin.flush()

    def end(self):
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.reader.join(60)
        return self.process.wait(60), self.process.stderr.read()


def test_through_kills(daemon, scale):
    """The keeper is killed while a file comes in: what was told is there; going on brings the rest, nothing twice."""
    n, kills = scale(1500, 20000), scale(4, 12)
    daemon.start()
    all_of_it = [line + "\n" for line in lines({"owner": f"o{i % 70}", "digest": digest(f"k{i}")} for i in range(n)).splitlines()]
    told = set()
    for round_ in range(kills + 1):
        # Without a keeper the import would own the store itself, for as long as it is fed.
        wait_until(lambda: daemon.log().count("event=child_ready role=keeper") > round_, "the next keeper serves", 60)
        run = Import(daemon, "--batch", "50", "--skip-existing")
        # Killed before the last lines were read: it cannot be through by then.
        first = n * (round_ + 1) // (kills + 1)
        if round_ < kills:
            run.feed("".join(all_of_it[:first]))
            # All but the last batches of these, whichever round they came in with.
            wait_until(lambda: len(daemon.json_lines("list")) > first - 100, "the lines are imported", 60)
            kill(daemon.keeper_pid())
            run.feed("".join(all_of_it[first:]))
        else:
            run.feed("".join(all_of_it))
        status, said = run.end()
        assert status in (0, 3), (said, [t for t in run.told if "id" not in t][:3])
        told |= {t["id"] for t in run.told if "id" in t}
        daemon.wait_ready()
        ids = {k["id"] for k in daemon.json_lines("list")}
        assert told <= ids
    assert status == 0 and len(ids) == n and len(told) == n
    assert sum(o["keys"] for o in daemon.json_lines("owner", "list")) == n
    daemon.stop()
    assert "is whole" in daemon.tool("db", "verify", check=0).stdout


def test_output_that_nobody_reads(daemon):
    """Keys that were made and could not be shown are revoked again."""
    daemon.start()
    with open("/dev/full", "w") as full:
        done = subprocess.run([APIKEY, "-c", daemon.conf, "import"], input=lines([{"owner": "a"}] * 3), text=True, stdout=full, stderr=subprocess.PIPE, timeout=60)
    assert done.returncode != 0 and "revoked again" in done.stderr
    assert [k["state"] for k in daemon.json_lines("list")] == ["revoked"] * 3
