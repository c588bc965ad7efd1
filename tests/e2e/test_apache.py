"""Goal: what is Apache's own in the two mounts where it asks apikeyd first. The set-ups that are known to let everybody in are shown to do so when the
line that keeps them closed is gone, and are closed as shipped; internal redirects, .htaccess, ErrorDocument and mod_cache neither open a path nor count
twice; mod_fcgid's workers come by themselves and bring a keeper. Invariants 1, 6."""

import contextlib
import os
import pathlib
import pwd
import shutil
import signal
import tempfile

import pytest

from harness.apache import ApacheAuthnz, ApacheFcgid
from harness.backend import Backend, FastcgiBackend
from harness.daemon import Daemon, kill, wait_until
from harness.site import Site

@contextlib.contextmanager
def site_of(mount_class):
    """apikeyd and a backend, and an Apache that is not started."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="apikeyd-"))
    made = Site(mount_class, path)
    try:
        yield made
    finally:
        made.stop()
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module", params=[ApacheAuthnz, ApacheFcgid], ids=lambda m: m.name)
def site(request):
    with site_of(request.param) as made:
        yield made


@contextlib.contextmanager
def apache(site, edits=(), **how):
    """Another Apache on the same site; edits: (file, old, new) in its copy of the shipped files."""
    class Edited(type(site.mount)):
        more_modules = how.pop("modules", ())

        def configure(self):
            super().configure()
            for edit in edits:
                self.edit(*edit)
    with Edited(site.dir / f"m{next(site.numbers)}", site.daemon, site.backend, **how) as mount:
        yield mount


def without_if(site):
    """Everything that protect.conf has, but as an ordinary part of the <Location>."""
    return [(site.mount.protect, f"\n{IF}\n", "\n"), (site.mount.protect, "\n</If>\n", "\n")]


def admitted(reply):
    return reply is not None and reply.status == 200


IF = "<If \"! ( %{REQUEST_URI} in { '/_apikeyd/deny', '/_apikeyd/unavailable' } && -n reqenv('REDIRECT_STATUS') )\">"
REQUIRE = "Require expr \"-n reqenv('APIKEY_ID') && %{REMOTE_USER} == reqenv('APIKEY_ID')\""


# ---- set-ups that let everybody in ----

GRANTED = """
<Location "/api/">
    Require all granted
</Location>"""
OPENINGS = {
    "Require all granted beside the gate": (dict(extra=GRANTED), "api/x"),
    "Require ip beside the gate": (dict(extra=GRANTED.replace("all granted", "ip 127.0.0.1")), "api/x"),
    "Require all granted in a location within": (dict(extra=GRANTED.replace("/api/", "/api/health")), "api/health"),
    "RequireAny around both": (dict(extra="""
<Location "/api/">
    <RequireAny>
        Require valid-user
        Require ip 127.0.0.1
    </RequireAny>
</Location>"""), "api/x"),
    "Satisfy Any": (dict(extra="""
<Location "/api/">
    Satisfy Any
    Order allow,deny
    Allow from all
</Location>"""), "api/x"),
    "Limit": (dict(extra="""
<Location "/api/">
    <Limit GET>
        Require all granted
    </Limit>
</Location>"""), "api/x"),
    "the provider taken back": (dict(extra="""
<Location "/api/">
    AuthnzFcgiCheckAuthnProvider None
    Require all granted
</Location>"""), "api/x"),
    "an <If> of the server": (dict(outer="""
<If "true">
    AuthnzFcgiCheckAuthnProvider None
    Satisfy Any
    Require all granted
</If>"""), "api/x"),
}
# What opens one mount may be nothing to the other: mod_fcgid's access checker does not care for Require.
OPEN = {
    "apache-authnz_fcgi": ["Require all granted beside the gate", "Require ip beside the gate", "Require all granted in a location within",
                           "RequireAny around both", "Satisfy Any", "Limit", "the provider taken back", "an <If> of the server"],
    "apache-fcgid": ["an <If> of the server"],
}


@pytest.mark.parametrize("case", OPENINGS)
def test_an_opening_is_closed(site, case):
    how, path = OPENINGS[case]
    modules = ["authnz_fcgi"]
    with apache(site, modules=modules, **how) as mount:
        with site.backend_untouched():
            for key in (None, "junk"):
                reply = mount.curl("/" + path, key=key)
                assert reply.status == 401 and reply.header("Apikey-Denied"), reply
        assert admitted(mount.curl("/" + path, key=site.key))
    # The same without the <If>: where the list above says so it was a hole.
    with apache(site, without_if(site), modules=modules, **how) as mount:
        assert admitted(mount.curl("/" + path)) == (case in OPEN[mount.name])


def test_satisfy_all_is_needed(site):
    how, path = OPENINGS["Satisfy Any"]
    with apache(site, [(site.mount.protect, "        Satisfy All\n", "")], modules=["authnz_fcgi"], **how) as mount:
        reply = mount.curl("/" + path)
        # mod_fcgid's mount stays closed by what it requires, but has no words for it.
        assert admitted(reply) if type(site.mount) is ApacheAuthnz else reply.status == 403


def test_more_conditions_are_kept(site):
    """AuthMerging And: what an administrator requires besides holds, too."""
    strict = GRANTED.replace("all granted", "ip 192.0.2.1")
    with apache(site, extra=strict) as mount, site.backend_untouched():
        assert mount.curl("/api/x", key=site.key).status in (401, 403)
    with apache(site, [(site.mount.protect, "    AuthMerging And\n", "")], extra=strict) as mount:
        assert admitted(mount.curl("/api/x", key=site.key))


def test_a_user_of_somebody_else_is_no_key(site):
    """SSLUserName makes a user of any certificate that a client shows: that is not what lets in."""
    tls = 'SSLVerifyClient optional_no_ca\nSSLUserName SSL_CLIENT_S_DN_CN'
    for edits, is_open in (([], False), ([(site.mount.protect, REQUIRE, "Require valid-user")], True)):
        if is_open and type(site.mount) is not ApacheAuthnz:
            continue
        with apache(site, edits, extra=tls) as mount:
            shown = ["--cert", mount.cert, "--key", mount.dir / "key.pem"]
            assert admitted(mount.curl("/api/x", *shown)) == is_open
            assert admitted(mount.curl("/api/x", *shown, key=site.key))


HTACCESS = """
AuthnzFcgiCheckAuthnProvider None
FcgidAccessCheckerAuthoritative Off
Satisfy Any
Require all granted
<If "true">
    AuthnzFcgiCheckAuthnProvider None
    FcgidAccessCheckerAuthoritative Off
    Satisfy Any
    Require all granted
</If>
"""


def test_htaccess_opens_nothing(site):
    with apache(site, modules=["authnz_fcgi", "fcgid"]) as mount:
        (mount.www / "files" / ".htaccess").write_text(HTACCESS)
        for path in ("/files/", "/files/index.html", "/files/sub/"):
            assert mount.curl(path).status == 401
            assert admitted(mount.curl(path, key=site.key))
    with apache(site, without_if(site), modules=["authnz_fcgi", "fcgid"]) as mount:
        assert mount.curl("/files/index.html").status == 401
        (mount.www / "files" / ".htaccess").write_text(HTACCESS)
        assert admitted(mount.curl("/files/index.html")) == (mount.name == "apache-authnz_fcgi")


def test_other_ways_to_mount_are_closed():
    """mod_authnz_fcgi in the ways that do not work: nobody gets in by them either."""
    provider = 'AuthnzFcgiCheckAuthnProvider apikeyd Authoritative On RequireBasicAuth Off UserExpr "%{reqenv:APIKEY_ID}"'
    protect = ApacheAuthnz.protect
    basic = [(protect, provider, "AuthBasicProvider apikeyd"), (protect, "AuthType apikeyd", "AuthType Basic\nAuthName x")]
    with site_of(ApacheAuthnz) as site:
        for edits, stranger, holder in (
                ([(protect, ' UserExpr "%{reqenv:APIKEY_ID}"', "")], 401, 503),
                ([(protect, "Authoritative On", "Authoritative Off")], 503, 200),
                ([(protect, provider, "")], 503, 503),
                ([(protect, "AuthnzFcgiCheckAuthnProvider apikeyd", "AuthnzFcgiCheckAuthnProvider nobody")], 503, 503),
                ([(protect, provider, ""), (protect, REQUIRE, "Require apikeyd"), ("gate.conf", "Provider authn ", "Provider authnz ")], 503, 503),
                (basic, 401, 401)):
            with apache(site, edits) as mount:
                with site.backend_untouched():
                    assert (mount.curl("/api/x").status, mount.curl("/api/x", key="junk").status) == (stranger, stranger), edits
                assert mount.curl("/api/x", key=site.key).status == holder, edits
        # It asks, and makes 401 of whatever the answer is.
        with apache(site, basic) as mount, site.backend_untouched():
            assert mount.curl("/api/admin/x", "-u", "x:y", "-H", f"X-API-Key: {site.key}").status == 401


def test_a_path_within_can_be_opened_on_purpose(site):
    """As protect.conf says."""
    if type(site.mount) is not ApacheAuthnz:
        pytest.skip("mod_fcgid has no word for it")
    opened = """
<Location "/api/health">
    <If "true">
        AuthnzFcgiCheckAuthnProvider None
        Require all granted
    </If>
</Location>"""
    with apache(site, extra=opened) as mount:
        assert admitted(mount.curl("/api/health"))
        for path in ("/api/", "/api/healthy", "/api/x", "/api/admin/x"):
            assert mount.curl(path).status == 401


def test_scopes_are_set_before_the_key_is_checked(site):
    """SetEnvIfExpr is seen by apikeyd, SetEnv comes too late: the documented trap."""
    route = """
<Location "/api/one">
    SetEnvIfExpr true "APIKEYD_SCOPE=orders:read other:one"
</Location>
<Location "/api/two">
    SetEnv APIKEYD_SCOPE other:two
</Location>
<Location "/api/three">
    SetEnvIfExpr true "APIKEYD_SCOPE=not,a scope!"
</Location>"""
    with apache(site, extra=route) as mount:
        assert mount.curl("/api/one", key=site.key).json()["scope"] == "orders:read other:one"
        assert admitted(mount.curl("/api/two", key=site.key))
        for args in ([], ["-X", "POST", "-d", "x"]):
            reply = mount.curl("/api/three", *args, key=site.key)
            assert reply.status == 500 and reply.json()["code"] == "misconfigured"


# ---- Apache asks itself ----

def test_an_index_is_counted_twice_without_its_id(site):
    line = "    SetEnvIfExpr \"reqenv('UNIQUE_ID') =~ /^(.+)$/\" APIKEYD_REQUEST_ID=$1\n"
    # Apache saves itself the second time while no module is loaded whose hooks are of the older kind, like mod_fcgid's.
    with apache(site, [(site.mount.protect, line, "")], modules=["fcgid"]) as mount:
        assert mount.curl("/files/", key=site.limited(9)).header("RateLimit").startswith('"hour";r=7;')


def test_limits_are_told_once(site):
    """Apache repeats the headers of an authorizer that it asked twice."""
    lines = [("backend.conf", line + "\n", "") for line in (pathlib.Path(site.mount.conf) / "backend.conf").read_text().splitlines() if line.startswith("Header always set RateLimit")]
    assert len(lines) == 2
    with apache(site, lines, modules=["fcgid"]) as mount:
        assert sum(v.count('"hour"') for v in mount.curl("/files/", key=site.limited(9)).all("RateLimit")) == 2


REWRITES = {
    "files/rw/.htaccess": "RewriteEngine On\nRewriteRule ^go$ /files/rw/there.html [L]\nRewriteRule ^out$ /open/x.html [L]\n",
    "files/rw/there.html": "there\n",
    "open/.htaccess": "RewriteEngine On\nRewriteRule ^in$ /files/rw/there.html [L]\nRewriteRule ^api$ /api/x [L]\nRewriteRule ^admin$ /api/admin/x [L]\n",
    "open/x.html": "open\n",
}


@pytest.fixture(params=["as Debian loads them", "mod_headers first"])
def order(request):
    return request.param == "mod_headers first"


def test_rewrites(site, order):
    """Wherever .htaccess sends a request: what it arrives at is what counts, once, and the key is still there to be asked for."""
    class Ordered(type(site.mount)):
        def modules(self):
            names = super().modules()
            return sorted(names, key=lambda n: n != "headers") if order else names
        more_modules = ["rewrite"]
    with Ordered(site.dir / f"m{next(site.numbers)}", site.daemon, site.backend) as mount:
        for name, text in REWRITES.items():
            path = mount.www / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        key = site.limited(9)
        for path, body, left in (("/files/rw/go", b"there\n", 8), ("/open/in", b"there\n", 7), ("/files/", b"hello\n", 6)):
            with site.backend_untouched():
                assert mount.curl(path).status == 401
            reply = mount.curl(path, key=key)
            assert reply.body == body and reply.header("RateLimit").startswith(f'"hour";r={left};')
        assert mount.curl("/open/x.html").body == b"open\n"
        assert mount.curl("/files/rw/out").status == 401
        with site.backend_untouched():
            for path, key, status, code in (("/open/api", None, 401, "key_missing"), ("/open/admin", site.key, 403, "scope_insufficient")):
                reply = mount.curl(path, key=key)
                assert reply.header("Apikey-Denied") == code
                if site.mount.refused_natively:
                    assert reply.status == status and reply.json()["code"] == code and reply.header("Content-Type") == "application/problem+json"
                else:
                    # Behind an internal redirect Apache knows no ErrorDocument, which mod_fcgid's mount needs for all but this.
                    assert reply.status == 401 and reply.header("Content-Type").startswith("text/html")
        seen = mount.curl("/open/api", "-H", "Apikey-Id: evil", "-H", "Apikey_Owner: evil", key=site.key).json()
        site.check_identity(seen)
        site.check_seen(seen, "evil")


def test_error_documents_of_a_site(site):
    """An ErrorDocument that is itself behind the gate, that redirects, or that says nothing of an error: the denial stays what it is."""
    pages = """
ErrorDocument 400 /api/page
ErrorDocument 401 /api/login
ErrorDocument 403 https://example.com/login
ErrorDocument 429 "all is well"
ErrorDocument 500 /api/page
ErrorDocument 503 /api/page"""
    with apache(site, extra=pages) as mount, site.backend_untouched():
        limited = site.limited(1)
        mount.curl("/files/", key=limited)
        for path, key, status, code in (("/api/x", None, 401, "key_missing"), ("/api/x", "a,b", 400, "request_invalid"),
                                        ("/api/admin/x", site.key, 403, "scope_insufficient"), ("/api/x", limited, 429, "rate_limited")):
            for args in ([], ["-I"]):
                reply = mount.curl(path, *args, key=key)
                assert reply.status == status and reply.header("Apikey-Denied") == code, reply
                assert reply.header("Content-Type") == "application/problem+json" and reply.header("Location") is None
        with mount.gate_down():
            assert mount.curl("/api/x", key=site.key).status == 503


def test_error_documents_need_their_lines():
    """Without them a HEAD without a key reaches the backend, at the path that the site's ErrorDocument names: it passed the gate once, Apache thinks."""
    with site_of(ApacheAuthnz) as site:
        with apache(site, [(site.mount.protect, "    ErrorDocument 401 default\n", "")], extra="ErrorDocument 401 /api/login") as mount:
            before = len(site.backend.seen)
            mount.curl("/api/x", "-I")
            assert [s["target"] for s in site.backend.seen[before:]] == ["/api/login"]


def test_the_whole_site(site):
    """The gate on "/", with everything handed on to the backend: denials keep status and body, and nothing of them goes to the backend."""
    whole = [(site.mount.example, '<Location "/api">', '<Location "/">'), (site.mount.example, f'"http://127.0.0.1:{site.backend.port}/api"', f'"http://127.0.0.1:{site.backend.port}/"')]
    with apache(site, whole) as mount:
        limited = site.limited(1)
        assert admitted(mount.curl("/x", key=limited))
        paths = ["/_apikeyd/deny", "/_apikeyd/unavailable", "/_apikeyd/", "/_apikeyd/x", "/_apikeyd/../_apikeyd/deny", "/%5fapikeyd/deny"]
        with site.backend_untouched():
            for path, key, status, code in (("/x", None, 401, "key_missing"), ("/api/admin/x", site.key, 403, "scope_insufficient"), ("/x", limited, 429, "rate_limited"),
                                            ("/", "a,b", 400, "request_invalid")):
                reply = mount.curl(path, key=key)
                assert reply.status == status and reply.json()["code"] == code and reply.header("Apikey-Denied") == code
                assert reply.header("Content-Type") == "application/problem+json" and reply.header("Apikey-Problem") is None
            for path in paths:
                assert mount.curl(path).status in (401, 404)
                assert mount.curl(path, key=site.key).status == 404
            with mount.gate_down():
                reply = mount.curl("/x", key=site.key)
                assert reply.status == 503 and reply.json()["code"] == "unavailable"
        seen = mount.curl("/orders", key=site.key).json()
        site.check_identity(seen)


def test_the_whole_site_needs_its_line(site):
    """Without it a denial's page is asked of the backend."""
    if type(site.mount) is ApacheAuthnz:
        pytest.skip("only while apikeyd is down")
    whole = [(site.mount.example, '<Location "/api">', '<Location "/">'), (site.mount.example, f'"http://127.0.0.1:{site.backend.port}/api"', f'"http://127.0.0.1:{site.backend.port}/"'),
             ("server.conf", 'SetEnvIf Request_URI "^/_apikeyd/" no-proxy\n', "")]
    with apache(site, whole) as mount:
        before = len(site.backend.seen)
        mount.curl("/x")
        assert [s["target"] for s in site.backend.seen[before:]] == ["/_apikeyd/deny"]


# ---- mod_cache ----

CACHE = """
CacheRoot {dir}/cache
CacheEnable disk /
CacheIgnoreNoLastMod On
CacheIgnoreCacheControl On"""


def from_cache(site, mount):
    """Does somebody without a key, or with another one, get what the backend said to a key's holder?"""
    path = "/api/cached?say=Cache-Control:max-age%3D600"
    one, stranger, other = mount.curl(path, "-H", f"X-API-Key: {site.key}"), mount.curl(path), mount.curl(path, "-H", f"X-API-Key: {site.admin_key}")
    assert one.status == other.status == 200
    return admitted(stranger) or site.id in other.body.decode() or site.admin_id in one.body.decode()


def test_mod_cache(site):
    with apache(site, outer=CACHE, modules=["cache_disk"]) as mount:
        (mount.dir / "cache").mkdir(exist_ok=True)
        os.chmod(mount.dir / "cache", 0o777)
        assert not from_cache(site, mount)
        assert list((mount.dir / "cache").rglob("*.data")) == []


@pytest.mark.parametrize("lines", [["CacheQuickHandler Off", "CacheDisable On"], ["CacheDisable On"]], ids=" and ".join)
def test_mod_cache_needs_its_lines(site, lines):
    where = {"CacheQuickHandler Off": "server.conf", "CacheDisable On": site.mount.protect}
    with apache(site, [(where[line], f"    {line}\n", "") for line in lines], outer=CACHE, modules=["cache_disk"]) as mount:
        (mount.dir / "cache").mkdir(exist_ok=True)
        os.chmod(mount.dir / "cache", 0o777)
        # What was sent is stored a moment later.
        wait_until(lambda: from_cache(site, mount), "a stranger is served from the cache")


# ---- the backend's side ----

def test_websocket(site):
    with apache(site) as mount:
        head = ("GET /api/websocket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade, Apikey-Id\r\n"
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n")
        [refused] = mount.raw((head + "\r\n").encode())
        assert refused.status == 401
        with mount.connect() as s:
            s.sendall((head + f"Authorization: Bearer {site.key}\r\n\r\n").encode())
            seen = b""
            while b"\r\n\r\n" not in seen:
                seen += s.recv(65536)
            assert seen.startswith(b"HTTP/1.1 101 ")
            s.sendall(b"\x81\x85abcdefghi")
            assert s.recv(65536) == b"\x81\x85abcdefghi"
        site.check_identity(site.backend.seen[-1])


def test_server_sent_events(site):
    """The first event is there before the second is sent."""
    site.backend.go_on.clear()
    with apache(site) as mount, mount.connect() as s:
        s.sendall(f"GET /api/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {site.key}\r\n\r\n".encode())
        seen = b""
        while b"data: one" not in seen:
            seen += s.recv(65536)
        site.backend.go_on.set()
        while b"data: two" not in seen:
            seen += s.recv(65536)


def test_identity_at_a_fastcgi_backend(site, directory):
    """PHP-FPM and the like: the backend sees who the key is, never what the client claims, never the key."""
    FastcgiBackend(directory / "api.sock")
    os.chmod(directory, 0o755)
    os.chmod(directory / "api.sock", 0o777)
    route = f"""
<Location "/php">
    Include apikeyd/{site.mount.protect}
    ProxyPass "unix:{directory}/api.sock|fcgi://php/"
</Location>"""
    with apache(site, extra=route, modules=["proxy_fcgi"]) as mount:
        forged = [a for name in ("Apikey-Id", "Apikey_Id", "Apikey.Id", "apikey-owner", "APIKEY_OWNER", "Apikey-Meta", "X_API_Key") for a in ("-H", f"{name}: evil")]
        for args in ([], forged):
            seen = mount.curl("/php/x", *args, key=site.key).json()
            assert [v for n, v in seen if n == "HTTP_APIKEY_ID"] == [site.id] and [v for n, v in seen if n == "APIKEY_ID"] == [site.id]
            assert [v for n, v in seen if n == "HTTP_APIKEY_OWNER"] == ["acme"]
            assert not [n for n, v in seen if "evil" in v or site.key in v]
        assert mount.curl("/php/x").status == 401


def test_trailers_are_no_headers(site):
    """Fields behind a chunked body: neither a credential nor an identity."""
    with apache(site) as mount:
        def send(*headers, trailers):
            head = ["POST /api/x HTTP/1.1", "Host: localhost", "Transfer-Encoding: chunked", "Trailer: Apikey-Meta, Authorization", "Connection: close", *headers]
            return mount.raw(("\r\n".join(head) + "\r\n\r\n4\r\nbody\r\n0\r\n" + "".join(f"{t}\r\n" for t in trailers) + "\r\n").encode())
        with site.backend_untouched():
            [reply] = send(trailers=[f"Authorization: Bearer {site.key}", f"X-API-Key: {site.key}"])
            assert reply.status == 401
        [reply] = send(f"Authorization: Bearer {site.key}", trailers=["Apikey-Id: evil", "Apikey-Meta: evil", f"X-API-Key: {site.admin_key}"])
        assert reply.status == 200 and reply.json()["length"] == 4
        site.check_identity(reply.json())
        site.check_seen(reply.json(), "evil")


def test_a_denied_upload_is_answered(site):
    """5 MB that come although nobody asked for them."""
    with apache(site) as mount, site.backend_untouched():
        for http in ("--http1.1", "--http2"):
            assert mount.curl("/api/x", http, "-X", "POST", "--data-binary", "@-", input=b"x" * 5242880).status == 401


# ---- mod_fcgid's own ----

def test_fcgid_needs_no_service():
    """Nothing runs but Apache: its worker starts a keeper as Apache's user, several workers share it, and a graceful restart brings new workers."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="apikeyd-"))
    daemon, backend = Daemon(path / "d", keeper_timeout="5s"), Backend()
    own = os.getuid()
    if own == 0:
        # As fcgid-gate.conf says; apikey is root's.
        own = pwd.getpwnam("www-data").pw_uid
        daemon.write_conf(user="www-data", group="www-data")
        os.chmod(path, 0o755)
        for name, mode in (("state", 0o700), ("run", 0o755)):
            (daemon.dir / name).mkdir(mode)
            shutil.chown(daemon.dir / name, "www-data", "www-data")
    daemon.pepper()
    _, key = daemon.create("acme")
    mount = ApacheFcgid(path / "m", daemon, backend)

    def processes(role):
        found = {}
        for p in pathlib.Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (p / "cmdline").read_bytes().split(b"\0")
                if words[:1] == [str(mount.program).encode()] and role in words:
                    found[int(p.name)] = p.stat().st_uid
        return found
    try:
        with mount:
            assert mount.curl("/api/x").status == 401
            assert mount.curl("/api/x", key=key).status == 200
            # Two workers may each have started one: who comes second finds the store taken, and leaves.
            wait_until(lambda: list(processes(b"keeper").values()) == [own], "there is one keeper")
            workers = processes(b"worker")
            assert workers and set(workers.values()) == {own}
            # Root's tool talks to it.
            assert daemon.create("other")
            # The keeper is killed: the next request brings another.
            [keeper] = processes(b"keeper")
            kill(keeper)
            assert mount.curl("/api/x", key=key).status == 200
            mount.reload()
            assert mount.curl("/api/x", key=key).status == 200
            wait_until(lambda: not set(workers) & set(processes(b"worker")), "the old workers have left")
    finally:
        for pid in processes(b"keeper"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not processes(b"keeper"), "the keeper has left")
        backend.close()
        shutil.rmtree(path, ignore_errors=True)


def test_fcgid_with_a_program_that_does_not_run():
    """Closed, and said so."""
    with site_of(ApacheFcgid) as site, site.mount as mount, mount.program_is("#!/bin/sh\nexit 1\n"), site.backend_untouched():
        reply = mount.curl("/api/x", key=site.key)
        assert reply.status == 503 and reply.json()["code"] == "unavailable"
