"""Mounts as people write them, in as few lines as work: each passes `apikey doctor` as it stands here, or fails in the ways that LACKS says, which its
server cannot do without more. A test changes some text of one (changed()), and so makes a known mistake; none of this is shipped."""

import os

from .daemon import APIKEYD, for_everybody
from .mount import Mount

MODULES = "/usr/lib/apache2/modules"


class Minimal(Mount):
    listen = "tcp"
    whoami = files = None
    changes = ()
    LACKS = {}  # {probe: cause}

    def words(self):
        host, port = self.address
        return {"dir": self.dir, "port": self.port, "plain": self.plain_port, "gate": f"{host}:{port}", "gate_host": host, "gate_port": port,
                "backend": self.backend.port, "cert": self.cert, "key": self.dir / "key.pem"}

    def configure(self):
        text = self.text
        for old, new in self.changes:
            assert old in text, f"{self.name} lost {old!r}"
            text = text.replace(old, new)
        for word, value in self.words().items():
            text = text.replace(f"<{word}>", str(value))
        self.write(text)

    def write(self, text):
        (self.dir / "conf").write_text(text)


def changed(minimal, *changes):
    return type(minimal.__name__ + "Changed", (minimal,), {"changes": changes})


class NginxBare(Minimal):
    """auth_request and nothing else, as most write-ups have it."""
    name = "nginx-bare"
    # Everything but 401 and 403 becomes 500, and of those the status alone is left.
    LACKS = {
        **dict.fromkeys(("no-key", "junk-key", "unknown-key", "forged-identity", "options", "head", "post", "http10", "after-a-key", "address", "revoked"),
                        "bare_refusal"),
        **dict.fromkeys(("repeated", "comma", "two-keys", "key-in-url", "limits"), "status_changed"),
        **dict.fromkeys(("forged-dashes", "forged-mixed"), "forged"),
        "identity": "identity_lost", "key-hidden": "key_passed_on",
    }
    text = """
daemon off;
worker_processes 1;
pid <dir>/pid;
error_log <dir>/error.log info;
events { worker_connections 256; }
http {
    access_log off;
    client_body_temp_path <dir>/t1; proxy_temp_path <dir>/t2; fastcgi_temp_path <dir>/t3; uwsgi_temp_path <dir>/t4; scgi_temp_path <dir>/t5;
    proxy_cache_path <dir>/cache keys_zone=z:1m;
    server {
        listen 127.0.0.1:<port> ssl;
        listen 127.0.0.1:<plain>;
        ssl_certificate <cert>;
        ssl_certificate_key <key>;
        location /api/ {
            auth_request /_apikeyd;
            proxy_pass http://127.0.0.1:<backend>;
        }
        location = /_apikeyd {
            internal;
            fastcgi_param REQUEST_METHOD $request_method;
            fastcgi_param REQUEST_URI $request_uri;
            fastcgi_param REMOTE_ADDR $remote_addr;
            fastcgi_param REQUEST_SCHEME $scheme;
            fastcgi_pass_request_body off;
            fastcgi_param CONTENT_LENGTH "";
            fastcgi_pass <gate>;
        }
    }
}
"""

    def write(self, text):
        super().write(("user root;\n" if os.getuid() == 0 else "") + text)

    def command(self):
        return ["nginx", "-p", self.dir, "-c", self.dir / "conf"]


class ApacheMinimal(Minimal):
    """mod_authnz_fcgi."""
    name = "apache-minimal"
    modules = """mpm_event unixd authz_core authn_core authz_user auth_basic authz_host env setenvif headers alias ssl socache_shmcb proxy proxy_http authnz_fcgi fcgid
        dir unique_id""".split()
    location = """
    <Location "/api/">
        AuthType None
        AuthnzFcgiCheckAuthnProvider APIKEYD Authoritative On RequireBasicAuth Off UserExpr "%{reqenv:APIKEY_ID}"
        Require valid-user
        CGIPassAuth On
        RequestHeader set Apikey-Id "expr=%{reqenv:APIKEY_ID}"
        RequestHeader set Apikey-Owner "expr=%{reqenv:APIKEY_OWNER}"
        RequestHeader set Apikey-Plan "expr=%{reqenv:APIKEY_PLAN}"
        RequestHeader set Apikey-Scopes "expr=%{reqenv:APIKEY_SCOPES}"
        RequestHeader unset Apikey-Meta
        RequestHeader unset Apikey_Id
        RequestHeader unset Apikey_Owner
        RequestHeader unset Apikey_Plan
        RequestHeader unset Apikey_Scopes
        RequestHeader unset Apikey_Meta
        RequestHeader edit* Connection "(?i)apikey[-_][-_a-z]*" "x"
        RequestHeader unset Apikey-Status
        RequestHeader unset Apikey-Problem
        RequestHeader unset Apikey-Denied
        RequestHeader unset X_Api_Key
        RequestHeader unset X_Api-Key
        RequestHeader unset X-Api_Key
        RequestHeader unset X-Api-Key
        RequestHeader unset Authorization
        Header always set Content-Type "application/problem+json" "expr=-n resp('Apikey-Denied')"
        ProxyPass "http://127.0.0.1:<backend>/api/"
    </Location>
"""
    text = """
ServerRoot <dir>
ServerName localhost
PidFile <dir>/pid
DefaultRuntimeDir <dir>
ErrorLog <dir>/error.log
<user>
Listen 127.0.0.1:<port>
Listen 127.0.0.1:<plain>
StartServers 1
DocumentRoot <dir>/www
AuthnzFcgiDefineProvider authn APIKEYD fcgi://<gate>/
FcgidCmdOptions <program> InitialEnv APIKEYD_CONF=<conf> MaxProcesses 2 MinProcesses 1 IOTimeout 10 ConnectTimeout 5
FcgidIPCDir <dir>/fcgid
FcgidProcessTableFile <dir>/fcgid_shm
<VirtualHost 127.0.0.1:<port>>
    SSLEngine On
    SSLCertificateFile <cert>
    SSLCertificateKeyFile <key>
""" + location + """
</VirtualHost>
<VirtualHost 127.0.0.1:<plain>>
""" + location + """
</VirtualHost>
"""
    def words(self):
        program = for_everybody(APIKEYD, self.dir)
        os.chmod(self.daemon.conf, 0o644)
        os.chmod(self.dir.parent, 0o755)
        return {**super().words(), "program": program, "conf": self.daemon.conf, "user": "User www-data\nGroup www-data" if os.getuid() == 0 else ""}

    def write(self, text):
        super().write("".join(f"LoadModule {m}_module {MODULES}/mod_{m}.so\n" for m in self.modules
                              if os.path.exists(f"{MODULES}/mod_{m}.so")) + text)

    def command(self):
        return ["/usr/sbin/apache2", "-f", self.dir / "conf", "-DFOREGROUND"]


class LighttpdMinimal(Minimal):
    """mod_fastcgi's authorizer, and Lua."""
    name = "lighttpd-minimal"
    http2 = False
    text = """
server.modules = ( "mod_openssl", "mod_magnet", "mod_fastcgi", "mod_proxy" )
server.document-root = "<dir>/www"
server.errorlog = "<dir>/error.log"
server.pid-file = "<dir>/pid"
server.bind = "127.0.0.1"
server.port = <plain>
server.upload-dirs = ( "<dir>" )
server.feature-flags += ( "server.h2proto" => "disable", "server.h2c" => "disable" )
$SERVER["socket"] == "127.0.0.1:<port>" {
    ssl.engine = "enable"
    ssl.pemfile = "<cert>"
    ssl.privkey = "<key>"
}
fastcgi.server = ( "/api/" => (( "host" => "<gate_host>", "port" => <gate_port>, "mode" => "authorizer", "check-local" => "disable" )) )
proxy.server = ( "/api/" => (( "host" => "127.0.0.1", "port" => <backend> )) )
magnet.attract-raw-url-to = ( "<dir>/request.lua" )
magnet.attract-response-start-to = ( "<dir>/response.lua" )
"""
    request = """
local e, h = lighty.r.req_env, lighty.r.req_header
for _, n in ipairs({ "Id", "Owner", "Plan", "Scopes", "Meta" }) do
    h["Apikey-" .. n] = e["APIKEY_" .. n:upper()] or ""
    h["Apikey_" .. n] = ""
end
for _, n in ipairs({ "Apikey-Status", "Apikey-Problem", "Apikey-Denied" }) do h[n] = "" end
if e["APIKEY_ID"] then h["Authorization"] = ""; h["X-API-Key"] = "" end
return 0
"""
    response = """
local e, h = lighty.r.req_env, lighty.r.resp_header
if e["APIKEY_RATELIMIT"] then h["RateLimit"] = e["APIKEY_RATELIMIT"] end
if e["APIKEY_RATELIMIT_POLICY"] then h["RateLimit-Policy"] = e["APIKEY_RATELIMIT_POLICY"] end
return 0
"""

    def write(self, text):
        super().write(text)
        (self.dir / "request.lua").write_text(self.request)
        (self.dir / "response.lua").write_text(self.response)

    def command(self):
        return ["lighttpd", "-D", "-f", self.dir / "conf"]


class CaddyMinimal(Minimal):
    """forward_auth, written out."""
    name = "caddy-minimal"
    LACKS = {"ratelimit": "ratelimit_wrong"}  # a key without limits gets the placeholder as it is written
    text = """
{
	admin off
	auto_https off
	storage file_system <dir>/data
}
https://localhost:<port>, http://localhost:<plain> {
	bind 127.0.0.1
	tls <cert> <key>
	handle /api/* {
		request_header -Apikey-*
		request_header -Apikey_*
		request_header Connection "(?i)apikey[-_][-_a-z]*" "x"
		header {
			-Status
			-Apikey-Id
			-Apikey-Owner
			-X-Accel-Redirect
			defer
		}
		reverse_proxy <gate> {
			method GET
			rewrite {http.request.orig_uri}
			transport fastcgi {
				root /
				env APIKEYD_MODE accel
				env APIKEYD_PASS @ok
				env REQUEST_URI {http.request.orig_uri}
			}
			@ok status 2xx
			handle_response @ok {
				request_header Apikey-Id {rp.header.Apikey-Id}
				request_header Apikey-Owner {rp.header.Apikey-Owner}
				request_header -Authorization
				request_header -X-Api-Key
				header RateLimit {rp.header.Ratelimit}
				header RateLimit-Policy {rp.header.Ratelimit-Policy}
				reverse_proxy 127.0.0.1:<backend>
			}
		}
	}
	handle {
		respond 404
	}
}
"""

    def write(self, text):
        https, plain = text.replace(f", http://localhost:{self.plain_port}", ""), ""
        start = https.index("https://")
        plain = https[start:].replace(f"https://localhost:{self.port}", f"http://localhost:{self.plain_port}")
        plain = "\n".join(line for line in plain.split("\n") if "tls " not in line)
        super().write(https + plain)

    def command(self):
        return ["env", f"HOME={self.dir}", f"XDG_CONFIG_HOME={self.dir}", f"XDG_DATA_HOME={self.dir}",
                "caddy", "run", "--adapter", "caddyfile", "--config", self.dir / "conf"]


class HaproxyMinimal(Minimal):
    """A Lua action and an internal frontend."""
    name = "haproxy-minimal"
    text = """
global
    log stderr format raw local0
    lua-load <dir>/gate.lua
    <user>
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend api
    bind 127.0.0.1:<port> ssl crt <dir>/pair.pem
    bind 127.0.0.1:<plain>
    option http-restrict-req-hdr-names delete
    http-request del-header Upgrade
    http-request del-header apikey- -m beg
    http-request del-header apikey_ -m beg
    http-request lua.apikeyd
    http-request deny deny_status 503 unless { var(txn.apikey_ok) -m bool }
    http-request set-header Apikey-Id %[var(txn.apikey_id)]
    http-request del-header Authorization
    http-request del-header X-API-Key
    http-response set-header RateLimit %[var(txn.apikey_rl)] if { var(txn.apikey_rl) -m found }
    http-response set-header RateLimit-Policy %[var(txn.apikey_rlp)] if { var(txn.apikey_rlp) -m found }
    default_backend be
frontend inner
    bind unix@<dir>/inner.sock
    default_backend gate
backend be
    server b1 127.0.0.1:<backend>
backend gate
    use-fcgi-app apikeyd
    server g1 <gate> proto fcgi
fcgi-app apikeyd
    docroot /
    pass-header Authorization
    set-param APIKEYD_MODE accel
    set-param APIKEYD_PASS @ok
    set-param REQUEST_URI %[req.fhdr(x-doctor-uri)]
    set-param REQUEST_SCHEME %[req.fhdr(x-doctor-scheme)]
    set-param REMOTE_ADDR %[req.fhdr(x-doctor-addr)]
"""
    lua = """
local keep = { authorization = true, ["x-api-key"] = true }
core.register_action("apikeyd", { "http-req" }, function(txn)
    local h = {}
    for name, vals in pairs(txn.http:req_get_headers()) do
        if keep[name] then
            local l = {}
            for i = 0, #vals do l[#l + 1] = vals[i] end
            h[name] = l
        end
    end
    h["x-doctor-uri"] = { txn.sf:url() }
    h["x-doctor-addr"] = { txn.sf:src() }
    h["x-doctor-scheme"] = { (txn.f:ssl_fc() == 1 or txn.f:ssl_fc() == true) and "https" or "http" }
    local r = core.httpclient():get({ url = "http://gate/", dst = "unix@<dir>/inner.sock", headers = h, timeout = 5000 })
    if not r or not r.status or r.status == 0 then return end
    local function said(n) return r.headers[n] and r.headers[n][0] end
    if r.status < 300 and said("apikey-id") then
        txn:set_var("txn.apikey_ok", true)
        txn:set_var("txn.apikey_id", said("apikey-id"))
        if said("ratelimit") then txn:set_var("txn.apikey_rl", said("ratelimit")) end
        if said("ratelimit-policy") then txn:set_var("txn.apikey_rlp", said("ratelimit-policy")) end
        return
    end
    if r.status < 400 then return end
    local reply = txn:reply({ status = r.status })
    for n, vals in pairs(r.headers) do
        if n ~= "content-length" and n ~= "connection" and n ~= "transfer-encoding" then
            for _, v in pairs(vals) do reply:add_header(n, v) end
        end
    end
    reply:set_body(r.body or "")
    txn:done(reply)
end)
"""

    def words(self):
        return {**super().words(), "user": "user root\n    group root" if os.getuid() == 0 else ""}

    def write(self, text):
        super().write(text)
        (self.dir / "pair.pem").write_text(self.cert.read_text() + (self.dir / "key.pem").read_text())
        (self.dir / "gate.lua").write_text(self.lua.replace("<dir>", str(self.dir)))

    def command(self):
        return ["haproxy", "-f", self.dir / "conf"]
