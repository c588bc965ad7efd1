"""Goal: the sentences of the HTTP contract (apikeyd-api(7)) and of apikeyd.conf(5) that test_contract.py leaves out: which verdict wins
when several apply, what every mode says, what a denial keeps to itself, each setting with another value than its default.
Invariants 1 (a refused request is counted nowhere) and 6 (no bad input is admitted)."""

import json
import os
import re
import shutil
import signal
import stat
import subprocess
import time

import pytest

from harness.backend import Backend
from harness.daemon import APIKEY, APIKEYD, Daemon, stand_still, wait_until
from harness.fcgi import AUTHORIZER, params_for
from harness.nginx import NginxAuthRequest

QUOTA = "https://iana.org/assignments/http-problem-types#quota-exceeded"
REDUCED = "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"
PLAIN = {"HTTPS": None, "REQUEST_SCHEME": "http"}
MODES = {
    "serve": {"APIKEYD_MODE": "serve"},
    "accel": {"APIKEYD_MODE": "accel", "APIKEYD_PASS": "@backend"},
    "auth_request": {"APIKEYD_MODE": "auth_request"},
    "authorizer": {"role": AUTHORIZER},
}


def in_url(key, name="key"):
    return {"REQUEST_URI": f"/x?{name}={key}", "QUERY_STRING": f"{name}={key}"}


def misspelled(key):
    return key[:-1] + ("a" if key[-1] != "a" else "b")


def problem(reply):
    """The problem of a denial, wherever its mode carries it."""
    return json.loads(reply.header("Apikey-Problem")) if reply.header("Apikey-Problem") else reply.json()


def verdict(reply):
    if reply.status in (200, 204):
        return "ok"
    body = problem(reply)
    assert reply.header("Apikey-Denied") == body["code"]
    return body["code"]


def used(daemon, kid):
    return [limit["used"] for limit in daemon.json("show", kid)["limits"]]


@pytest.fixture(scope="module")
def one(shared):
    """A key to which everything can be said against: (id, key). Its plan has no room any more."""
    shared.tool("plan", "set", "secretplan", "--limit", "once=1/1h", "--limit", "day=50/1d", check=0)
    kid, key = shared.create("secretowner", plan="secretplan", name="secretname", member="secretmember", meta="team=secretmeta",
                             scope="held:scope", allow_ip="192.0.2.0/24", referrer="https://app.example.com", app="secretapp")
    good = {"HTTP_REFERER": "https://app.example.com/", "HTTP_X_APP_ID": "secretapp"}
    assert shared.ask(key, **good).status == 200
    return kid, key, good


# ---- the order of the steps ----

# Each step's way to fail, in the order of the contract; an earlier one wins over every later one.
STEPS = ["https_required", "key_in_url", "request_invalid", "key_invalid", "key_disabled", "ip_denied", "referrer_denied", "app_denied",
         "scope_insufficient", "rate_limited"]


def failing(steps, key):
    """Params that fail in all of these steps at once."""
    params = {"HTTP_AUTHORIZATION": f"Bearer {misspelled(key) if 'key_invalid' in steps else key}", "HTTP_REFERER": "https://app.example.com/",
              "HTTP_X_APP_ID": "secretapp"}
    if "https_required" in steps:
        params.update(PLAIN)
    if "key_in_url" in steps:
        params.update(in_url(key))
    if "request_invalid" in steps:
        params["HTTP_X_API_KEY"] = "another"
    if "ip_denied" in steps:
        params["REMOTE_ADDR"] = "198.51.100.1"
    if "referrer_denied" in steps:
        params["HTTP_REFERER"] = None
    if "app_denied" in steps:
        params["HTTP_X_APP_ID"] = "other"
    if "scope_insufficient" in steps:
        params["APIKEYD_SCOPE"] = "not:held"
    return params


@pytest.mark.parametrize("mode", MODES)
def test_the_first_refusal_of_the_order_wins(shared, one, mode):
    kid, key, _ = one
    before = used(shared, kid)
    for first in range(len(STEPS)):
        steps = STEPS[first:]
        switch = "disable" if "key_disabled" in steps else "enable"
        shared.tool(switch, kid, check=0)
        for wrong in [steps, [steps[0]]] + [[steps[0], later] for later in steps[1:]]:
            if ("key_disabled" in wrong) == (switch == "disable"):
                assert verdict(shared.ask(**{**failing(wrong, key), **MODES[mode]})) == steps[0], wrong
    shared.tool("enable", kid, check=0)
    assert used(shared, kid) == before == [1, 1]


def test_no_credential_yields_to_https_and_url(shared, one):
    assert verdict(shared.ask(**PLAIN)) == "https_required"
    assert verdict(shared.ask(**in_url(one[1]))) == "key_in_url"
    assert verdict(shared.ask(**in_url(one[1]), **PLAIN)) == "https_required"
    assert verdict(shared.ask(HTTP_X_API_KEY="a", APIKEYD_SCOPE="not:held", REMOTE_ADDR="198.51.100.1")) == "key_invalid"


# ---- what every denial carries, and what it does not ----

def denials(shared, one):
    kid, key, good = one
    switched = {state: shared.create("secretowner", plan="secretplan", meta="team=secretmeta") for state in ("disabled", "revoked")}
    shared.tool("disable", switched["disabled"][0], check=0)
    shared.tool("revoke", switched["revoked"][0], "--reason", "secretreason", check=0)
    expired = shared.expired("secretowner", plan="secretplan")[1]
    auth = {"HTTP_AUTHORIZATION": f"Bearer {key}", **good}
    return {
        "key_missing": {}, "key_invalid": {"HTTP_X_API_KEY": misspelled(key)}, "request_invalid": {**auth, "HTTP_X_API_KEY": "z"},
        "key_in_url": {**auth, **in_url(key)}, "key_disabled": {"HTTP_X_API_KEY": switched["disabled"][1]},
        "key_revoked": {"HTTP_X_API_KEY": switched["revoked"][1]}, "key_expired": {"HTTP_X_API_KEY": expired}, "https_required": {**auth, **PLAIN},
        "ip_denied": {**auth, "REMOTE_ADDR": "198.51.100.1"}, "referrer_denied": {**auth, "HTTP_REFERER": "https://evil.example.org/"},
        "app_denied": {**auth, "HTTP_X_APP_ID": "none"}, "scope_insufficient": {**auth, "APIKEYD_SCOPE": "not:held"}, "rate_limited": auth,
    }


@pytest.mark.parametrize("mode", MODES)
def test_every_denial_in_every_mode(shared, one, mode):
    seen = set()
    for code, params in denials(shared, one).items():
        reply = shared.ask(**{**params, **MODES[mode]})
        body = problem(reply)
        assert body["code"] == reply.header("Apikey-Denied") == code
        assert list(body)[:6] == ["type", "title", "status", "detail", "code", "instance"]
        assert body["type"] == (QUOTA if code == "rate_limited" else f"urn:apikeyd:problem:{code}")
        assert reply.header("Cache-Control") == "no-store"
        assert body["instance"].startswith("urn:apikeyd:request:") and body["instance"] not in seen
        seen.add(body["instance"])
        if mode == "auth_request":
            assert reply.status == (401 if body["status"] == 401 else 403)
            assert int(reply.header("Apikey-Status")) == body["status"] and reply.body == b""
        else:
            assert reply.status == body["status"]
            assert reply.header("Content-Type") == "application/problem+json" and b"\n" not in reply.body.rstrip(b"\n")
            assert int(reply.header("Content-Length")) == len(reply.body)
        # Nothing of the key's record: not the owner, the plan, the reason, what it holds, its id.
        for secret in (b"secret", b"held:scope", b"192.0.2", one[0].encode(), one[1].encode(), one[1][:12].encode()):
            assert secret not in reply.raw, (code, secret)
        assert not [n for n, _ in reply.headers if n.lower().startswith(("x-accel", "variable-", "apikey-id", "apikey-owner", "set-cookie", "location"))]
        # Limits are told on 200 and 429 alone; Retry-After of these only on 429.
        for name in ("RateLimit", "RateLimit-Policy", "Retry-After"):
            assert (reply.header(name) is not None) == (code == "rate_limited"), (code, name)
        challenges = ", ".join(reply.all("WWW-Authenticate"))
        assert challenges.startswith('Bearer realm="api"') == (body["status"] in (400, 401) or code == "scope_insufficient")
        assert challenges.endswith('ApiKey realm="api"') == (body["status"] == 401), code
        error = re.search(r' error="(\w+)"', challenges)
        assert (error and error[1]) == {"key_missing": None, "scope_insufficient": "insufficient_scope"}.get(
            code, {400: "invalid_request", 401: "invalid_token"}.get(body["status"]))
        told = re.search(r'error_description="([^"]*)"', challenges)
        assert (told is not None) == (code in ("key_expired", "key_revoked", "key_disabled"))
        assert told is None or code[4:] in told[1]


@pytest.mark.parametrize("mode", ["serve", "accel", "authorizer"])
def test_head_gets_the_headers_alone(shared, mode):
    get, head = (shared.ask(**{**MODES[mode], "REQUEST_METHOD": m, "APIKEYD_REQUEST_ID": "one"}) for m in ("GET", "HEAD"))
    assert head.body == b"" and head.status == 401 and head.headers == get.headers


def test_what_serve_says_of_a_key(shared):
    shared.tool("plan", "set", "spelled", *[f"--limit={n}={n}/{w}" for n, w in zip(range(5, 10), ("90s", "2m", "3h", "2d", "1w"))], check=0)
    kid, key = shared.create("acme", plan="spelled")
    reply = shared.ask(key)
    body = reply.json()
    assert list(body) == ["message", "key", "limits"] and list(body["key"]) == ["id", "owner", "plan", "scopes"] and body["key"]["scopes"] == []
    windows = [90, 120, 10800, 172800, 604800]
    assert [list(x) for x in body["limits"]] == [["name", "limit", "window", "remaining", "reset"]] * 5
    assert [(x["limit"], x["window"], x["remaining"]) for x in body["limits"]] == [(n, w, n - 1) for n, w in zip(range(5, 10), windows)]
    assert reply.header("RateLimit-Policy") == ", ".join(f'"{n}";q={n};w={w}' for n, w in zip(range(5, 10), windows))
    assert re.fullmatch(", ".join(rf'"{n}";r={n - 1};t=\d+' for n in range(5, 10)), reply.header("RateLimit"))
    # Without limits there is nothing to tell.
    free = shared.ask(shared.create("acme")[1])
    assert free.json()["limits"] == [] and free.header("RateLimit") is None and free.header("RateLimit-Policy") is None


def test_retry_after_is_true_for_each_cost(shared):
    """The same request, asked all the time (a refusal is counted nowhere), is admitted within the last of the seconds that were said."""
    shared.tool("plan", "set", "twosec", "--limit", "a=3/2s", check=0)
    _, key = shared.create("acme", plan="twosec")
    assert shared.ask(key, APIKEYD_COST="1").status == 200
    assert shared.ask(key, APIKEYD_COST="2").status == 200
    for cost in ("2", "3"):
        first_sent = sent = time.monotonic()
        reply = shared.ask(key, APIKEYD_COST=cost)
        assert reply.status == 429 and reply.json()["violated-policies"] == ["a"]
        said, heard = int(reply.header("Retry-After")), time.monotonic()
        while reply.status == 429:
            assert sent < heard + said, "refused after the time that was promised"
            sent = time.monotonic()
            reply = shared.ask(key, APIKEYD_COST=cost)
        assert time.monotonic() - first_sent >= said - 1


# ---- exposed keys ----

@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("way, params", [("http", lambda k: {"HTTP_X_API_KEY": k, **PLAIN}), ("url", lambda k: in_url(k, "access_token"))])
def test_a_key_that_came_the_wrong_way_is_marked_whatever_its_state(shared, mode, way, params):
    for change in (None, "disable", "revoke"):
        kid, key = shared.create("acme")
        if change:
            shared.tool(change, kid, check=0)
        assert verdict(shared.ask(**{**params(key), **MODES[mode], "REMOTE_ADDR": "192.0.2.99"})) == {"http": "https_required", "url": "key_in_url"}[way]
        shown = wait_until(lambda: (lambda s: s if s["exposed"] else None)(shared.json("show", kid)), "the key is marked")
        assert shown["exposed_ways"] == [way] and shown["exposed_from"] == "192.0.2.99"
        assert kid in [k["id"] for k in shared.json_lines("list", "--exposed")]
    kid, key = shared.create("acme")
    assert verdict(shared.ask(key)) == "ok" and shared.json("show", kid)["exposed"] is None


def test_only_what_has_the_form_of_a_key_counts_as_one_in_the_url(shared, one):
    for value in ("", "x", "ak_live_short", one[1][:-1], one[1] + "A", "sk" + one[1][2:]):
        assert verdict(shared.ask(**in_url(value))) == "key_missing", value
    for value in (misspelled(one[1]), "ak_test_" + "A" * 38, f"%20{one[1]}"):
        assert verdict(shared.ask(**in_url(value))) == "key_in_url", value
    assert verdict(shared.ask(REQUEST_URI=f"/x?other={one[1]}", QUERY_STRING=f"other={one[1]}")) == "key_missing"


# ---- settings ----

@pytest.fixture(scope="module")
def proxied():
    import pathlib
    import tempfile
    path = pathlib.Path(tempfile.mkdtemp(prefix="apikeyd-"))
    d = Daemon(path / "d", trusted_proxies=["10.0.0.0/8", "fd00::/8"], realm="My API, v2; a='b'", key_prefix="corp7", ratelimit_headers="both",
               listen_mode="0600", workers=3, query_parameters=["token"]).start()
    yield d
    d.stop()
    shutil.rmtree(path, ignore_errors=True)


@pytest.mark.parametrize("forwarded, admitted", [
    ("203.0.113.9", True), ("1.1.1.1, 203.0.113.9", True), ("203.0.113.9, 1.1.1.1", False), ("203.0.113.9, 10.2.2.2,10.3.3.3", True),
    (" 203.0.113.9 ,\tfd00::1 ", True), ("203.0.113.9, nonsense", False), ("nonsense", False), ("", False), (None, False), ("10.9.9.9", False),
    ("203.0.113.9, unknown, 10.0.0.1", False), ("::ffff:203.0.113.9", True),
])
def test_the_client_behind_a_trusted_proxy(proxied, forwarded, admitted):
    _, key = proxied.create("acme", allow_ip="203.0.113.0/24")
    for proxy in ("10.1.1.1", "fd00::7", "::ffff:10.1.1.1"):
        assert verdict(proxied.ask(key, REMOTE_ADDR=proxy, HTTP_X_FORWARDED_FOR=forwarded)) == ("ok" if admitted else "ip_denied")
    # Anybody else's word is not taken, neither for nor against an address.
    assert verdict(proxied.ask(key, REMOTE_ADDR="192.0.2.7", HTTP_X_FORWARDED_FOR=forwarded)) == "ip_denied"
    assert verdict(proxied.ask(key, REMOTE_ADDR="203.0.113.7", HTTP_X_FORWARDED_FOR=forwarded)) == "ok"


def test_https_is_known_from_trusted_places_only(proxied):
    _, key = proxied.create("acme")
    proxy = {"REMOTE_ADDR": "10.1.1.1", **PLAIN}
    assert verdict(proxied.ask(key, HTTP_X_FORWARDED_PROTO="https", **proxy)) == "ok"
    for said in ("http", "", None, "x", "https, http"):
        assert verdict(proxied.ask(key, HTTP_X_FORWARDED_PROTO=said, **proxy)) == "https_required", said
    assert verdict(proxied.ask(key, HTTP_X_FORWARDED_PROTO="https", **PLAIN)) == "https_required"
    for params, code in [({"HTTPS": "on", "REQUEST_SCHEME": None}, "ok"), ({"HTTPS": "ON", "REQUEST_SCHEME": None}, "ok"), ({"HTTPS": None}, "ok"),
                         ({"HTTPS": "off", "REQUEST_SCHEME": None}, "https_required"), ({"HTTPS": "", "REQUEST_SCHEME": None}, "https_required"),
                         ({"HTTPS": None, "REQUEST_SCHEME": None}, "https_required"), ({"HTTPS": "off", "REQUEST_SCHEME": "http"}, "https_required"),
                         ({"HTTPS": None, "REQUEST_SCHEME": None, "HTTP_HTTPS": "on", "HTTP_REQUEST_SCHEME": "https"}, "https_required")]:
        assert verdict(proxied.ask(key, **params)) == code, params


def test_realm_and_prefix_of_ones_own(proxied):
    _, key = proxied.create("acme", env="test")
    assert re.fullmatch(r"corp7_test_[0-9A-Za-z]{38}", key)
    assert proxied.ask(key).status == 200
    reply = proxied.ask("ak_live_" + key[11:])
    assert verdict(reply) == "key_invalid"
    assert reply.all("WWW-Authenticate") == ['Bearer realm="My API, v2; a=\'b\'", error="invalid_token"', 'ApiKey realm="My API, v2; a=\'b\'"']
    assert verdict(proxied.ask(**in_url(key, "token"))) == "key_in_url"
    assert verdict(proxied.ask(**in_url(key, "api_key"))) == "key_missing"


def test_socket_mode_and_number_of_workers(proxied):
    assert stat.S_IMODE(os.stat(proxied.socket).st_mode) == 0o600
    assert len(proxied.children("worker")) == 3


@pytest.mark.parametrize("setting", ["draft", "legacy", "both", "off"])
def test_headers_that_tell_the_limits(daemon, setting):
    daemon.write_conf(ratelimit_headers=setting)
    daemon.start()
    daemon.tool("plan", "set", "p", "--limit", "hour=5/1h", "--limit", "day=3/1d", check=0)
    _, key = daemon.create("acme", plan="p")
    for mode in ("serve", "auth_request", "serve", "serve", "auth_request"):
        reply = daemon.ask(key, APIKEYD_MODE=mode)
        legacy = [reply.header(f"X-RateLimit-{n}") for n in ("Limit", "Remaining", "Reset")]
        if setting in ("draft", "both"):
            assert reply.header("RateLimit-Policy") == '"hour";q=5;w=3600, "day";q=3;w=86400'
            assert re.fullmatch(r'"hour";r=\d;t=\d+, "day";r=\d;t=\d+', reply.header("RateLimit"))
        else:
            assert reply.header("RateLimit-Policy") is None and reply.header("RateLimit") is None
        if setting in ("legacy", "both"):
            assert legacy[0] == "3" and int(legacy[1]) in range(3) and 86000 < int(legacy[2]) <= 86400     # the tightest: day
        else:
            assert legacy == [None] * 3
        assert (reply.header("Retry-After") is not None) == (verdict(reply) == "rate_limited")
    assert verdict(reply) == "rate_limited"


def test_plain_http_when_it_is_allowed(daemon):
    daemon.write_conf(require_https=False)
    daemon.start()
    kid, key = daemon.create("acme")
    assert verdict(daemon.ask(key, **PLAIN)) == "ok" and verdict(daemon.ask(**PLAIN)) == "key_missing"
    assert verdict(daemon.ask(key, **in_url(key), **PLAIN)) == "key_in_url"


def test_keys_in_the_query_when_they_are_allowed(daemon):
    daemon.write_conf(allow_query_keys=True, query_parameters=["token"])
    daemon.start()
    (_, one), (_, two) = daemon.create("acme"), daemon.create("acme")
    assert verdict(daemon.ask(**in_url(one, "token"))) == "ok"
    assert verdict(daemon.ask(one, **in_url(one, "token"))) == "ok"
    assert verdict(daemon.ask(two, **in_url(one, "token"))) == "request_invalid"
    assert verdict(daemon.ask(REQUEST_URI=f"/x?token={one}&token={two}")) == "request_invalid"
    assert verdict(daemon.ask(**in_url(misspelled(one), "token"))) == "key_invalid"
    assert verdict(daemon.ask(**in_url(one, "api_key"))) == "key_missing"
    assert verdict(daemon.ask(**in_url(one, "token"), **PLAIN)) == "https_required"


def test_the_default_plan_can_have_limits(daemon):
    daemon.write_conf(default_plan="starter")
    daemon.start()
    done = daemon.tool("create", "--owner", "acme", check=1)
    assert 'no plan "starter" (default_plan' in done.stderr and "apikey plan set starter --limit" in done.stderr
    daemon.tool("plan", "set", "starter", "--limit", "hour=2/1h", check=0)
    kid, key = daemon.create("acme")
    assert daemon.json("show", kid)["plan"] == "starter"
    assert [daemon.ask(key).status for _ in range(3)] == [200, 200, 429]
    daemon.write_conf(default_plan=None)
    daemon.process.send_signal(signal.SIGHUP)
    wait_until(lambda: daemon.json("show", daemon.create("acme")[0])["plan"] == "default", "the setting is in force")
    assert daemon.json("plan", "show", "default")["builtin"] is True
    assert "is built in" in daemon.tool("plan", "remove", "default", check=1).stderr
    daemon.tool("plan", "set", "default", "--limit", "hour=1/1h", check=0)
    _, key = daemon.create("acme")
    assert [daemon.ask(key).status for _ in range(2)] == [200, 429]


def test_a_keeper_that_does_not_answer_in_time(daemon):
    daemon.write_conf(keeper_timeout="400ms")
    daemon.start()
    daemon.tool("plan", "set", "p", "--limit", "hour=9/1h", check=0)
    kid, key = daemon.create("secretowner", plan="p")
    with daemon.halted(daemon.keeper_pid()):
        for how in MODES.values():
            sent = time.monotonic()
            reply = daemon.ask(key, **how)
            assert 0.4 <= time.monotonic() - sent < 8
            body = problem(reply)
            assert (body["status"], body["code"], body["title"], body["type"]) == (503, "unavailable", "Service unavailable", REDUCED)
            assert reply.status == (403 if reply.header("Apikey-Status") else 503) and reply.header("Apikey-Status") in (None, "503")
            assert reply.header("Retry-After") == "1" and reply.header("Apikey-Denied") == "unavailable" and reply.header("Cache-Control") == "no-store"
            assert not reply.all("WWW-Authenticate") and reply.header("X-Accel-Redirect") is None and b"secret" not in reply.raw
        # What needs no keeper is decided all the same.
        assert verdict(daemon.ask()) == "key_missing" and verdict(daemon.ask(misspelled(key))) == "key_invalid"
        assert verdict(daemon.ask(**PLAIN)) == "https_required"
    wait_until(lambda: verdict(daemon.ask(key, APIKEYD_COST="0")) == "ok", "the keeper answers again")
    assert used(daemon, kid) == [0]


def test_peppers_from_a_systemd_credential(daemon, directory):
    daemon.pepper()
    credentials = directory / "credentials"
    credentials.mkdir(mode=0o700)
    shutil.move(daemon.settings["pepper_file"], credentials / "peppers")
    environment = {"CREDENTIALS_DIRECTORY": str(credentials)}
    made = json.loads(daemon.tool("--json", "create", "--owner", "acme", env=environment, check=0).stdout)
    # The file of the setting is not there: start() would make one.
    daemon.process = subprocess.Popen([APIKEYD, "-f", "-c", daemon.conf], stdin=subprocess.DEVNULL, stderr=open(daemon.log_path, "ab"),
                                      env={**os.environ, **environment})
    daemon.wait_ready()
    assert daemon.ask(made["key"]).status == 200
    assert not os.path.exists(daemon.settings["pepper_file"])


def test_every_mistake_in_the_configuration_is_named_with_its_line(daemon):
    lines = ['nonsense = 1', 'workers = many', '# a comment', '', 'key_prefix = "A B"', 'require_https = maybe', 'trusted_proxies = {"10.0.0.0/8",',
             '    "10.0.0.1/8"}', 'ratelimit_headers = some', 'keeper_timeout = 2', 'log_level = loud', 'listen = "relative"', 'listen_mode = 8',
             'realm = "a\\"b"', 'state_dir = "x"', 'user = ""']
    daemon.conf.write_text("\n".join(lines) + "\n")
    for args in (["-t"], ["-f"], []):
        done = subprocess.run([APIKEYD, "-c", daemon.conf, *args], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=20)
        assert done.returncode == 1
        named = {int(n) for n in re.findall(rf"^apikeyd: {re.escape(str(daemon.conf))}:(\d+): \S", done.stderr, re.M)}
        assert named - {7, 8} == {1, 2, 5, 6, 9, 10, 11, 12, 13, 14, 15, 16} and named & {7, 8}, done.stderr
    done = subprocess.run([APIKEY, "-c", daemon.conf, "list"], capture_output=True, text=True, timeout=20)
    assert done.returncode == 2 and f"{daemon.conf}:1" in done.stderr


# ---- the tool ----

def test_where_the_general_options_may_stand(shared):
    kid, _ = shared.create("acme")
    for args in (["-c", shared.conf, "--json", "show", kid], ["show", kid, "-c", shared.conf, "--json"], ["--json", "show", "-c", shared.conf, kid]):
        done = subprocess.run([APIKEY, *map(str, args)], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 and json.loads(done.stdout)["id"] == kid and done.stdout.count("\n") == 1


def test_a_keeper_that_hangs_is_exit_code_3(daemon):
    """A command that changes something is not sent twice: nobody knows whether it was done."""
    daemon.start()
    stand_still(daemon.keeper_pid())
    done = daemon.tool("create", "--owner", "acme", check=3)
    assert done.stderr.startswith("apikey: ") and done.stderr.count("\n") == 1 and done.stdout == ""


def test_durations_have_five_units(shared):
    for text, seconds in [("90s", 90), ("5m", 300), ("3h", 10800), ("2d", 172800), ("1w", 604800)]:
        made = shared.json("create", "--owner", "acme", "--expires", text)
        read = lambda t: time.mktime(time.strptime(t, "%Y-%m-%dT%H:%M:%SZ"))
        assert abs(read(made["expires"]) - read(made["created"]) - seconds) <= 1
    for text in ("90", "5y", "5D", "d", "-1d", "1.5h", "1h30m", ""):
        shared.tool("create", "--owner", "acme", "--expires", text, check=2)
    # A key that has expired before it is made is mostly a mistake in a date, and told.
    for text in ("2020-01-01", "2020-01-01T12:00:00+02:00"):
        assert "does not work: it has expired (2020-01-01T" in shared.tool("create", "--owner", "acme", "--expires", text, check=0).stderr
    kid = shared.create("acme", expires="1h")[0]
    assert "expired" not in shared.tool("set", kid, "--name", "x", check=0).stderr
    assert "has expired" in shared.tool("set", kid, "--expires", "2020-01-01", check=0).stderr


# ---- behind nginx ----

@pytest.fixture(scope="module")
def policies(proxied):
    import pathlib
    import tempfile
    path = pathlib.Path(tempfile.mkdtemp(prefix="apikeyd-"))
    os.chmod(path, 0o755)
    backend = Backend()
    nginx = NginxAuthRequest(path / "n", proxied, backend, extra="""
        location /api/bad/ { include apikeyd/protect.conf; set $apikey_cost "x"; proxy_pass http://backend; }
        location /api/dear/ { include apikeyd/protect.conf; set $apikey_cost "3"; proxy_pass http://backend; }
        location /api/two/ { include apikeyd/protect.conf; set $apikey_scope "a:b c:d"; proxy_pass http://backend; }
    """).start()
    yield nginx, backend
    nginx.stop()
    backend.close()
    shutil.rmtree(path, ignore_errors=True)


@pytest.mark.parametrize("http", ["--http1.1", "--http2"])
def test_both_kinds_of_limit_headers_pass_nginx(proxied, policies, http):
    nginx, _ = policies
    proxied.tool("plan", "set", "four", "--limit", "hour=4/1h", check=0)
    _, key = proxied.create("acme", plan="four")
    for path, status, left in [("/api/dear/x", 200, 1), ("/api/dear/x", 429, 1), ("/api/x", 200, 0), ("/api/x", 429, 0), ("/whoami", 429, 0)]:
        reply = nginx.curl(path, http, key=key)
        assert reply.status == status and reply.header("RateLimit-Policy") == '"hour";q=4;w=3600'
        assert re.fullmatch(rf'"hour";r={left};t=\d+', reply.header("RateLimit"))
        assert (reply.header("X-RateLimit-Limit"), reply.header("X-RateLimit-Remaining")) == ("4", str(left)) and reply.header("X-RateLimit-Reset")
        assert (reply.header("Retry-After") is not None) == (status == 429)
        assert reply.header("Apikey-Denied") == (None if status == 200 else "rate_limited")


@pytest.mark.parametrize("http", ["--http1.1", "--http2"])
def test_a_mistake_in_nginx_is_closed_and_said(proxied, policies, http):
    nginx, backend = policies
    _, key = proxied.create("acme")
    before = backend.requests
    reply = nginx.curl("/api/bad/x", http, key=key)
    assert reply.status == 500 and reply.json()["code"] == reply.header("Apikey-Denied") == "misconfigured"
    assert reply.header("Content-Type") == "application/problem+json" and reply.header("Cache-Control") == "no-store"
    assert backend.requests == before


def test_all_scopes_of_a_route_are_needed(proxied, policies):
    nginx, _ = policies
    assert nginx.curl("/api/two/x", key=proxied.create("acme", scope=["a:b", "c:*"])[1]).status == 200
    reply = nginx.curl("/api/two/x", key=proxied.create("acme", scope="a:b")[1])
    assert reply.status == 403 and reply.header("WWW-Authenticate").endswith('error="insufficient_scope", scope="a:b c:d"')


@pytest.mark.parametrize("http", ["--http1.1", "--http2"])
def test_a_keeper_that_hangs_behind_nginx(directory, http):
    backend, daemon = Backend(), Daemon(directory / "d", keeper_timeout="200ms").start()
    nginx = NginxAuthRequest(directory / "n", daemon, backend).start()
    try:
        _, key = daemon.create("acme")
        with daemon.halted(daemon.keeper_pid()):
            for path in ("/api/x", "/whoami"):
                reply = nginx.curl(path, http, key=key)
                assert reply.status == 503 and reply.json()["code"] == reply.header("Apikey-Denied") == "unavailable" and reply.json()["type"] == REDUCED
                assert reply.header("Retry-After") == "1" and reply.header("Content-Type") == "application/problem+json"
                assert reply.header("Cache-Control") == "no-store"
        assert backend.requests == 0
    finally:
        nginx.stop()
        daemon.stop(expect=None)
        backend.close()
