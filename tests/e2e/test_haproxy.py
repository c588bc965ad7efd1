"""Goal: what is HAProxy's own about its configuration, beside the matrix and the attacks that all mounts share. In HAProxy an action that fails lets a
request go on: each such case is shown open without the lines that close it, and closed as shipped. Invariant 6."""

import contextlib
import os
import pathlib
import re
import signal
import socket
import subprocess
import threading

import pytest
import test_doctor

from harness.daemon import Daemon, wait_until
from harness.haproxy import HAProxy
from harness.http2 import block, connect, frame
from harness.mount import free_port
from harness.streams import check_events, check_websocket

pytestmark = pytest.mark.parametrize("site", [HAProxy], indirect=True, ids=lambda m: m.name)

CFG, LUA = "haproxy.cfg", "apikeyd.lua"
SECOND_DOOR = (CFG, "    http-request deny deny_status 503 unless { var(txn.apikeyd) -m str admitted }\n", "")
GATE = (CFG, "http-request lua.apikeyd unless apikeyd_admitted", "")
DECIDE = '    local headers = question(txn)\n'


def first_door(site):
    """The edit that removes the refusal of the frontend: it is one line, whatever it says."""
    [line] = [x for x in (site.mount.conf / CFG).read_text().splitlines(True) if x.startswith("    http-request return status 503")]
    return CFG, line, ""


@contextlib.contextmanager
def variant(site, *edits, **how):
    """The same site with a HAProxy whose configuration is changed: edits of the shipped files, and extra=, outer=."""
    shipped = site.mount
    mount = type("Variant", (HAProxy,), {"edits": edits})(site.dir / f"v{next(site.numbers)}", site.daemon, site.backend, **how)
    site.mount = mount
    try:
        with mount:
            yield mount
    finally:
        site.mount = shipped


def is_open(site, path="/api/x", **how):
    """Does a request without a key reach the backend?"""
    before = len(site.backend.seen)
    reply = site.mount.send(path, **how)
    return reply is not None and reply.status == 200 and len(site.backend.seen) == before + 1


def check_closed(site, key=None):
    with site.backend_untouched():
        for k in (None, "junk", key or site.key):
            reply = site.mount.curl("/api/x", key=k)
            assert reply.status == 503 and reply.json()["code"] == "unavailable" and reply.header("Apikey-Denied") == "unavailable", reply
            assert reply.header("Content-Type") == "application/problem+json" and reply.header("Retry-After") == "1" and reply.header("Cache-Control") == "no-store"
            assert re.fullmatch(r"urn:apikeyd:request:[0-9a-f-]{36}", reply.json()["instance"])


# ---- the files as they are ----

def test_nothing_to_complain_about(site):
    done = subprocess.run(["haproxy", "-c", "-f", site.mount.conf / CFG], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "WARNING" not in done.stderr + done.stdout and "ALERT" not in done.stderr, done.stderr


def test_the_guide_quotes_the_file(site):
    """Lines that the guide tells to copy are those of the file."""
    guide = (pathlib.Path(__file__).parents[2] / "doc" / "haproxy.md").read_text()
    for line in ("http-request deny deny_status 503 unless { var(txn.apikeyd) -m str admitted }", "http-request del-header apikey -m beg",
                 "option http-restrict-req-hdr-names delete"):
        assert line in guide and line in (site.mount.conf / CFG).read_text()


DOCTOR = {
    "a door for errors": ([(LUA, '    local headers = question(txn)\n', '    error("broken")\n')], {"no-key": "open", "unknown-key": "open"}, "apikeyd_admitted"),
    "a rule before the gate": ([], {"no-key": "open"}, "lua.apikeyd"),
    "lua.apikeyd_deny": ([(CFG, "http-request lua.apikeyd_deny unless apikeyd_admitted", "")], {"no-key": "gate_down"}, "apikeyd"),
    "del-header": ([(CFG, "http-request del-header apikey -m beg", "")], {"forged-dashes": "forged"}, "del-header apikey"),
    "the key": ([(CFG, "http-request del-header Authorization", "")], {"key-hidden": "key_passed_on"}, "Authorization"),
    "pass-header": ([(CFG, "pass-header Authorization ", "#")], {"key": "bearer_lost"}, "pass-header"),
    "the scheme": ([(CFG, "set-param REQUEST_SCHEME", "#")], {"no-key": "https_unseen"}, "REQUEST_SCHEME"),
    "the URL": ([(CFG, "set-param REQUEST_URI", "#")], {"key-in-url": "uri_lost"}, "REQUEST_URI"),
    "the address": ([(CFG, "set-param REMOTE_ADDR        %[req.fhdr(x-apikeyd-addr)]", "set-param REMOTE_ADDR %[req.fhdr(x-forwarded-for)]")], {"address": "address_believed"}, "REMOTE_ADDR"),
    "identity": ([(CFG, "http-request set-header Apikey-Id ", "#")], {"identity": "identity_lost"}, "Apikey-Id"),
    "RateLimit": ([(CFG, "http-after-response set-header RateLimit   ", "#")], {"limits": "ratelimit_lost"}, "RateLimit"),
}


@pytest.mark.parametrize("case", DOCTOR)
def test_doctor_names_the_line(site, case):
    """The shipped files with one thing wrong: doctor says what it is and where to look."""
    edits, expected, word = DOCTOR[case]
    doors = [first_door(site), SECOND_DOOR] if "open" in expected.values() else []
    with variant(site, *edits, *doors, extra="http-request allow" if case == "a rule before the gate" else ""):
        code, lines, _ = test_doctor.examine(site, "--limits", "--server", "haproxy")
    got = test_doctor.failures(lines)
    assert code == 1 and expected.items() <= got.items(), got
    assert any(word in text for text in lines[next(iter(expected))]["look"].values()), lines


# ---- actions that fail ----

LOOP = (CFG, "    lua-load-per-thread", "    tune.lua.session-timeout 200\n    lua-load-per-thread")
FAILING = {
    "an error": [(LUA, DECIDE, '    error("broken")\n')],
    "a value that is none": [(LUA, DECIDE, "    local headers = question(nil)\n")],
    "an endless loop": [LOOP, (LUA, DECIDE, "    while true do end\n")],
    "no memory": [(CFG, "    lua-load-per-thread", "    tune.lua.maxmem 16\n    lua-load-per-thread"), (LUA, DECIDE, '    local _ = string.rep("x", 100 * 1024 * 1024)\n')],
    "no decision": [(LUA, DECIDE, "    do return end\n")],
    "no action": [GATE],
    "nobody at the internal socket": [(LUA, 'apikeyd.sock"', 'nowhere.sock"')],
    "apikeyd in another mode": [(CFG, "set-param APIKEYD_MODE       auth_request", "")],
    "apikeyd at another path": [(CFG, "server gate unix@", "server gate unix@/nowhere")],
    "an error in the other action": [(LUA, "    local denial = txn:get_priv()\n", '    error("broken")\n')],
}


@pytest.mark.parametrize("case", FAILING)
def test_an_action_that_fails(site, case):
    """Closed as shipped, by either door alone; open without both: it is they that close it."""
    key = site.limited(100)
    with variant(site, *FAILING[case]):
        if case != "an error in the other action":
            check_closed(site)
        else:
            assert site.mount.curl("/api/x").json()["code"] == "unavailable" and site.mount.curl("/api/x", key=key).status == 200
        for request in ("--http1.1", "--http2"):
            assert site.mount.curl("/api/x", request, "-d", "x").json()["code"] == "unavailable"
    with variant(site, *FAILING[case], first_door(site)), site.backend_untouched():
        assert site.mount.curl("/api/x").status == 503
    with variant(site, *FAILING[case], SECOND_DOOR), site.backend_untouched():
        assert site.mount.curl("/api/x").status == 503
    with variant(site, *FAILING[case], first_door(site), SECOND_DOOR):
        assert is_open(site)


def listens(path):
    """There may be a socket at which nobody listens yet."""
    with socket.socket(socket.AF_UNIX) as s:
        return s.connect_ex(str(path)) == 0


def hang(go_on):
    def serve(connection):
        connection.recv(65536)
        go_on.wait(30)
    return serve


@pytest.mark.parametrize("who", ["the backend section", "the action"])
def test_a_gate_that_hangs(site, who):
    """Whichever time limit is over first: closed. (Shortened here; shipped are 5 s and 8 s.)"""
    short = {"the backend section": (CFG, "timeout server  5s", "timeout server  200ms"), "the action": (LUA, "local TIMEOUT_MS = 8000", "local TIMEOUT_MS = 200")}[who]
    go_on = threading.Event()
    for edits, is_closed in (([short], True), ([short, first_door(site), SECOND_DOOR], False)):
        with variant(site, *edits) as mount, mount.gate_fake(hang(go_on)) as accepted:
            if is_closed:
                check_closed(site)
            else:
                assert is_open(site)
            # It has connected; the other side may be late in taking that.
            wait_until(lambda: accepted, "the gate was asked")
    go_on.set()


@pytest.mark.parametrize("how", ["closes", "half closes"])
def test_a_client_that_leaves(site, how):
    """While the gate takes its time: the request goes nowhere, whatever becomes of the action."""
    arrived, go_on, over = threading.Semaphore(0), threading.Event(), threading.Semaphore(0)

    def serve(connection):
        connection.recv(65536)
        arrived.release()
        go_on.wait(30)
        over.release()
    request = f"GET /api/x HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {site.key}\r\n\r\n".encode()
    with site.mount.gate_fake(serve), site.backend_untouched():
        with site.mount.connect(plain=True) as s, s.makefile("rb") as f:
            s.sendall(request)
            assert arrived.acquire(timeout=20)
            s.shutdown(socket.SHUT_RDWR if how == "closes" else socket.SHUT_WR)
            go_on.set()
            assert over.acquire(timeout=20)
            if how == "half closes":
                assert b" 503 " in f.readline()


def test_another_gate(site):
    """What listens at apikeyd's address answers like an admission, but for one thing: it is none."""
    from harness import fcgi

    def saying(head):
        def serve(connection):
            connection.recv(65536)
            connection.sendall(fcgi.stream(fcgi.STDOUT, head) + fcgi.record(fcgi.END, b"\0" * 8))
        return serve
    for head in (b"Status: 200\r\nApikey-Id: key_0000000000000000\r\n\r\nok", b"Status: 204\r\n\r\n", b"Status: 204\r\nApikey_Id: x\r\n\r\n", b"Status: 302\r\nLocation: /\r\nApikey-Id: x\r\n\r\n",
                 b"Status: 401\r\nApikey-Status: 200\r\nApikey-Problem: {}\r\n\r\n", b"Status: 403\r\nApikey-Status: 204\r\nApikey-Problem: {}\r\n\r\n", b"Status: 401\r\n\r\n", b"\r\n"):
        with site.mount.gate_fake(saying(head)) as accepted:
            check_closed(site)
            assert accepted


# ---- ways past the gate ----

def test_another_frontend(site):
    """It leads to the same backend and has no gate: shut by the second door, open without."""
    outer = "frontend other\n    bind unix@{dir}/other.sock\n    default_backend api"

    def ask(mount):
        wait_until(lambda: listens(mount.dir / "other.sock"), "it listens there, too")
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(str(mount.dir / "other.sock"))
            s.sendall(b"GET /api/x HTTP/1.1\r\nHost: localhost\r\nApikey-Id: evil\r\nConnection: close\r\n\r\n")
            return s.makefile("rb").readline()
    with variant(site, outer=outer) as mount, site.backend_untouched():
        assert b" 503 " in ask(mount)
    with variant(site, SECOND_DOOR, outer=outer) as mount:
        assert b" 200 " in ask(mount)


@pytest.mark.parametrize("line", ["http-request allow if { path_beg /api/ }", "http-request allow if METH_OPTIONS", "http-request allow if { method OPTIONS GET }"])
def test_a_rule_before_the_gate(site, line):
    method = "OPTIONS" if "OPTIONS" in line else "GET"
    with variant(site, extra=line), site.backend_untouched():
        assert site.mount.curl("/api/x", "-X", method).status == 503
    with variant(site, SECOND_DOOR, extra=line):
        assert is_open(site, method=method)


def test_routes_by_url(site):
    """Under HTTP/2, and in the absolute form, `url` begins with the scheme: a scope by it is one of HTTP/1.1 alone."""
    with variant(site, (CFG, "{ var(txn.apikeyd_path) -m beg -i /api/admin }", "{ url_beg /api/admin }")):
        assert site.mount.curl("/api/admin/x", "--http1.1", key=site.key).status == 403
        assert site.mount.curl("/api/admin/x", "--http2", key=site.key).status == 200
        assert site.mount.send("https://localhost/api/admin/x", key=site.key).status == 200
    with site.backend_untouched():
        for http in ("--http1.1", "--http2"):
            assert site.mount.curl("/api/admin/x", http, key=site.key).status == 403
        assert site.mount.send("https://localhost/api/admin/x", key=site.key).status == 403


def test_paths(site):
    """A route's scope is by the decoded path in any case; a path that cannot be decoded has none, and is refused even where apikeyd would take it."""
    for path in ("/api/admin", "/api/Admin/x", "/api/%61dmin/x", "/api%2fadmin/x", "/api/%41DMIN", "https://localhost/api/admin/x", "/api/administrators"):
        assert site.mount.send(path, key=site.key).status == 403, path
    for path in ("/api/a.b/.c/...", "/api/%C3%A9%20x", "/api/100%25", "/", "/api/x?/../;//%2f%00", "/api/" + "a/" * 3000, "/api/" + "%61" * 2500):
        assert site.mount.send(path, key=site.key).status == 200, path
    undecodable = ("/api/admin/%zz", "/api/admin/%", "/api/admin/%0", "*")
    site.daemon.write_conf(strict_paths=False)
    site.mount.gate_reload()
    try:
        with site.backend_untouched():
            assert [site.mount.send(path, key=site.key).status for path in undecodable] == [400] * 4
        with variant(site, (CFG, "    http-request deny deny_status 400 unless { var(txn.apikeyd_path) -m found }\n", "")):
            assert [site.mount.send(path, key=site.key).status for path in undecodable] == [200] * 4
    finally:
        site.daemon.write_conf(strict_paths=None)
        site.mount.gate_reload()


@pytest.mark.parametrize("name", ["X-Original-URL", "X-Rewrite-URL"])
def test_paths_in_headers(site, name):
    """Frameworks that heed these would serve another route: no spelling of them goes on."""
    sent = [f"{n}: /api/admin/x" for n in (name, name.lower(), name.replace("-", "_"))]
    site.check_seen(site.mount.send("/api/x", *sent, key=site.key).json(), "admin")
    with variant(site, (CFG, f"    http-request del-header {name.replace('URL', 'Url')}\n", "")):
        assert "admin" in str(site.mount.send("/api/x", *sent, key=site.key).json())


def test_scopes_add_up(site):
    """Two lines match a path: the scopes of both are needed."""
    line = 'http-request set-var-fmt(txn.apikeyd_scope) "%[var(txn.apikeyd_scope)] orders:read" if { path_beg /api/ }'
    both = site.daemon.create("acme", plan="lots", scope=["orders:read", "admin:write"])[1]
    with variant(site, extra=line):
        assert [site.mount.curl("/api/x", key=k).status for k in (site.key, site.admin_key, both)] == [200, 403, 200]
        assert [site.mount.curl("/api/admin/x", key=k).status for k in (site.key, site.admin_key, both)] == [403, 403, 200]


def test_a_cost(site):
    key = site.limited(20)
    with variant(site, (CFG, "    #http-request set-var(txn.apikeyd_cost)", "    http-request set-var(txn.apikeyd_cost)")):
        assert site.mount.curl("/api/reports", key=key).header("RateLimit").startswith('"hour";r=10;')
        assert site.mount.curl("/api/x", key=key).header("RateLimit").startswith('"hour";r=9;')
        assert site.mount.curl("/api/reports", key=key).status == 429


def test_a_scope_that_is_none(site):
    """A mistake in the configuration denies."""
    with variant(site, (CFG, "admin:write", "admin\x27write")), site.backend_untouched():
        reply = site.mount.curl("/api/admin/x", key=site.admin_key)
        assert reply.status == 500 and reply.json()["code"] == "misconfigured"


def test_an_open_route(site):
    """The lines for a route without a key open it alone, and not the API's backend."""
    lines = [(CFG, "    #http-request set-var(txn.apikeyd) str(open)", "    http-request set-var(txn.apikeyd) str(open)"), (CFG, "    #use_backend health", "    use_backend health")]
    backend = f"backend health\n    server h 127.0.0.1:{site.backend.port}"
    with variant(site, *lines, outer=backend):
        reply = site.mount.curl("/health", "-H", "Apikey-Id: evil", "-H", "Apikey_Id: evil", "-H", f"X-API-Key: {site.key}")
        assert reply.status == 200
        site.check_seen(reply.json(), "evil")
        for path in ("/health/", "/healthy", "/api/x", "/health/../api/x", "/Health"):
            assert site.mount.curl(path).status in (400, 401)
    with variant(site, *lines[:1]), site.backend_untouched():
        assert site.mount.curl("/health").status == 503


# ---- the internal frontend ----

def connects_as_nobody(path):
    script = "import os,socket,sys; os.setgroups([]); os.setgid(65534); os.setuid(65534); s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])"
    done = subprocess.run(["/usr/bin/python3", "-c", script, path], capture_output=True, text=True, timeout=20)
    assert done.returncode == 0 or "PermissionError" in done.stderr, done.stderr
    return done.returncode == 0


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to be somebody else")
def test_the_internal_socket_is_closed_to_others(site):
    site.dir.chmod(0o755)
    assert not connects_as_nobody(site.mount.inner)
    with variant(site, (CFG, "mode 600\n", "mode 666\n")) as mount:
        wait_until(lambda: listens(mount.inner), "it listens there, too")
        assert connects_as_nobody(mount.inner)


def test_the_internal_frontend_reached_directly(site):
    """All that is to be had there is an answer: whatever is asked, in whatever words, nothing reaches the backend."""
    def ask(*headers, path="/"):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(20)
            s.connect(str(site.mount.inner))
            s.sendall("\r\n".join([f"GET {path} HTTP/1.1", "Host: x", "Connection: close", *headers]).encode() + b"\r\n\r\n")
            return int(s.makefile("rb").readline().split()[1])
    with site.backend_untouched():
        assert ask() == 403 and ask("X-Apikeyd-Scheme: https") == 401
        assert ask("X-Apikeyd-Scheme: https", f"X-API-Key: {site.key}", path="/api/x") == 204
        assert ask("X-Apikeyd-Scheme: https", f"X-API-Key: {site.key}", "X-Apikeyd-Mode: accel", "X-Apikeyd-Pass: @api", path="http://x/api/x") == 204


def test_the_question_is_not_the_clients(site):
    """Headers by which the action asks: a client's own are not among them, whatever the spelling."""
    _, key = site.daemon.create("acme", plan="lots", allow_ip="192.0.2.1")
    with site.backend_untouched():
        for sep in "-_":
            name = lambda *words: sep.join(("X", "Apikeyd", *words))
            reply = site.mount.curl("/api/x", "-H", f"{name('Addr')}: 192.0.2.1", "-H", "X-Forwarded-For: 192.0.2.1", key=key)
            assert reply.status == 403 and reply.json()["code"] == "ip_denied"
            reply = site.mount.curl("/api/x", "-H", f"{name('Scheme')}: https", "-H", "X-Forwarded-Proto: https", key=site.key, plain=True)
            assert reply.json()["code"] == "https_required"
            reply = site.mount.curl("/api/admin/x", "-H", f"{name('Scope')}: orders:read", "-H", f"{name('Cost')}: 0", key=site.key)
            assert reply.json()["code"] == "scope_insufficient"
            assert site.mount.curl(f"/api/x?api_key={site.key}", "-H", f"{name('Uri')}: /", key=site.key).json()["code"] == "key_in_url"


def test_restrictions(site):
    """What keys are restricted by reaches apikeyd: the client's address, Referer, the application."""
    for flags, good, bad in (({"allow_ip": "127.0.0.1"}, [], None), ({"referrer": "https://app.example/"}, ["-H", "Referer: https://app.example/x"], "referrer_denied"),
                             ({"app": "shop"}, ["-H", "X-App-Id: shop"], "app_denied")):
        _, key = site.daemon.create("acme", plan="lots", **flags)
        assert site.mount.curl("/api/x", *good, key=key).status == 200
        if bad:
            assert site.mount.curl("/api/x", key=key).json()["code"] == bad


def test_values_with_commas(site):
    """A key in the URL before a comma is seen: `hdr` would show apikeyd what is behind the last one alone."""
    target = f"/api/x?api_key={site.key}&list=1,/2"
    with site.backend_untouched():
        assert site.mount.curl(target, key=site.key).json()["code"] == "key_in_url"
    with variant(site, (CFG, "req.fhdr(x-apikeyd-uri)", "req.hdr(x-apikeyd-uri)")):
        assert site.mount.curl(target, key=site.key).status == 200


def test_questions_that_do_not_fit(site):
    """HAProxy leaves params out for which its buffer has no room, and asks all the same. So questions are kept small and buffers large; with neither, a client
    that fills the buffer gets by the scopes of a route (where plain HTTP is allowed: the scheme is left out as well)."""
    scopes = " ".join(f"scope-{i:02}:{'x' * 50}" for i in range(20))
    long_list = (CFG, "admin:write", "admin:write " + scopes)

    def fill(n):
        return site.mount.curl("/api/admin/x", "-H", f"Referer: {'r' * 7000}", "-H", f"X-Forwarded-For: {'1' * n}", key=site.key)
    site.daemon.write_conf(require_https=False)
    site.mount.gate_reload()
    try:
        with variant(site, long_list), site.backend_untouched():
            assert site.mount.curl("/api/admin/x", key=site.key).status == 403
            for n in range(6000, 6800, 50):
                reply = fill(n)
                assert reply.status == 400 and reply.json()["code"] == "request_invalid" and reply.header("Apikey-Denied") == "request_invalid"
            assert site.mount.curl("/api/admin/" + "x" * 8000, key=site.key).json()["code"] == "request_invalid"
        with variant(site, long_list, (CFG, "    tune.bufsize    32768", "    #"), (CFG, "    tune.maxrewrite 12288", "    #"), (LUA, "local URI_MAX = 8000", "local URI_MAX = 1e9"),
                     (LUA, "local PASSED_MAX = 6000", "local PASSED_MAX = 1e9")):
            assert site.mount.curl("/api/admin/x", key=site.key).status == 403
            assert 200 in [fill(n).status for n in range(6000, 6800, 50)]
    finally:
        site.daemon.write_conf(require_https=None)
        site.mount.gate_reload()


def test_the_largest_question(site):
    """Everything as long as it may be: all of it reaches apikeyd, to the last param (the URL), whatever comes before."""
    scopes = [f"scope-{i:02}:{'x' * 50}" for i in range(30)]
    key = site.daemon.create("acme", plan="lots", scope=["admin:write", *scopes])[1]
    with variant(site, (CFG, "admin:write", "admin:write " + " ".join(scopes))), site.backend_untouched():
        for end, k, code in (("", site.key, "scope_insufficient"), (f"?api_key={site.key}", key, "key_in_url")):
            path = "/api/admin/".ljust(8000 - len(end), "x") + end
            reply = site.mount.send(path, f"Referer: {'r' * 4000}", f"X-Forwarded-For: {'1' * 1800}", key=k)
            assert reply.json()["code"] == code
    assert site.mount.send("/api/admin/".ljust(8000, "x"), f"Referer: {'r' * 4000}", f"X-Forwarded-For: {'1' * 1800}", key=key).status == 200


def test_identity_comes_whole(site):
    """Of a key with much to say, beside as many headers of the client's as HAProxy takes: all of it or nothing."""
    scopes = [f"scope-{i:02}:{'y' * 40}" for i in range(38)]
    kid, key = site.daemon.create("o" * 100, plan="lots", scope=scopes, meta=[f"m{i}={'z' * 120}" for i in range(28)])
    got = set()
    for n in (0, 4000, 8000, 12000, 16000, 18000, 19000, 20000, 21000, 24000, 30000):
        reply = site.mount.send("/api/x", f"X-Filler: {'f' * n}", key=key)
        got.add(reply.status)
        if reply.status == 200:
            identity = site.identity(reply.json())
            assert identity["APIKEY_ID"] == [kid] and sorted(identity["APIKEY_SCOPES"][0].split()) == scopes and len(identity["APIKEY_META"][0]) > 4000
    assert got == {200, 400}


# ---- answers ----

def test_what_the_backend_says_of_keys(site):
    """An API that sends back what it got tells no client whose key it is, and cannot speak for apikeyd."""
    target = "/api/x?say=Apikey-Id:evil&say=Apikey-Denied:evil&say=apikey_owner:evil&say=RateLimit:evil"
    reply = site.mount.curl(target, key=site.key)
    assert reply.status == 200 and not [n for n, v in reply.headers if n.lower().startswith("apikey") or v == "evil"]
    with variant(site, (CFG, "    http-response del-header apikey -m beg\n", "")):
        assert site.mount.curl(target, key=site.key).header("Apikey-Id") == "evil"


def test_a_backend_that_is_down(site):
    """Admitted is admitted: HAProxy's own 503 tells what is left, and does not look like a denial."""
    with variant(site, (CFG, f"server api1 127.0.0.1:{site.backend.port}", "server api1 127.0.0.1:1")):
        reply = site.mount.curl("/api/x", key=site.key)
        assert reply.status == 503 and reply.header("Apikey-Denied") is None and reply.header("RateLimit").startswith('"minute";')


# ---- HTTP/2 ----

def ask_h2(s, fields, flags=5):
    """One request (flags 4: whose stream stays open) on a connection of its own: the frames of its stream as (kind, payload), until it ends or, when it stays
    open, is answered."""
    s.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0) + frame(1, flags, 1, block(fields)))
    got = []
    with s.makefile("rb") as f:
        while head := f.read(9):
            payload = f.read(int.from_bytes(head[:3], "big"))
            if int.from_bytes(head[5:], "big") == 1:
                got.append((head[3], payload))
                if head[4] & 1 or head[3] in (0, 3) or flags == 4 and head[3] == 1:
                    break
            elif head[3] == 7:
                break
    return got


def h2(site):
    return connect(site.mount)


def test_http2_in_plain_text(site):
    """HAProxy takes HTTP/2 on any port, and :scheme is the client's to say: plain all the same."""
    with site.backend_untouched():
        reply = site.mount.curl("/api/x", "--http2-prior-knowledge", key=site.key, plain=True)
        assert reply.version == "HTTP/2" and reply.json()["code"] == "https_required"
        with site.mount.connect(plain=True) as s:
            assert ask_h2(s, [(":method", "GET"), (":path", "/api/x"), (":scheme", "https"), (":authority", "localhost"), ("authorization", f"Bearer {site.key}")])[0][0] == 1


def test_pseudo_headers(site):
    """What HTTP/2 has in place of a request line leads to the same questions."""
    key = ("authorization", f"Bearer {site.key}")
    good = {":method": "GET", ":path": "/api/x", ":scheme": "https", ":authority": "localhost"}
    with h2(site) as s:
        before = len(site.backend.seen)
        assert ask_h2(s, [*good.items(), key])[0][0] == 1
        site.check_identity(site.backend.seen[before])
    odd = ([{":path": p} for p in ("/api/admin/x", "/api/%61dmin/x", "/api/x/../admin/y", "//api/admin/x", "https://localhost/api/admin/x", "", "*", "x", "/api/admin/x#y", "/api/admin/x\ty")]
           + [{":method": "CONNECT", ":protocol": "websocket", ":path": "/api/admin/websocket"}, {":method": "CONNECT"}, {":method": ""}, {":scheme": "http", ":path": "/api/admin/x"},
              {":authority": "localhost/api", ":path": "/admin/x"}, {":path": "/api/admin/x", ":authority": ""}])
    for change in odd:
        for fields in ([], [key]):
            before = len(site.backend.seen)
            with h2(site) as s:
                ask_h2(s, [(n, v) for n, v in {**good, **change}.items() if not (change == {":method": "CONNECT"} and n in (":path", ":scheme"))] + fields, flags=4 if ":protocol" in change else 5)
            for seen in site.backend.seen[before:]:
                assert fields and "admin" not in seen["target"], (change, seen)
                site.check_identity(seen)
    with site.backend_untouched(), h2(site) as s:
        ask_h2(s, [*good.items(), ("apikey-id", "evil"), ("transfer-encoding", "chunked")])
    for name in ("Apikey-Id", "apikey_id", "apikey-meta "):
        before = len(site.backend.seen)
        with h2(site) as s:
            ask_h2(s, [*good.items(), key, (name, "evil")])
        for seen in site.backend.seen[before:]:
            site.check_identity(seen)
            site.check_seen(seen, "evil")


def test_a_websocket_over_http2(site):
    """RFC 8441: CONNECT that is a GET further on."""
    fields = {":method": "CONNECT", ":protocol": "websocket", ":path": "/api/websocket", ":scheme": "https", ":authority": "localhost", "sec-websocket-version": "13"}
    with site.backend_untouched(), h2(site) as s:
        kind, payload = ask_h2(s, fields.items(), flags=4)[0]
        assert kind == 1 and b"401" in payload
    with h2(site) as s:
        kind, payload = ask_h2(s, [*fields.items(), ("authorization", f"Bearer {site.key}")], flags=4)[0]
        assert kind == 1 and payload[0] == 0x88      # :status 200
        s.sendall(frame(0, 0, 1, b"\x81\x05hello"))
        with s.makefile("rb") as f:
            while (head := f.read(9))[3] != 0:
                f.read(int.from_bytes(head[:3], "big"))
            assert f.read(7) == b"\x81\x05hello"
    site.check_identity(site.backend.seen[-1])


# ---- the log ----

def test_no_key_in_the_log(site):
    target = f"/api/x?api_key={site.key}"
    site.mount.curl(target, key=site.key)
    wait_until(lambda: '"GET /api/x HTTP/' in site.mount.errors(), "the request is in the log")
    assert site.key not in site.mount.errors()
    with variant(site, (CFG, '    log-format "', '    option httplog\n    #log-format "')) as mount:
        mount.curl(target, key=site.key)
        wait_until(lambda: site.key in mount.errors(), "the usual format has it")


# ---- connections ----

def test_connection_and_upgrade(site):
    """Nothing of Connection goes on but the upgrade to a WebSocket."""
    for value in ("Apikey-Id", "close, Apikey-Id", "keep-alive, Upgrade, Apikey-Owner"):
        seen = site.mount.send("/api/x", f"Connection: {value}", "Upgrade: h2c", key=site.key).json()
        assert not [v for n, v in seen["headers"] if "apikey" in v.lower() or "upgrade" in n.lower() + v.lower()]
    with variant(site, (CFG, "    http-request del-header Connection\n", "")):
        seen = site.mount.send("/api/x", "Connection: close, Apikey-Id", key=site.key).json()
        assert [v for n, v in seen["headers"] if n.lower() == "connection" and "Apikey-Id" in v]


def test_websocket(site):
    check_websocket(site)


def test_events_come_one_by_one(site):
    check_events(site)


def test_no_connections_left(site):
    """The process holds as many as it may: the question finds none, and nobody gets in."""
    edits = [(CFG, "    maxconn 4000 ", "    maxconn 3 "), (CFG, "    lua-load-per-thread", "    maxconn 3\n    lua-load-per-thread"), (LUA, "local TIMEOUT_MS = 8000", "local TIMEOUT_MS = 300")]
    with variant(site, *edits) as mount, contextlib.ExitStack() as stack:
        idle = [stack.enter_context(mount.connect(plain=True)) for _ in range(2)]
        for s in idle:
            s.sendall(b"GET")
        check_closed(site)
        for s in idle:
            s.close()
        wait_until(lambda: mount.curl("/api/x", key=site.key).status == 200, "there is room again")


# ---- reloading ----

class Replacing(HAProxy):
    """Without a master: the next one is started with -sf, and takes the listening sockets over."""

    def command(self):
        return ["haproxy", "-db", "-f", self.conf / CFG]

    def replace(self):
        """The next process serves when this returns; the old one finishes what it has."""
        old = self.process
        with open(self.dir / "stderr", "ab") as err:
            self.process = subprocess.Popen(["haproxy", "-db", "-f", str(self.conf / CFG), "-x", str(self.dir / "run" / "admin.sock"), "-sf", str(old.pid)],
                                            stdin=subprocess.DEVNULL, stdout=err, stderr=err, cwd=self.dir)
        wait_until(lambda: "Proxy api stopped" in self.errors(), "the old one listens no more")
        return old


@pytest.fixture
def replacing(site):
    mount = Replacing(site.dir / f"r{next(site.numbers)}", site.daemon, site.backend)
    with mount:
        yield mount


def half(s, key=None):
    s.sendall(b"GET /api/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + (f"Authorization: Bearer {key}\r\n".encode() if key else b""))


def finish(s):
    s.sendall(b"\r\n")
    with s.makefile("rb") as f:
        return int(f.readline().split()[1])


def test_requests_of_the_old_process(site, replacing):
    """Begun before a reload, decided after it: the old process asks through the internal frontend of the new one, and is closed no less."""
    with replacing.connect() as a, replacing.connect() as b, replacing.connect() as c:
        half(a, site.key), half(b), half(c, "junk")
        old = replacing.replace()
        try:
            assert old.poll() is None
            assert finish(a) == 200
            with site.backend_untouched():
                assert finish(b) == 401 and finish(c) == 401
            assert old.wait(30) == 0
        finally:
            old.kill()
            old.wait()
    assert replacing.curl("/api/x", key=site.key).status == 200


def test_requests_of_a_process_that_ends(site, replacing):
    """No next one: its internal frontend is gone before its last requests are decided, and nobody gets in."""
    with replacing.connect() as a, replacing.connect() as b:
        half(a, site.key), half(b)
        replacing.process.send_signal(signal.SIGUSR1)
        wait_until(lambda: "Proxy apikeyd_internal stopped" in replacing.errors(), "it listens no more")
        with site.backend_untouched():
            assert finish(a) == 503 and finish(b) == 503
        assert replacing.process.wait(30) == 0


# ---- rights ----

@pytest.mark.skipif(os.getuid() != 0, reason="needs root to become other users")
def test_the_group_opens_the_socket(site, directory):
    """apikeyd as a user of its own, HAProxy as another: `group` in global is what lets it in."""
    directory.chmod(0o755)
    daemon = Daemon(directory / "d", user="nobody", group="nogroup").start()
    try:
        _, key = daemon.create("acme")
        for group, status in (("nogroup", 200), ("daemon", 503)):
            edits = [(CFG, "    user  root\n", "    user  daemon\n"), (CFG, "    group root ", f"    group {group} "), (CFG, "apikeyd.sock mode 600\n", "apikeyd.sock mode 600 user daemon\n")]
            mount = type("Rights", (HAProxy,), {"edits": edits})(directory / group, daemon, site.backend)
            with mount:
                assert mount.curl("/api/x", key=key).status == status
                for pid in mount.workers():
                    text = pathlib.Path(f"/proc/{pid}/status").read_text()
                    assert re.search(r"^Uid:\t1\t1\t1\t1$", text, re.M)
    finally:
        daemon.stop()


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to change the root")
def test_chroot(site, directory):
    """As the guide says: the internal socket is bound from outside and reached from inside, apikeyd over TCP; a reload binds it again."""
    jail = directory / "jail"
    jail.mkdir()
    port = free_port()
    daemon = Daemon(directory / "d", listen=f"127.0.0.1:{port}").start()
    try:
        _, key = daemon.create("acme")
        edits = [(CFG, "    user  root\n", f"    user  root\n    chroot {jail}\n"), (CFG, f"unix@{directory}/m/run/apikeyd.sock", f"unix@{jail}/apikeyd.sock"),
                 (LUA, f"unix@{directory}/m/run/apikeyd.sock", "unix@/apikeyd.sock"), (CFG, f"server gate unix@{daemon.address}", f"server gate 127.0.0.1:{port}")]
        mount = type("Chroot", (HAProxy,), {"edits": edits})(directory / "m", daemon, site.backend)
        with mount:
            for _ in range(2):
                assert mount.curl("/api/x", key=key).status == 200 and mount.curl("/api/x").status == 401
                assert {os.readlink(f"/proc/{p}/root") for p in mount.workers()} == {str(jail)}
                mount.reload()
    finally:
        daemon.stop()
