"""Goal: `apikey check` says what the gate says, whatever the key's rules and the request are: random keys (scopes, restrictions, states, secrets, plans,
owners) and random requests, each explained first and then asked for. Guards Invariant 6 from the side of who believes the explanation: there is one way
to decide."""

import json
import os
import random
import re
import string

import pytest

SCOPES = ["orders:read", "orders:write", "orders:*", "*:read", "*", "users:re*", "a", "a:b:c", "a:*"]
NEEDED = ["orders:read", "orders:write", "users:read", "a", "a:b", "a:b:c", "files:x"]
NETS = ["192.0.2.0/24", "192.0.2.7", "10.0.0.0/8", "2001:db8::/32", "::ffff:198.51.100.0/120", "0.0.0.0/0", "::/0", "2001:db8:0:1::1"]
ADDRESSES = ["192.0.2.7", "192.0.3.7", "10.9.8.7", "::ffff:10.1.2.3", "2001:db8::7", "2001:db9::7", "198.51.100.255", "::", "255.255.255.255"]
PATTERNS = ["https://app.example.com", "*.example.com", "app.example.com/x", "http://*.example.com/x/", "localhost", "https://app.example.com/a%20b"]
REFERRERS = ["https://app.example.com/", "https://app.example.com:8443/x?key=y", "http://b.example.com/x/y", "https://example.com/", "https://good@app.example.com/", "app.example.com/x",
             "https://app.example.com/x/../y", "http://localhost:3000/", "HTTPS://APP.EXAMPLE.COM/X", "https://app.example.com/x#f", "https://app.example.com.evil.org/", "about:blank"]
APPS = ["ios", "android", "iOS", "com.example.app 2", "a,b"]
METHODS = ["GET", "POST", "HEAD", "DELETE", "OPTIONS", "PATCH"]
URIS = ["/api/x", "/api/x?a=b&key=short", "/a/../b", "/a//b", "/a;b=c", "/a%2fb", "/a\\b", "/%e4", "/", "/api?x=/../", "/api/%2e%2e/x", "*", "https://h/api"]


def flags(rng):
    """What a key is made with."""
    def some(options, most=3):
        return rng.sample(options, rng.randint(1, most))
    out = {}
    for name, options in ("scope", SCOPES), ("allow_ip", NETS), ("referrer", PATTERNS), ("app", APPS), ("method", METHODS):
        if rng.random() < 0.2:
            out[name] = some(options)
    if rng.random() < 0.3:
        out["browsers"] = rng.choice(["off", "flag", "deny"])
    if rng.random() < 0.1:
        out["not_before"] = "1d"
    elif rng.random() < 0.2:
        out["expires"] = rng.choice(["1d", "never", "2999-12-31"])
    if rng.random() < 0.8:
        out["plan"] = rng.choice(["few", "owners", "dry", "scoped", "aged"])
    return out


def request(rng, key):
    """Params of a request, and the words that tell `apikey check` of it."""
    params, words = {"HTTP_X_API_KEY": key}, []

    def maybe(often, param, option, options):
        value = rng.choice(options) if rng.random() < often else None
        params[param] = value
        words.extend([option, value] if value is not None else [])
    maybe(0.9, "REMOTE_ADDR", "--ip", ADDRESSES)
    maybe(0.7, "HTTP_REFERER", "--referrer", REFERRERS)
    maybe(0.7, "HTTP_X_APP_ID", "--app", APPS)
    maybe(0.9, "REQUEST_METHOD", "--method", METHODS)
    maybe(0.1, "REQUEST_URI", "--uri", URIS)
    if rng.random() < 0.3:
        needed = rng.sample(NEEDED, rng.randint(1, 3))
        params["APIKEYD_SCOPE"] = " ".join(needed)
        words += ["--scope", params["APIKEYD_SCOPE"]]
    if rng.random() < 0.3:
        params["APIKEYD_COST"] = rng.choice(["0", "1", "2", "7", "1000000"])
        words += ["--cost", params["APIKEYD_COST"]]
    if rng.random() < 0.2:
        params[rng.choice(["HTTP_ORIGIN", "HTTP_SEC_FETCH_MODE", "HTTP_SEC_FETCH_SITE"])] = rng.choice(["null", "cors", "https://app.example.com"])
        words.append("--browser")
    if rng.random() < 0.05:
        params.update(HTTPS=None, REQUEST_SCHEME="http")
        words.append("--http")
    if rng.random() < 0.05:
        params.update(HTTP_X_API_KEY=None, REQUEST_URI=f"/x?a=b&api_key={key}")
        words += [] if "--uri" in words else ["--uri", "/x?a=b&api_key={key}"]
        if words[-1] != "/x?a=b&api_key={key}":
            words[words.index("--uri") + 1] = "/x?a=b&api_key={key}"
    return params, words


def said(reply):
    """The gate's code, and of each limit what remains; by its headers, for HEAD has no body."""
    code = reply.header("Apikey-Denied") or "ok"
    assert (code == "ok") == (reply.status == 200)
    if code == "ok":
        return "ok", {name: int(left) for name, left in re.findall(r'"([^"]+)";r=(\d+)', reply.header("RateLimit") or "")}
    return code, int(reply.header("Retry-After") or 0) if code == "rate_limited" else None


def explained(decision):
    if decision["code"] == "ok":
        return "ok", {limit["name"]: limit["remaining"] for limit in decision["limits"] if not limit["dry_run"]}
    return decision["code"], decision["retry_after"] if decision["code"] == "rate_limited" else None


def close(gate, told):
    """The same. Seconds may go by between the two, of windows of hours; what never has room (-1) is told to clients as a window."""
    if gate[0] != told[0] or gate[0] != "rate_limited":
        return gate == told
    return gate[1] > 0 and (told[1] == -1 or abs(gate[1] - told[1]) <= 60)


@pytest.fixture(scope="module")
def plans(shared):
    plan = lambda *words: shared.tool("plan", "set", *words, check=0)
    plan("few", "--limit", "hour=3/1h", "--limit", "day=9/1d")
    plan("owners", "--limit", "hour=5/1h", "--per", "owner")
    plan("dry", "--limit", "hour=1/1h", "--dry-run")
    plan("scoped", "--limit", "day=100/1d", "--scope", "orders:read", "--scope", "files:*")
    plan("aged", "--limit", "day=100/1d", "--max-age", "3d", "--max-age-deny")


def a_key(daemon, rng):
    """A key in some state of its life: its id, and the secrets to come with."""
    owner = rng.choice(["ann", "bob", "cho", "off"])
    if rng.random() < 0.05:
        kid, key = daemon.expired(owner)
        return kid, [key]
    kid, key = daemon.create(owner, **flags(rng))
    secrets = [key]
    for _ in range(rng.choice([0, 0, 0, 1, 2])):
        secrets.append(daemon.json("rotate", kid, "--grace", rng.choice(["0", "1h"]))["key"])
    fate = rng.random()
    if fate < 0.1:
        daemon.tool("disable", kid, check=0)
    elif fate < 0.2:
        daemon.tool("revoke", kid, *rng.choice([[], ["--reason", "r"]]), check=0)
    elif fate < 0.3 and len(secrets) > 1:
        daemon.tool("revoke", kid, "--old-secret", check=0)
    return kid, secrets


def presented(rng, secrets):
    """What comes as the key: one of its secrets mostly, or nearly one."""
    key = rng.choice(secrets[-1:] * 3 + secrets)
    chance = rng.random()
    if chance < 0.04:
        return key[:-1] + rng.choice([c for c in string.ascii_letters + string.digits if c != key[-1]])
    if chance < 0.06:
        return "ak_live_" + "0" * 38
    return "secret" if chance < 0.08 else key


def test_the_explanation_is_the_gates_answer(shared, plans, scale):
    seed = int(os.environ.get("SEED", scale(1, random.SystemRandom().randrange(1 << 32))))
    rng = random.Random(seed)
    codes = {}
    shared.create("off")
    shared.tool("owner", "disable", "off", check=0)
    for _ in range(scale(30, 1000)):
        kid, secrets = a_key(shared, rng)
        for _ in range(4):
            key = presented(rng, secrets)
            params, words = request(rng, key)
            before = json.loads(shared.tool("--json", "check", *words, input=key).stdout)
            by_id = json.loads(shared.tool("--json", "check", "--id", kid, *words).stdout) if key == secrets[-1] else before
            got = said(shared.ask(**params))
            assert close(got, explained(before)), (seed, words, got, before)
            assert close(got, explained(by_id)), (seed, words, got, by_id)
            codes[got[0]] = codes.get(got[0], 0) + 1
    # It has looked at something.
    assert codes["ok"] >= 5 and len(codes) >= 7, (seed, codes)
