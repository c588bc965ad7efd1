"""Goal: what is nginx's own about its configuration, beside the matrix and the attacks that all mounts share: FastCGI backends, what outer levels
of a site's configuration set, nested locations, another server's rules for headers. Invariant 6."""

import http.client
import shutil
import subprocess
import threading

import pytest

from harness import fcgi
from harness.attacks import ATTACKS, FORGED, INTERNAL
from harness.backend import FastcgiBackend
from harness.client import read_reply
from harness.daemon import ROOT
from harness.mount import free_port
from harness.nginx import NginxAccel, NginxAuthRequest

both = pytest.mark.parametrize("site", [NginxAuthRequest, NginxAccel], indirect=True, ids=lambda m: m.name)
auth_request = pytest.mark.parametrize("site", [NginxAuthRequest], indirect=True, ids=lambda m: m.name)


@both
def test_identity_at_a_fastcgi_backend(site):
    """The backend sees who the key is, never what the client claims, never the key."""
    backend = FastcgiBackend(site.mount.dir / "php.sock")
    forged = [f"{name}: evil" for name in FORGED + INTERNAL]
    for headers in ([], forged):
        reply = site.mount.send("/php/x", *headers, key=site.key)
        assert reply.status == 200
        seen = reply.json()
        assert [v for n, v in seen if n == "HTTP_APIKEY_ID"] == [site.id]
        assert [v for n, v in seen if n == "HTTP_APIKEY_OWNER"] == ["acme"]
        assert [v for n, v in seen if n == "REQUEST_URI"] == ["/php/x"]
        assert not [n for n, v in seen if "evil" in v or site.key in v]
    assert site.mount.send("/php/x").status == 401
    with site.changed(drop=("identity.conf", "fastcgi_param HTTP_APIKEY_META    $apikey_meta;")):
        also = FastcgiBackend(site.mount.dir / "php.sock")
        _, key = site.daemon.create("acme")
        assert b"evil" in site.mount.send("/php/x", "Apikey-Meta: evil", key=key).body, "the line is needed"
        also.close()
    backend.close()


@both
def test_what_a_fastcgi_backend_says(site):
    """X-Accel-Redirect moves nobody, nobody is told whose key it is, and its own 401 is its own, also where an outer level has pages for errors."""
    moved = "/php/x?say=X-Accel-Redirect:/api/admin/x"
    told = "/php/x?say=Apikey-Owner:acme"
    with site.changed(outer="fastcgi_intercept_errors on;"):
        backend = FastcgiBackend(site.mount.dir / "php.sock")
        assert site.mount.send(moved, key=site.key).status == 200
        reply = site.mount.send("/php/x?say=Status:401&say=X-Backend:yes", key=site.key)
        assert reply.status == 401 and reply.header("X-Backend") == "yes"
        assert site.mount.send(told, key=site.key).header("Apikey-Owner") is None
        backend.close()
    with site.changed(drop=("identity.conf", "fastcgi_hide_header Apikey-Owner;")):
        backend = FastcgiBackend(site.mount.dir / "php.sock")
        assert site.mount.send(told, key=site.key).header("Apikey-Owner") == "acme", "the line is needed"
        backend.close()
    with site.changed(drop=("identity.conf", "fastcgi_ignore_headers X-Accel-Redirect;")):
        backend = FastcgiBackend(site.mount.dir / "php.sock")
        assert site.mount.send(moved, key=site.key).status == 403, "the line is needed"
        backend.close()


@both
@pytest.mark.parametrize("path", ["/api/x", "/php/x"])
def test_no_header_names_another_path(site, path):
    """Frameworks that take the path from X-Original-URL or X-Rewrite-URL serve the route that the key was let into."""
    backend = FastcgiBackend(site.mount.dir / "php.sock")
    names = ("X-Original-URL", "X-Rewrite-URL", "x-original-url")
    reply = site.mount.send(path, *[f"{name}: /api/admin/x" for name in names], key=site.key)
    assert reply.status == 200 and b"/api/admin" not in reply.body
    for line in ("proxy_set_header X-Original-Url", "fastcgi_param HTTP_X_ORIGINAL_URL"):
        if ("proxy" in line) == (path == "/api/x"):
            with site.changed(drop=("identity.conf", line + ' "";')):
                also = FastcgiBackend(site.mount.dir / "php.sock")
                assert b"/api/admin" in site.mount.send(path, f"{names[0]}: /api/admin/x", key=site.key).body, "the line is needed"
                also.close()
    backend.close()


# ---- answers that go on ----

@both
def test_websocket(site):
    """A handshake, then bytes both ways; without a key none of it."""
    handshake = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    for auth, status in (("", 401), (f"Authorization: Bearer {site.key}\r\n", 101)):
        with site.mount.connect() as s:
            s.sendall(f"GET /api/websocket HTTP/1.1\r\nHost: localhost\r\n{handshake}{auth}\r\n".encode())
            with s.makefile("rb") as stream:
                reply = read_reply(stream)
                assert reply.status == status
                if status == 101:
                    assert reply.header("Sec-WebSocket-Accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
                    for message in (b"\x81\x85\x01\x02\x03\x04abcde", b"\x88\x80\x00\x00\x00\x00"):
                        s.sendall(message)
                        assert stream.read(len(message)) == message
    site.check_identity(site.backend.seen[-1])


@both
def test_events(site):
    """The first event is at the client before the backend makes the second."""
    site.backend.go_on.clear()
    with site.mount.connect() as s:
        s.sendall(f"GET /api/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {site.key}\r\n\r\n".encode())
        seen = b""
        while b"data: one\n\n" not in seen:
            seen += s.recv(65536)
        assert b"data: two" not in seen
        site.backend.go_on.set()
        while b"data: two\n\n" not in seen:
            more = s.recv(65536)
            assert more
            seen += more
    assert site.mount.send("/api/events").status == 401


# ---- towards apikeyd ----

def gate(answers, status=b"204 No Content", body=b""):
    """A program that admits everybody, on connections that it keeps; ${answers} requests of the first one, then it hangs up on the next."""
    first = threading.Event()

    def serve(connection):
        limit = None if first.is_set() else answers
        first.set()
        with connection.makefile("rb") as file:
            keep = True
            while keep:
                params, keep = fcgi.read_request(file)
                if params is None or limit == 0:
                    return
                limit = limit and limit - 1
                connection.sendall(fcgi.answer_bytes(b"Status: " + status + b"\r\nApikey-Id: key_x\r\n\r\n" + body))
    return serve


@auth_request
def test_connections_to_apikeyd_are_kept(site):
    """(accel cannot: nginx closes what it follows an X-Accel-Redirect from.)"""
    with site.mount.gate_fake(gate(None)) as accepted:
        for _ in range(10):
            assert site.mount.send("/api/x").status == 200
        assert len(accepted) == 1


@auth_request
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("path, status", [("/api/x", b"204 No Content"), ("/whoami", b"200 OK")])
def test_a_kept_connection_that_ends_loses_no_request(site, method, path, status):
    """apikeyd reloads: the connection ends while a request is being sent on it. It is sent again, also when it is a POST."""
    body = b"x" if method == "POST" else b""
    with site.mount.gate_fake(gate(1, status)) as accepted:
        assert [site.mount.send(path, method=method, body=body).status for _ in range(3)] == [200, 200, 200]
        assert len(accepted) == 2


@auth_request
def test_what_keeps_connections(site):
    """Without these lines the two tests above would fail."""
    for line in (("params", "fastcgi_keep_conn       on;"), ("upstream.conf", "keepalive 32;"), ("gate.conf", "fastcgi_store /proc/never;")):
        with site.changed(drop=line), site.mount.gate_fake(gate(None)) as accepted:
            assert [site.mount.send("/api/x").status for _ in range(3)] == [200, 200, 200] and len(accepted) == 3
    with site.changed(drop=("params", "fastcgi_next_upstream   error non_idempotent;")), site.mount.gate_fake(gate(1, b"200 OK")):
        assert [site.mount.send("/whoami", method="POST", body=b"x").status for _ in range(2)] == [200, 503]


@auth_request
def test_nothing_of_the_gates_is_stored(site):
    """fastcgi_store is there to keep connections alone: not even what is no answer of apikeyd's, a 200 with a body, becomes a file."""
    with site.mount.gate_fake(gate(None, b"200 OK", b"body")):
        site.mount.send("/api/x")
    assert [p for p in (site.mount.dir / "t3").rglob("*") if p.is_file()] == [] and "/proc/never" in site.mount.errors()


# ---- what else a site's configuration says ----

OUTER = {
    "error_page with 200": ("", "error_page 500 502 503 504 =200 /sorry.html; location = /sorry.html { return 200 sorry; }"),
    "error_page with a location": ("", "error_page 500 502 503 504 = @sorry; location @sorry { return 200 sorry; }"),
    "login page": ("", "fastcgi_intercept_errors on; error_page 401 403 =200 /login.html; location = /login.html { return 200 login; }"),
    "satisfy any": ("", "satisfy any; allow all;"),
    "cache": ("fastcgi_cache_path {dir}/cache keys_zone=z:1m;", """fastcgi_cache z; fastcgi_cache_key $request_uri; fastcgi_cache_valid any 1h;
        fastcgi_cache_use_stale error timeout; fastcgi_ignore_headers Cache-Control Expires Set-Cookie;"""),
}


@both
@pytest.mark.parametrize("case", OUTER)
def test_what_outer_levels_set_admits_nobody(site, case):
    """Ordinary lines of a site, for its other locations, that would open the gate if it inherited them."""
    outer, extra = OUTER[case]
    with site.changed(outer=outer, extra=extra):
        assert site.mount.send("/api/x", key=site.key).status == 200
        with site.backend_untouched():
            for path in ("/api/x", "/whoami"):
                assert site.mount.send(path).status == 401
            with site.mount.gate_down():
                for path in ("/api/x", "/whoami"):
                    for key in (None, site.key):
                        reply = site.mount.send(path, key=key)
                        assert reply.status == 503 and reply.json()["code"] == "unavailable"


PATTERN = "location ~ \\.json$ { proxy_pass http://backend; }"


@both
def test_a_location_with_a_pattern_takes_nothing_away(site):
    with site.changed(extra=PATTERN), site.backend_untouched():
        assert site.mount.send("/api/x.json").status == 401
        assert site.mount.send("/api/admin/x.json", key=site.key).status == 403
    with site.changed(extra=PATTERN, drop=(site.mount.example, "^~ ")):
        assert site.mount.send("/api/x.json").status == 200, "^~ is needed"


CACHE = """proxy_cache_path {dir}/cache keys_zone=c:1m;
    proxy_cache c; proxy_cache_valid any 1h;"""


def nobodys_gate(connection):
    with connection.makefile("rb") as file:
        fcgi.read_request(file)
        connection.sendall(fcgi.answer_bytes(b"Status: 200 OK\r\nX-Accel-Redirect: @backend\r\n\r\n"))


@pytest.mark.parametrize("site", [NginxAccel], indirect=True, ids=lambda m: m.name)
def test_what_else_leads_to_an_admitted_location(site):
    """An error_page or a try_files that ends in a named location has asked nobody; a redirect to it that comes without an identity is not apikeyd's."""
    lines = "location /lost/ { root {dir}; error_page 404 = @backend; } location /tried/ { root {dir}; try_files $uri @backend; }"
    with site.changed(extra=lines), site.backend_untouched():
        for path in ("/lost/x", "/tried/x"):
            for key in (None, site.key):
                assert site.mount.send(path, "Apikey-Id: evil", key=key).status == 503
        with site.mount.gate_fake(nobodys_gate):
            assert site.mount.send("/api/x", key=site.key).status == 503
    with site.changed(extra=lines, drop=("admitted.conf", 'if ($apikey_id = "") { return 503; }')):
        assert site.mount.send("/lost/x").status == site.mount.send("/tried/x").status == 200, "the line is needed"


@both
def test_a_cache_of_an_outer_level_is_not_shared_between_keys(site):
    """What the backend told one key is not told another."""
    key_ids = [(site.key, site.id), (site.admin_key, site.admin_id)]

    def told():
        return [site.identity(site.mount.send("/api/cached", key=key).json())["APIKEY_ID"] for key, _ in key_ids]
    with site.changed(outer=CACHE):
        assert told() == told() == [[i] for _, i in key_ids]
        assert [s["target"] for s in site.backend.seen].count("/api/cached") == 2, "the cache works"
    with site.changed(outer=CACHE, drop=("identity.conf", 'proxy_cache_key   "$apikey_id $scheme $proxy_host $request_uri";')):
        assert told() == [[site.id], [site.id]], "the line is needed"


@both
def test_the_backends_errors_are_not_taken_for_denials(site):
    """proxy_intercept_errors of an outer level: the backend's 401 stays the backend's."""
    with site.changed(outer="proxy_intercept_errors on; fastcgi_intercept_errors on;"):
        for status in (401, 403, 500, 502):
            reply = site.mount.send(f"/api/status/{status}", key=site.key)
            assert reply.status == status and reply.header("X-Backend") == "yes"


@both
def test_what_a_route_costs_and_both_kinds_of_limit_headers(site):
    include = "protect.conf" if site.mount.example == "example.conf" else "accel.conf"
    tail = "proxy_pass http://backend;" if include == "protect.conf" else ""
    site.daemon.write_conf(ratelimit_headers="both")
    site.mount.gate_reload()
    try:
        with site.changed(extra=f"location ^~ /dear/ {{ include apikeyd/{include}; set $apikey_cost 3; {tail} }}"):
            key = site.limited(4)
            for status in (200, 429):
                reply = site.mount.send("/dear/x", key=key)
                assert reply.status == status and reply.header("RateLimit").startswith('"hour";r=1;')
                assert reply.header("X-RateLimit-Limit") == "4" and reply.header("X-RateLimit-Remaining") == "1" and reply.header("X-RateLimit-Reset")
    finally:
        site.daemon.write_conf(ratelimit_headers=None)
        site.mount.gate_reload()


@both
def test_nginxs_own_refusals_are_its_own(site):
    """A folder without an index is refused by nginx: that is no denial of the gate's, and needs no other key."""
    (site.mount.www / "files" / "empty").mkdir(exist_ok=True)
    reply = site.mount.send("/files/empty/", key=site.key)
    assert reply.status == 403 and reply.header("Content-Type") == "text/html" and b"nginx" in reply.body and reply.header("Apikey-Denied") is None
    assert site.mount.send("/files/none", key=site.key).status == 404


@both
def test_try_files_is_counted_once(site):
    include = "include apikeyd/protect.conf;" if site.mount.example == "example.conf" else "include apikeyd/accel.conf; set $apikey_pass @tried;"
    tried = "try_files $uri $uri/index.html /files/sub/index.html =404; root {dir}/www;"
    extra = f"location ^~ /tried/ {{ {include} {tried} }}" if site.mount.example == "example.conf" else \
        f"location ^~ /tried/ {{ {include} }} location @tried {{ include apikeyd/admitted.conf; {tried} }}"
    with site.changed(extra=extra):
        reply = site.mount.send("/tried/x", key=site.limited(9))
        assert reply.status == 200 and reply.body == b"hello\n" and reply.header("RateLimit").startswith('"hour";r=8;')
        assert site.mount.send("/tried/x").status == 401


@auth_request
def test_a_nested_location_is_closed(site):
    """It inherits auth_request but not the scope that is needed: without its own include nobody gets in, with a key or without."""
    nested = """
        location ^~ /outer/ {
            include apikeyd/protect.conf;
            set $apikey_scope "admin:write";
            proxy_pass http://backend;
            location /outer/inner/ { proxy_pass http://backend; }
        }"""
    with site.changed(extra=nested), site.backend_untouched():
        assert site.mount.send("/outer/x", key=site.key).status == 403
        for key in (None, site.key):
            reply = site.mount.send("/outer/inner/x", key=key)
            assert reply.status == 500 and reply.json()["code"] == "misconfigured"


@both
def test_attacks_on_facts_can_succeed(site):
    """Where the client's words are believed, they do: so test_attacks.py can fail."""
    with site.changed(edits=[("params", "$request_id;", "$http_x_request_id;")]), pytest.raises(AssertionError):
        ATTACKS["replayed_request_ids"](site)
    site.daemon.write_conf(trusted_proxies=["127.0.0.0/8"])
    site.mount.gate_reload()
    try:
        for name in ("forged_addresses", "forged_https"):
            with pytest.raises(AssertionError):
                ATTACKS[name](site)
    finally:
        site.daemon.write_conf(trusted_proxies=None)
        site.mount.gate_reload()


UNDERSCORES = """underscores_in_headers on;
        server { listen 127.0.0.1:{port} ssl default_server; ssl_certificate {dir}/cert.pem; ssl_certificate_key {dir}/key.pem; }"""
WITH_UNDERSCORES = ["Apikey_Id", "apikey_owner", "Apikey_Plan", "Apikey_Scopes", "Apikey_Meta", "Apikey_Status", "Apikey_Problem", "Apikey_Denied",
                    "X_Api_Key", "X-Api_Key", "X_Api-Key"]


def send_before_host(site, name, value, auth=True):
    # No SNI: the server is known by Host alone.
    with site.mount.connect(server_name=None) as s:
        key = f"Authorization: Bearer {site.key}\r\n" if auth else ""
        s.sendall(f"GET /api/x HTTP/1.1\r\n{name}: {value}\r\nHost: localhost\r\n{key}\r\n".encode())
        reply = http.client.HTTPResponse(s)
        reply.begin()
        return reply.status, reply.read().decode()


@both
def test_underscores_of_another_default_server(site):
    """Until Host is read, the default server says whether headers with '_' are kept."""
    with site.changed(outer=UNDERSCORES):
        for name in WITH_UNDERSCORES:
            value = site.key if name.startswith("X") else "evil"
            status, body = send_before_host(site, name, value, auth=name != "X_Api_Key")
            assert (name, value in body) == (name, False)
            assert status in (200, 400)
    with site.changed(outer=UNDERSCORES, drop=("identity.conf", 'proxy_set_header Apikey_Id      "";')):
        assert "evil" in send_before_host(site, "Apikey_Id", "evil")[1], "the line is needed"


@auth_request
def test_the_status_comes_from_the_gate(site):
    """Without the line for it a status becomes 403: so test_mounts.py can fail."""
    key = site.limited(1)
    with site.changed(drop=("gate.conf", "if ($apikey_status = 429) { return 429 $apikey_problem; }")):
        assert [site.mount.send("/api/x", key=key).status for _ in range(2)] == [200, 403]


@pytest.mark.parametrize("lines", ["include apikeyd/closed.conf; location = /whoami { include apikeyd/serve.conf; }",
                                   "include apikeyd/closed.conf; location /a/ { include apikeyd/accel.conf; } location @backend { include apikeyd/admitted.conf; }",
                                   "include apikeyd/gate.conf; location /a/ { include apikeyd/protect.conf; }"])
def test_each_way_stands_alone(directory, lines):
    """A server that uses one of the ways and no other is accepted by nginx."""
    shutil.copytree(ROOT / "conf" / "nginx", directory / "apikeyd")
    (directory / "nginx.conf").write_text(f"""pid {directory}/pid; error_log stderr; events {{ }}
        http {{ access_log off; include apikeyd/upstream.conf; server {{ listen 127.0.0.1:{free_port()}; {lines} }} }}""")
    done = subprocess.run(["nginx", "-t", "-p", directory, "-c", directory / "nginx.conf"], capture_output=True, text=True)
    assert done.returncode == 0 and "warn" not in done.stderr.replace('[warn] 1#1: the "user" directive', ""), done.stderr
