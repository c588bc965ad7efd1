"""Goal: least privilege as an administrator sets it and a client meets it: scopes (of keys and of plans), restrictions, browsers, what becomes of an
exposed key, and an explanation that says the same as the gate. Invariants 1 (a restricted call counts in no limit), 3 (what exposure does holds at
once), 4 (no key in the log meanwhile)."""

import ipaddress
import json
import re
import signal

import pytest

from harness.daemon import wait_until
from harness.fcgi import AUTHORIZER


def code(reply):
    return "ok" if reply.status in (200, 204) else reply.json()["code"]


def denied(reply, want, title, status=403):
    body = reply.json()
    assert (reply.status, body["code"], body["title"], reply.header("Apikey-Denied")) == (status, want, title, want)


def steps(daemon, *args, key=None, check=0):
    """What `apikey check` tells: the decision, and its steps by name."""
    decision = json.loads(daemon.tool("--json", "check", *args, input=key, check=check).stdout)
    return decision, {s["step"]: s for s in decision["steps"]}


# ---- scopes ----

@pytest.mark.parametrize("held, needed, admitted", [
    (["orders:read"], "orders:read", True), (["orders:read"], "orders:write", False), (["orders:read", "orders:write"], "orders:read orders:write", True),
    (["orders:read"], "orders:read orders:write", False), (["orders:*"], "orders:read orders:write", True), (["orders:*"], "orders", False),
    (["orders:re*"], "orders:read", True), (["orders:re*"], "orders:write", False), (["*:read"], "orders:read users:read", True),
    (["*:read"], "orders:write", False), (["*"], "anything:at:all", True), ([], "orders:read", False), ([], "", True),
])
def test_all_needed_scopes_must_be_held(shared, held, needed, admitted):
    kid, key = shared.create("scoped", **({"scope": held} if held else {}))
    reply = shared.ask(key, APIKEYD_SCOPE=needed)
    assert code(reply) == ("ok" if admitted else "scope_insufficient")
    if admitted:
        assert reply.json()["key"]["scopes"] == held
    decision, told = steps(shared, *(["--scope", needed] if needed else []), key=key, check=0 if admitted else 1)
    assert decision["code"] == code(reply) and told["scopes"]["passed"] is admitted


@pytest.mark.parametrize("scope", ["", "orders read", "orders:", ":read", "orders::read", "or*ders:read", "*orders", "orders:**", "orders:read,write", "o" * 65, "größe:read"])
def test_a_malformed_scope_is_told_with_its_form(shared, scope):
    for command in (["create", "--owner", "a"], ["plan", "set", "bad", "--no-limits"]):
        done = shared.tool(*command, f"--scope={scope}", check=2)
        assert done.stderr.startswith("apikey: ") and "--scope" in done.stderr and done.stderr.count("\n") == 1
        assert not scope or "segments of letters" in done.stderr and "orders:read" in done.stderr
    assert "bad" not in [p["name"] for p in shared.json_lines("plan", "list")]


def test_a_plan_gives_scopes_to_keys_without(shared):
    shared.tool("plan", "set", "reader", "--limit", "hour=100/1h", "--scope", "orders:read", "--scope", "files:*", check=0)
    assert shared.json("plan", "show", "reader")["scopes"] == ["orders:read", "files:*"]
    kid, key = shared.create("acme", plan="reader")
    own, own_key = shared.create("acme", plan="reader", scope="users:read")
    assert shared.ask(key, APIKEYD_SCOPE="orders:read files:write").json()["key"]["scopes"] == ["orders:read", "files:*"]
    assert code(shared.ask(key, APIKEYD_SCOPE="users:read")) == "scope_insufficient"
    assert code(shared.ask(own_key, APIKEYD_SCOPE="users:read")) == "ok"
    assert code(shared.ask(own_key, APIKEYD_SCOPE="orders:read")) == "scope_insufficient"
    # The backend is told the scopes in effect.
    accel = shared.ask(key, APIKEYD_MODE="accel", APIKEYD_PASS="@b")
    assert accel.header("Apikey-Scopes") == "orders:read files:*"
    assert shared.ask(key, role=AUTHORIZER).header("Variable-APIKEY_SCOPES") == "orders:read files:*"
    # Whose they are is told where they are shown.
    shown = shared.json("show", kid)
    assert (shown["scopes"], shown["held_scopes"], shown["scopes_from"]) == ([], ["orders:read", "files:*"], "plan")
    shown = shared.json("show", own)
    assert (shown["held_scopes"], shown["scopes_from"]) == (["users:read"], "key")
    assert "orders:read, files:* (of the plan reader)" in shared.tool("show", kid, check=0).stdout
    assert "held by the plan: orders:read" in steps(shared, "--id", kid, "--scope", "orders:read")[1]["scopes"]["detail"]
    # Evaluated when it is decided: a change of the plan counts at once, and what is not said again is gone.
    shared.tool("plan", "set", "reader", "--limit", "hour=100/1h", "--scope", "users:*", check=0)
    assert code(shared.ask(key, APIKEYD_SCOPE="users:read")) == "ok" and code(shared.ask(key, APIKEYD_SCOPE="orders:read")) == "scope_insufficient"
    shared.tool("plan", "set", "reader", "--limit", "hour=100/1h", check=0)
    assert code(shared.ask(key, APIKEYD_SCOPE="users:read")) == "scope_insufficient" and code(shared.ask(key)) == "ok"
    assert shared.json("show", kid)["scopes_from"] is None


# ---- restrictions ----

RESTRICTIONS = {
    "address": ({"allow_ip": "192.0.2.0/24"}, {}, {"REMOTE_ADDR": "198.51.100.1"}, "ip_denied"),
    "referrer": ({"referrer": "https://*.example.com/app"}, {"HTTP_REFERER": "https://a.example.com/app/x?y"}, {"HTTP_REFERER": "https://a.example.com/"}, "referrer_denied"),
    "application": ({"app": "ios"}, {"HTTP_X_APP_ID": "ios"}, {"HTTP_X_APP_ID": "android"}, "app_denied"),
    "method": ({"method": ["get", "POST"]}, {"REQUEST_METHOD": "POST"}, {"REQUEST_METHOD": "DELETE"}, "method_denied"),
    "browser": ({"browsers": "deny"}, {}, {"HTTP_ORIGIN": "https://app.example.com"}, "browser_denied"),
    "scope": ({"scope": "a:b"}, {"APIKEYD_SCOPE": "a:b"}, {"APIKEYD_SCOPE": "c:d"}, "scope_insufficient"),
    "not yet": ({"not_before": "1d"}, None, {}, "key_disabled"),
}


@pytest.mark.parametrize("which", RESTRICTIONS)
def test_a_restricted_call_burns_no_limit(shared, which):
    shared.tool("plan", "set", "three", "--limit", "hour=3/1h", check=0)
    flags, good, bad, want = RESTRICTIONS[which]
    kid, key = shared.create("acme", plan="three", **flags)
    for _ in range(5):
        assert code(shared.ask(key, **bad)) == want
    assert shared.json("show", kid)["limits"][0]["used"] == 0
    if good is not None:
        assert code(shared.ask(key, **good)) == "ok" and shared.json("show", kid)["limits"][0]["used"] == 1


def test_methods(shared):
    kid, key = shared.create("acme", method=["get", "HEAD"])
    assert shared.json("show", kid)["methods"] == ["GET", "HEAD"]
    for method, want in [("GET", "ok"), ("HEAD", None), ("POST", "method_denied"), ("get", "method_denied"), ("OPTIONS", "method_denied"), (None, "method_denied")]:
        reply = shared.ask(key, REQUEST_METHOD=method)
        assert reply.status == 200 if want is None else code(reply) == want, method
    denied(shared.ask(key, REQUEST_METHOD="PUT"), "method_denied", "Method not allowed")
    # Of a gate that is asked with another method than the client's: the client's counts, and a client cannot say it.
    assert code(shared.ask(key, APIKEYD_METHOD="POST")) == "method_denied" and code(shared.ask(key, REQUEST_METHOD="POST", APIKEYD_METHOD="GET")) == "ok"
    assert code(shared.ask(key, REQUEST_METHOD="POST", HTTP_APIKEYD_METHOD="GET")) == "method_denied"
    shared.tool("set", kid, "--no-method", check=0)
    assert code(shared.ask(key, REQUEST_METHOD="DELETE")) == "ok"
    for wrong in ("GET POST", "G3T", "", "M" * 33):
        shared.tool("set", kid, f"--method={wrong}", check=2)


def test_a_thousand_networks(shared, directory):
    """From a file, IPv4 and IPv6; an address that is written as IPv4-mapped IPv6 is the IPv4 one, on both sides."""
    nets = [f"10.{i >> 8}.{i & 255}.0/25" for i in range(800)] + [f"2001:db8:{i:x}::/48" for i in range(199)] + ["::ffff:203.0.113.0/120"]
    path = directory / "nets"
    path.write_text("# offices\n\n" + "".join(f"  {n}  # office {i}\r\n" for i, n in enumerate(reversed(nets))))
    kid, key = shared.create("acme", allow_ip=f"@{path}")
    listed = shared.json("show", kid)["allow_ips"]
    assert len(listed) == 1000 and {ipaddress.ip_network(n) for n in nets[:-1]} | {ipaddress.ip_network("203.0.113.0/24")} == {ipaddress.ip_network(n) for n in listed}
    for address, want in [("10.0.0.0", "ok"), ("10.3.31.127", "ok"), ("10.3.31.128", "ip_denied"), ("10.3.32.1", "ip_denied"), ("9.255.255.255", "ip_denied"),
                          ("2001:db8:c6:ffff::1", "ok"), ("2001:db8:c7::1", "ip_denied"), ("::ffff:10.1.2.3", "ok"), ("203.0.113.9", "ok"), ("::ffff:203.0.113.9", "ok"),
                          ("::203.0.113.9", "ip_denied"), ("203.0.114.1", "ip_denied"), ("::", "ip_denied")]:
        assert code(shared.ask(key, REMOTE_ADDR=address)) == want, address
    told = steps(shared, "--id", kid, "--ip", "::ffff:10.1.2.3")[1]["address"]
    assert told["passed"] and told["detail"] == "10.1.2.3 is in 10.1.2.0/25"
    # One too many, one that is none, no file: nothing is made, and the line is named.
    path.write_text("".join(f"10.{i >> 8}.{i & 255}.1\n" for i in range(1001)))
    assert f"{path}:1001: a key has at most 1000" in shared.tool("set", kid, "--allow-ip", f"@{path}", check=2).stderr
    path.write_text("10.0.0.0/8\n\nak_live_secret\n")
    done = shared.tool("create", "--owner", "a", "--allow-ip", f"@{path}", check=2)
    assert f"{path}:3: not an address" in done.stderr and "ak_live_secret" not in done.stderr
    assert "--allow-ip: /nowhere" in shared.tool("set", kid, "--allow-ip", "@/nowhere", check=2).stderr
    # Standard input, beside one that is named; one that is there twice is there once.
    shared.tool("set", kid, "--allow-ip", "192.0.2.1", "--allow-ip", "@-", input="192.0.2.1/32\n198.51.100.0/24", check=0)
    assert shared.json("show", kid)["allow_ips"] == ["192.0.2.1/32", "198.51.100.0/24"]


def test_networks_within_each_other(shared):
    kid, key = shared.create("acme", allow_ip=["10.0.0.0/8", "10.1.0.0/16", "10.1.2.3", "2001:db8::/32", "2001:db8:1::/48"])
    for address, want in [("10.1.2.3", "ok"), ("10.1.2.4", "ok"), ("10.2.0.1", "ok"), ("10.255.255.255", "ok"), ("11.0.0.0", "ip_denied"),
                          ("2001:db8:1::1", "ok"), ("2001:db8:2::1", "ok"), ("2001:db9::", "ip_denied")]:
        assert code(shared.ask(key, REMOTE_ADDR=address)) == want, address


def test_mapped_addresses_from_a_proxy(daemon):
    daemon.write_conf(trusted_proxies=["127.0.0.1"])
    daemon.start()
    _, key = daemon.create("acme", allow_ip="192.0.2.0/24")
    for proxy in ("127.0.0.1", "::ffff:127.0.0.1"):
        for hop, want in [("192.0.2.5", "ok"), ("::ffff:192.0.2.5", "ok"), ("[::ffff:192.0.2.5]:4711", "ok"), ("::ffff:c000:205", "ok"), ("198.51.100.1", "ip_denied")]:
            assert code(daemon.ask(key, REMOTE_ADDR=proxy, HTTP_X_FORWARDED_FOR=f"203.0.113.1, {hop}")) == want, hop


def test_times(shared):
    kid, key = shared.create("acme", not_before="2999-01-01")
    denied(shared.ask(key), "key_disabled", "API key disabled", 401)
    _, told = steps(shared, key=key, check=1)
    assert told["state"]["detail"] == "not valid before 2999-01-01T00:00:00Z"
    shared.tool("set", kid, "--not-before", "now", "--expires", "2999-01-01", check=0)
    assert code(shared.ask(key)) == "ok"
    assert steps(shared, key=key)[1]["state"]["detail"] == "active, expires 2999-01-01T23:59:59Z"


# ---- browsers ----

BROWSER_PARAMS = [{"HTTP_ORIGIN": "https://app.example.com"}, {"HTTP_ORIGIN": ""}, {"HTTP_SEC_FETCH_SITE": "cross-site"}, {"HTTP_SEC_FETCH_MODE": "cors"},
                  {"HTTP_SEC_FETCH_DEST": "empty"}, {"HTTP_SEC_FETCH_USER": "?1"}, {"HTTP_SEC_FETCH_STORAGE_ACCESS": "none"}]
NO_BROWSER = [{}, {"HTTP_USER_AGENT": "Mozilla/5.0"}, {"HTTP_REFERER": "https://app.example.com/"}, {"ORIGIN": "x"}, {"HTTP_X_SEC_FETCH_MODE": "cors"}]


def test_browsers_are_not_looked_for_by_default(shared):
    kid, key = shared.create("acme")
    for params in BROWSER_PARAMS:
        assert code(shared.ask(key, **params)) == "ok"
    assert shared.json("show", kid)["exposed"] is None and shared.json("show", kid)["browsers"] == "default"


@pytest.mark.parametrize("how", ["flag", "deny"])
def test_browsers(daemon, how):
    daemon.write_conf(reject_browsers=how)
    daemon.start()
    kid, key = daemon.create("acme")
    for params in NO_BROWSER:
        assert code(daemon.ask(key, **params)) == "ok"
    assert daemon.json("show", kid)["exposed"] is None
    for params in BROWSER_PARAMS:
        reply = daemon.ask(key, **params)
        if how == "flag":
            assert code(reply) == "ok"
        else:
            denied(reply, "browser_denied", "Browser use not allowed")
    # Marked in the very first check, once, and the key works elsewhere.
    shown = daemon.json("show", kid)
    assert shown["exposed_ways"] == ["browser"] and shown["exposed_from"] == "192.0.2.7" and shown["state"] == "active"
    assert [e["detail"] for e in daemon.json_lines("audit", "--key", kid) if e["op"] == "key.exposed"] == [{"way": "browser", "from": "192.0.2.7"}]
    assert [k["id"] for k in daemon.json_lines("list", "--exposed")] == [kid]
    assert code(daemon.ask(key)) == "ok"
    # The key's own word goes first, in both directions.
    calm, calm_key = daemon.create("acme", browsers="off")
    assert code(daemon.ask(calm_key, HTTP_ORIGIN="null")) == "ok" and daemon.json("show", calm)["exposed"] is None
    other = "deny" if how == "flag" else "flag"
    daemon.tool("set", calm, "--browsers", other, check=0)
    assert code(daemon.ask(calm_key, HTTP_ORIGIN="null")) == ("browser_denied" if other == "deny" else "ok")
    assert daemon.json("show", calm)["exposed_ways"] == ["browser"] and daemon.json("show", calm)["browsers"] == other
    daemon.tool("set", calm, "--browsers", "default", "--clear-exposed", check=0)
    assert daemon.json("show", calm)["exposed"] is None and daemon.json("show", calm)["exposed_ways"] == []


# ---- exposure ----

EXPOSED = {
    "url": (lambda key: {"REQUEST_URI": f"/x?api_key={key}"}, "key_in_url"),
    "http": (lambda key: {"HTTP_X_API_KEY": key, "HTTPS": None, "REQUEST_SCHEME": "http"}, "https_required"),
    "browser": (lambda key: {"HTTP_X_API_KEY": key, "HTTP_ORIGIN": "https://app.example.com"}, None),
}


@pytest.mark.parametrize("policy", ["flag", "disable", "revoke"])
def test_what_exposure_does(daemon, policy):
    daemon.write_conf(on_exposure=policy, reject_browsers="flag")
    daemon.start()
    made = []
    for way, (params, want) in EXPOSED.items():
        kid, key = daemon.create("acme")
        made.append(key)
        first = code(daemon.ask(REMOTE_ADDR="2001:db8::7", **params(key)))
        shown = wait_until(lambda: (lambda s: s if s["exposed"] else None)(daemon.json("show", kid)), "the key is marked")
        state = {"flag": "active", "disable": "disabled", "revoke": "revoked"}[policy]
        # A key in a browser is decided by the check that marks it: it is refused there already.
        assert first == (want or {"flag": "ok", "disable": "key_disabled", "revoke": "key_revoked"}[policy])
        assert (shown["exposed_ways"], shown["exposed_from"], shown["state"]) == ([way], "2001:db8::7", state)
        reason = f"exposed: {way} from 2001:db8::7"
        assert shown["reason"] == (None if policy == "flag" else reason)
        assert code(daemon.ask(key)) == {"flag": "ok", "disable": "key_disabled", "revoke": "key_revoked"}[policy]
        entries = [(e["op"], e["actor"], e["detail"]) for e in daemon.json_lines("audit", "--key", kid)]
        acted = [] if policy == "flag" else [(f"key.{policy}", "gate", {"state": {"from": "active", "to": state}, "reason": {"from": None, "to": reason}})]
        assert entries[1:] == [("key.exposed", "gate", {"way": way, "from": "2001:db8::7"})] + acted
        assert way in daemon.tool("show", kid, check=0).stdout
    if policy == "disable":
        # Enabled again it works, until it is seen so once more.
        daemon.tool("enable", kid, check=0)
        assert daemon.json("show", kid)["reason"] is None and code(daemon.ask(made[-1])) == "ok"
        assert code(daemon.ask(made[-1], HTTP_SEC_FETCH_MODE="cors")) == "key_disabled"
        assert [e["op"] for e in daemon.json_lines("audit", "--key", kid)][-2:] == ["key.enable", "key.disable"]
    # Nowhere in what was written meanwhile (the log is at debug).
    daemon.stop()
    audit = daemon.tool("--json", "audit", check=0).stdout
    for key in made:
        assert key[12:] not in daemon.log() and key[12:] not in audit
    assert "key_exposed" in daemon.log()


@pytest.mark.parametrize("policy", ["flag", "disable", "revoke"])
def test_an_exposed_old_secret_takes_itself_along(daemon, policy):
    """A secret in its grace that is seen where it must not be ends; the key and its new secret, which nobody has seen, stay."""
    daemon.write_conf(on_exposure=policy, reject_browsers="flag")
    daemon.start()
    for way, (params, want) in EXPOSED.items():
        kid, old = daemon.create("acme")
        new = daemon.json("rotate", kid, "--grace", "30d")["key"]
        assert code(daemon.ask(old)) == "ok" == code(daemon.ask(new))
        until = daemon.json("show", kid)["previous_until"]
        told = json.loads(daemon.tool("--json", "check", *(["--browser"] if want is None else []), input=old).stdout)["code"]
        first = code(daemon.ask(REMOTE_ADDR="2001:db8::7", **params(old)))
        assert first == (want or ("ok" if policy == "flag" else "key_expired")) and told == ("ok" if want else first)
        shown = wait_until(lambda: (lambda s: s if s["exposed"] else None)(daemon.json("show", kid)), "the exposure is marked")
        assert (shown["state"], shown["reason"], shown["exposed_ways"], shown["exposed_from"]) == ("active", None, [way], "2001:db8::7")
        assert code(daemon.ask(old)) == ("ok" if policy == "flag" else "key_expired") and code(daemon.ask(new)) == "ok"
        entries = [(e["op"], e["actor"], e["detail"]) for e in daemon.json_lines("audit", "--key", kid) if e["op"] in ("key.exposed", "key.end_old_secret")]
        ended = [("key.end_old_secret", "gate", {"previous_until": {"from": until, "to": shown["previous_until"]}, "reason": f"exposed: {way} from 2001:db8::7"})]
        assert entries == [("key.exposed", "gate", {"way": way, "from": "2001:db8::7", "secret": "old"})] + (ended if policy != "flag" else [])
        assert (shown["previous_until"] == until) == (policy == "flag") and shown["previous_until"][:10] in daemon.tool("show", kid, check=0).stdout
        # It is over: seen again it does nothing. The new one does what the policy says.
        daemon.ask(**params(old))
        assert code(daemon.ask(new)) == "ok"
        daemon.ask(**params(new))
        wait_until(lambda: daemon.json("show", kid)["state"] == {"flag": "active", "disable": "disabled", "revoke": "revoked"}[policy], "the policy is applied")


def test_an_old_secret_is_ended_by_hand(shared):
    kid, old = shared.create("acme")
    assert "no old secret" in shared.tool("revoke", kid, "--old-secret", check=1).stderr
    new = shared.json("rotate", kid, "--grace", "30d")["key"]
    assert code(shared.ask(old)) == "ok" and re.search(r"old secret .*, until 20", shared.tool("show", kid, check=0).stdout)
    assert shared.tool("revoke", kid, "--old-secret", "--reason", "on a slide", check=0).stdout == f"{kid} is now without its old secret\n"
    assert (code(shared.ask(old)), code(shared.ask(new)), shared.json("show", kid)["state"]) == ("key_expired", "ok", "active")
    assert re.search(r"old secret .*, ended 20", shared.tool("show", kid, check=0).stdout)
    assert shared.json("revoke", kid, "--old-secret")["id"] == kid
    assert [e["detail"]["reason"] for e in shared.json_lines("audit", "--key", kid) if e["op"] == "key.end_old_secret" and not e["error"]] == ["on a slide"]


def test_policies_can_change_while_it_runs(daemon):
    daemon.start()
    kid, key = daemon.create("acme")
    assert code(daemon.ask(key, HTTP_ORIGIN="null")) == "ok"
    daemon.write_conf(on_exposure="revoke", reject_browsers="deny")
    daemon.process.send_signal(signal.SIGHUP)
    wait_until(lambda: code(daemon.ask(key, HTTP_ORIGIN="null")) != "ok", "the keeper has the new settings")
    assert daemon.json("show", kid)["state"] == "revoked"


def test_a_false_alarm_is_taken_back(shared):
    kid, key = shared.create("acme")
    shared.ask(REQUEST_URI=f"/x?key={key}")
    wait_until(lambda: shared.json("show", kid)["exposed"], "the key is marked")
    shared.tool("set", kid, "--clear-exposed", check=0)
    assert shared.json("show", kid)["exposed"] is None and kid not in [k["id"] for k in shared.json_lines("list", "--exposed")]
    shared.ask(REQUEST_URI=f"/x?key={key}")
    wait_until(lambda: shared.json("show", kid)["exposed"], "the key is marked again")


# ---- explaining ----

def same(daemon, key, params, args):
    """The code of the gate and of the explanation of the same request; the explanation first, because it changes nothing."""
    explained = json.loads(daemon.tool("--json", "check", *args, input=key).stdout)["code"]
    return code(daemon.ask(**params)), explained


def test_the_explanation_says_what_the_gate_says(shared):
    shared.tool("plan", "set", "one", "--limit", "hour=1/1h", check=0)
    full = dict(plan="one", scope="a:b", allow_ip="192.0.2.0/24", referrer="https://app.example.com", app="ios", method="GET", browsers="deny")
    good = {"APIKEYD_SCOPE": "a:b", "HTTP_REFERER": "https://app.example.com/x", "HTTP_X_APP_ID": "ios"}
    told = {"--scope": "a:b", "--referrer": "https://app.example.com/x", "--app": "ios", "--method": "GET", "--ip": "192.0.2.7", "--uri": "/api/x"}
    cases = [
        ({}, {}, "ok"), ({"APIKEYD_SCOPE": "c:d"}, {"--scope": "c:d"}, "scope_insufficient"), ({"HTTP_ORIGIN": "x"}, {"--browser": None}, "browser_denied"),
        ({"REQUEST_METHOD": "PUT"}, {"--method": "PUT"}, "method_denied"), ({"HTTP_X_APP_ID": "x"}, {"--app": "x"}, "app_denied"),
        ({"HTTP_REFERER": None}, {"--referrer": ...}, "referrer_denied"), ({"REMOTE_ADDR": "10.0.0.1"}, {"--ip": "10.0.0.1"}, "ip_denied"),
        ({"REQUEST_URI": "/a/../b"}, {"--uri": "/a/../b"}, "request_invalid"), ({"APIKEYD_COST": "2"}, {"--cost": "2"}, "rate_limited"),
        ({"HTTPS": None, "REQUEST_SCHEME": "http"}, {"--http": None}, "https_required"),
        ({"REQUEST_URI": "/x?apikey=KEY", "HTTP_AUTHORIZATION": None}, {"--uri": "/x?apikey={key}"}, "key_in_url"),
    ]
    for params, args, want in cases:
        kid, key = shared.create("acme", **full)
        asked = {"HTTP_AUTHORIZATION": f"Bearer {key}", **good, **params}
        asked = {n: v.replace("KEY", key) if n == "REQUEST_URI" else v for n, v in asked.items()}
        words = [w for n, v in {**told, **args}.items() if v is not ... for w in ([n] if v is None else [n, v])]
        assert same(shared, key, asked, words) == (want, want)
        decision, _ = steps(shared, "--id", kid, *words, check=None)
        if want == "ok":  # that one request used it up
            assert decision["code"] == "rate_limited" and 3500 < decision["retry_after"] <= 3600
        else:
            assert decision["code"] == want


def test_explaining_counts_and_marks_nothing(daemon):
    daemon.write_conf(on_exposure="revoke", reject_browsers="deny")
    daemon.start()
    daemon.tool("plan", "set", "two", "--limit", "hour=2/1h", "--limit", "day=5/1d", check=0)
    kid, key = daemon.create("acme", plan="two", allow_ip="192.0.2.0/24")
    before = daemon.tool("--json", "show", kid, check=0).stdout, len(daemon.json_lines("audit"))
    for which in ([], ["--id", kid]):
        decision, told = steps(daemon, *which, "--ip", "192.0.2.7", key=key)
        names = [s["step"] for s in decision["steps"]]
        assert [n for n in names if n in ("https", "url", "path", "lookup", "state", "address", "referrer", "application", "method", "browser", "scopes", "limit hour", "limit day")] == \
            ["https", "url", "path", "lookup", "state", "address", "referrer", "application", "method", "browser", "scopes", "limit hour", "limit day"]
        assert ("checksum" in names) == (not which)
        assert told["lookup"]["detail"] == kid and told["limit hour"]["detail"] == "0 of 2 used in 1h, 2 remain, costs 1"
        assert [(x["name"], x["used"], x["remaining"], x["room"], x["retry_after"]) for x in decision["limits"]] == [("hour", 0, 1, True, 0), ("day", 0, 4, True, 0)]
        # What a browser would bring about is told, and not done.
        decision, told = steps(daemon, *which, "--ip", "192.0.2.7", "--browser", key=key, check=1)
        assert decision["code"] == "key_revoked" and told["exposure"]["detail"] == "exposed: browser from 192.0.2.7" and not told["exposure"]["passed"]
        decision, told = steps(daemon, *which, "--http", key=key, check=1)
        assert decision["code"] == "https_required" and told["exposure"]["detail"].startswith("the key is marked as exposed, and revoked")
        decision, told = steps(daemon, *which, "--uri", "/x?key={key}", key=key, check=1)
        assert decision["code"] == "key_in_url" and key not in json.dumps(decision)
    assert (daemon.tool("--json", "show", kid, check=0).stdout, len(daemon.json_lines("audit"))) == before
    # Used up: when there is room again is told of each limit.
    for _ in range(2):
        assert code(daemon.ask(key)) == "ok"
    decision, told = steps(daemon, "--id", kid, "--ip", "192.0.2.7", check=1)
    assert decision["code"] == "rate_limited" and "2 of 2 used in 1h, 0 remain, costs 1, would be admitted in 3" in told["limit hour"]["detail"]
    assert told["limit day"]["passed"] and not told["limit hour"]["passed"]
    human = daemon.tool("check", "--id", kid, "--ip", "192.0.2.7", check=1).stdout
    assert "refused (rate_limited, status 429)" in human and "192.0.2.7 is in 192.0.2.0/24" in human


def test_blanks_around_the_key_are_none_of_it(shared):
    """The gate trims them; the explanation said key_invalid."""
    _, key = shared.create("acme")
    for text in (f"  {key}\t\n", f"\t{key}", f"{key} \r\n"):
        assert steps(shared, key=text)[0]["code"] == "ok" == code(shared.ask(HTTP_X_API_KEY=text.rstrip("\r\n")))
    assert "no key on standard input" in shared.tool("check", input=" \t\n", check=2).stderr


def test_what_check_cannot_take(shared):
    kid, key = shared.create("acme")
    # Also where a worker would refuse, which asks nobody.
    for words in ([], ["--http"], ["--uri", "/a/../b"]):
        assert "there is no key" in shared.tool("check", "--id", "key_" + "0" * 16, *words, check=1).stderr
    assert "not the id of a key" in shared.tool("check", "--id", "nonsense", check=1).stderr
    assert "there is no key" in shared.tool("check", "--id", "key_" + "0" * 16, check=1).stderr
    assert "exclude each other" in shared.tool("check", "--http", "--https", input=key, check=2).stderr
    done = shared.tool("check", "--uri", f"/x?key={key}", input=key, check=2)
    assert key not in done.stdout + done.stderr
