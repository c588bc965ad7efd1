"""Ways to get in without a key, or as somebody else: functions of a Site that raise AssertionError when they succeed.

test_attacks.py runs each against each mount; and, where a mount names an attack beside a line of its configuration (Mount.protecting), against
that mount without the line, where it has to succeed. So none of them can pass by accident."""

import contextlib
import itertools
import re
import threading
import urllib.parse

from . import fcgi
from . import http2 as h2
from .backend import Backend
from .site import fold

ATTACKS = {}


def attack(function):
    ATTACKS[function.__name__] = function
    return function


def refused(reply):
    """Denied, in whatever words, or sent elsewhere (a slash at the end), or the connection closed."""
    assert reply is None or reply.status >= 300, reply


FORGED = ["Apikey-Id", "apikey-id", "APIKEY-ID", "Apikey_Id", "apikey_id", "APIKEY_ID", "Apikey-Owner", "apikey_owner", "Apikey-Plan", "Apikey_Plan",
          "Apikey-Scopes", "APIKEY_SCOPES", "Apikey-Meta", "apikey_meta"]
INTERNAL = ["Apikey-Status", "Apikey_Status", "Apikey-Problem", "Apikey_Problem", "Apikey-Denied", "Apikey_Denied"]


# ---- identity ----

def forge(site, name):
    for headers in ([f"{name}: evil"], [f"{name}: evil", f"{name}: evil2"]):
        with site.backend_untouched():
            refused(site.mount.send(site.mount.api + "x", *headers))
        reply = site.mount.send(site.mount.api + "x", *headers, key=site.key)
        # A server may refuse a header that it does not like.
        if reply is not None and reply.status == 200:
            site.check_identity(reply.json())
            site.check_seen(reply.json(), "evil")
        else:
            refused(reply)


@attack
def forged_identity(site):
    """Headers that claim to be the gate's."""
    for name in FORGED:
        forge(site, name)


@attack
def forged_identity_with_other_separators(site):
    """Some backends (lighttpd's CGI among them) take whatever is no letter or digit in a name for '_'."""
    for sep in "!#$%&'*+.^`|~":
        lines = [f"Apikey{sep}{word}: evil" for word in ("Id", "Owner", "Plan", "Scopes", "Meta")]
        with site.backend_untouched():
            refused(site.mount.send(site.mount.api + "x", *lines))
        reply = site.mount.send(site.mount.api + "x", *lines, key=site.key)
        refused_or_ours(site, reply)
        if reply is not None and reply.status == 200:
            site.check_seen(reply.json(), "evil")


@attack
def forged_internal_headers(site):
    """Headers by which server and gate talk."""
    for name in INTERNAL:
        forge(site, name)


@attack
def forged_identity_where_the_key_has_none(site):
    """A key without scopes and metadata: nothing of the gate's replaces what the client claims."""
    _, key = site.daemon.create("acme")
    for sep in "-_":
        reply = site.mount.send(site.mount.api + "x", f"Apikey{sep}Meta: evil", f"Apikey{sep}Scopes: evil", key=key)
        assert reply.status == 200, reply
        site.check_seen(reply.json(), "evil")


@attack
def mixed_spellings(site):
    """The same header with '-' and with '_', in both orders: a backend that folds them may take the wrong one."""
    for pair in (("Apikey-Id: evil", "Apikey_Id: evil"), ("Apikey_Id: evil", "APIKEY-ID: evil"), ("apikey_owner: evil", "Apikey_Scopes: evil")):
        reply = site.mount.send(site.mount.api + "x", *pair, key=site.key)
        assert reply.status == 200, reply
        site.check_identity(reply.json())


@attack
def stripped_identity(site):
    """Connection names hop-by-hop headers, which a proxy removes: not the gate's."""
    for value in ("Apikey-Id", "close, Apikey-Id, Apikey-Owner", "keep-alive, apikey-scopes", "Apikey-Plan,Apikey-Meta,close", "APIKEY-ID;close", "Apikey_Id, close"):
        headers = [f"Connection: {value}"] if "close" in value else [f"Connection: {value}", "Connection: close"]
        reply = site.mount.send(site.mount.api + "x", *headers, key=site.key)
        if reply is not None and reply.status == 200:
            site.check_identity(reply.json())
            assert site.identity(reply.json())["APIKEY_META"] != []
        else:
            refused(reply)


ODD_LINES = ["Apikey-Id : evil", "Apikey-Id\t: evil", " Apikey-Id: evil", "X: y\r\n Apikey-Id: evil", "Apikey-Id:\x00evil", "\x00Apikey-Id: evil", "Apikey-Id\xff: evil",
             "Apikey-Id:\x0bevil", "X: y\rApikey-Id: evil", "X: y\nApikey-Id: evil", "X: y\n\rApikey-Id: evil", "Apikey.Id: evil", "Apikey Id: evil", "Apikey-Id", ": evil"]


@attack
def odd_header_lines(site):
    """Lines that one reader takes for a header and another does not."""
    for line in ODD_LINES:
        before = len(site.backend.seen)
        refused(site.mount.send(site.mount.api + "x", line))
        assert site.backend.seen[before:] == []
        refused_or_ours(site, site.mount.send(site.mount.api + "x", line, key=site.key))


def refused_or_ours(site, reply):
    if reply is not None and reply.status == 200:
        site.check_identity(reply.json())
    else:
        refused(reply)


@attack
def trailers(site):
    """Headers behind a chunked body."""
    for line in ("Apikey-Id: evil", "Apikey_Id: evil", "Authorization: Bearer evil", f"X-API-Key: {site.admin_key}"):
        for key in (None, site.key):
            auth = f"Authorization: Bearer {key}\r\n" if key else ""
            before = len(site.backend.seen)
            replies = site.mount.raw((f"POST {site.mount.api}x HTTP/1.1\r\nHost: localhost\r\n{auth}Transfer-Encoding: chunked\r\nTrailer: {line.partition(':')[0]}\r\n"
                                      f"Connection: close\r\n\r\n1\r\na\r\n0\r\n{line}\r\n\r\n").encode())
            if key is None:
                assert site.backend.seen[before:] == []
            for reply in replies:
                refused_or_ours(site, reply)


@attack
def http2(site):
    """The same over HTTP/2, where names come in another form."""
    if not site.mount.http2:
        return
    for name in ("apikey-id", "apikey_id", "apikey-meta", "apikey_scopes"):
        with site.backend_untouched():
            refused(site.mount.curl(site.mount.api + "x", "--http2", "-H", f"{name}: evil"))
        reply = site.mount.curl(site.mount.api + "x", "--http2", "-H", f"{name}: evil", "-H", f"{name}: evil2", key=site.key)
        refused_or_ours(site, reply)
        if reply.status == 200:
            site.check_seen(reply.json(), "evil")
    with site.backend_untouched():
        for lines in ([f"X-API-Key: {site.key}", f"X-API-Key: {site.admin_key}"], [f"Authorization: Bearer {site.key}", f"Authorization: Bearer {site.admin_key}"]):
            refused(site.mount.curl(site.mount.api + "x", "--http2", *[a for line in lines for a in ("-H", line)]))
        refused(site.mount.curl(site.mount.admin + "x", "--http2", key=site.key))


@attack
def http2_streams(site):
    """Many keys at once on one connection: each request reaches the backend with its own identity, or not at all."""
    if not site.mount.http2:
        return
    keys = [site.key, None, site.admin_key, "junk"] * 8
    before = len(site.backend.seen)
    h2.together(site.mount, [h2.fields(f"{site.mount.api}stream{i}", k) for i, k in enumerate(keys)])
    ids = {site.key: site.id, site.admin_key: site.admin_id}
    seen = site.backend.seen[before:]
    assert len(seen) == 16
    for s in seen:
        key = keys[int(s["target"].partition("stream")[2])]
        assert site.identity(s)["APIKEY_ID"] == [ids.get(key)], s


@attack
def http2_fields(site):
    """What HTTP/2 has in place of a request line, and lines within a field, which HTTP/1 towards the backend would make headers or a request of."""
    if not site.mount.http2:
        return
    api, admin = site.mount.api, site.mount.admin
    line = " HTTP/1.1\r\nApikey-Id: evil\r\nX: "
    pseudo = [{"path": p} for p in (admin + "x", f"{api}%61dmin/x", f"{api}x/../admin/y", f"/{admin}x", f"https://localhost{admin}x", "", "*", "?x", admin[1:], f"@localhost{admin}",
                                    f":80{admin}x", f"{api}#/../admin", f"{admin}x y", f"{api}x\0", api + "x" + line)]
    pseudo += [{"method": m} for m in ("CONNECT", "", f"GET {admin}x", "GET / HTTP/1.1\r\nX: y")]
    pseudo += [{"authority": a} for a in ("localhost" + admin, "x@localhost", "", "localhost\r\nApikey-Id: evil", "localhost?", "localhost#")]
    pseudo += [{"scheme": s} for s in ("", f"https://localhost{admin}x?", "https\r\nApikey-Id: evil")] + [{"protocol": "websocket"}, {"apikey-id": "evil"}]
    more = [("x", "y\r\nApikey-Id: evil"), ("x", "y\nApikey-Id: evil"), ("x", "y\rApikey-Id: evil"), ("x\r\napikey-id", "evil"), ("apikey-id: evil\r\nx", "y"), ("apikey-id ", "evil"),
            ("Apikey-Id", "evil"), ("connection", "apikey-id"), ("transfer-encoding", "chunked"), ("upgrade", "h2c"), (":path", admin + "x"), (":method", "POST"), ("host", "evil.example")]
    for key in (None, site.key):
        for request in [h2.fields(**{"path": api + "x", "key": key, **p}) for p in pseudo] + [[*h2.fields(api + "x", key), m] for m in more]:
            before = len(site.backend.seen)
            h2.together(site.mount, [request])
            for seen in site.backend.seen[before:]:
                assert key and not any(v.startswith(admin) for v in views(seen["target"])), (request, seen)
                site.check_identity(seen)
                site.check_seen({"headers": [h for h in seen["headers"] if h[0].lower() not in ("host", "x-forwarded-host", "x-forwarded-server")]}, "evil")


@attack
def policy_from_the_client(site):
    """What only the web server's configuration may say."""
    for name in ("APIKEYD_MODE", "APIKEYD-MODE", "APIKEYD_SCOPE", "APIKEYD-SCOPE", "APIKEYD_COST", "APIKEYD-COST", "APIKEYD_PASS"):
        for value in ("", "0", "serve", "@backend"):
            with site.backend_untouched():
                refused(site.mount.send(site.mount.admin + "x", f"{name}: {value}", key=site.key))
                refused(site.mount.send(site.mount.api + "x", f"{name}: {value}"))


# ---- credentials ----

@attack
def ambiguous_credentials(site):
    """More than one value: whichever the gate checked, somebody else may read the other."""
    good, other = site.key, site.admin_key
    for a, b in itertools.permutations((good, other, "junk"), 2):
        for headers in ([f"X-API-Key: {a}", f"X-API-Key: {b}"], [f"X-API-Key: {a}, {b}"], [f"X-API-Key: {a},{b}"],
                        [f"Authorization: Bearer {a}", f"Authorization: Bearer {b}"], [f"Authorization: Bearer {a}, Bearer {b}"],
                        [f"Authorization: Bearer {a}", f"X-API-Key: {b}"]):
            with site.backend_untouched():
                reply = site.mount.send(site.mount.api + "x", *headers)
                assert reply is not None and reply.status == 400, (headers, reply)


@attack
def repeated_credentials(site):
    with site.backend_untouched():
        for line in (f"X-API-Key: {site.key}", f"Authorization: Bearer {site.key}"):
            reply = site.mount.send(site.mount.api + "x", line, line)
            assert reply.status == 400, reply


@attack
def keys_with_other_spellings(site):
    """X_API_Key and the like: no second key slips in beside the first, and no spelling reaches the backend."""
    for name in ("X_API_KEY", "X_Api_Key", "x-api_key", "X_Api-Key"):
        reply = site.mount.send(site.mount.api + "x", f"{name}: junk")
        refused(reply)
        for lines in ([f"{name}: {site.key}"], [f"X-API-Key: {site.key}", f"{name}: {site.key}"], [f"{name}: {site.key}", f"Authorization: Bearer {site.key}"],
                      [f"X-API-Key: {site.key}", f"{name}: {site.admin_key}"], [f"{name}: {site.admin_key}", f"Authorization: Bearer {site.key}"]):
            before = len(site.backend.seen)
            reply = site.mount.send(site.mount.api + "x", *lines)
            if reply is not None and reply.status == 200:
                site.check_seen(reply.json())
                ids = site.identity(reply.json())["APIKEY_ID"]
                assert len(ids) == 1 and (ids == [site.id] or len(lines) == 2 and site.admin_key in "".join(lines)), ids
            else:
                refused(reply)
                assert site.backend.seen[before:] == []


@attack
def keys_elsewhere(site):
    """A key in a cookie, in the body, as a user name: none of these is a credential."""
    body = f"api_key={site.key}".encode()
    with site.backend_untouched():
        refused(site.mount.send(site.mount.api + "x", f"Cookie: api_key={site.key}; Authorization=Bearer {site.key}"))
        refused(site.mount.send(site.mount.api + "x", "Content-Type: application/x-www-form-urlencoded", method="POST", body=body))
        refused(site.mount.send(site.mount.api + "x", f"Proxy-Authorization: Bearer {site.key}"))
        refused(site.mount.send(site.mount.api + "x", f"Authorization: Basic {site.key}"))


# ---- facts of the request ----

# From an address that no proxy of any configuration here has.
CLIENT = "127.0.0.99"


@attack
def forged_addresses(site):
    """A key for certain networks, and headers that claim to come from one."""
    _, key = site.daemon.create("acme", plan="lots", allow_ip="10.0.0.0/8")
    with site.backend_untouched():
        for name in ("X-Forwarded-For", "X_Forwarded_For", "x-forwarded_for", "X-Real-IP", "Client-IP", "True-Client-IP", "CF-Connecting-IP", "REMOTE_ADDR", "Remote-Addr"):
            for value in ("10.0.0.1", f"10.0.0.1, {CLIENT}", f"{CLIENT}, 10.0.0.1", "10.0.0.1,127.0.0.1"):
                reply = site.mount.send(site.mount.api + "x", f"{name}: {value}", key=key, source=CLIENT)
                refused(reply)
        refused(site.mount.send(site.mount.api + "x", "Forwarded: for=10.0.0.1;proto=https", key=key, source=CLIENT))
        reply = site.mount.send(site.mount.api + "x", "X-Forwarded-For: 10.0.0.1", "X-Forwarded-For: 10.0.0.2", key=key, source=CLIENT)
        refused(reply)
    _, key = site.daemon.create("acme", plan="lots", allow_ip=f"{CLIENT}/32")
    assert site.mount.send(site.mount.api + "x", key=key, source=CLIENT).status == 200, "the address is known"


@attack
def forged_https(site):
    """Plain HTTP that claims to be HTTPS."""
    _, key = site.daemon.create("acme", plan="lots")
    with site.backend_untouched():
        for line in ("X-Forwarded-Proto: https", "X_Forwarded_Proto: https", "X-Forwarded-Proto: http, https", "HTTPS: on", "X-Forwarded-Ssl: on", "Front-End-Https: on",
                     "X-Forwarded-Scheme: https", "X-Url-Scheme: https", "Forwarded: proto=https", "REQUEST_SCHEME: https", "Request-Scheme: https"):
            reply = site.mount.send(site.mount.api + "x", line, key=key, plain=True, source=CLIENT)
            refused(reply)
        refused(site.mount.send("https://localhost" + site.mount.api + "x", key=key, plain=True, source=CLIENT))


@attack
def replayed_request_ids(site):
    """What the server calls a request must not be the client's choice: one id is counted once."""
    for name in ("X-Request-Id", "Request-Id", "X-Unique-Id", "Unique-Id", "UNIQUE_ID", "X-Correlation-Id", "Traceparent", "APIKEYD-REQUEST-ID"):
        key = site.limited(1)
        statuses = [site.mount.send(site.mount.api + "x", f"{name}: 0123456789abcdef", key=key).status for _ in range(2)]
        assert statuses == [200, 429], (name, statuses)


@attack
def one_connection(site):
    """Each request of a connection is a request: counted, and with the identity of its own key."""
    key = site.limited(2)
    replies = site.mount.raw(b"".join(request(site, "x", key, close=i == 3) for i in range(4)), replies=4)
    statuses = [r.status for r in replies]
    assert sorted(statuses) == [200, 200, 429, 429][:len(statuses)] and len(statuses) > 0, statuses


# ---- targets ----

@attack
def absolute_targets(site):
    """The absolute form names a host and a path of its own: the same rules."""
    for base in ("https://localhost", "http://localhost", "https://evil.example", "HTTP://evil.example:80", "https://x@localhost"):
        with site.backend_untouched():
            refused(site.mount.send(base + site.mount.api + "x"))
            refused(site.mount.send(base + site.mount.admin + "x", key=site.key))
            reply = site.mount.send(base + site.mount.api + f"x?api_key={site.key}", key=site.key)
            refused(reply)


OVERLONG = re.compile("%(c[01])%([89ab][0-9a-f])", re.IGNORECASE)


def views(target):
    """What backends may take a path for, in any case: as it is; decoded, with dot segments resolved; the same without ;parameters, without what stands
    behind a '?' and with '\\' as '/'; the path of what looks like an absolute URL; ASCII in two bytes of UTF-8."""
    raw = target.partition("?")[0]
    forms = [raw, OVERLONG.sub(lambda m: chr((int(m[1], 16) & 3) << 6 | int(m[2], 16) & 63), raw)]
    if "//" in raw:
        forms.append("/" + raw.split("//", 1)[1].partition("/")[2])
    for form in list(forms):
        for text in (form, urllib.parse.unquote(form), urllib.parse.unquote(form).partition("?")[0]):
            for flat in (text, text.replace("\\", "/"), "/".join(s.partition(";")[0] for s in text.replace("\\", "/").split("/"))):
                out = []
                for segment in flat.split("/"):
                    if segment == "..":
                        out = out[:-1]
                    elif segment not in ("", "."):
                        out.append(segment)
                forms += [flat, "/" + "/".join(out)]
    return {f.lower().rstrip("/") + "/" for f in forms}


TARGETS = ["{api}x/../admin/y", "{api}x/%2e%2e/admin/y", "{api}x/.%2E/admin/y", "{api}x%2f..%2fadmin%2fy", "{api}x%2F%2e%2e%2Fadmin/y", "{api}admin%2fy",
           "{api}%61dmin/y", "{api}./admin/y", "{api}%2e/admin/y", "/{api}admin/y", "{api}/admin/y", "{api}//admin/y", "{admin}../x", "{admin}%2e%2e/x",
           "{admin}..%2fx", "{admin}y/../../x", "{api}admin/", "{api}admin", "{api}admin?x", "{api}admin/?x", "/x/..{api}x", "/%2e%2e{api}x", "/..{api}admin/y",
           "{api}..{api}admin/y", "{api}x#/../admin/y", "{api}x?/../admin/y", "{api}admin%00/y", "{api}x%00/../admin/y", "{api}admin%20/y", "{api}admin%09y", "*", "x",
           "//localhost{api}admin/y", "//x{admin}y", "{api}..;{api}admin/y", "{api};/admin/y", "{api}admin;x=1/y", "{api}x/..;/admin/y", "{api}x\\..\\admin\\y",
           "{api}x%5c..%5cadmin%5cy", "{api}\\admin/y", "/;{api}admin/y", "{api}%2561dmin/y", "{api}%252e%252e/admin/y",
           "{api}x/..%3b/admin/y", "{api}%3B/admin/y", "{api}admin%3bx=1/y", "{api}admin%3b", "{api}admin%3fx", "{api}admin%3F/y", "{api}ADMIN/y", "{api}Admin",
           "{api}%41dmin/y", "{api}%61DMIN%2fy", "{api}%c1%a1dmin/y", "{api}x/%c0%ae%c0%ae/admin/y", "{api}x%c0%af%c0%ae.%C0%AFadmin/y"]


def targets(site):
    return [t.format(api=site.mount.api, admin=site.mount.admin) for t in TARGETS]


@attack
def odd_targets_without_a_key(site):
    """Encoded, dotted, doubled and cut paths: none leads around the gate."""
    with site.backend_untouched():
        for target in targets(site):
            refused(site.mount.send(target))


@attack
def odd_targets_around_a_scope(site):
    """A key without the scope asks for the route that needs it by other names; whatever the backend takes the name for, it is not that route."""
    for target in targets(site):
        before = len(site.backend.seen)
        site.mount.send(target, key=site.key)
        for seen in site.backend.seen[before:]:
            assert not any(v.startswith(site.mount.admin) for v in views(seen["target"])), (target, seen["target"])


@attack
def internal_locations(site):
    """Paths that only the server itself may go to."""
    with site.backend_untouched():
        for path in site.mount.internal:
            for key in (None, site.key):
                assert site.mount.send(path, key=key).status == 404


@attack
def other_hosts(site):
    """An unknown Host, none, two: no way to a site without the gate."""
    with site.backend_untouched():
        for host in ("evil.example", "127.0.0.1", "localhost:1", "localhost.", ""):
            refused(site.mount.send(site.mount.api + "x", host=host))
        refused(site.mount.send(site.mount.api + "x", "Host: evil.example"))


@attack
def other_methods(site):
    """A gate that looks at known methods only would let these through."""
    with site.backend_untouched():
        for method in ("TRACE", "CONNECT", "PROPFIND", "get", "FOO", "PURGE", "DEBUG"):
            for headers in ((), ("X-HTTP-Method-Override: OPTIONS",)):
                refused(site.mount.send(site.mount.api + "x", *headers, method=method))


# ---- the backend ----

@attack
def backend_redirects(site):
    """A backend that answers X-Accel-Redirect or X-Sendfile (because somebody made it repeat a header) moves nobody elsewhere."""
    for value in (site.mount.admin + "secret", "@backend", "/_apikeyd", "/etc/passwd", site.mount.api + "other"):
        for name in ("X-Accel-Redirect", "X-Sendfile", "X-LIGHTTPD-send-file", "X-Sendfile2", "X-Reproxy-URL"):
            before = len(site.backend.seen)
            query = urllib.parse.urlencode({"say": f"{name}:{value}"}, safe="/:@")
            reply = site.mount.send(site.mount.api + "x?" + query, key=site.key)
            assert reply.status == 200 and reply.json()["target"].startswith(site.mount.api + "x?"), reply
            assert len(site.backend.seen) == before + 1
            for leaked in ("Apikey-Id", "Apikey-Owner", "Apikey-Status"):
                assert reply.header(leaked) is None


@attack
def backend_in_the_gates_name(site):
    """A backend that repeats what it gets, or is made to, tells no client whose key it is, and denies nothing in the gate's name."""
    for name in ("Id", "Owner", "Plan", "Scopes", "Meta", "Status", "Problem", "Denied"):
        reply = site.mount.send(f"{site.mount.api}x?say=Apikey-{name}:evil", key=site.key)
        assert reply.status == 200 and not [n for n, _ in reply.headers if n.lower().startswith("apikey")], (name, reply)
def as_of_the_backend(site, reply):
    """Nothing of it is the gate's but the limits: no identity, no denial, each limit once."""
    for name, value in reply.headers:
        assert not fold(name).startswith(("APIKEY", "VARIABLE")), (name, value)
        assert value not in (site.id, "acme", "lots"), (name, value)
    if site.mount.one_limit:
        for name in ("RateLimit", "RateLimit-Policy"):
            assert len(reply.all(name)) <= 1, reply


@attack
def backend_speaks_for_the_gate(site):
    """A backend that repeats what it gets tells its client no identity, and denies in its own name."""
    says = ["Apikey-Id:evil", "Apikey-Owner:acme", "Apikey-Plan:lots", "Apikey-Scopes:x", "Apikey-Meta:x", "Apikey-Status:401", "Apikey-Problem:evil",
            "Apikey-Denied:evil", "RateLimit:evil", "RateLimit-Policy:evil"]
    query = "?" + "&".join("say=" + s for s in says)
    for path in ("x", "status/401", "status/403", "status/429", "status/500"):
        reply = site.mount.send(site.mount.api + path + query, key=site.key)
        assert reply.header("X-Backend") == "yes", reply
        as_of_the_backend(site, reply)


@attack
def backend_down(site):
    """The key is good, the backend is not there, or goes away: the error tells no identity, and is not said to be the gate's."""
    reply = site.mount.send(site.mount.api + "vanish", key=site.key)
    assert reply.status in (500, 502, 503), reply
    as_of_the_backend(site, reply)
    nobody = Backend()
    nobody.close()
    real, site.backend = site.backend, nobody
    try:
        with site.changed(drop=site.mount.drop):
            for _ in range(2):
                reply = site.mount.send(site.mount.api + "x", key=site.key)
                assert reply.status in (502, 503, 504), reply
                as_of_the_backend(site, reply)
                assert site.key not in reply.body.decode("latin-1") and b"cannot be checked" not in reply.body, reply
                refused(site.mount.send(site.mount.api + "x"))
    finally:
        site.backend = real


# ---- the gate ----

def never_open(site):
    with site.backend_untouched():
        for key in (None, "junk", site.key):
            for path in (site.mount.api, site.mount.admin, site.mount.files, site.mount.whoami):
                if path:
                    refused(site.mount.send(path, key=key))


@attack
def gate_down(site):
    with site.mount.gate_down():
        never_open(site)


def gate_that(answers):
    def serve(connection):
        connection.settimeout(5)
        connection.recv(65536)
        if answers:
            connection.sendall(answers)
    return serve


@attack
def gate_closes(site):
    """It takes the request and goes away."""
    with site.mount.gate_fake(gate_that(b"")) as accepted:
        never_open(site)
        assert accepted


@attack
def gate_babbles(site):
    """Something else listens there: HTTP, a shell, half a record."""
    for answers in (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", b"\x01\x06\x00\x01\xff\xff\x00\x00", b"\x00" * 64):
        with site.mount.gate_fake(gate_that(answers)) as accepted:
            never_open(site)
            assert accepted


def gate_answers(cgi):
    """A FastCGI program that answers each request with these bytes."""
    def serve(connection):
        connection.settimeout(5)
        with connection.makefile("rb") as file:
            while head := file.read(8):
                content = file.read(int.from_bytes(head[4:6], "big") + head[6])
                if head[1] == fcgi.PARAMS and not content:
                    connection.sendall(fcgi.answer_bytes(cgi))
    return serve


@attack
def gate_admits_nobody(site):
    """A yes that does not say who: half an answer, or another program."""
    answers = [b"Status: 500 No\r\nVariable-APIKEY_ID: key_0\r\nApikey-Id: key_0\r\n\r\n"]
    if site.mount.asks_who:
        answers += [b"Content-Type: text/plain\r\n\r\nok", b"Status: 200 OK\r\n\r\n", b"Status: 200 OK\r\nVariable-REMOTE_USER: acme\r\nVariable-APIKEY_ID: \r\nApikey-Id: \r\n\r\n"]
    for answer in answers:
        with site.mount.gate_fake(gate_answers(answer)) as accepted:
            with site.backend_untouched():
                for path in (site.mount.api, site.mount.files):
                    reply = site.mount.send(path, key=site.key)
                    # Of an empty 200 of the gate's own nobody has anything.
                    assert reply is None or reply.status >= 300 or reply.body == b"", reply
            assert accepted


@attack
def gate_hangs(site):
    """It takes the request and says nothing: nothing reaches the backend, not even when it goes away in the end."""
    arrived, go_on = threading.Semaphore(0), threading.Event()

    def serve(connection):
        connection.recv(65536)
        arrived.release()
        go_on.wait(30)
    with site.mount.gate_fake(serve), site.backend_untouched():
        replies = []
        clients = [threading.Thread(target=lambda k=k: replies.append(site.mount.send(site.mount.api + "x", key=k))) for k in (None, site.key)]
        for c in clients:
            c.start()
        for c in clients:
            assert arrived.acquire(timeout=20)
        go_on.set()
        for c in clients:
            c.join(30)
        assert len(replies) == 2
        for reply in replies:
            refused(reply)


# ---- the protocol ----

@attack
def oversized_headers(site):
    """Too much of anything is refused, and leaves no trace in the next request."""
    many = [f"X-H{i}: y" for i in range(300)]
    with site.backend_untouched():
        for headers in ([f"X-Filler: {'x' * 7000}"], [f"X-Filler: {'x' * 20000}"], [f"X-API-Key: {'x' * 9000}"], [f"Authorization: Bearer {'x' * 7000}"], many,
                        [f"X-H{i}: {'y' * 6000}" for i in range(12)]):
            refused(site.mount.send(site.mount.api + "x", *headers))
        refused(site.mount.send(site.mount.api + "x" * 9000))
    for headers in ([f"X-Filler: {'x' * 20000}"], many, [f"X-API-Key: {'x' * 9000}"]):
        reply = site.mount.send(site.mount.api + "x", *headers, key=site.key)
        if reply is not None and reply.status < 400:
            site.check_identity(reply.json())
    assert site.mount.send(site.mount.api + "x", key=site.key).status == 200


@attack
def http_1_0(site):
    """No Host, no keep-alive, no chunks: the same gate."""
    with site.backend_untouched():
        for host in ("localhost", ""):
            refused(site.mount.send(site.mount.api + "x", version="HTTP/1.0", host=host))
            refused(site.mount.send(site.mount.admin + "x", version="HTTP/1.0", host=host, key=site.key))
    reply = site.mount.send(site.mount.api + "x", "Apikey-Id: evil", version="HTTP/1.0", key=site.key)
    assert reply.status == 200
    site.check_identity(reply.json())


def request(site, path="x", key=None, *headers, close=False):
    lines = [f"GET {site.mount.api}{path} HTTP/1.1", "Host: localhost", *headers]
    lines += [f"Authorization: Bearer {key}"] if key else []
    lines += ["Connection: close"] if close else []
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


@attack
def pipelining(site):
    """Several requests at once on one connection: each is decided for itself."""
    keys = [site.key, None, site.admin_key, "junk", site.key, None]
    before = len(site.backend.seen)
    replies = site.mount.raw(b"".join(request(site, f"x{i}", k, close=i == len(keys) - 1) for i, k in enumerate(keys)), replies=len(keys))
    ids = {site.key: site.id, site.admin_key: site.admin_id}
    for i, reply in enumerate(replies):
        if keys[i] in ids:
            assert reply.status == 200 and site.identity(reply.json())["APIKEY_ID"] == [ids[keys[i]]], reply
        else:
            assert reply.status == 401
    assert replies and len(site.backend.seen) - before <= 3
    for seen in site.backend.seen[before:]:
        assert site.identity(seen)["APIKEY_ID"] == [ids[keys[int(seen["target"][-1])]]]


SMUGGLING = [
    ["Content-Length: 4", "Transfer-Encoding: chunked"], ["Transfer-Encoding: chunked", "Content-Length: 4"], ["Content-Length: 4", "Content-Length: 0"],
    ["Content-Length: 4, 0"], ["Transfer-Encoding : chunked", "Content-Length: 4"], ["Transfer-Encoding: xchunked", "Content-Length: 4"],
    ["Transfer-Encoding: chunked", "Transfer-Encoding: identity", "Content-Length: 4"], ["Transfer-Encoding:\x0bchunked", "Content-Length: 4"],
    [" Transfer-Encoding: chunked", "Content-Length: 4"], ["X: y\r\n Transfer-Encoding: chunked", "Content-Length: 4"], ["Content-Length: +4"], ["Content-Length: 0x4"],
    ["Transfer_Encoding: chunked", "Content-Length: 4"], ["Content_Length: 0", "Content-Length: 4"], ["Transfer-Encoding: chunked, identity"],
    ["X: y\rContent-Length: 0", "Content-Length: 4"], ["X: y\nContent-Length: 0", "Content-Length: 4"],
]


@attack
def smuggling(site):
    """Two ideas of where a request ends would let a second one through that nobody decided: the backend never sees the second with the rights of the
    first, and never one without an identity."""
    for lengths in SMUGGLING:
        for key in (None, site.key):
            hidden = f"GET {site.mount.admin}smuggled HTTP/1.1\r\nHost: localhost\r\nApikey-Id: evil\r\nContent-Length: 0\r\n\r\n"
            auth = f"Authorization: Bearer {key}\r\n" if key else ""
            before = len(site.backend.seen)
            for body in ("0\r\n\r\n", "5c\r\n"):
                # Who waits for more of a body waits in vain.
                with contextlib.suppress(TimeoutError):
                    site.mount.raw((f"POST {site.mount.api}x HTTP/1.1\r\nHost: localhost\r\n{auth}" + "\r\n".join(lengths) + "\r\n\r\n" + body + hidden
                                    + f"GET {site.mount.api}end HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").encode("latin-1"), replies=3, timeout=2)
            for seen in site.backend.seen[before:]:
                assert "smuggled" not in seen["target"] and key is not None, (lengths, seen)
                site.check_identity(seen)


@attack
def a_denied_body_is_no_request(site):
    """The body of a refused request is a request with a good key: it is read as a body."""
    inner = request(site, "smuggled", site.key)
    with site.backend_untouched():
        head = f"POST {site.mount.api}x HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(inner)}\r\n\r\n".encode()
        replies = site.mount.raw(head + inner + request(site, "y", close=True), replies=2)
        for reply in replies:
            assert reply.status == 401


@attack
def upgrades(site):
    """A connection that becomes something else (WebSocket, HTTP/2 in plain text) is no way past the next decision."""
    with site.backend_untouched():
        for headers in (["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13"],
                        ["Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"]):
            refused(site.mount.send(site.mount.api + "websocket", *headers))
    reply = site.mount.send(site.mount.api + "x", "Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA", key=site.key)
    assert reply is None or reply.status != 101
    if reply is not None and reply.status == 200:
        assert not [v for n, v in reply.json()["headers"] if v.lower() == "h2c"]
