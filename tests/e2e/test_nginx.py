"""Goal: what is nginx's own about its configuration, beside the matrix and the attacks that all mounts share: FastCGI backends, what outer levels
of a site's configuration set, nested locations, another server's rules for headers. Invariant 6."""

import http.client
import os

import pytest

from harness.attacks import FORGED, INTERNAL
from harness.backend import Backend, FastcgiBackend
from harness.nginx import NginxAuthRequest


@pytest.fixture(scope="module")
def key(shared):
    shared.tool("plan", "set", "lots", "--limit", "minute=100000/60s", check=0)
    return shared.create("acme", plan="lots", scope="orders:read", meta="team=blue")


def test_identity_at_a_fastcgi_backend(shared, key, directory):
    """fastcgi_pass behind protect.conf: the backend sees who the key is, never what the client claims, never the key."""
    FastcgiBackend(directory / "api.sock")
    os.chmod(directory, 0o755)
    backend = Backend()
    nginx = NginxAuthRequest(directory / "n", shared, backend, extra=f"""
        location /php/ {{
            include apikeyd/protect.conf;
            fastcgi_param REQUEST_METHOD $request_method;
            fastcgi_param REQUEST_URI $request_uri;
            fastcgi_pass unix:{directory}/api.sock;
        }}""").start()
    try:
        forged = [a for name in FORGED + INTERNAL for a in ("-H", f"{name}: evil")]
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
        backend.close()


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
    up = NginxAuthRequest(directory / "up", shared, backend, extra=server, outer=http).start()
    down = NginxAuthRequest(directory / "down", directory / "nowhere", backend, extra=server, outer=http).start()
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
        backend.close()


def test_a_nested_location_is_closed(shared, key, directory):
    """It inherits auth_request but not the scope that is needed: without its own include nobody gets in, with a key or without."""
    backend = Backend()
    nginx = NginxAuthRequest(directory / "n", shared, backend, extra="""
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
        backend.close()


UNDERSCORES = """underscores_in_headers on;
        server { listen 127.0.0.1:{port} ssl default_server; ssl_certificate {dir}/cert.pem; ssl_certificate_key {dir}/key.pem; }"""
WITH_UNDERSCORES = ["Apikey_Id", "apikey_owner", "Apikey_Plan", "Apikey_Scopes", "Apikey_Meta", "Apikey_Status", "Apikey_Problem", "Apikey_Denied",
                    "X_Api_Key", "X-Api_Key", "X_Api-Key"]


def send_before_host(nginx, name, value, auth):
    # No SNI: the server is known by Host alone.
    with nginx.connect(server_name=None) as s:
        s.sendall(f"GET /api/x HTTP/1.1\r\n{name}: {value}\r\nHost: localhost\r\n{auth}\r\n".encode())
        reply = http.client.HTTPResponse(s)
        reply.begin()
        return reply.status, reply.read().decode()


def test_underscores_of_another_default_server(shared, key, directory):
    """Until Host is read, the default server says whether headers with '_' are kept."""
    backend = Backend()
    with NginxAuthRequest(directory / "n", shared, backend, outer=UNDERSCORES) as nginx:
        for name in WITH_UNDERSCORES:
            value = key[1] if name.startswith("X") else "evil"
            status, body = send_before_host(nginx, name, value, "" if name == "X_Api_Key" else f"Authorization: Bearer {key[1]}\r\n")
            assert (name, value in body) == (name, False)
            assert status in (200, 400)
        assert backend.requests > 0
    with NginxAuthRequest(directory / "open", shared, backend, outer=UNDERSCORES, drop=("protect.conf", 'proxy_set_header Apikey_Id      "";')) as nginx:
        assert "evil" in send_before_host(nginx, "Apikey_Id", "evil", f"Authorization: Bearer {key[1]}\r\n")[1], "the line is needed"
    backend.close()


def test_the_status_comes_from_the_gate(shared, directory):
    """Without the line for it a status becomes 403: so test_mounts.py can fail."""
    shared.tool("plan", "set", "one", "--limit", "hour=1/1h", check=0)
    _, key = shared.create("acme", plan="one")
    backend = Backend()
    with NginxAuthRequest(directory / "n", shared, backend, drop=("gate.conf", "if ($apikey_status = 429) { return 429 $apikey_problem; }")) as nginx:
        assert [nginx.curl("/api/x", key=key).status for _ in range(2)] == [200, 403]
    backend.close()
