"""Goal: `apikey doctor` proves from outside what it says: every shipped mount passes, and every way to mount the gate wrongly that is
known fails and is called by its name. Invariant: exit 0 means that no probe failed; what doctor makes (a key, a plan) is taken back
however it ends, and no key of it is shown to anybody who should not have it."""

import json
import os
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading

import pytest

from harness import wrong
from harness.backend import Backend
from harness.daemon import APIKEY, Daemon
from harness.mount import free_port, make_certificate
from harness.nginx import NginxAuthRequest


def doctor(conf, url, *args, cert=None, input=None, timeout=120):
    """(exit status, {probe: its line}, standard error)"""
    trust = ["--cacert", cert] if cert else []
    done = subprocess.run([APIKEY, "-c", conf, "--json", "doctor", url, *trust, *map(str, args)], input=input or "", text=True,
                          capture_output=True, timeout=timeout, env={**os.environ, "LC_ALL": "C.UTF-8"})
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len({line["probe"] for line in lines}) == len(lines)
    return done.returncode, {line["probe"]: line for line in lines}, done.stderr


def examine(site, *args, path="/api/x", **how):
    mount = site.mount
    return doctor(site.daemon.conf, mount.url(path), "--http-url", mount.url(path, plain=True), *args, cert=mount.cert, **how)


def failures(lines):
    return {name: line["cause"] for name, line in lines.items() if line["result"] == "fail"}


def nothing_left(site):
    assert [k["state"] for k in site.daemon.json_lines("list", "--owner", "apikey-doctor") if k["state"] != "revoked"] == []
    assert [p["name"] for p in site.daemon.json_lines("plan", "list") if p["name"].startswith("doctor-")] == []


def test_a_right_mount_passes(site):
    code, lines, said = examine(site, "--limits")
    assert (failures(lines), code, said) == ({}, 0, "")
    # Nothing is passed over either: the echo backend shows what it gets. The plan of the temporary key has no limits.
    allowed = {"ratelimit"} | (set() if site.mount.http2 else {"http2"})
    assert {n for n, line in lines.items() if line["result"] == "skipped"} - allowed == set()
    nothing_left(site)


def test_a_key_of_ones_own(site):
    code, lines, _ = examine(site, "--key-stdin", input=site.key + "\n")
    assert failures(lines) == {} and code == 0
    assert lines["key"]["result"] == lines["ratelimit"]["result"] == "pass"
    assert {lines[n]["result"] for n in ("address", "limits", "revoked", "identity")} == {"skipped"}
    assert site.daemon.json("show", site.id)["exposed"] is None


# ---- mounts that are wrong: each differs in a line or two from one that is right ----

@pytest.fixture(scope="module")
def world():
    """An apikeyd on TCP (all servers can ask it there) and an echo backend: (daemon, backend, directory)."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="apikeyd-"))
    path.chmod(0o755)
    daemon = Daemon(path / "d", listen=f"127.0.0.1:{free_port()}").start()
    backend = Backend()
    yield daemon, backend, path
    daemon.stop(expect=None)
    backend.close()
    shutil.rmtree(path, ignore_errors=True)


def look_into(world, mount, *args, path="/api/x", prepare=None):
    daemon, backend, directory = world
    m = mount(pathlib.Path(tempfile.mkdtemp(dir=directory)), daemon, backend)
    if prepare:
        prepare(m)
    with m:
        return doctor(daemon.conf, m.url(path), "--http-url", m.url(path, plain=True), *args, cert=m.cert)


MINIMAL = (wrong.NginxBare, wrong.ApacheMinimal, wrong.LighttpdMinimal, wrong.CaddyMinimal, wrong.HaproxyMinimal)


@pytest.mark.parametrize("mount", MINIMAL, ids=lambda m: m.name)
def test_the_minimal_ones(world, mount):
    """What the wrong ones below are changed from: so it is the change that fails."""
    code, lines, said = look_into(world, mount, "--limits")
    assert (failures(lines), said) == (mount.LACKS, "")
    assert code == (1 if mount.LACKS else 0)


# What is changed, what doctor must call it, and a word that the line to look at must have.
WRONG = {
    # Open.
    "Apache: Require all granted beside mod_authnz_fcgi": (
        wrong.ApacheMinimal, [("Require valid-user", "Require all granted")], {"no-key": "open", "unknown-key": "open"}, "Require all granted"),
    "Apache: Require all granted beside FcgidAuthorizer": (
        wrong.ApacheMinimal, [("Require valid-user", "Require all granted"),
                              ("AuthnzFcgiCheckAuthnProvider APIKEYD Authoritative On RequireBasicAuth Off UserExpr \"%{reqenv:APIKEY_ID}\"",
                               "FcgidAuthorizer \"<program> worker\"")], {"no-key": "open"}, "Require all granted"),
    "Apache: nothing required": (wrong.ApacheMinimal, [("Require valid-user", "")], {"no-key": "open"}, "Require valid-user"),
    "lighttpd: mod_proxy before mod_fastcgi": (
        wrong.LighttpdMinimal, [('"mod_fastcgi", "mod_proxy"', '"mod_proxy", "mod_fastcgi"')], {"no-key": "open", "junk-key": "open"}, "server.modules"),
    "Caddy: the API before the gate": (
        wrong.CaddyMinimal, [("handle /api/* {\n", "handle /api/* {\n\t\troute {\n\t\t\treverse_proxy 127.0.0.1:<backend>\n\t\t}\n")],
        {"no-key": "open"}, "reverse_proxy"),
    "HAProxy: no question": (
        wrong.HaproxyMinimal, [("http-request lua.apikeyd\n", ""), ("http-request deny deny_status 503 unless { var(txn.apikey_ok) -m bool }", "")],
        {"no-key": "open"}, "lua.apikeyd"),
    "nginx: no question": (wrong.NginxBare, [("auth_request /_apikeyd;", "")], {"no-key": "open"}, "auth_request"),
    "nginx: satisfy any": (wrong.NginxBare, [("auth_request /_apikeyd;", "auth_request /_apikeyd; satisfy any; allow all;")],
                           {"no-key": "open"}, "satisfy any"),
    # Open to some.
    "Apache: Limit": (wrong.ApacheMinimal, [("Require valid-user", "<Limit GET HEAD POST>\nRequire valid-user\n</Limit>")],
                      {"options": "open_method"}, "<Limit>"),
    "nginx: another location for the rest": (
        wrong.NginxBare, [("location = /_apikeyd", "location / { proxy_pass http://127.0.0.1:<backend>; }\n location = /_apikeyd")],
        {"path-case": "open_spelling"}, "location"),
    "Caddy: case": (wrong.CaddyMinimal, [("handle {\n\t\trespond 404", "handle {\n\t\treverse_proxy 127.0.0.1:<backend>"), ("handle /api/* {", "@a path_regexp ^/api/\n\thandle @a {")],
                    {"path-case": "open_spelling"}, "handle"),
    # Statuses.
    "nginx: a 429 becomes 500": (wrong.NginxBare, [], {"limits": "status_changed", "repeated": "status_changed"}, "500"),
    "Apache: mod_fcgid's 401 for everything": (
        wrong.ApacheMinimal, [("AuthnzFcgiCheckAuthnProvider APIKEYD Authoritative On RequireBasicAuth Off UserExpr \"%{reqenv:APIKEY_ID}\"",
                               "FcgidAccessChecker \"<program> worker\""), ("Require valid-user", "Require all granted")],
        {"limits": "status_changed", "repeated": "status_changed", "gate-headers": "gate_leaks"}, "mod_fcgid"),
    "Apache: text/html": (wrong.ApacheMinimal, [("Header always set Content-Type", "#")], {"no-key": "content_type"}, "Content-Type"),
    "HAProxy: 503 for every refusal": (wrong.HaproxyMinimal, [("http-request lua.apikeyd\n", "http-request lua.apikeyd if { req.hdr(authorization) -m found }\n")],
                                       {"no-key": "gate_down"}, "apikeyd"),
    # Admitted in vain.
    "Apache: no UserExpr": (wrong.ApacheMinimal, [("UserExpr \"%{reqenv:APIKEY_ID}\"", "")], {"key": "admitted_in_vain"}, "UserExpr"),
    "lighttpd: docroot": (wrong.LighttpdMinimal, [('"mode" => "authorizer"', '"mode" => "authorizer", "docroot" => "<dir>/www"')],
                          {"key": "admitted_in_vain"}, "docroot"),
    # Credentials.
    "Apache: no CGIPassAuth": (wrong.ApacheMinimal, [("CGIPassAuth On", "")], {"unknown-key": "bearer_lost", "key": "bearer_lost"}, "CGIPassAuth"),
    "HAProxy: no pass-header": (wrong.HaproxyMinimal, [("pass-header Authorization", "")], {"unknown-key": "bearer_lost"}, "pass-header"),
    "Caddy: no X-API-Key": (wrong.CaddyMinimal, [("method GET", "method GET\n\t\t\theader_up -X-Api-Key")], {"junk-key": "header_lost"}, "X-API-Key"),
    "HAProxy: no query": (wrong.HaproxyMinimal, [("set-param REQUEST_URI %[req.fhdr(x-doctor-uri)]", "set-param REQUEST_URI /api/x")],
                          {"key-in-url": "uri_lost"}, "REQUEST_URI"),
    # Identity.
    "Apache: Apikey_Id": (wrong.ApacheMinimal, [("RequestHeader unset Apikey_Owner", "")], {"forged-underscores": "forged"}, "Apikey_Id"),
    "Apache: Connection": (wrong.ApacheMinimal, [("RequestHeader edit* Connection", "#")], {"connection-strip": "stripped"}, "edit* Connection"),
    "Apache: no identity": (wrong.ApacheMinimal, [("RequestHeader set Apikey-Id", "#")], {"forged-dashes": "forged", "identity": "identity_lost"}, "RequestHeader"),
    "Apache: the key goes on": (wrong.ApacheMinimal, [("RequestHeader unset Authorization", "")], {"key-hidden": "key_passed_on"}, "Authorization"),
    "lighttpd: no Lua for requests": (wrong.LighttpdMinimal, [('magnet.attract-raw-url-to', '#')],
                                      {"forged-dashes": "forged", "forged-underscores": "forged", "identity": "identity_lost"}, "Lua"),
    "Caddy: Apikey_Id": (wrong.CaddyMinimal, [("request_header -Apikey_*", "")], {"forged-underscores": "forged"}, "Apikey_"),
    "Caddy: Connection": (wrong.CaddyMinimal, [('request_header Connection "(?i)apikey[-_][-_a-z]*" "x"', "")], {"connection-strip": "stripped"}, "Connection"),
    "HAProxy: apikey_id": (wrong.HaproxyMinimal, [("http-request del-header apikey_ -m beg", ""), ("option http-restrict-req-hdr-names delete", "")], {"forged-underscores": "forged"}, "apikey_"),
    "Apache: X_Api_Key": (wrong.ApacheMinimal, [("RequestHeader unset X_Api_Key", "")], {"key-spellings": "key_spelling"}, "X_Api_Key"),
    "HAProxy: X_Api_Key": (wrong.HaproxyMinimal, [("option http-restrict-req-hdr-names delete", "")], {"key-spellings": "key_spelling"}, "http-restrict"),
    "HAProxy: Upgrade": (wrong.HaproxyMinimal, [("http-request del-header Upgrade", "")], {"upgrade": "upgrade"}, "Upgrade"),
    "Apache: Apikey-Status": (wrong.ApacheMinimal, [("RequestHeader unset Apikey-Status", "")], {"forged-dashes": "forged"}, "RequestHeader"),
    # What clients see.
    "Caddy: Status": (wrong.CaddyMinimal, [("\t\t\t-Status\n", "")], {"gate-headers": "gate_leaks"}, "-Status"),
    "Caddy: identity": (wrong.CaddyMinimal, [("\t\t\t\theader RateLimit {rp.header.Ratelimit}",
                                              "\t\t\t\theader RateLimit {rp.header.Ratelimit}\n\t\t\t\theader Apikey-Plan {rp.header.Apikey-Plan}")],
                        {"identity-headers": "identity_leaks"}, "Apikey-"),
    "Caddy: {rp.header.RateLimit}": (wrong.CaddyMinimal, [("{rp.header.Ratelimit}", "{rp.header.RateLimit}")], {"limits": "ratelimit_wrong"}, "Ratelimit"),
    "lighttpd: no Lua for answers": (wrong.LighttpdMinimal, [('magnet.attract-response-start-to', '#')], {"limits": "ratelimit_lost"}, "APIKEY_RATELIMIT"),
    "HAProxy: no RateLimit": (wrong.HaproxyMinimal, [("http-response set-header RateLimit", "#"), ], {"limits": "ratelimit_lost"}, "RateLimit"),
    "HAProxy: challenges twice": (wrong.HaproxyMinimal, [("default_backend be\n", "default_backend be\n    http-after-response add-header WWW-Authenticate 'Bearer realm=\"x\"' if { status 401 }\n")],
                                  {"no-key": "doubled"}, "add-header"),
    "nginx: the inner location": (wrong.NginxBare, [("internal;", ""), ("fastcgi_param REQUEST_METHOD", "fastcgi_param APIKEYD_MODE auth_request; fastcgi_param REQUEST_METHOD")],
                                  {"internal-gate": "internal_open", "gate-headers": "gate_leaks"}, "internal;"),
    # HTTPS and addresses.
    "HAProxy: the scheme": (wrong.HaproxyMinimal, [("set-param REQUEST_SCHEME %[req.fhdr(x-doctor-scheme)]", "")], {"no-key": "https_unseen"}, "HTTPS"),
    "Caddy: always https": (wrong.CaddyMinimal, [("env APIKEYD_MODE accel", "env APIKEYD_MODE accel\n\t\t\t\tenv HTTPS on\n\t\t\t\tenv REQUEST_SCHEME https")],
                            {"plain-http": "plain_http"}, "plain"),
    "Apache: X-Forwarded-For": (wrong.ApacheMinimal, [("StartServers 1", "StartServers 1\nLoadModule remoteip_module /usr/lib/apache2/modules/mod_remoteip.so\nRemoteIPHeader X-Forwarded-For\nRemoteIPInternalProxy 127.0.0.1")],
                                {"address": "address_believed"}, "RemoteIP"),
    "nginx: X-Forwarded-For": (wrong.NginxBare, [("auth_request /_apikeyd;", "auth_request /_apikeyd; set_real_ip_from 0.0.0.0/0; real_ip_header X-Forwarded-For;")],
                               {"address": "address_believed"}, "set_real_ip_from"),
    "Apache: X-Forwarded-Proto": (wrong.ApacheMinimal, [("AuthType None", "SetEnvIf X-Forwarded-Proto https HTTPS=on\nAuthType None")],
                                  {"plain-http-forwarded": "proto_believed"}, "SetEnvIf"),
    # Other.
    "Apache: misconfigured": (wrong.ApacheMinimal, [("AuthType None", "SetEnvIfExpr true APIKEYD_COST=many\nAuthType None")], {"no-key": "misconfigured"}, "log"),
    "HAProxy: an open cache": (wrong.HaproxyMinimal, [("http-request del-header apikey- -m beg", "http-request cache-use c\n    http-request del-header apikey- -m beg"),
                                                      ("default_backend be\n", "default_backend be\n    http-response set-header Cache-Control public,max-age=60 if { status 200 }\n    http-response cache-store c\n"),
                                                      ("frontend api\n", "cache c\n    total-max-size 4\n    max-age 60\nfrontend api\n")],
                               {"after-a-key": "cached"}, "cache-use"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_mount_is_called_by_its_name(world, case):
    mount, changes, expected, word = WRONG[case]
    code, lines, said = look_into(world, wrong.changed(mount, *changes), "--limits")
    got = failures(lines)
    assert code == 1 and expected.items() <= got.items(), (got, said)
    first = lines[next(iter(expected))]
    assert any(word in text for text in first["look"].values()), first


# The shipped files with something taken out of them: the same.
DROPPED = {
    "nginx: the question": ([("protect.conf", "auth_request /_apikeyd;")], {"no-key": "open"}, "protect.conf"),
    "nginx: the scheme": ([("params", "fastcgi_param REQUEST_SCHEME     $scheme;"), ("params", "fastcgi_param HTTPS              $https if_not_empty;")],
                          {"no-key": "https_unseen"}, "REQUEST_SCHEME"),
    "nginx: the mode": ([("gate.conf", "fastcgi_param APIKEYD_MODE  auth_request;")], {"no-key": "status_changed"}, "APIKEYD_MODE"),
    "nginx: 429": ([("gate.conf", "if ($apikey_status = 429) { return 429 $apikey_problem; }")], {"limits": "status_changed"}, "429"),
    "nginx: the type": ([("gate.conf", "default_type application/problem+json;")], {"no-key": "content_type"}, "default_type"),
    "nginx: no-store": ([("gate.conf", "add_header Cache-Control     no-store always;")], {"no-key": "headers_lost"}, "add_header"),
    "nginx: internal": ([("gate.conf", "internal;                  # only nginx itself asks here")], {"internal-gate": "internal_open"}, "internal"),
    "nginx: RateLimit": ([("identity.conf", "add_header RateLimit             $apikey_ratelimit always;")], {"limits": "ratelimit_lost"}, "RateLimit"),
    "nginx: the key": ([("identity.conf", 'proxy_set_header Authorization  "";')], {"key-hidden": "key_passed_on"}, "Authorization"),
    "nginx: Apikey-Id": ([("identity.conf", "proxy_set_header Apikey-Id      $apikey_id;")], {"forged-dashes": "forged", "identity": "identity_lost"}, "proxy_set_header"),
    "nginx: the error page": ([("protect.conf", "error_page 401 403 = @apikey_deny;")], {"no-key": "bare_refusal"}, "error_page"),
    "nginx: the socket": ([("upstream.conf", "/fcgi.sock")], {"no-key": "gate_down"}, "listen"),
}


@pytest.mark.parametrize("case", DROPPED)
def test_a_dropped_line_is_called_by_its_name(world, shared, case):
    dropped, expected, word = DROPPED[case]

    def prepare(mount):
        for file, text in dropped:
            mount.edit(file, text, "")
    code, lines, _ = look_into((shared, *world[1:]), NginxAuthRequest, "--limits", prepare=prepare)
    got = failures(lines)
    assert code == 1 and expected.items() <= got.items(), got
    first = lines[next(iter(expected))]
    assert first["server"] == "nginx" and any(word in text for text in first["look"].values()), first


# ---- places that are no mount at all ----

class Place:
    """Listens with TLS (or without), keeps the head of every request, and answers with what answer(head) says: bytes; None for silence;
    a list of bytes after which the connection stays open."""

    def __init__(self, directory, answer, tls=True):
        self.heads, self.answer, self.open = [], answer, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.cert = None
        self.context = None
        if tls:
            self.cert = make_certificate(directory)
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(self.cert, directory / "key.pem")
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.open.append(sock)
            threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def serve(self, sock):
        try:
            if self.context:
                sock = self.context.wrap_socket(sock, server_side=True)
            with sock, sock.makefile("rb") as stream:
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    line = stream.readline()
                    if not line:
                        return
                    head += line
                self.heads.append(head.decode("latin-1"))
                said = self.answer(self.heads[-1])
                sock.sendall(said if isinstance(said, bytes) else b"".join(said or []))
                if not isinstance(said, bytes):
                    stream.read()
        except OSError:
            pass  # the other side has had enough

    def url(self, path="/api/x"):
        return f"http{'s' if self.context else ''}://localhost:{self.port}{path}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()
        for sock in self.open:
            sock.close()


def reply(status, body=b"", *headers):
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def test_a_server_without_a_gate(shared, directory):
    with Place(directory, lambda head: reply(200, b"hello")) as place:
        code, lines, _ = doctor(shared.conf, place.url(), "--no-key", cert=place.cert)
    assert code == 1 and lines["no-key"]["cause"] == "open" and lines["no-key"]["server"] == "any server"
    # Every server that it could be is told of.
    assert {"nginx", "Apache", "lighttpd", "Caddy", "HAProxy"} <= lines["no-key"]["look"].keys()
    assert lines["key"]["result"] == lines["post"]["result"] == lines["path-dot"]["result"] == "skipped"
    # What might do harm is not sent to an API that takes it from anybody.
    assert not [h for h in place.heads if h.startswith("POST")]


def test_which_server_it_is_can_be_said(shared, directory):
    with Place(directory, lambda head: reply(200, b"hello")) as place:
        _, lines, _ = doctor(shared.conf, place.url(), "--no-key", "--server", "apache", cert=place.cert)
    assert set(lines["no-key"]["look"]) == {"Apache"} and "Require all granted" in lines["no-key"]["look"]["Apache"]


def test_nobody_there(shared):
    before = shared.json_lines("list", "--owner", "apikey-doctor")
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        code, lines, said = doctor(shared.conf, f"https://localhost:{s.getsockname()[1]}/")
    assert (code, lines) == (3, {}) and "cannot be reached" in said and said.count("\n") == 1
    assert shared.json_lines("list", "--owner", "apikey-doctor") == before


def test_a_certificate_that_nobody_signed(shared, directory):
    with Place(directory, lambda head: reply(401)) as place:
        code, lines, said = doctor(shared.conf, place.url(), "--no-key")
        assert (code, lines) == (3, {}) and "--cacert" in said and "--insecure" in said
        assert place.heads == []
        code, lines, _ = doctor(shared.conf, place.url(), "--no-key", "--insecure")
        assert code == 1 and lines["no-key"]["cause"] == "bare_refusal"


def test_a_port_that_speaks_no_tls(site):
    code, lines, said = doctor(site.daemon.conf, site.mount.url("/", plain=True).replace("http:", "https:"), "--no-key")
    assert (code, lines) == (3, {}) and "HTTPS" in said


def test_a_server_that_hangs(shared, directory):
    with Place(directory, lambda head: None) as place:
        code, lines, said = doctor(shared.conf, place.url(), "--no-key", "--timeout", "1s", cert=place.cert)
    assert (code, lines) == (3, {}) and "--timeout" in said and len(place.heads) == 1


def test_a_server_that_hangs_at_times(shared, directory):
    """Silence is a failure where others are answered; of odd spellings it tells nothing."""
    with Place(directory, lambda head: None if "junk" in head or "/./" in head else reply(404)) as place:
        _, lines, _ = doctor(shared.conf, place.url(), "--no-key", "--timeout", "3s", cert=place.cert)
    assert lines["junk-key"]["cause"] == "no_answer" and lines["path-dot"]["result"] == "skipped"


def test_an_answer_without_end(shared, directory):
    """An API that streams: what came with the head, and shortly after it, is the answer."""
    endless = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 1000000\r\n\r\ndata: one\n\n"
    with Place(directory, lambda head: reply(404) if len(place.heads) > 1 else [endless]) as place:
        _, lines, _ = doctor(shared.conf, place.url(), "--no-key", "--timeout", "60s", cert=place.cert)
    assert lines["no-key"]["cause"] == "open"


def test_garbage_for_an_answer(shared, directory):
    with Place(directory, lambda head: b"\x00\x01 220 mail.example.com ESMTP\r\n") as place:
        code, lines, said = doctor(shared.conf, place.url(), "--no-key", cert=place.cert)
    assert (code, lines) == (3, {}) and "cannot be reached" in said


def test_what_a_server_sends_cannot_steer_a_terminal(shared, directory):
    evil = "Content-Type: \x1b[31m\x9b31m\u00e9".encode("utf-8")
    body = b'{"type":"urn:apikeyd:problem:key_missing","status":401,"code":"key_missing"}'
    with Place(directory, lambda head: reply(401, body).replace(b"\r\n\r\n", b"\r\nApikey-Denied: key_missing\r\n" + evil + b"\r\n\r\n", 1)) as place:
        done = shared.tool("doctor", place.url(), "--no-key", "--cacert", place.cert)
    assert "Content-Type is ?[31m" in done.stdout
    assert not [c for c in done.stdout if (ord(c) < 32 and c != "\n") or 0x7f <= ord(c) < 0xa0]


# ---- the key ----

def test_where_keys_go(site):
    """A key of somebody's is sent to the URL, in headers of GET requests, over TLS; nowhere else."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="apikeyd-"))
    try:
        with Place(path, lambda head: reply(200, b"x")) as tls, Place(path, lambda head: reply(200, b"x"), tls=False) as plain:
            doctor(site.daemon.conf, tls.url("/api/x?a=b"), "--http-url", plain.url(), "--key-stdin", cert=tls.cert, input=site.key + "\n")
    finally:
        shutil.rmtree(path)
    with_key = [h for h in tls.heads if site.key in h]
    assert with_key and {h.split("\r\n")[0] for h in with_key} == {"GET /api/x?a=b HTTP/1.1"}
    assert plain.heads and not [h for h in plain.heads if site.key in h]


def test_redirects_are_not_followed(shared, directory):
    _, key = shared.create("acme")
    with Place(directory, lambda head: reply(200, b"x")) as target:
        with Place(directory, lambda head: reply(302, b"", f"Location: https://localhost:{target.port}/")) as place:
            code, lines, _ = doctor(shared.conf, place.url(), "--key-stdin", cert=place.cert, input=key)
        assert code == 1 and lines["no-key"]["cause"] == lines["key"]["cause"] == "redirect"
        assert len(place.heads) > 5 and target.heads == []


def test_a_key_that_comes_back_is_not_shown(shared, directory):
    _, key = shared.create("acme")
    with Place(directory, lambda head: reply(403, head.encode(), f"Location: {key}", f"Content-Type: {key}", f"WWW-Authenticate: {key}")) as place:
        args = ("doctor", place.url(), "--key-stdin", "--cacert", place.cert)
        for more in ((), ("--json",)):
            done = shared.tool(*more, *args, input=key)
            assert done.stdout and key not in done.stdout + done.stderr
    with Place(directory, lambda head: reply(200, head.encode())) as place:
        _, lines, _ = doctor(shared.conf, place.url(), "--key-stdin", cert=place.cert, input=key)
        assert lines["key-hidden"]["cause"] == "key_passed_on"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_leaves_nothing_behind(shared, directory, number):
    """The server is silent when the temporary plan is used up: there doctor waits, and has a key and a plan to take back."""
    waiting = threading.Event()

    def answer(head):
        # By then the key has been bound and let go; the plan is under way.
        plans = shared.json_lines("plan", "list")
        if "ak_live" in head and [p for p in plans if p["name"].startswith("doctor-")]:
            waiting.set()
            return None
        return reply(200, b"x")
    with Place(directory, answer) as place:
        process = subprocess.Popen([APIKEY, "-c", shared.conf, "doctor", place.url(), "--cacert", place.cert, "--limits", "--timeout", "60s"],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert waiting.wait(60)
        alive = [k for k in shared.json_lines("list", "--owner", "apikey-doctor") if k["state"] == "active"]
        assert len(alive) == 1 and alive[0]["expires"] is not None
        process.send_signal(number)
        process.communicate(timeout=30)
    assert process.returncode == -number
    assert [k for k in shared.json_lines("list", "--owner", "apikey-doctor") if k["state"] != "revoked"] == []
    assert [p["name"] for p in shared.json_lines("plan", "list") if p["name"].startswith("doctor-")] == []


def test_a_reader_that_leaves_does_not_leave_the_key(shared, directory):
    left = threading.Event()

    def answer(head):
        # The first line is told after three answers; no other one before nobody reads it.
        assert len(place.heads) <= 3 or left.wait(60)
        return reply(200, b"x")
    with Place(directory, answer) as place:
        read, write = os.pipe()
        process = subprocess.Popen([APIKEY, "-c", shared.conf, "doctor", place.url(), "--cacert", place.cert], stdout=write, stderr=subprocess.PIPE, text=True)
        os.close(write)
        os.read(read, 1)
        os.close(read)
        left.set()
        said = process.communicate(timeout=60)[1]
    assert process.returncode == 3 and "standard output" in said
    assert [k for k in shared.json_lines("list", "--owner", "apikey-doctor") if k["state"] != "revoked"] == []


def test_the_temporary_key_is_as_asked_for(shared, directory):
    """And lets go of the plan that it was given: a plan that a key names cannot be removed."""
    shared.tool("plan", "set", "mine", "--limit", "hour=1000/1h", check=0)
    with Place(directory, lambda head: reply(200, b"x")) as place:
        doctor(shared.conf, place.url(), "--plan", "mine", "--scope", "a:b", "--scope", "c", cert=place.cert)
    made = [json.loads(line) for line in shared.tool("--json", "audit", check=0).stdout.splitlines()]
    made = [r["detail"] for r in made if r["op"] == "key.create" and r["detail"]["owner"] == "apikey-doctor"][-1]
    assert made["plan"] == "mine" and made["scopes"] == ["a:b", "c"]
    shared.tool("plan", "remove", "mine", check=0)


def test_a_plan_that_is_not_there(shared, directory):
    with Place(directory, lambda head: reply(401)) as place:
        _, lines, _ = doctor(shared.conf, place.url(), "--plan", "nope", cert=place.cert)
    assert lines["key"]["result"] == "skipped" and "nope" in lines["key"]["detail"]


def test_a_route_that_needs_a_scope(site):
    code, lines, _ = examine(site, path="/api/admin/x")
    assert code == 1 and lines["key"]["cause"] == "the_key" and "admin:write" in lines["key"]["detail"]
    code, lines, _ = examine(site, "--scope", "admin:write", path="/api/admin/x")
    assert failures(lines) == {} and code == 0
    nothing_left(site)


def test_a_gate_that_asks_another_keeper(site, shared):
    mount = site.mount
    code, lines, _ = doctor(shared.conf, mount.url("/api/x"), cert=mount.cert)
    assert code == 1 and set(failures(lines)) >= {"key", "key-header"} and lines["key"]["cause"] == "other_store"
    nothing_left(site)


def test_without_a_keeper(site, daemon):
    """doctor runs on any machine: what needs a key is skipped, and says so. The store of nobody is not opened for it."""
    mount = site.mount
    daemon.pepper()
    code, lines, _ = doctor(daemon.conf, mount.url("/api/x"), cert=mount.cert)
    assert code == 0 and lines["no-key"]["result"] == "pass"
    assert lines["key"]["result"] == "skipped" and "no keeper" in lines["key"]["detail"] and "--key-stdin" in lines["key"]["detail"]
    assert not (daemon.dir / "state").exists()


def test_the_keeper_stopped(site):
    """Closed, but nobody gets in: that is a failure too."""
    with site.mount.keeper_stopped():
        code, lines, _ = examine(site)
    assert code == 1 and lines["unknown-key"]["cause"] == "gate_down"
    assert lines["key"]["result"] == "skipped"


# ---- the command line ----

@pytest.mark.parametrize("args, word", [
    ((), "URL is missing"),
    (("ftp://example.com/",), "not a URL"),
    (("https://user:word@example.com/",), "not a URL"),
    (("example.com",), "not a URL"),
    (("https://example.com/", "--header", "nothing"), "--header"),
    (("https://example.com/", "--header", "authorization: Bearer x"), "--key-stdin"),
    (("https://example.com/", "--header", "X-Api-Key: x"), "--key-stdin"),
    (("https://example.com/", "--no-key", "--limits"), "--limits"),
    (("https://example.com/", "--key-stdin", "--plan", "x"), "--plan"),
    (("https://example.com/", "--key-stdin", "--no-key"), "exclude"),
    (("https://example.com/", "--http-url", "https://example.com/"), "--http-url"),
    (("https://example.com/", "--timeout", "0s"), "--timeout"),
    (("https://example.com/", "--server", "iis"), "--server"),
    (("https://example.com/", "--key-stdin"), "no key"),
])
def test_usage(shared, args, word):
    done = shared.tool("doctor", *args, input="")
    assert done.returncode == 2 and word in done.stderr and done.stderr.count("\n") == 1 and done.stdout == ""


def test_plain_http_is_not_the_place_to_ask(site):
    code, lines, said = doctor(site.daemon.conf, site.mount.url("/api/x", plain=True))
    assert (code, lines) == (2, {}) and "https URL" in said


def test_headers_are_sent_with_every_request(shared, directory):
    with Place(directory, lambda head: reply(401)) as place:
        doctor(shared.conf, place.url(), "--no-key", "--header", "Host: api.example.com", "--header", "X-Test: 1", cert=place.cert)
    normal = [h for h in place.heads if "\x01" not in h]
    assert len(normal) > 20 and all("Host: api.example.com\r\n" in h and "X-Test: 1\r\n" in h for h in normal)


def test_for_people(site):
    """One line a probe; a cause is explained once, with the line of this server's configuration, not of the others."""
    mount = site.mount
    done = site.daemon.tool("doctor", mount.url("/api/x"), "--cacert", mount.cert, "--no-key", check=0)
    lines = done.stdout.splitlines()
    assert lines[0] == "\u2713 no-key                 401 key_missing"
    assert " passed, 0 failed, " in lines[-1]
    with tempfile.TemporaryDirectory() as path, Place(pathlib.Path(path), lambda head: reply(200, b"x")) as place:
        done = site.daemon.tool("doctor", place.url(), "--cacert", place.cert, "--no-key", "--server", "lighttpd", check=1)
    assert done.stdout.count("server.modules") == 1 and "Require all granted" not in done.stdout and "like no-key" in done.stdout


def test_proxies_of_the_environment_are_not_asked(shared, directory):
    """They would see the key, or answer for the server."""
    with Place(directory, lambda head: reply(200, b"proxy"), tls=False) as proxy, Place(directory, lambda head: reply(401)) as place:
        env = {name: f"http://localhost:{proxy.port}" for name in ("http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")}
        done = shared.tool("doctor", place.url(), "--no-key", "--cacert", place.cert, env=env)
    assert done.returncode == 1 and place.heads and proxy.heads == []


@pytest.mark.parametrize("settings, wrong_ones, skipped", [
    ({"query_parameters": ["token", "key"], "ratelimit_headers": "off"}, {}, {"ratelimit"}),
    ({"query_parameters": ["token"], "ratelimit_headers": "legacy"}, {}, {"ratelimit"}),
    ({"query_parameters": []}, {}, {"ratelimit", "key-in-url"}),
    ({"allow_query_keys": True}, {"key-in-url": "query_allowed"}, {"ratelimit"}),
    ({"require_https": False}, {"plain-http": "plain_http", "plain-http-forwarded": "plain_http"}, {"ratelimit"}),
    ({"trusted_proxies": ["127.0.0.1"]}, {"plain-http-forwarded": "proto_believed", "address": "address_believed"}, {"ratelimit"}),
])
def test_what_apikeyd_conf_says_is_heeded(directory, settings, wrong_ones, skipped):
    """The same mount; what apikeyd.conf loosens on purpose is told, what it merely sets is no failure."""
    daemon = Daemon(directory / "d", **settings).start()
    backend = Backend()
    directory.chmod(0o755)
    try:
        with NginxAuthRequest(directory / "m", daemon, backend) as m:
            code, lines, _ = doctor(daemon.conf, m.url("/api/x"), "--http-url", m.url("/api/x", plain=True), "--limits", cert=m.cert)
        assert failures(lines) == wrong_ones and code == (1 if wrong_ones else 0)
        assert {n for n, line in lines.items() if line["result"] == "skipped"} == skipped
    finally:
        backend.close()
        daemon.stop(expect=None)
