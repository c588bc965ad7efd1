"""Goal: the HTTP contract (apikeyd-api(7)), to the letter, asked over raw FastCGI.
Invariants 1 (a refused request is counted nowhere) and 6 (no bad input is admitted)."""

import base64
import json
import re

import pytest

from harness.fcgi import AUTHORIZER, Connection, params_for

PROBLEMS = "https://iana.org/assignments/http-problem-types"


@pytest.fixture(scope="module")
def keys(shared):
    shared.tool("plan", "set", "tight", "--limit", "burst=2/1h", "--limit", "day=1000/1d", check=0)
    shared.tool("plan", "set", "wide", "--limit", "minute=1000/60s", check=0)
    return {
        "plain": shared.create("acme"),
        "scoped": shared.create("acme", scope=["orders:read", "invoices:*"], plan="wide", meta=["team=blue", "tier=1"]),
        "disabled": shared.create("acme"),
        "revoked": shared.create("acme"),
        "expired": shared.create("acme", expires="1s"),
        "office": shared.create("acme", allow_ip=["192.0.2.0/24", "2001:db8::/32"]),
        "site": shared.create("acme", referrer=["https://*.example.com/app"]),
        "ios": shared.create("acme", app=["ios"]),
    }


def check_denial(reply, status, code, title, type_=None):
    assert reply.status == status
    assert reply.header("Content-Type") == "application/problem+json"
    assert reply.header("Cache-Control") == "no-store"
    assert reply.header("Apikey-Denied") == code
    assert b"\n" not in reply.body.strip()
    body = reply.json()
    assert body["status"] == status and body["code"] == code and body["title"] == title
    assert body["type"] == (type_ or f"urn:apikeyd:problem:{code}")
    assert re.fullmatch(r"urn:apikeyd:request:\S+", body["instance"])
    assert body["detail"]
    return body


def challenges(reply):
    return [c for c in reply.all("WWW-Authenticate")]


def test_no_key(shared):
    reply = shared.ask()
    check_denial(reply, 401, "key_missing", "API key is missing")
    assert challenges(reply) == ['Bearer realm="api"', 'ApiKey realm="api"']
    assert reply.header("RateLimit") is None and reply.header("Retry-After") is None


def test_admitted(shared, keys):
    kid, key = keys["scoped"]
    reply = shared.ask(key)
    assert reply.status == 200
    assert reply.header("Content-Type").startswith("application/json")
    assert reply.header("Cache-Control") == "no-store"
    body = reply.json()
    assert body["message"] == "Access granted"
    assert body["key"] == {"id": kid, "owner": "acme", "plan": "wide", "scopes": ["orders:read", "invoices:*"]}
    (limit,) = body["limits"]
    assert limit["name"] == "minute" and limit["limit"] == 1000 and limit["window"] == 60
    assert limit["remaining"] < 1000 and 0 < limit["reset"] <= 60
    assert reply.header("RateLimit-Policy") == '"minute";q=1000;w=60'
    assert re.fullmatch(r'"minute";r=\d+;t=\d+', reply.header("RateLimit"))
    assert reply.header("Retry-After") is None


@pytest.mark.parametrize("header, value", [
    ("HTTP_AUTHORIZATION", "Bearer {}"), ("HTTP_AUTHORIZATION", "bearer {}"), ("HTTP_AUTHORIZATION", "BEARER   {}"),
    ("HTTP_AUTHORIZATION", " \tBearer {}\t "), ("HTTP_X_API_KEY", "{}"), ("HTTP_X_API_KEY", "\t {} \t"),
])
def test_where_a_key_may_stand(shared, keys, header, value):
    assert shared.ask(**{header: value.format(keys["plain"][1])}).status == 200


def test_both_headers_with_the_same_key(shared, keys):
    assert shared.ask(keys["plain"][1], HTTP_X_API_KEY=keys["plain"][1]).status == 200


def ambiguous(keys):
    one, two = keys["plain"][1], keys["scoped"][1]
    return {
        "two different": [("HTTP_AUTHORIZATION", f"Bearer {one}"), ("HTTP_X_API_KEY", two)],
        "good and junk": [("HTTP_AUTHORIZATION", f"Bearer {one}"), ("HTTP_X_API_KEY", "x")],
        "repeated header": [("HTTP_X_API_KEY", one), ("HTTP_X_API_KEY", one)],
        "repeated authorization": [("HTTP_AUTHORIZATION", f"Bearer {one}"), ("HTTP_AUTHORIZATION", f"Bearer {two}")],
        "comma": [("HTTP_X_API_KEY", f"{one}, {one}")],
        "comma in bearer": [("HTTP_AUTHORIZATION", f"Bearer {one},{two}")],
        "empty bearer": [("HTTP_AUTHORIZATION", "Bearer ")],
        "inner space": [("HTTP_AUTHORIZATION", f"Bearer {one} {two}")],
        "line break": [("HTTP_X_API_KEY", f"{one}\r\nX: y")],
    }


@pytest.mark.parametrize("case", ["two different", "good and junk", "repeated header", "repeated authorization", "comma", "comma in bearer",
                                  "empty bearer", "inner space", "line break"])
def test_ambiguous_credentials(shared, keys, case):
    with shared.connect() as c:
        reply = c.request(list(params_for().items()) + ambiguous(keys)[case])
    check_denial(reply, 400, "request_invalid", "Ambiguous credentials")
    assert challenges(reply)[0] == 'Bearer realm="api", error="invalid_request"'


def test_another_scheme_is_no_credential(shared):
    check_denial(shared.ask(HTTP_AUTHORIZATION="Basic dXNlcjpwYXNz"), 401, "key_missing", "API key is missing")


def unlike(reply):
    """Bytes of a reply without what differs from request to request."""
    return re.sub(rb"urn:apikeyd:request:[^\"]+", b"", reply.raw)


def test_unknown_and_misspelled_keys_look_alike(shared, keys):
    _, known = keys["plain"]
    other = shared.create("acme")[1]
    shared_prefix = other[:-1] + ("a" if other[-1] != "a" else "b")       # wrong checksum
    replies = [shared.ask(k) for k in (shared_prefix, "junk", known[:-1], UNKNOWN)]
    for reply in replies:
        check_denial(reply, 401, "key_invalid", "Invalid API key")
        assert challenges(reply)[0] == 'Bearer realm="api", error="invalid_token"'
    assert len({unlike(r) for r in replies}) == 1


def base62_crc(text):
    import zlib
    n, digits = zlib.crc32(text.encode()), "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    out = ""
    for _ in range(6):
        n, r = divmod(n, 62)
        out = digits[r] + out
    return out


# Well-formed, right checksum, never issued.
UNKNOWN = "ak_live_" + "A" * 32 + base62_crc("ak_live_" + "A" * 32)


def test_checksum_is_crc32_in_base62(shared, keys):
    for _, key in keys.values():
        assert re.fullmatch(r"ak_live_[0-9A-Za-z]{38}", key)
        assert key[-6:] == base62_crc(key[:-6])


def test_expired_disabled_revoked(shared, keys):
    shared.tool("disable", keys["disabled"][0], check=0)
    shared.tool("revoke", keys["revoked"][0], "--reason", "left the company", check=0)
    for name, code, title in [("disabled", "key_disabled", "API key disabled"), ("revoked", "key_revoked", "API key revoked")]:
        reply = shared.ask(keys[name][1])
        check_denial(reply, 401, code, title)
        assert challenges(reply)[0].startswith('Bearer realm="api", error="invalid_token", error_description="')
        assert code.split("_")[1] in challenges(reply)[0]
        assert b"left the company" not in reply.raw and b"acme" not in reply.raw
    # Created to live for one second, many tests ago or just now: wait for the outside world.
    from harness.daemon import wait_until
    reply = wait_until(lambda: (lambda r: r if r.status != 200 else None)(shared.ask(keys["expired"][1])), "the key expires")
    check_denial(reply, 401, "key_expired", "API key expired")
    assert "expired" in challenges(reply)[0]


@pytest.mark.parametrize("name", ["api_key", "apikey", "key", "access_token"])
@pytest.mark.parametrize("encode", [False, True])
def test_key_in_the_query(shared, keys, name, encode):
    key = keys["plain"][1]
    if encode:
        key = "".join(f"%{ord(c):02X}" for c in key)
    for params in ({"REQUEST_URI": f"/api/x?a=b&{name}={key}&c", "QUERY_STRING": ""},
                   {"REQUEST_URI": "/api/x", "QUERY_STRING": f"{name}={key}"}):
        for credential in (None, keys["plain"][1]):
            reply = shared.ask(credential, **params)
            body = check_denial(reply, 400, "key_in_url", "API key in URL")
            assert challenges(reply)[0] == 'Bearer realm="api", error="invalid_request"'
            assert keys["plain"][1] not in json.dumps(body)


def test_plain_http(shared, keys):
    kid, key = shared.create("exposed")
    for credential in (None, key, "junk"):
        reply = shared.ask(credential, HTTPS=None, REQUEST_SCHEME="http")
        check_denial(reply, 403, "https_required", "HTTPS required")
        assert not challenges(reply)
    from harness.daemon import wait_until
    wait_until(lambda: shared.json("show", kid)["exposed"], "the key is marked exposed")
    assert shared.json("show", kid)["exposed_ways"] == ["http"]
    # A client cannot claim HTTPS for a server that does not say so.
    assert shared.ask(key, HTTPS=None, REQUEST_SCHEME="http", HTTP_X_FORWARDED_PROTO="https").status == 403


def test_exposed_in_url_is_marked(shared):
    kid, key = shared.create("exposed")
    assert shared.ask(None, REQUEST_URI=f"/x?api_key={key}").status == 400
    from harness.daemon import wait_until
    wait_until(lambda: shared.json("show", kid)["exposed"], "the key is marked exposed")
    assert shared.json("show", kid)["exposed_ways"] == ["url"]


def test_every_key_that_came_along_is_marked(shared):
    """Not the first alone, and of an ambiguous request too."""
    from harness.daemon import wait_until
    made = [shared.create("exposed") for _ in range(8)]
    a, b, c, d, e, f, g, h = [key for _, key in made]
    plain = {"HTTPS": None, "REQUEST_SCHEME": "http"}
    assert shared.ask(HTTP_AUTHORIZATION=f"Bearer {a}", HTTP_X_API_KEY=b, **plain).status == 403
    assert shared.ask(HTTP_X_API_KEY=f"{c}, {d}", **plain).status == 403
    with shared.connect() as connection:
        params = [*params_for(**plain).items(), ("HTTP_X_API_KEY", e), ("HTTP_X_API_KEY", f)]
        assert connection.request(params).status == 403
    assert shared.ask(a, REQUEST_URI=f"/x?api_key={g}&key={h}").status == 400
    for i, (kid, _) in enumerate(made):
        wait_until(lambda: shared.json("show", kid)["exposed"], "the key is marked exposed")
        assert shared.json("show", kid)["exposed_ways"] == (["http"] if i < 6 else ["url"])


def test_scopes(shared, keys):
    _, key = keys["scoped"]
    for needed in ("orders:read", "invoices:read", "invoices:a:b", "orders:read invoices:write", ""):
        assert shared.ask(key, APIKEYD_SCOPE=needed).status == 200, needed
    for needed in ("orders:write", "orders", "orders:read admin:all", "invoices"):
        reply = shared.ask(key, APIKEYD_SCOPE=needed)
        check_denial(reply, 403, "scope_insufficient", "Insufficient scope")
        assert challenges(reply)[0] == f'Bearer realm="api", error="insufficient_scope", scope="{needed}"'
    # However the web server's configuration spaces them.
    reply = shared.ask(key, APIKEYD_SCOPE="  orders:read   admin:all ")
    assert challenges(reply)[0].endswith('scope="orders:read admin:all"') and reply.json()["scope"] == "orders:read admin:all"


@pytest.mark.parametrize("params", [
    {"APIKEYD_MODE": "Serve"}, {"APIKEYD_MODE": "nonsense"}, {"APIKEYD_COST": "x"}, {"APIKEYD_COST": "-1"}, {"APIKEYD_COST": "1000001"},
    {"APIKEYD_COST": "1.5"}, {"APIKEYD_COST": "99999999999999999999"}, {"APIKEYD_SCOPE": 'a"b'}, {"APIKEYD_SCOPE": "a:*"}, {"APIKEYD_SCOPE": "a,b"},
    {"APIKEYD_REQUEST_ID": "a\nb"}, {"APIKEYD_MODE": "accel", "APIKEYD_PASS": "/secret"}, {"APIKEYD_MODE": "accel"},
])
def test_a_mistake_of_the_web_server_denies(shared, keys, params):
    before = shared.json("show", keys["scoped"][0])["limits"]
    reply = shared.ask(keys["scoped"][1], **params)
    assert reply.status == 500
    assert reply.json()["code"] == "misconfigured"
    assert "X-Accel-Redirect" not in dict(reply.headers)
    after = shared.json("show", keys["scoped"][0])["limits"]
    assert before[0]["used"] == after[0]["used"]


def test_every_mistake_of_the_web_server_is_logged(daemon):
    """One that comes with each request once hid all others."""
    daemon.write_conf(workers=1)
    daemon.start()
    for params in ({"APIKEYD_MODE": "x"}, {"APIKEYD_MODE": "x"}, {"APIKEYD_COST": "x", "APIKEYD_SCOPE": "*"}, {"APIKEYD_MODE": "accel"}):
        assert daemon.ask(**params).status == 500
    logged = re.findall(r"event=misconfigured param=(\w+)", daemon.log())
    assert set(logged) == {"APIKEYD_MODE", "APIKEYD_COST", "APIKEYD_SCOPE", "APIKEYD_PASS"}


def test_restrictions(shared, keys):
    for address, status in [("192.0.2.9", 200), ("198.51.100.1", 403), ("2001:db8::1", 200), ("::ffff:192.0.2.1", 200), ("nonsense", 403), (None, 403)]:
        reply = shared.ask(keys["office"][1], REMOTE_ADDR=address)
        assert reply.status == status, address
    check_denial(reply, 403, "ip_denied", "Address not allowed")
    for referrer, status in [("https://a.example.com/app/x", 200), ("https://example.com/app", 403), ("http://a.example.com/app", 403),
                             ("https://a.example.com.evil.org/app", 403), ("https://a.example.com/apple", 403), (None, 403)]:
        reply = shared.ask(keys["site"][1], HTTP_REFERER=referrer)
        assert reply.status == status, referrer
    check_denial(reply, 403, "referrer_denied", "Referrer not allowed")
    assert shared.ask(keys["ios"][1], HTTP_X_APP_ID="ios").status == 200
    check_denial(shared.ask(keys["ios"][1], HTTP_X_APP_ID="android"), 403, "app_denied", "Application not allowed")


def test_rate_limited(shared):
    kid, key = shared.create("acme", plan="tight", scope="a:b")
    for left in (1, 0):
        reply = shared.ask(key)
        assert reply.status == 200
        assert reply.header("RateLimit-Policy") == '"burst";q=2;w=3600, "day";q=1000;w=86400'
        assert re.fullmatch(rf'"burst";r={left};t=\d+, "day";r={998 + left};t=\d+', reply.header("RateLimit"))
    # Refused for the scope: counted nowhere. Refused for one limit: not counted in the other.
    assert shared.ask(key, APIKEYD_SCOPE="c:d").status == 403
    for _ in range(3):
        reply = shared.ask(key)
        body = check_denial(reply, 429, "rate_limited", "Rate limit exceeded", f"{PROBLEMS}#quota-exceeded")
        assert body["violated-policies"] == ["burst"]
        assert re.fullmatch(r'"burst";r=0;t=\d+, "day";r=998;t=\d+', reply.header("RateLimit"))
        assert 3500 <= int(reply.header("Retry-After")) <= 3600
        assert b"acme" not in reply.raw and b"tight" not in reply.raw
        assert not challenges(reply)


def test_cost(shared):
    shared.tool("plan", "set", "units", "--limit", "hour=100/1h", check=0)
    _, key = shared.create("acme", plan="units")
    r = lambda **p: re.search(r"r=(\d+)", shared.ask(key, **p).header("RateLimit")).group(1)
    assert r(APIKEYD_COST="40") == "60"
    assert r(APIKEYD_COST="0") == "60"
    assert shared.ask(key, APIKEYD_COST="61").status == 429
    assert r(APIKEYD_COST="60") == "0"
    assert shared.ask(key, APIKEYD_COST="0").status == 200
    assert shared.ask(key).status == 429
    reply = shared.ask(key, APIKEYD_COST="101")
    assert reply.status == 429 and int(reply.header("Retry-After")) > 0


def test_the_same_request_twice_is_counted_once(shared):
    shared.tool("plan", "set", "few", "--limit", "hour=3/1h", check=0)
    _, key = shared.create("acme", plan="few", scope="a:b")
    seen = [shared.ask(key, APIKEYD_REQUEST_ID="req-1").header("RateLimit").split(";t")[0] for _ in range(3)]
    assert seen == ['"hour";r=2'] * 3
    assert shared.ask(key, APIKEYD_REQUEST_ID="req-2").header("RateLimit").startswith('"hour";r=1')
    # What was decided for one route says nothing of another that needs more.
    assert shared.ask(key, APIKEYD_REQUEST_ID="req-2", APIKEYD_SCOPE="c:d").status == 403
    reply = shared.ask(key, APIKEYD_REQUEST_ID="req-2")
    assert shared.ask(None, APIKEYD_REQUEST_ID="req-9").json()["instance"] == "urn:apikeyd:request:req-9"


def test_auth_request_mode(shared, keys):
    kid, key = keys["scoped"]
    ok = shared.ask(key, APIKEYD_MODE="auth_request")
    assert ok.status == 204 and ok.body == b""
    assert ok.header("Apikey-Id") == kid and ok.header("Apikey-Owner") == "acme" and ok.header("Apikey-Plan") == "wide"
    assert ok.header("Apikey-Scopes") == "orders:read invoices:*"
    meta = ok.header("Apikey-Meta")
    assert json.loads(base64.urlsafe_b64decode(meta + "=" * (-len(meta) % 4))) == {"team": "blue", "tier": "1"}
    assert ok.header("RateLimit")
    for params, outer, status, code in [
            ({}, 401, 401, "key_missing"), ({"HTTP_X_API_KEY": "junk"}, 401, 401, "key_invalid"), ({"HTTP_X_API_KEY": "a,b"}, 403, 400, "request_invalid"),
            ({"HTTP_X_API_KEY": key, "APIKEYD_SCOPE": "no:way"}, 403, 403, "scope_insufficient"), ({"HTTPS": None, "REQUEST_SCHEME": "http"}, 403, 403, "https_required")]:
        reply = shared.ask(**{**params, "APIKEYD_MODE": "auth_request"})
        assert reply.status == outer and reply.header("Apikey-Status") == str(status)
        assert reply.header("Apikey-Denied") == code and reply.body == b""
        problem = json.loads(reply.header("Apikey-Problem"))
        assert problem["status"] == status and problem["code"] == code
        assert reply.header("Apikey-Id") is None and reply.header("Apikey-Owner") is None
        if status in (400, 401):
            assert reply.header("WWW-Authenticate").startswith('Bearer realm="api"')
            assert (', ApiKey realm="api"' in reply.header("WWW-Authenticate")) == (status == 401)


def test_authorizer_role(shared, keys):
    kid, key = keys["scoped"]
    ok = shared.ask(key, role=AUTHORIZER, APIKEYD_MODE="ignored")
    assert ok.status == 200
    assert ok.header("Variable-APIKEY_ID") == kid and ok.header("Variable-APIKEY_OWNER") == "acme"
    assert ok.header("Variable-APIKEY_SCOPES") == "orders:read invoices:*"
    assert not [n for n, _ in ok.headers if n.lower().startswith("apikey-")]
    check_denial(shared.ask(role=AUTHORIZER), 401, "key_missing", "API key is missing")


def test_accel_mode(shared, keys):
    ok = shared.ask(keys["plain"][1], APIKEYD_MODE="accel", APIKEYD_PASS="@backend")
    assert ok.status == 200 and ok.header("X-Accel-Redirect") == "@backend"
    assert ok.header("Content-Type") is None and ok.header("Cache-Control") is None
    denied = shared.ask("junk", APIKEYD_MODE="accel", APIKEYD_PASS="@backend")
    assert denied.status == 401 and denied.header("X-Accel-Redirect") is None


def test_head_has_no_body(shared):
    reply = shared.ask(REQUEST_METHOD="HEAD")
    assert reply.status == 401 and reply.body == b"" and reply.header("Content-Type") == "application/problem+json"


def test_keep_alive(shared, keys):
    with Connection(shared.socket) as c:
        for _ in range(50):
            assert c.request(params_for(keys["plain"][1])).status == 200
            assert c.request(params_for()).status == 401
