"""Goal: what is Caddy's own about its configuration, beside the matrix and the attacks that all mounts share. Caddy sorts directives, fills in placeholders
that may be missing, takes half an answer for 200, and logs headers: each is shown wrong otherwise, and right as shipped. Invariants 4, 6."""

import os
import re
import subprocess
import threading

import pytest

from harness import fcgi
from harness.backend import FastcgiBackend
from harness.caddy import CaddyForwardAuth
from harness.daemon import wait_until
from harness.streams import check_events, check_websocket

pytestmark = pytest.mark.parametrize("site", [CaddyForwardAuth], indirect=True, ids=lambda m: m.name)

CONF, SNIPPETS = "Caddyfile", "apikeyd.caddy"
API = "\thandle /api/* {\n"
ASK = '\t\t\timport apikeyd "" 1 # (edit) any key\n'
INSIDE = f"{ASK}\t\t\thandle_response @admitted {{\n"


def test_nothing_to_complain_about(site):
    for name in (CONF, SNIPPETS):
        path = site.mount.conf / name
        done = subprocess.run(["caddy", "fmt", path], capture_output=True, text=True, timeout=30, env=site.mount.environment())
        assert name == CONF or done.stdout == path.read_text()
    assert not [line for line in site.mount.errors().splitlines() if '"level":"error"' in line]


# ---- the order of directives ----

@pytest.mark.parametrize("line", ["respond secret", "redir https://elsewhere.example/ 302", "reverse_proxy /api/x* {backend}", "handle {\nrespond secret\n}"])
def test_what_stands_beside_the_question(site, line):
    """Caddy sorts the directives of a block: some come before the question wherever they are written. Inside of its answer none does."""
    line = line.replace("{backend}", f"127.0.0.1:{site.backend.port}") + "\n"

    def asked(reply):
        return reply.status == 401 and reply.header("Apikey-Denied") == "key_missing"
    with site.changed(edits=[(CONF, API, API + line)]):
        assert not asked(site.mount.send("/api/x"))
    with site.changed(edits=[(CONF, INSIDE, INSIDE + line)]):
        with site.backend_untouched():
            assert asked(site.mount.send("/api/x"))
        assert not asked(site.mount.send("/api/x", key=site.key))


def test_a_site_without_a_question(site):
    """import apikeyd left out, or without its words: closed, or no start."""
    with site.changed(edits=[(CONF, ASK, "\t\t\timport apikeyd\n")]), site.backend_untouched():
        reply = site.mount.send("/api/x", key=site.key)
        assert reply.status == 500 and reply.json()["code"] == "misconfigured"
    for new in ("", "\t\t\timport apikeyd_serve\n"):
        with pytest.raises(AssertionError), site.changed(edits=[(CONF, ASK, new)]):
            pass


def test_what_is_imported(site):
    """Without its other two parts the gate still decides; what they are for is gone."""
    with site.changed(edits=[(CONF, "\timport apikeyd_site\n", "")]):
        assert site.mount.send("/api/x").status == 401 and site.mount.send("/api/x", f"X_Api_Key: {site.key}").status == 200
        assert site.identity(site.mount.send("/api/x", "Connection: close, Apikey-Id", key=site.key).json())["APIKEY_ID"] == []
        with site.mount.gate_down(), site.backend_untouched():
            reply = site.mount.send("/api/x", key=site.key)
            assert reply.status == 502 and reply.body == b""
    with site.changed(edits=[(CONF, "\t\t\t\timport apikeyd_admitted\n", "")]):
        assert site.mount.send("/api/x").status == 401
        reply = site.mount.send("/api/x", key=site.key)
        assert site.identity(reply.json())["APIKEY_ID"] == [] and site.key.encode() in reply.body and reply.header("RateLimit") is None


# ---- the answer ----

def answering(stdout):
    def serve(connection):
        connection.recv(65536)
        connection.sendall((fcgi.stream(fcgi.STDOUT, stdout) if stdout else b"") + fcgi.record(fcgi.END, b"\0" * 8))
    return serve


@pytest.mark.parametrize("stdout", [b"", b"Content-Type: text/plain\r\n\r\n", b"Content-Type: te", b"Status: 200\r\n\r\n", b"Status: 204\r\n\r\n", b"Status: 302\r\nLocation: /\r\n\r\n",
                                    b"Status: 200\r\nApikey_Id: key_x\r\n\r\n"])
def test_half_an_answer(site, stdout):
    """No admission without an identity: a gate in another mode, or something else at its address, admits nobody."""
    with site.mount.gate_fake(answering(stdout)) as accepted, site.backend_untouched():
        for path in ("/api/x", "/api/admin/x", "/files/"):
            for key in (None, site.key):
                reply = site.mount.send(path, key=key)
                assert reply.status == 503 and reply.json()["code"] == "unavailable" and reply.header("Apikey-Denied") == "unavailable"
        assert accepted


def test_the_identity_is_what_admits(site):
    for new in ("", "\t\theader Apikey-Id *\n"):
        with site.changed(edits=[(SNIPPETS, "\t\theader Apikey-Id key_*\n", new), (SNIPPETS, "\thandle_response @apikeyd_odd {\n\t\terror 503\n\t}\n", "")]):
            with site.mount.gate_fake(answering(b"Status: 200\r\n" + (b"Apikey-Id: x\r\n" if new else b"") + b"\r\n")):
                # A busy machine may be late in connecting to what has just begun to listen there.
                wait_until(lambda: site.mount.send("/api/x").status == 200, "the identity was all that kept it out")
                assert site.backend.seen[-1]["target"] == "/api/x"


def test_another_mode(site):
    for mode in ("serve", "auth_request"):
        with site.changed(edits=[(SNIPPETS, "env APIKEYD_MODE accel", f"env APIKEYD_MODE {mode}")]), site.backend_untouched():
            for key in (None, site.key):
                assert site.mount.send("/api/x", key=key).status >= 400


def test_what_a_key_has_not(site):
    """Placeholders that nothing fills would go out as they are written."""
    _, key = site.daemon.create("acme")
    reply = site.mount.send("/api/x", key=key)
    assert "{" not in str(reply.headers) and reply.header("RateLimit") is None and reply.header("X-RateLimit-Limit") is None
    names = {n.lower() for n, v in reply.json()["headers"] if "{" not in v}
    assert names == {n.lower() for n, _ in reply.json()["headers"]} and not names & {"apikey-meta", "apikey-scopes"}
    with site.changed(edits=[(SNIPPETS, "request_header @apikeyd_meta Apikey-Meta", "request_header Apikey-Meta"), (SNIPPETS, "header @apikeyd_limit RateLimit", "header RateLimit")]):
        reply = site.mount.send("/api/x", key=key)
        assert "{http." in str(reply.headers) and "{http." in str(reply.json()["headers"])


def test_legacy_headers(site):
    site.daemon.write_conf(ratelimit_headers="legacy")
    site.mount.gate_reload()
    try:
        reply = site.mount.send("/api/x", key=site.key)
        assert reply.header("X-RateLimit-Limit") == "100000" and reply.header("X-RateLimit-Remaining") and reply.header("X-RateLimit-Reset") and reply.header("RateLimit") is None
    finally:
        site.daemon.write_conf(ratelimit_headers=None)
        site.mount.gate_reload()


def test_a_body_stays_for_the_backend(site):
    """A GET has one as well: Caddy keeps it back from the gate only when method or path are changed."""
    body = os.urandom(100000)
    for method in ("GET", "POST", "DELETE", "HEAD"):
        reply = site.mount.send("/api/x", method=method, body=body, key=site.key)
        assert reply.status == 200 and site.backend.seen[-1]["length"] == len(body) and site.backend.seen[-1]["method"] == method
    with site.changed(drop=(SNIPPETS, "\trewrite /_apikeyd\n")):
        assert site.mount.send("/api/x", method="POST", body=body, key=site.key).status == 200
        reply = site.mount.send("/api/x", method="GET", body=body, key=site.key)
        assert reply is None or reply.status != 200


def asked(site, *args):
    """The params by which Caddy asks, as a list of dicts, and what it sent beside them."""
    questions = []

    def serve(connection):
        with connection.makefile("rb") as f:
            params, stdin = b"", b""
            while True:
                head = f.read(8)
                kind, length = head[1], int.from_bytes(head[4:6], "big")
                content = f.read(length + head[6])[:length]
                params += content if kind == fcgi.PARAMS else b""
                stdin += content if kind == fcgi.STDIN else b""
                if kind == fcgi.STDIN and length == 0:
                    break
        questions.append((FastcgiBackend.pairs(params), stdin))
        connection.sendall(fcgi.stream(fcgi.STDOUT, b"Status: 401\r\nApikey-Denied: x\r\n\r\n") + fcgi.record(fcgi.END, b"\0" * 8))
    with site.mount.gate_fake(serve):
        for target, how, headers in args:
            assert site.mount.send(target, *headers, **how).status == 401
    return questions


def test_the_question(site):
    """Each has an id of its own, the URL as the client wrote it, no body; and what the client calls by the gate's names is not in it."""
    target = "/api//x/%2e%2e/y?api_key=1&a=%20,b"
    (a, body), (b, _) = asked(site, (target, {"method": "POST", "body": b"x" * 1000}, ["APIKEYD_REQUEST_ID: x", "Apikeyd-Scope: x", "X_Api_Key: x", "X-Api_Key: x"]), ("/api/x", {}, []))
    assert body == b"" and dict(a)["REQUEST_URI"] == target and dict(a)["REMOTE_ADDR"] == "127.0.0.1" and dict(a)["HTTPS"] == "on"
    ids = [dict(q)["APIKEYD_REQUEST_ID"] for q in (a, b)]
    assert ids[0] != ids[1] and all(re.fullmatch("[0-9a-f-]{36}", i) for i in ids)
    assert not [n for n, _ in a if n.startswith(("HTTP_APIKEY", "HTTP_X_API"))]


def test_restrictions(site):
    _, key = site.daemon.create("acme", plan="lots", allow_ip="192.0.2.1")
    assert site.mount.send("/api/x", "X-Forwarded-For: 192.0.2.1", "Forwarded: for=192.0.2.1", key=key).json()["code"] == "ip_denied"
    _, key = site.daemon.create("acme", plan="lots", referrer="https://app.example/")
    assert site.mount.send("/api/x", key=key).json()["code"] == "referrer_denied"
    assert site.mount.send("/api/x", "Referer: https://app.example/x", key=key).status == 200


def test_behind_a_load_balancer(site):
    """Who comes through it is known by what it says, and nobody else's word counts: both Caddy and apikeyd have to trust it."""
    _, key = site.daemon.create("acme", plan="lots", allow_ip="192.0.2.1")
    words = ("X-Forwarded-For: 198.51.100.1, 192.0.2.1", "X-Forwarded-Proto: https")
    trust = [(SNIPPETS, "#trusted_proxies 192.0.2.0/24", "trusted_proxies 127.0.0.0/8")]
    assert site.mount.send("/api/x", *words, key=key).json()["code"] == "ip_denied"
    with site.changed(edits=trust):
        assert site.mount.send("/api/x", *words, key=key).json()["code"] == "ip_denied"
    site.daemon.write_conf(trusted_proxies=["127.0.0.0/8"])
    site.mount.gate_reload()
    try:
        assert site.mount.send("/api/x", *words, key=key).json()["code"] == "ip_denied"
        assert site.mount.send("/api/x", *words, key=key, plain=True).json()["code"] == "https_required"
        with site.changed(edits=trust):
            assert site.mount.send("/api/x", *words, key=key).status == 200
            assert site.mount.send("/api/x", *words, key=key, plain=True).status == 200
            assert site.mount.send("/api/x", "X-Forwarded-For: 192.0.2.1, 198.51.100.1", key=key).json()["code"] == "ip_denied"
    finally:
        site.daemon.write_conf(trusted_proxies=None)
        site.mount.gate_reload()


# ---- what is not the gate's ----

def test_public_paths_forge_nothing(site):
    """The same backend without a key, on a path that needs none: nobody there claims to be somebody."""
    public = f"handle /public/* {{\n\treverse_proxy 127.0.0.1:{site.backend.port}\n}}"
    with site.changed(extra=public):
        reply = site.mount.send("/public/x", "Apikey-Id: evil", "apikey_owner: evil", "Apikey.Plan: evil", "APIKEYD: evil", "X_Api_Key: evil")
        assert reply.status == 200 and b"evil" not in reply.body and reply.header("RateLimit") is None


def test_what_the_backend_says_in_the_gates_name(site):
    """A backend that repeats headers: the client learns nothing of the key, and no denial of the gate's that was none."""
    echo = "/api/status/403?say=Apikey-Owner:acme&say=apikey_plan:gold&say=Apikey-Denied:key_revoked"
    reply = site.mount.send(echo, key=site.key)
    assert reply.status == 403 and not [n for n, _ in reply.headers if n.lower().startswith("apikey")] and reply.header("X-Backend") == "yes"
    with site.changed(drop=(SNIPPETS, "\t\theader {\n\t\t\t-Apikey*\n\t\t\tdefer\n\t\t}\n")):
        assert site.mount.send(echo, key=site.key).header("Apikey-Owner") == "acme"


def test_other_errors_stay_what_they_are(site):
    """The backend is down, not the gate."""
    with site.changed(edits=[(CONF, f"127.0.0.1:{site.backend.port}", "127.0.0.1:1")]):
        reply = site.mount.send("/api/x", key=site.key)
        assert reply.status == 502 and reply.header("Apikey-Denied") is None and reply.header("RateLimit")
    assert site.mount.send("/nowhere").status == 404
    assert site.mount.send("/api/x", host="elsewhere.example").status == 421


def test_a_gate_that_hangs(site):
    """Its time is up: closed, in apikeyd's words. (Shortened here; shipped are 5 s.)"""
    go_on = threading.Event()

    def serve(connection):
        connection.recv(65536)
        go_on.wait(30)
    with site.changed(edits=[(SNIPPETS, "read_timeout 5s", "read_timeout 200ms")]), site.mount.gate_fake(serve), site.backend_untouched():
        reply = site.mount.send("/api/x", key=site.key)
        assert reply.status == 503 and reply.json()["code"] == "unavailable"
        go_on.set()


def test_identity_at_a_fastcgi_backend(site, directory):
    directory.chmod(0o755)
    FastcgiBackend(directory / "api.sock")
    with site.changed(edits=[(CONF, INSIDE, f"{INSIDE}\t\t\t\timport apikeyd_admitted\n\t\t\t\tphp_fastcgi unix/{directory}/api.sock {{\n\t\t\t\t\tindex off\n\t\t\t\t\tsplit .none\n\t\t\t\t}}\n")]) as changed:
        # A proxy to the same place by a path of its own stands before it: by the sorting of Caddy.
        text = (changed.mount.conf / CONF).read_text()
        (changed.mount.conf / CONF).write_text(text.replace(f"\t\t\t\treverse_proxy 127.0.0.1:{site.backend.port} # (edit)\n", ""))
        changed.mount.reload()
        reply = site.mount.send("/api/x.none", "Apikey_Id: evil", "apikey-id: evil", key=site.key)
        seen = reply.json()
        assert [v for n, v in seen if n == "HTTP_APIKEY_ID"] == [site.id] and b"evil" not in reply.body and site.key.encode() not in reply.body
        assert site.mount.send("/api/x.none").status == 401


# ---- the log ----

def test_no_key_in_the_log(site):
    """Caddy's own format has headers and URLs as they came."""
    def log_of(mount):
        mount.curl(f"/api/x?api_key={site.admin_key}&last", "-H", f"X-API-Key: {site.key}", key=site.key)
        wait_until(lambda: "http.log.access" in mount.errors() and "last" in mount.errors(), "the request is in the log")
        return mount.errors()
    log = log_of(site.mount)
    assert site.key not in log and site.admin_key not in log
    with site.changed(edits=[(CONF, "\t\timport apikeyd_log\n", "\t\tformat json\n")]):
        log = log_of(site.mount)
        assert site.key in log and site.admin_key in log


# ---- connections ----

def test_upgrades_but_websocket(site):
    for headers in (["Upgrade: foo"], ["Upgrade: h2c", "Upgrade: websocket"], ["Upgrade: h2c, websocket"], ["Upgrade: websocket, h2c"]):
        reply = site.mount.send("/api/x", *headers, "Connection: close, Upgrade, Apikey-Id", key=site.key)
        assert reply.status == 200
        assert [v for n, v in reply.json()["headers"] if n.lower() == "upgrade"] in ([], ["websocket"])
        site.check_identity(reply.json())


def test_websocket(site):
    check_websocket(site)


def test_events_come_one_by_one(site):
    check_events(site)
