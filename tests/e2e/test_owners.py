"""Goal: switching an owner off stops all of its keys at once, those made later too, and over every restart; on again, each key is what it was. Invariant 3."""

from harness.daemon import kill, wait_until


def codes(daemon, keys):
    answers = [daemon.ask(key) for key in keys]
    return [a.json()["code"] if a.status != 200 else "ok" for a in answers]


def test_off_and_on(daemon):
    daemon.start()
    made = [daemon.create("acme", member=m) for m in ("ann", "bob", "ann")]
    keys = [key for _, key in made]
    other = daemon.create("acme-2")[1]
    daemon.tool("disable", made[1][0], check=0)
    daemon.tool("revoke", made[2][0], check=0)
    assert codes(daemon, [*keys, other]) == ["ok", "key_disabled", "key_revoked", "ok"]
    off = daemon.json("owner", "disable", "acme", "--reason", "did not pay")
    assert off["disabled"] is True and off["reason"] == "did not pay" and off["by"] and off["since"].endswith("Z")
    assert codes(daemon, [*keys, other]) == ["key_disabled", "key_disabled", "key_revoked", "ok"]
    later = daemon.create("acme")[1]
    assert codes(daemon, [later]) == ["key_disabled"]
    kill(daemon.keeper_pid())
    wait_until(lambda: daemon.ask(other).status == 200, "a keeper answers again")
    assert codes(daemon, [*keys, later]) == ["key_disabled", "key_disabled", "key_revoked", "key_disabled"]
    # Again: nothing changes, and the trail has it once.
    assert daemon.json("owner", "disable", "acme")["since"] == off["since"]
    assert [a["op"] for a in daemon.json_lines("audit") if a["subject"] == "acme"] == ["owner.disable"]
    checked = daemon.tool("--json", "check", input=keys[0] + "\n", check=1)
    assert "the owner is switched off" in checked.stdout
    records = {k["id"]: k for k in daemon.json_lines("list", "--owner", "acme")}
    assert {k["owner_disabled"] for k in records.values()} == {True}
    assert [(records[i]["state"], records[i]["own_state"]) for i, _ in made] == [("disabled", "active"), ("disabled", "disabled"), ("revoked", "revoked")]
    assert daemon.json("show", made[0][0])["owner_disabled"] is True
    assert "with its owner (by itself active)" in daemon.tool("show", made[0][0], check=0).stdout
    assert len(daemon.json_lines("list", "--state", "disabled")) == 3
    assert [k["owner"] for k in daemon.json_lines("list", "--state", "active")] == ["acme-2"]
    daemon.tool("owner", "enable", "acme", check=0)
    assert daemon.json("show", made[0][0])["owner_disabled"] is False
    assert codes(daemon, [*keys, later, other]) == ["ok", "key_disabled", "key_revoked", "ok", "ok"]


def test_listed_and_shown(daemon):
    daemon.start()
    for owner, member in [("b", "ann"), ("a", "ann"), ("a", "bob"), ("a", None), ("a b", "x y")]:
        daemon.create(owner, **({"member": member} if member else {}))
    gone = daemon.json_lines("list", "--owner", "b")[0]["id"]
    daemon.tool("disable", gone, check=0)
    daemon.tool("owner", "disable", "a b", check=0)
    listed = daemon.json_lines("owner", "list")
    assert [(o["owner"], o["keys"], o["disabled"]) for o in listed] == [("a", 3, False), ("a b", 1, True), ("b", 1, False)]
    assert [o["owner"] for o in daemon.json_lines("owner", "list", "--disabled")] == ["a b"]
    shown = daemon.json("owner", "show", "a")
    assert (shown["keys"], shown["states"], shown["members"], shown["disabled"]) == (3, {"active": 3}, {"ann": 1, "bob": 1}, False)
    assert daemon.json("owner", "show", "b")["states"] == {"disabled": 1}
    text = daemon.tool("owner", "show", "a b", check=0).stdout
    assert "disabled" in text and "1 x y" in text
    assert "a b" in daemon.tool("owner", "list", check=0).stdout


def test_many_are_paged(daemon, scale):
    """More owners and more keys of one than a page has; each is told once, in order."""
    n = scale(130, 2000)
    lines = [f'{{"owner":"o{i:05}"}}\n' for i in range(n)] + ['{"owner":"big","member":"m%d"}\n' % (i % 3) for i in range(410)]
    daemon.start()
    daemon.tool("import", input="".join(lines), check=0)
    assert [o["owner"] for o in daemon.json_lines("owner", "list")] == ["big"] + [f"o{i:05}" for i in range(n)]
    shown = daemon.json("owner", "show", "big")
    assert shown["states"] == {"active": 410} and shown["members"] == {"m0": 137, "m1": 137, "m2": 136}


def test_refused(daemon):
    daemon.pepper()
    daemon.create("acme")
    for command in "show", "disable", "enable":
        done = daemon.tool("owner", command, "acmee", check=1)
        assert "no key has this owner" in done.stderr and len(done.stderr.splitlines()) == 1
    assert daemon.tool("owner", "disable").returncode == 2
    assert daemon.tool("owner", "disable", "x" * 200).returncode == 2


def test_with_no_keeper_running(daemon):
    daemon.pepper()
    _, key = daemon.create("acme")
    daemon.tool("owner", "disable", "acme", check=0)
    daemon.start()
    assert codes(daemon, [key]) == ["key_disabled"]
