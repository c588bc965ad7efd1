"""Goal: the life of a key, by the real programs: it is rotated without downtime, its states are told apart to its holder, its last use is known, and
keys that nobody uses or that were revoked long ago are swept. Invariants 3 (an acknowledged rotation holds for every check after it) and 5 (whatever is
killed in the middle of one, the old key works or the new one does)."""

import datetime
import email.utils
import os
import random
import signal
import subprocess
import time

import pytest

from harness.daemon import APIKEY, kill, wait_until
from harness.fcgi import AUTHORIZER, RESPONDER

MODES = {
    "serve": {},
    "auth_request": {"APIKEYD_MODE": "auth_request"},
    "accel": {"APIKEYD_MODE": "accel", "APIKEYD_PASS": "@backend"},
    "authorizer": {"role": AUTHORIZER},
}


def ask(daemon, key, mode="serve", **params):
    return daemon.ask(key, **{"role": RESPONDER, **MODES[mode], **params})


def problem(reply):
    """The problem of a denial, wherever its mode puts it."""
    text = reply.header("Apikey-Problem")
    if text is not None:
        import json
        return json.loads(text)
    return reply.json()


def code_of(daemon, key, mode="serve"):
    """"ok", or the code of the denial, which is whole."""
    reply = ask(daemon, key, mode)
    if reply.status in (200, 204):
        return "ok"
    got = problem(reply)
    assert reply.header("Apikey-Denied") == got["code"] and got["status"] == 401
    assert reply.status == 401
    return got["code"]


def http_date(text):
    return email.utils.format_datetime(datetime.datetime.fromisoformat(text.replace("Z", "+00:00")), usegmt=True)


def audited(daemon, kid, op):
    return [e for e in daemon.json_lines("audit", "--key", kid) if e["op"] == op]


# ---- rotation ----

@pytest.mark.parametrize("mode", MODES)
def test_both_secrets_work_in_the_grace(shared, mode):
    kid, old = shared.create("acme", scope=["a:read"], name="web", meta=["tier=1"])
    before = shared.json("show", kid)
    rotated = shared.json("rotate", kid, "--grace", "1h")
    new = rotated["key"]
    assert rotated["id"] == kid and new != old and new.startswith("ak_live_") and rotated["previous_start"] == before["start"] == old[:12]
    assert ask(shared, new, mode).header("Apikey-Rotate-By") is None
    assert audited(shared, kid, "key.old_secret") == []
    for _ in range(3):
        reply = ask(shared, old, mode)
        assert reply.status in (200, 204) and reply.header("Apikey-Rotate-By") == http_date(rotated["previous_until"])
    # Seen at once, told once.
    after = shared.json("show", kid)
    assert after["previous_used"] is not None and len(audited(shared, kid, "key.old_secret")) == 1
    same = {"id", "owner", "plan", "scopes", "name", "meta", "env", "created", "expires", "member", "allow_ips", "limits", "state"}
    assert {n: after[n] for n in same} == {n: before[n] for n in same}
    [entry] = audited(shared, kid, "key.rotate")
    assert old not in str(entry) and new not in str(entry)


@pytest.mark.parametrize("mode", MODES)
def test_without_a_grace_every_later_check_is_refused(shared, mode):
    kid, key = shared.create("acme")
    known = [key]
    for _ in range(6):
        known.append(shared.json("rotate", kid, "--grace", "0")["key"])
        assert code_of(shared, known[-1], mode) == "ok"
        assert code_of(shared, known[-2], mode) == "key_expired"
    reply = ask(shared, known[-2], mode)
    assert "rotated" in problem(reply)["detail"] and reply.header("Apikey-Rotate-By")
    # The last four are remembered, to their holders; the others are nobody's.
    assert [code_of(shared, k, mode) for k in known] == ["key_invalid"] * 2 + ["key_expired"] * 4 + ["ok"]


def test_a_second_rotation_ends_the_first(shared):
    kid, first = shared.create("acme")
    second = shared.json("rotate", kid, "--grace", "90d")["key"]
    assert code_of(shared, first) == "ok"
    third = shared.json("rotate", kid)
    assert (code_of(shared, first), code_of(shared, second), code_of(shared, third["key"])) == ("key_expired", "ok", "ok")
    day = datetime.datetime.fromisoformat(third["previous_until"][:-1]) - datetime.datetime.fromisoformat(third["secret_created"][:-1])
    assert day == datetime.timedelta(hours=24)          # if none is said


def test_the_new_key_is_shown_once(shared):
    kid, old = shared.create("acme", env="test")
    done = shared.tool("rotate", kid, "--quiet", check=0)
    new = done.stdout.rstrip("\n")
    assert new.startswith("ak_test_") and "\n" not in new and done.stderr == "" and code_of(shared, new) == "ok"
    shown = shared.tool("rotate", kid, check=0).stdout
    key = shown.splitlines()[0]
    assert code_of(shared, key) == "ok" and shown.count(key) == 1 and "old secret" in shown and kid in shown
    for words in ("show", kid), ("--json", "show", kid), ("audit", "--key", kid), ("list",), ("--json", "list"):
        out = shared.tool(*words, check=0).stdout
        assert not any(k in out for k in (old, new, key))


@pytest.mark.parametrize("args, status", [
    (("rotate",), 2), (("rotate", "key_0123456789abcdef"), 1), (("rotate", "nonsense"), 1), (("rotate", "ID", "--grace", "91d"), 2),
    (("rotate", "ID", "--grace", "-1s"), 2), (("rotate", "ID", "--grace", "soon"), 2), (("rotate", "ID", "--quiet", "--json"), 2),
    (("disable",), 2), (("disable", "ID", "--unused", "1d"), 2), (("disable", "--owner", "acme"), 2), (("disable", "ID", "--dry-run"), 2),
    (("disable", "--unused", "x"), 2), (("purge",), 2), (("purge", "--older-than", "1d"), 2), (("purge", "--yes", "--dry-run"), 2),
    (("plan", "set", "p", "--no-limits", "--max-age-deny"), 2), (("plan", "set", "p", "--no-limits", "--max-age", "20y"), 2),
])
def test_what_cannot_be_is_refused(shared, args, status):
    kid, key = shared.create("acme")
    done = shared.tool(*(kid if a == "ID" else a for a in args))
    assert done.returncode == status and done.stderr.startswith("apikey: ") and done.stdout == ""
    assert code_of(shared, key) == "ok" and shared.json("show", kid)["state"] == "active"


def test_a_pipe_that_nobody_reads(shared):
    """The new key cannot be shown: the old one still works, and the message says what to do."""
    kid, old = shared.create("acme")
    out, into = os.pipe()
    os.close(out)
    done = subprocess.run([APIKEY, "-c", shared.conf, "rotate", kid], stdout=into, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(into)
    assert done.returncode != 0 and "apikey rotate" in done.stderr and code_of(shared, old) == "ok"


def test_alone_it_is_the_same(daemon):
    """With no keeper the tool does it itself."""
    daemon.pepper()
    daemon.tool("plan", "set", "p", "--no-limits", "--max-age", "90d", "--max-age-deny", check=0)
    kid, old = daemon.create("acme", plan="p")
    new = daemon.json("rotate", kid, "--grace", "1h")["key"]
    gone, dead = daemon.create("acme")
    daemon.tool("revoke", gone, check=0)
    assert [k["id"] for k in daemon.json_lines("purge", "--older-than", "0", "--yes")] == [gone]
    assert [k["id"] for k in daemon.json_lines("disable", "--unused", "0", "--dry-run")] == [kid]
    assert daemon.json_lines("list", "--due") == [] and daemon.json("plan", "show", "p")["max_age"] == "90d"
    daemon.start()
    assert (code_of(daemon, old), code_of(daemon, new), code_of(daemon, dead)) == ("ok", "ok", "key_invalid")


def test_kills_in_the_middle(daemon, scale):
    """A keeper that is killed while it rotates: whoever had a key still gets in, by it or by the one that was acknowledged."""
    daemon.start()
    kid, key = daemon.create("acme")
    made = 0
    for _ in range(scale(8, 60)):
        pid = daemon.keeper_pid()
        with subprocess.Popen([APIKEY, "-c", daemon.conf, "rotate", kid, "--grace", "1h", "--quiet"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True) as tool:
            time.sleep(random.uniform(0, 0.012))       # a random moment: no barrier knows where the write is
            kill(pid)
            new = tool.communicate(timeout=60)[0].strip()
        wait_until(lambda: ask(daemon, key).status != 503, "a keeper is back")
        assert code_of(daemon, key) == "ok"
        if tool.returncode == 0:
            assert code_of(daemon, new) == "ok"
            key, made = new, made + 1
        else:
            # Rotated or not, nobody knows the new one: so once more.
            key = daemon.json("rotate", kid, "--grace", "1h")["key"]
            assert code_of(daemon, key) == "ok"
    assert daemon.json("show", kid)["state"] == "active"


# ---- the age that a plan allows ----

@pytest.mark.parametrize("mode", MODES)
def test_plans_want_young_secrets(shared, mode):
    shared.tool("plan", "set", "warned", "--limit", "minute=1000/60s", "--max-age", "1d", check=0)
    plan = shared.json("plan", "set", "strict", "--no-limits", "--max-age", "1s", "--max-age-deny")
    assert (plan["max_age"], plan["max_age_seconds"], plan["max_age_deny"]) == ("1s", 1, True)
    assert "1s, then refused" in shared.tool("plan", "show", "strict", check=0).stdout and "1s, then refused" in shared.tool("plan", "list", check=0).stdout
    warned, key = shared.create("acme", plan="warned")
    reply = ask(shared, key, mode)
    assert reply.status in (200, 204) and reply.header("Apikey-Rotate-By") == http_date(shared.json("show", warned)["rotate_by"])
    strict, key = shared.create("acme", plan="strict", allow_ip=["203.0.113.0/24"])
    # Before the restrictions, as any state of the key.
    wait_until(lambda: problem(ask(shared, key, mode))["code"] == "key_expired", "the secret is too old")
    assert "rotated" in problem(ask(shared, key, mode))["detail"]
    due = [k["id"] for k in shared.json_lines("list", "--due", "--owner", "acme")]
    assert {warned, strict} <= set(due)
    shared.tool("set", strict, "--no-allow-ip", "--plan", "default", check=0)
    assert code_of(shared, key, mode) == "ok"
    shared.tool("set", strict, "--plan", "strict", check=0)
    rotated = shared.json("rotate", strict, "--grace", "1h")
    # A grace does not bring back what the plan refuses.
    assert code_of(shared, key, mode) == "key_expired" and rotated["rotate_by"]
    shared.tool("revoke", warned, check=0)
    assert warned not in [k["id"] for k in shared.json_lines("list", "--due")]


# ---- states ----

@pytest.mark.parametrize("mode", MODES)
def test_states_are_told_apart(shared, mode):
    keys = {state: shared.create("acme", **({"expires": "1s"} if state == "expired" else {})) for state in ("expired", "disabled", "revoked")}
    shared.tool("disable", keys["disabled"][0], check=0)
    shared.tool("revoke", keys["revoked"][0], check=0)
    wait_until(lambda: code_of(shared, keys["expired"][1], mode) != "ok", "the key expires")
    details = set()
    for state, (kid, key) in keys.items():
        assert code_of(shared, key, mode) == f"key_{state}"
        reply = ask(shared, key, mode)
        details.add(problem(reply)["detail"])
        assert state in reply.all("WWW-Authenticate")[0] and reply.header("Apikey-Rotate-By") is None
        assert shared.json("show", kid)["state"] == state
    assert len(details) == 3
    unknown = keys["revoked"][1][:-1] + ("a" if keys["revoked"][1][-1] != "a" else "b")
    assert code_of(shared, unknown, mode) == "key_invalid"
    # Disabling can be taken back, a revocation cannot.
    shared.tool("enable", keys["disabled"][0], check=0)
    assert code_of(shared, keys["disabled"][1], mode) == "ok"
    for words in (("enable",), ("disable",), ("rotate",), ("set", "--name", "x")):
        refused = shared.tool(words[0], keys["revoked"][0], *words[1:])
        assert refused.returncode == 1 and "revoked" in refused.stderr
    assert code_of(shared, keys["revoked"][1], mode) == "key_revoked"


# ---- last use ----

def used(daemon, kid):
    text = daemon.json("show", kid)["last_used"]
    return text and datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def test_the_last_use_survives_a_restart(daemon):
    daemon.start()
    kid, key = daemon.create("acme")
    never, _ = daemon.create("acme")
    refused, bad = daemon.create("acme", allow_ip=["203.0.113.1"])
    assert used(daemon, kid) is None and "never" in daemon.tool("show", kid, check=0).stdout
    before = time.time()
    assert code_of(daemon, key) == "ok"
    assert ask(daemon, bad).status == 403
    assert before - 1 <= used(daemon, kid) <= time.time() and used(daemon, refused) is None
    last = used(daemon, kid)
    assert {k["id"]: k["last_used"] is None for k in daemon.json_lines("list")} == {kid: False, never: True, refused: True}
    daemon.stop()
    assert used(daemon, kid) == last                # by the tool alone
    daemon.start()
    assert used(daemon, kid) == last and used(daemon, never) is None


# ---- sweeps ----

def ids(lines):
    return {k["id"] for k in lines}


def test_unused_keys_are_disabled(daemon):
    """By the real clock: what must not have been used for two seconds is waited for, what was used just now is used again until an answer is in time."""
    daemon.start()
    kid, key = daemon.create("acme", member="ann")
    other, okey = daemon.create("other")
    off, _ = daemon.create("acme")
    daemon.tool("disable", off, check=0)

    def soon_after(keys, *words):
        """What a list says within two seconds of the use of these."""
        assert [code_of(daemon, k) for k in keys] == ["ok"] * len(keys)
        return ids(daemon.json_lines(*words))

    wait_until(lambda: ids(daemon.json_lines("list", "--unused", "2s")) == {kid, other}, "two seconds have passed")
    wait_until(lambda: soon_after([okey], "list", "--unused", "2s") == {kid}, "a used key is not listed")
    assert ids(daemon.json_lines("list", "--unused", "2s", "--state", "active", "--member", "ann", "--never-expires")) == {kid}
    assert daemon.json_lines("list", "--unused", "2s", "--exposed") == []
    wait_until(lambda: soon_after([okey], "disable", "--unused", "2s", "--dry-run") == {kid}, "a used key would not be disabled")
    assert kid in daemon.tool("disable", "--unused", "2s", "--dry-run", check=0).stdout
    wait_until(lambda: soon_after([key, okey], "disable", "--unused", "2s", "--dry-run") == set(), "no used key would be disabled")
    wait_until(lambda: ids(daemon.json_lines("list", "--unused", "1s", "--owner", "acme")) == {kid}, "a second has passed")
    # Who asks for a state is told of it.
    assert ids(daemon.json_lines("list", "--unused", "1s", "--state", "disabled")) == {off}
    out = daemon.tool("disable", "--unused", "1s", "--owner", "acme", check=0).stdout
    assert kid in out and off not in out and "1 key disabled" in out
    assert code_of(daemon, key) == "key_disabled" and code_of(daemon, okey) == "ok"
    [entry] = audited(daemon, kid, "key.disable_unused")
    assert entry["detail"]["last_used"] and entry["detail"]["unused"] == 1
    daemon.tool("enable", kid, check=0)
    assert code_of(daemon, key) == "ok"


def test_revoked_keys_are_purged(daemon):
    daemon.start()
    kid, key = daemon.create("acme")
    old, key = key, daemon.json("rotate", kid)["key"]
    live, lkey = daemon.create("acme")
    daemon.tool("revoke", kid, "--reason", "gone", check=0)
    # Kept for as long as the configuration says.
    assert daemon.json_lines("purge", "--dry-run") == [] and daemon.json_lines("purge", "--yes") == []
    assert (code_of(daemon, key), code_of(daemon, old)) == ("key_revoked", "key_revoked")
    assert ids(daemon.json_lines("purge", "--older-than", "0", "--dry-run")) == {kid}
    assert daemon.tool("purge", "--older-than", "0").returncode == 2
    daemon.write_conf(revoked_retention="0s")
    daemon.process.send_signal(signal.SIGHUP)
    wait_until(lambda: ids(daemon.json_lines("purge", "--dry-run")) == {kid}, "the keeper has reloaded")
    assert "1 key removed" in daemon.tool("purge", "--yes", check=0).stdout
    assert (code_of(daemon, key), code_of(daemon, old), code_of(daemon, lkey)) == ("key_invalid", "key_invalid", "ok")
    assert daemon.tool("show", kid).returncode == 1 and ids(daemon.json_lines("list")) == {live}
    [entry] = audited(daemon, kid, "key.purge")
    assert entry["detail"]["owner"] == "acme" and entry["detail"]["reason"] == "gone"
    assert daemon.json_lines("purge", "--yes") == []
