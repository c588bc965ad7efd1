"""Goal: the same matrix in front of every web server that apikeyd ships a configuration for: what the client gets for each verdict, that methods
and bodies arrive whole, that the backend learns who asks and its own answers are left alone, that reloading loses no request. Invariants 1, 6."""

import contextlib
import datetime
import email.utils
import hashlib
import os
import re
import threading

import pytest

from harness.daemon import wait_until

BEARER = 'Bearer realm="api"'
INVALID = BEARER + ', error="invalid_request"'


def check_denial(reply, status, code):
    assert reply.status == status, reply
    assert reply.header("Content-Type") == "application/problem+json"
    body = reply.json()
    assert body["code"] == code and body["status"] == status and body["instance"].startswith("urn:apikeyd:request:") and body["title"]
    assert reply.header("Apikey-Denied") == code and reply.header("Cache-Control") == "no-store"
    check_leaks(reply)


def check_leaks(reply):
    """What is for the server and the backend stays between them."""
    for name, _ in reply.headers:
        low = name.lower()
        assert low in ("apikey-denied", "apikey-rotate-by") or not low.startswith(("apikey-", "variable-", "x-accel", "x-sendfile", "apikeyd")) and low != "status", name


def http_date(text):
    return email.utils.format_datetime(datetime.datetime.fromisoformat(text.replace("Z", "+00:00")), usegmt=True)


def versions(site):
    return ["--http1.1", "--http2"] if site.mount.http2 else ["--http1.1"]


# ---- verdicts ----

def test_admitted(site):
    for http in versions(site):
        reply = site.mount.curl(site.mount.api + "orders?x=1&y=%20a", http, key=site.key)
        assert reply.status == 200 and reply.version == ("HTTP/2" if http == "--http2" else "HTTP/1.1")
        seen = reply.json()
        assert seen["target"] == site.mount.api + "orders?x=1&y=%20a" and seen["method"] == "GET"
        site.check_identity(seen)
        site.check_seen(seen)
        assert site.identity(seen)["APIKEY_META"] != []
        assert reply.header("RateLimit-Policy") == '"minute";q=100000;w=60'
        assert re.fullmatch(r'"minute";r=\d+;t=\d+', reply.header("RateLimit"))
        assert reply.header("Apikey-Denied") is None and reply.header("Retry-After") is None and reply.header("WWW-Authenticate") is None
        check_leaks(reply)


def test_an_old_key_is_told_until_when(site):
    """Apikey-Rotate-By, once, by apikeyd's word and not the backend's: on what is admitted, on what is refused, and nowhere else."""
    kid, old = site.daemon.create("acme", plan="lots", scope="orders:read")
    rotated = site.daemon.json("rotate", kid, "--grace", "1h")
    forged = site.mount.api + "x?say=Apikey-Rotate-By:never"
    for http in versions(site):
        reply = site.mount.curl(forged, http, key=old)
        assert reply.status == 200
        site.check_identity(reply.json(), kid)
        assert [v for n, v in reply.headers if n.lower() == "apikey-rotate-by"] == [http_date(rotated["previous_until"])]
        check_leaks(reply)
        assert site.mount.curl(site.mount.api + "status/404", http, key=old).header("Apikey-Rotate-By") == http_date(rotated["previous_until"])
        assert site.mount.curl(forged, http, key=rotated["key"]).header("Apikey-Rotate-By") is None
    again = site.daemon.json("rotate", kid, "--grace", "0")
    with site.backend_untouched():
        for key in old, rotated["key"]:
            reply = site.mount.curl(site.mount.api + "x", key=key)
            check_denial(reply, 401, "key_expired")
            assert "rotated" in reply.json()["detail"] and reply.header("Apikey-Rotate-By") == http_date(again["previous_until"] if key != old else again["secret_created"])
    assert site.mount.curl(site.mount.api + "x", key=again["key"]).status == 200


def test_x_api_key(site):
    reply = site.mount.curl(site.mount.api + "x", "-H", f"X-API-Key: {site.key}")
    assert reply.status == 200
    site.check_identity(reply.json())
    site.check_seen(reply.json())
    both = site.mount.curl(site.mount.api + "x", "-H", f"X-API-Key: {site.key}", key=site.key)
    assert both.status == 200


DENIALS = {
    "missing": ([], "x", 401, "key_missing", BEARER),
    "junk": (["-H", "X-API-Key: junk"], "x", 401, "key_invalid", BEARER + ', error="invalid_token"'),
    "comma": (["-H", "X-API-Key: KEY,KEY"], "x", 400, "request_invalid", INVALID),
    "in the URL": ([], "x?api_key=KEY", 400, "key_in_url", INVALID),
    "scope": (["-H", "X-API-Key: KEY"], "admin/x", 403, "scope_insufficient", BEARER + ', error="insufficient_scope", scope="admin:write"'),
}


@pytest.mark.parametrize("case", DENIALS)
def test_denied(site, case):
    args, path, status, code, challenge = DENIALS[case]
    with site.backend_untouched():
        for http in versions(site):
            reply = site.mount.curl(site.mount.api + path.replace("KEY", site.key), http, *[a.replace("KEY", site.key) for a in args])
            check_denial(reply, status, code)
            told = ", ".join(reply.all("WWW-Authenticate"))
            if status == 401:
                assert told.startswith(challenge) and told.endswith(', ApiKey realm="api"') and told.count("realm=") == 2
            else:
                assert told.startswith(challenge) and told.count("realm=") == 1
            assert reply.header("RateLimit") is None and reply.header("Retry-After") is None


def test_facts_of_the_request_arrive(site):
    """What keys can be restricted by is what the client sent, whatever a server asks the gate with."""
    _, reader = site.daemon.create("acme", plan="lots", method=["GET", "PUT"])
    _, server_side = site.daemon.create("acme", plan="lots", browsers="deny")
    for method, status in (("GET", 200), ("PUT", 200), ("POST", 403), ("DELETE", 403), ("HEAD", 403)):
        reply = site.mount.send(site.mount.api + "x", key=reader, method=method, body=b"x" if method in ("PUT", "POST") else b"")
        assert reply.status == status, method
        assert reply.header("Apikey-Denied") == (None if status == 200 else "method_denied")
    assert site.mount.curl(site.mount.api + "x", key=server_side).status == 200
    with site.backend_untouched():
        for header in ("Origin: https://app.example.com", "Origin: null", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty", "Sec-Fetch-User: ?1",
                       "Sec-Fetch-Storage-Access: active"):
            check_denial(site.mount.curl(site.mount.api + "x", "-H", header, key=server_side), 403, "browser_denied")
        # A client cannot say what the method is.
        reply = site.mount.send(site.mount.api + "x", "Apikeyd-Method: GET", "Apikeyd_Method: GET", key=reader, method="DELETE")
        assert reply.status in (400, 403) and (reply.status == 400 or reply.header("Apikey-Denied") == "method_denied")


def test_a_key_in_the_url_is_in_no_log(site):
    """Not of apikeyd, and not of the web server."""
    _, key = site.daemon.create("acme", plan="lots")
    for n, param in enumerate(("api_key", "access_token")):
        assert site.mount.curl(f"{site.mount.api}seen{n}?{param}={key}").status == 400

    def logs():
        access = site.mount.dir / "access.log"
        return site.mount.errors() + (access.read_text(errors="replace") if access.exists() else "")
    # Any request makes a server that buffers its log write it.
    wait_until(lambda: {"seen0", "seen1"} <= set(re.findall(r"seen\d", logs())) or site.mount.curl(site.mount.api + "more").status == 0, "the requests are in the server's log")
    assert key not in logs() and key not in site.daemon.log()


def test_a_scope_that_is_held(site):
    reply = site.mount.curl(site.mount.admin + "x", key=site.admin_key)
    assert reply.status == 200
    site.check_identity(reply.json(), site.admin_id, "root", "admin:write")


def test_rate_limited(site):
    key = site.limited(2)
    first = site.mount.curl(site.mount.api + "x", key=key)
    assert first.status == 200 and first.header("RateLimit").startswith('"hour";r=1;')
    assert site.mount.curl(site.mount.api + "x", key=key).status == 200
    with site.backend_untouched():
        for http in versions(site):
            reply = site.mount.curl(site.mount.api + "x", http, key=key)
            check_denial(reply, 429, "rate_limited")
            assert reply.json()["violated-policies"] == ["hour"]
            assert re.fullmatch(r'"hour";r=0;t=\d+', reply.header("RateLimit")) and reply.header("RateLimit-Policy") == '"hour";q=2;w=3600'
            assert 3500 <= int(reply.header("Retry-After")) <= 3600
            assert reply.header("WWW-Authenticate") is None


def test_blocked(site):
    """Each attempt is counted once, the last 401 is the twentieth; then it is a whole 429, and a good key from the same address works."""
    guesser = "127.0.0.66"
    ways = "X-API-Key: junk", "Authorization: Bearer ak_live_junk"
    for i in range(20):
        check_denial(site.mount.send(site.mount.api + "x", ways[i % 2], source=guesser), 401, "key_invalid")
    for header in (*ways, "X-Other: no key"):
        reply = site.mount.send(site.mount.api + "x", header, source=guesser)
        check_denial(reply, 429, "client_blocked")
        assert 1 <= int(reply.header("Retry-After")) <= 300 and reply.header("WWW-Authenticate") is None
    assert site.mount.send(site.mount.api + "x", key=site.key, source=guesser).status == 200
    check_denial(site.mount.send(site.mount.api + "x", ways[0], source="127.0.0.67"), 401, "key_invalid")


def test_plain_http_is_refused(site):
    with site.backend_untouched():
        check_denial(site.mount.curl(site.mount.api + "x", key=site.limited(1), plain=True), 403, "https_required")


def test_without_a_keeper(site):
    with site.mount.keeper_stopped(), site.backend_untouched():
        reply = site.mount.curl(site.mount.api + "x", key=site.key)
        check_denial(reply, 503, "unavailable")
        assert reply.header("Retry-After") == "1" and reply.json()["type"].endswith("#temporary-reduced-capacity")
    assert site.mount.curl(site.mount.api + "x", key=site.key).status == 200


def test_without_apikeyd(site):
    with site.mount.gate_down(), site.backend_untouched():
        for args in ([], ["-X", "POST", "-d", "x"]):
            reply = site.mount.curl(site.mount.api + "x", *args, key=site.key)
            assert reply.status == site.mount.down_status
            if site.mount.down_is_problem:
                check_denial(reply, 503, "unavailable")
                assert reply.header("Retry-After") == "1"
    assert site.mount.curl(site.mount.api + "x", key=site.key).status == 200


def test_serve(site):
    if site.mount.whoami is None:
        pytest.skip("this mount has no serve route")
    reply = site.mount.curl(site.mount.whoami, key=site.key)
    assert reply.status == 200 and reply.json()["key"]["id"] == site.id and reply.header("Cache-Control") == "no-store"
    denied = site.mount.curl(site.mount.whoami)
    check_denial(denied, 401, "key_missing")
    assert site.mount.curl(site.mount.whoami, "-X", "POST", "-d", "x" * 100000, key=site.key).status == 200
    with site.mount.gate_down():
        assert site.mount.curl(site.mount.whoami, key=site.key).status >= 500


# ---- methods and bodies ----

@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_methods(site, method):
    body = [] if method in ("GET", "DELETE", "OPTIONS") else ["-d", "a=b"]
    for http in versions(site):
        reply = site.mount.curl(site.mount.api + "x", http, "-X", method, *body, key=site.key)
        assert reply.status == 200 and reply.json()["method"] == method and reply.json()["length"] == (3 if body else 0)
        with site.backend_untouched():
            check_denial(site.mount.curl(site.mount.api + "x", http, "-X", method, *body), 401, "key_missing")


def test_head(site):
    for http in versions(site):
        ok, denied = site.mount.curl(site.mount.api + "x", http, "-I", key=site.key), site.mount.curl(site.mount.api + "x", http, "-I")
        assert (ok.status, denied.status) == (200, 401)
        assert ok.header("X-Backend") == "yes" and ok.header("RateLimit") and site.backend.seen[-1]["method"] == "HEAD"
        assert denied.header("Content-Type") == "application/problem+json" and denied.header("Apikey-Denied") == "key_missing"


@pytest.mark.parametrize("how", ["length", "chunked"])
def test_large_bodies_arrive_whole(site, directory, how):
    data = os.urandom(5 * 1024 * 1024)
    path = directory / "body"
    path.write_bytes(data)
    for http in versions(site):
        extra = ["-H", "Transfer-Encoding: chunked"] if how == "chunked" and http == "--http1.1" else []
        source = ["-T", "-"] if how == "chunked" else ["--data-binary", f"@{path}"]
        reply = site.mount.curl(site.mount.api + "upload", http, "-X", "POST", *extra, *source, key=site.key, input=data if how == "chunked" else None)
        assert reply.status == 200
        assert reply.json()["length"] == len(data) and reply.json()["sha256"] == hashlib.sha256(data).hexdigest()


def test_a_denied_upload_is_refused_before_its_body(site):
    """The client announces 5 MB and sends none of it: the refusal comes all the same."""
    if not site.mount.refuses_before_body:
        pytest.skip("this server takes the body first")
    with site.backend_untouched():
        for expect in ("", "Expect: 100-continue\r\n")[site.mount.refuses_before_body == "expect":]:
            [reply] = site.mount.raw(f"POST {site.mount.api}x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5242880\r\n{expect}\r\n".encode())
            check_denial(reply, 401, "key_missing")


# ---- the backend's answers ----

@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
def test_the_backends_own_errors_pass(site, status):
    reply = site.mount.curl(f"{site.mount.api}status/{status}?say=WWW-Authenticate:Other&say=Retry-After:77", key=site.key)
    assert reply.status == status and reply.header("X-Backend") == "yes" and reply.header("Apikey-Denied") is None
    assert reply.header("Content-Type") == "application/json" and reply.json()["target"].startswith(f"{site.mount.api}status/{status}")
    assert reply.header("WWW-Authenticate") == "Other" and reply.header("Retry-After") == "77"


def test_internal_redirects_are_counted_once(site):
    if site.mount.files is None:
        pytest.skip("this mount serves no files")
    key = site.limited(9)
    for path, left in (("", 8), ("sub/", 7)):
        reply = site.mount.curl(site.mount.files + path, key=key)
        assert reply.status == 200 and reply.body == b"hello\n"
        assert reply.header("RateLimit").startswith(f'"hour";r={left};')
        check_denial(site.mount.curl(site.mount.files + path), 401, "key_missing")


# ---- reloading ----

class Load:
    """Requests one after the other, each on a connection of its own, from two threads."""

    def __init__(self, site):
        self.site, self.ok, self.failed, self.end = site, 0, [], threading.Event()
        self.moved, self.under_way, self.still = threading.Condition(), 0, False
        self.threads = [threading.Thread(target=self.run) for _ in range(2)]

    def run(self):
        while not self.end.is_set():
            with self.moved:
                self.moved.wait_for(lambda: not self.still)
                self.under_way += 1
            try:
                reply = self.site.mount.send(self.site.mount.api + "x", key=self.site.key)
            except OSError as e:
                reply = e
            with self.moved:
                self.under_way -= 1
                if getattr(reply, "status", None) == 200:
                    self.ok += 1
                else:
                    self.failed.append(reply)
                self.moved.notify_all()

    def wait_for(self, more):
        with self.moved:
            goal = self.ok + more
            assert self.moved.wait_for(lambda: self.ok >= goal or self.failed, 30)

    @contextlib.contextmanager
    def pause(self):
        """No request is under way."""
        with self.moved:
            self.still = True
            assert self.moved.wait_for(lambda: self.under_way == 0, 30)
        try:
            yield
        finally:
            with self.moved:
                self.still = False
                self.moved.notify_all()

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *_):
        self.end.set()
        for t in self.threads:
            t.join(30)


@pytest.mark.parametrize("who", ["server", "apikeyd"])
def test_a_reload_loses_no_request(site, who):
    with Load(site) as load:
        for _ in range(2):
            load.wait_for(5)
            with load.pause() if who == "server" and site.mount.reload_forgets else contextlib.nullcontext():
                site.mount.reload() if who == "server" else site.mount.gate_reload()
        load.wait_for(10)
    excused = ConnectionError if who == "server" and site.mount.reload_resets else ()
    assert [f for f in load.failed if not isinstance(f, excused)] == [], site.mount.errors()[-2000:]
