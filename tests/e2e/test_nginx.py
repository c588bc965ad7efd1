"""Goal: the shipped nginx configuration in front of a real backend over HTTPS: what the client gets for every verdict, that bodies arrive whole,
that identity cannot be forged or stripped, that the gate being down is closed. Invariant 6."""

import hashlib
import json
import os
import re
import socket
import threading

import pytest

from harness import fcgi
from harness.backend import Backend
from harness.daemon import Daemon
from harness.nginx import Nginx


@pytest.fixture(scope="module")
def key(shared):
    shared.tool("plan", "set", "lots", "--limit", "minute=100000/60s", check=0)
    return shared.create("acme", plan="lots", scope="orders:read", meta="team=blue")


@pytest.mark.parametrize("http", ["--http1.1", "--http2"])
def test_admitted(mount, key, http):
    nginx, _ = mount
    reply = nginx.curl("/api/orders?x=1", http, key=key[1])
    assert reply.status == 200
    assert reply.version == ("HTTP/2" if http == "--http2" else "HTTP/1.1")
    seen = reply.json()
    headers = {n.lower(): v for n, v in seen["headers"]}
    assert seen["target"] == "/api/orders?x=1"
    assert headers["apikey-id"] == key[0] and headers["apikey-owner"] == "acme" and headers["apikey-plan"] == "lots"
    assert headers["apikey-scopes"] == "orders:read" and headers["apikey-meta"]
    assert "authorization" not in headers and "x-api-key" not in headers
    assert reply.header("RateLimit-Policy") == '"minute";q=100000;w=60'
    assert re.fullmatch(r'"minute";r=\d+;t=\d+', reply.header("RateLimit"))
    for leaked in ("Apikey-Id", "Apikey-Owner", "Apikey-Status", "Apikey-Problem"):
        assert reply.header(leaked) is None


@pytest.mark.parametrize("http", ["--http1.1", "--http2"])
@pytest.mark.parametrize("args, path, status, code", [
    ([], "/api/x", 401, "key_missing"),
    (["-H", "X-API-Key: junk"], "/api/x", 401, "key_invalid"),
    (["-H", "X-API-Key: a,b"], "/api/x", 400, "request_invalid"),
    (["-H", "X-API-Key: a", "-H", "X-API-Key: a"], "/api/x", 400, "request_invalid"),
    (["-H", "X-API-Key: KEY"], "/api/admin/x", 403, "scope_insufficient"),
    ([], "/api/x?api_key=KEY", 400, "key_in_url"),
])
def test_denials(mount, key, http, args, path, status, code):
    nginx, backend = mount
    before = backend.requests
    reply = nginx.curl(path.replace("KEY", key[1]), http, *[a.replace("KEY", key[1]) for a in args])
    assert reply.status == status
    assert reply.header("Content-Type") == "application/problem+json"
    body = reply.json()
    assert body["code"] == code and body["status"] == status
    assert reply.header("Apikey-Denied") == code and reply.header("Cache-Control") == "no-store"
    challenge = reply.header("WWW-Authenticate")
    assert challenge.startswith('Bearer realm="api"')
    if status == 401:
        assert challenge.endswith('ApiKey realm="api"')
    assert backend.requests == before
    for leaked in ("Apikey-Status", "Apikey-Problem", "Apikey-Id"):
        assert reply.header(leaked) is None


def test_rate_limited(mount, shared):
    nginx, _ = mount
    shared.tool("plan", "set", "two", "--limit", "hour=2/1h", check=0)
    _, key = shared.create("acme", plan="two")
    assert [nginx.curl("/api/x", key=key).status for _ in range(3)] == [200, 200, 429]
    reply = nginx.curl("/api/x", key=key)
    assert reply.json()["violated-policies"] == ["hour"]
    assert reply.header("Content-Type") == "application/problem+json"
    assert re.fullmatch(r'"hour";r=0;t=\d+', reply.header("RateLimit"))
    assert 3500 <= int(reply.header("Retry-After")) <= 3600


def test_plain_http_is_refused(mount, key):
    nginx, _ = mount
    reply = nginx.curl("/api/x", key=key[1], plain=True)
    assert reply.status == 403 and reply.json()["code"] == "https_required"


@pytest.mark.parametrize("http", ["--http1.1", "--http2"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_methods(mount, key, http, method):
    nginx, _ = mount
    body = [] if method in ("GET", "DELETE", "OPTIONS") else ["-d", "a=b"]
    reply = nginx.curl("/api/x", http, "-X", method, *body, key=key[1])
    assert reply.status == 200 and reply.json()["method"] == method and reply.json()["length"] == (3 if body else 0)
    assert nginx.curl("/api/x", http, "-X", method, *body).status == 401


@pytest.mark.parametrize("http", ["--http1.1", "--http2"])
def test_head(mount, key, http):
    nginx, _ = mount
    ok, denied = nginx.curl("/api/x", http, "-I", key=key[1]), nginx.curl("/api/x", http, "-I")
    assert (ok.status, denied.status) == (200, 401)
    assert ok.header("X-Backend") == "yes" and denied.header("Content-Type") == "application/problem+json"


@pytest.mark.parametrize("http", ["--http1.1", "--http2"])
@pytest.mark.parametrize("how", ["length", "chunked"])
def test_large_bodies_arrive_whole(mount, key, directory, http, how):
    nginx, _ = mount
    data = os.urandom(5 * 1024 * 1024)
    path = directory / "body"
    path.write_bytes(data)
    extra = ["-H", "Transfer-Encoding: chunked"] if how == "chunked" and http == "--http1.1" else []
    source = ["-T", "-"] if how == "chunked" else ["--data-binary", f"@{path}"]
    reply = nginx.curl("/api/upload", http, "-X", "POST", *extra, *source, key=key[1], input=data if how == "chunked" else None)
    assert reply.status == 200
    assert reply.json()["length"] == len(data) and reply.json()["sha256"] == hashlib.sha256(data).hexdigest()


def test_a_denied_upload_is_refused_before_its_body(mount):
    """The client announces 5 MB and sends none of it: the refusal comes all the same. (nginx says 100 Continue first when the
    answer comes from a named location.)"""
    import socket
    import ssl
    nginx, _ = mount
    context = ssl.create_default_context(cafile=nginx.cert)
    with context.wrap_socket(socket.create_connection(("127.0.0.1", nginx.port), 10), server_hostname="localhost") as s:
        s.sendall(b"POST /api/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5242880\r\nExpect: 100-continue\r\n\r\n")
        seen = b""
        while b"problem+json" not in seen:
            seen += s.recv(65536)
        assert seen.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"").startswith(b"HTTP/1.1 401 ")


FORGED = ["Apikey-Id", "apikey-id", "APIKEY-ID", "Apikey-Owner", "Apikey-Plan", "Apikey-Scopes", "Apikey-Meta", "Apikey_Id", "Apikey_Owner", "apikey_scopes",
          "Apikey-Status", "Apikey-Problem", "Apikey-Denied"]


@pytest.mark.parametrize("name", FORGED)
def test_identity_cannot_be_forged(mount, key, name):
    nginx, _ = mount
    reply = nginx.curl("/api/x", "-H", f"{name}: evil", "-H", f"{name}: evil2", key=key[1])
    assert reply.status == 200
    for header, value in reply.json()["headers"]:
        assert "evil" not in value, (header, value)
    assert nginx.curl("/api/x", "-H", f"{name}: {key[0]}").status == 401


def test_identity_of_a_key_without_any_meta_cannot_be_forged(mount, shared):
    nginx, _ = mount
    _, key = shared.create("acme")
    reply = nginx.curl("/api/x", "-H", "Apikey-Meta: evil", "-H", "Apikey-Scopes: admin:*", key=key)
    assert reply.status == 200 and "evil" not in json.dumps(reply.json()) and "admin" not in json.dumps(reply.json())


@pytest.mark.parametrize("value", ["Apikey-Id", "close, Apikey-Id, Apikey-Owner", "keep-alive, apikey-scopes"])
def test_identity_cannot_be_stripped(mount, key, value):
    nginx, _ = mount
    headers = {n.lower(): v for n, v in nginx.curl("/api/x", "--http1.1", "-H", f"Connection: {value}", key=key[1]).json()["headers"]}
    assert headers["apikey-id"] == key[0] and headers["apikey-owner"] == "acme" and headers["apikey-scopes"] == "orders:read"


@pytest.mark.parametrize("header", ["APIKEYD_MODE", "APIKEYD-MODE", "APIKEYD_COST", "APIKEYD-COST", "APIKEYD-SCOPE"])
def test_a_client_cannot_set_the_policy(mount, key, header):
    nginx, _ = mount
    assert nginx.curl("/api/admin/x", "-H", f"{header}: 0", key=key[1]).status == 403
    assert nginx.curl("/api/x", "-H", f"{header}: serve").status == 401


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
def test_the_backends_own_errors_pass(mount, key, status):
    nginx, _ = mount
    reply = nginx.curl(f"/api/status/{status}", key=key[1])
    assert reply.status == status and reply.header("X-Backend") == "yes" and reply.header("Apikey-Denied") is None


@pytest.mark.parametrize("path", ["/_apikeyd", "/_apikeyd/", "/@apikey_deny", "/_apikeyd?x=1", "/%5fapikeyd"])
def test_internal_locations_are_not_reachable(mount, key, path):
    nginx, _ = mount
    assert nginx.curl(path, key=key[1]).status == 404


@pytest.mark.parametrize("path", ["/api/../api/x", "/api/%2e%2e/api/x", "//api/x", "/api//x", "/API/../api/x", "/api/./x", "/api/admin/../x", "/api/x/%2e%2e/admin/y"])
def test_no_path_goes_around_the_gate(mount, path):
    nginx, backend = mount
    before = backend.requests
    assert nginx.curl(path).status in (401, 404, 400)
    assert backend.requests == before


def test_serve_mount(mount, key):
    nginx, _ = mount
    reply = nginx.curl("/whoami", key=key[1])
    assert reply.status == 200 and reply.json()["key"]["id"] == key[0]
    denied = nginx.curl("/whoami")
    assert denied.status == 401 and denied.json()["code"] == "key_missing"
    assert denied.all("WWW-Authenticate") == ['Bearer realm="api"', 'ApiKey realm="api"']
    assert nginx.curl("/whoami", "-X", "POST", "-d", "x" * 100000, key=key[1]).status == 200


def test_internal_redirects_are_counted_once(shared, directory):
    (directory / "www" / "files").mkdir(parents=True)
    (directory / "www" / "files" / "index.html").write_text("hello")
    backend = Backend()
    nginx = Nginx(directory / "n", shared.socket, backend.port, f"""
        location /files/ {{
            include apikeyd/protect.conf;
            root {directory}/www;
        }}""").start()
    try:
        shared.tool("plan", "set", "ten", "--limit", "hour=10/1h", check=0)
        _, key = shared.create("acme", plan="ten")
        os.chmod(directory, 0o755)
        reply = nginx.curl("/files/", key=key)
        assert reply.status == 200 and reply.body == b"hello"
        assert reply.header("RateLimit").startswith('"hour";r=9;')
        assert nginx.curl("/files/").status == 401
    finally:
        nginx.stop()
        backend.shutdown()


class FastcgiBackend:
    """A FastCGI program that answers with the params it was given, as JSON."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.bind(str(path))
        self.sock.listen(16)
        threading.Thread(target=self.serve, daemon=True).start()

    @staticmethod
    def pairs(data):
        out, at = [], 0
        while at < len(data):
            lengths = []
            for _ in range(2):
                if data[at] < 128:
                    lengths.append(data[at])
                    at += 1
                else:
                    lengths.append(int.from_bytes(data[at:at + 4], "big") & 0x7fffffff)
                    at += 4
            name, value = data[at:at + lengths[0]], data[at + lengths[0]:at + sum(lengths)]
            at += sum(lengths)
            out.append((name.decode(), value.decode("latin-1")))
        return out

    def serve(self):
        while True:
            connection, _ = self.sock.accept()
            with connection, connection.makefile("rb") as file:
                params = b""
                while True:
                    head = file.read(8)
                    kind, length, padding = head[1], int.from_bytes(head[4:6], "big"), head[6]
                    content = file.read(length + padding)[:length]
                    params += content if kind == fcgi.PARAMS else b""
                    if kind == fcgi.STDIN and length == 0:
                        break
                body = json.dumps(self.pairs(params)).encode()
                connection.sendall(fcgi.stream(fcgi.STDOUT, b"Content-Type: application/json\r\n\r\n" + body) + fcgi.record(fcgi.END, b"\0" * 8))


def test_identity_at_a_fastcgi_backend(shared, key, directory):
    """fastcgi_pass behind protect.conf: the backend sees who the key is, never what the client claims, never the key."""
    FastcgiBackend(directory / "api.sock")
    os.chmod(directory, 0o755)
    backend = Backend()
    nginx = Nginx(directory / "n", shared.socket, backend.port, f"""
        location /php/ {{
            include apikeyd/protect.conf;
            fastcgi_param REQUEST_METHOD $request_method;
            fastcgi_param REQUEST_URI $request_uri;
            fastcgi_pass unix:{directory}/api.sock;
        }}""").start()
    try:
        forged = [a for name in FORGED for a in ("-H", f"{name}: evil")]
        for args in ([], forged):
            reply = nginx.curl("/php/x", *args, key=key[1])
            assert reply.status == 200
            seen = reply.json()
            assert [v for n, v in seen if n == "HTTP_APIKEY_ID"] == [key[0]]
            assert [v for n, v in seen if n == "HTTP_APIKEY_OWNER"] == ["acme"]
            assert not [n for n, v in seen if "evil" in v or key[1] in v]
        assert nginx.curl("/php/x").status == 401
    finally:
        nginx.stop()
        backend.shutdown()


def test_gate_down_is_closed(directory):
    daemon, backend = Daemon(directory / "d").start(), Backend()
    nginx = Nginx(directory / "n", daemon.socket, backend.port).start()
    try:
        _, key = daemon.create("acme")
        assert nginx.curl("/api/x", key=key).status == 200
        daemon.stop()
        before = backend.requests
        for args in ([], ["-X", "POST", "-d", "x"]):
            reply = nginx.curl("/api/x", *args, key=key)
            assert reply.status == 503 and reply.json()["code"] == "unavailable"
            assert reply.header("Retry-After") == "1" and reply.header("Content-Type") == "application/problem+json"
        assert backend.requests == before
        daemon.start()
        assert nginx.curl("/api/x", key=key).status == 200
    finally:
        nginx.stop()
        daemon.stop(expect=None)
        backend.shutdown()


OUTER = {
    "error_page with 200": ("", "error_page 500 502 503 504 =200 /sorry.html; location = /sorry.html { return 200 sorry; }"),
    "error_page with a location": ("", "error_page 500 502 503 504 = @sorry; location @sorry { return 200 sorry; }"),
    "login page": ("", "fastcgi_intercept_errors on; error_page 401 403 =200 /login.html; location = /login.html { return 200 login; }"),
    "satisfy any": ("", "satisfy any; allow all;"),
    "cache": ("fastcgi_cache_path {dir}/cache keys_zone=z:1m;", """fastcgi_cache z; fastcgi_cache_key $request_uri; fastcgi_cache_valid any 1h;
        fastcgi_cache_use_stale error timeout; fastcgi_ignore_headers Cache-Control Expires Set-Cookie;"""),
}


@pytest.mark.parametrize("case", OUTER)
def test_what_outer_levels_set_admits_nobody(shared, key, directory, case):
    """Ordinary lines of a site, for its other locations, that would open the gate if it inherited them."""
    http, server = OUTER[case]
    backend = Backend()
    up = Nginx(directory / "up", shared.socket, backend.port, server, extra_http=http).start()
    down = Nginx(directory / "down", directory / "nowhere", backend.port, server, extra_http=http).start()
    try:
        assert up.curl("/api/x", key=key[1]).status == 200 and backend.requests == 1
        for path in ("/api/x", "/whoami"):
            assert up.curl(path).status == 401
            for k in (None, key[1]):
                reply = down.curl(path, key=k)
                assert reply.status == 503 and reply.json()["code"] == "unavailable"
        assert backend.requests == 1
    finally:
        up.stop()
        down.stop()
        backend.shutdown()


def test_a_nested_location_is_closed(shared, key, directory):
    """It inherits auth_request but not the scope that is needed: without its own include nobody gets in, with a key or without."""
    backend = Backend()
    nginx = Nginx(directory / "n", shared.socket, backend.port, """
        location /outer/ {
            include apikeyd/protect.conf;
            set $apikey_scope "admin:write";
            proxy_pass http://backend;
            location /outer/inner/ { proxy_pass http://backend; }
        }""").start()
    try:
        assert nginx.curl("/outer/x", key=key[1]).status == 403
        for k in (None, key[1]):
            reply = nginx.curl("/outer/inner/x", key=k)
            assert reply.status == 500 and reply.json()["code"] == "misconfigured"
        assert backend.requests == 0
    finally:
        nginx.stop()
        backend.shutdown()


def test_underscores_of_another_default_server(shared, key, directory):
    """Until Host is read, the default server says whether headers with '_' are kept."""
    import http.client
    import socket
    import ssl
    backend = Backend()
    nginx = Nginx(directory / "n", shared.socket, backend.port, extra_http="""underscores_in_headers on;
        server {{ listen 127.0.0.1:{port} ssl default_server; ssl_certificate {dir}/cert.pem; ssl_certificate_key {dir}/key.pem; }}""").start()
    names = ["Apikey_Id", "apikey_owner", "Apikey_Plan", "Apikey_Scopes", "Apikey_Meta", "Apikey_Status", "Apikey_Problem", "Apikey_Denied", "X_Api_Key", "X-Api_Key", "X_Api-Key"]
    context = ssl.create_default_context(cafile=nginx.cert)
    context.check_hostname = False
    try:
        for name in names:
            value = key[1] if name.startswith("X") else "evil"
            auth = "" if name == "X_Api_Key" else f"Authorization: Bearer {key[1]}\r\n"
            # No SNI: the server is known by Host alone.
            with context.wrap_socket(socket.create_connection(("127.0.0.1", nginx.port), 10)) as s:
                s.sendall(f"GET /api/x HTTP/1.1\r\n{name}: {value}\r\nHost: localhost\r\n{auth}\r\n".encode())
                reply = http.client.HTTPResponse(s)
                reply.begin()
                body = reply.read().decode()
                assert (name, value in body) == (name, False)
                assert reply.status in (200, 400)
        assert backend.requests > 0
    finally:
        nginx.stop()
        backend.shutdown()


@pytest.mark.parametrize("file, line", [
    ("protect.conf", "auth_request /_apikeyd;"),
    ("protect.conf", "proxy_set_header Apikey-Meta    $apikey_meta;"),
    ("gate.conf", "if ($apikey_status = 429) { return 429 $apikey_problem; }"),
])
def test_the_lines_matter(shared, directory, file, line):
    """Each of these lines removed changes what a test above relies on: the tests can fail."""
    shared.tool("plan", "set", "one", "--limit", "hour=1/1h", check=0)
    _, key = shared.create("acme", plan="one")
    backend = Backend()
    nginx = Nginx(directory / "n", shared.socket, backend.port, drop=(file, line)).start()
    try:
        without = nginx.curl("/api/x")
        first = nginx.curl("/api/x", "-H", "Apikey-Meta: evil", key=key)
        second = nginx.curl("/api/x", key=key)
        healthy = without.status == 401 and "evil" not in first.body.decode() and second.status == 429
        assert not healthy
    finally:
        nginx.stop()
        backend.shutdown()
