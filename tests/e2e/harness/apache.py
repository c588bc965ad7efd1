"""The real Apache httpd 2.4 with the shipped configuration, TLS and HTTP/2."""

import contextlib
import os
import re
import signal

from .daemon import APIKEYD, for_everybody, wait_until
from .mount import Mount

MODULES = "/usr/lib/apache2/modules"
# What Debian's package enables; the rest is enabled by the a2enmod line of the shipped site.
DEFAULT = """mpm_event access_compat alias auth_basic authn_core authn_file authz_core authz_host authz_user autoindex deflate dir env filter mime negotiation
reqtimeout setenvif status""".split()
NEEDS = {"proxy_http": "proxy", "proxy_fcgi": "proxy", "ssl": "socache_shmcb", "cache_disk": "cache"}

# The end of the lines that take the key away.
FINAL = "\"expr=%{HANDLER} != 'redirect-handler' && %{CONTENT_TYPE} != 'httpd/unix-directory'\""


class ApacheAuthnz(Mount):
    name = "apache-authnz_fcgi"
    shipped = "apache"
    listen = "tcp"
    internal = ("/_apikeyd", "/_apikeyd/", "/_apikeyd/unavailable", "/_apikeyd/unavailable?x=1", "/%5fapikeyd/unavailable", "/_apikeyd/unavailable.asis", "/_apikeyd/error", "/_apikeyd/error/x")
    example = "example.conf"
    protect = "protect.conf"
    more_modules = ()  # of a test's own
    server = ""        # of the level around the site

    refuses_before_body = "expect"
    resets_early = True
    raw_path = False
    refused_natively = True  # a denial's status is apikeyd's own

    protecting = [
        ("protect.conf", "Require expr \"-n reqenv('APIKEY_ID') && %{REMOTE_USER} == reqenv('APIKEY_ID')\"", "gate_down"),
        ("backend.conf", "RequestHeader unset Apikey_Id\n", "forged_identity"),
        ("backend.conf", "RequestHeader unset Apikey-Meta\n", "forged_identity_where_the_key_has_none"),
        ("backend.conf", "RequestHeader unset Apikey-Status\n", "forged_internal_headers"),
        ("backend.conf", 'RequestHeader edit* Connection "(?i)apikey[^,\\s]*" "x"', "stripped_identity"),
        ("backend.conf", f"RequestHeader unset X_Api_Key     {FINAL}", "keys_with_other_spellings"),
        ("backend.conf", f"RequestHeader unset Authorization {FINAL}", "forged_identity"),
        ("backend.conf", "Header unset Apikey-Owner   \"expr=-n reqenv('APIKEY_ID')\"", "backend_in_the_gates_name"),
        ("backend.conf", "Include apikeyd/spellings.conf\n", "forged_identity_with_other_separators"),
        ("server.conf", "Redirect 404", "internal_locations"),
        ("example.conf", "(?i)", "odd_targets_around_a_scope"),
    ]

    def modules(self):
        """Loads what the example says, each with what a2enmod would enable along."""
        names = list(DEFAULT)
        words = re.search(r"a2enmod((?: \w+)+)", (self.conf / self.example).read_text())[1].split()
        for word in (*words, *self.more_modules):
            for name in (NEEDS.get(word), word):
                if name and name not in names:
                    names.append(name)
        return names

    def site(self):
        """The names of this mount in the shipped site; the same once more over plain HTTP; and the directory that the tests need."""
        self.edit("server.conf", "Define APIKEYD_DIR /etc/apache2/apikeyd", f"Define APIKEYD_DIR {self.conf}")
        for old, new in {
            "127.0.0.1:8080": f"127.0.0.1:{self.backend.port}",
            "*:443": f"127.0.0.1:{self.port}",
            "api.example.com\n": "localhost\n",
            "/etc/ssl/certs/api.example.com.pem": str(self.cert),
            "/etc/ssl/private/api.example.com.key": str(self.dir / "key.pem"),
            "/var/log/apache2/access.log": str(self.dir / "access.log"),
        }.items():
            self.edit(self.example, old, new)
        path = self.conf / self.example
        text = path.read_text()
        head, host = text[:text.index("<VirtualHost")], text[text.index("<VirtualHost"):].rstrip()
        assert host.endswith("</VirtualHost>")
        host = host.replace("</VirtualHost>", f"""
    DocumentRoot {self.www}
    <Location "/files">
        Include apikeyd/{self.protect}
    </Location>
{self.extra}
</VirtualHost>
""")
        plain = "".join(line for line in host.splitlines(True) if "SSL" not in line).replace(f":{self.port}>", f":{self.plain_port}>")
        path.write_text(head + host + plain)

    def where(self):
        """How the shipped files find the gate."""
        self.edit("gate.conf", "Define APIKEYD_ADDRESS 127.0.0.1:9090", f"Define APIKEYD_ADDRESS {self.address[0]}:{self.address[1]}")

    def configure(self):
        self.where()
        self.site()
        # Apache's children are never root: let them in.
        os.chmod(self.dir.parent, 0o755)
        user = "User www-data\nGroup www-data" if os.getuid() == 0 else ""
        (self.dir / "mime.types").write_text("text/html html\n")
        (self.dir / "httpd.conf").write_text("".join(f"LoadModule {m}_module {MODULES}/mod_{m}.so\n" for m in self.modules()) + f"""
ServerRoot {self.dir}
ServerName localhost
PidFile {self.dir}/pid
DefaultRuntimeDir {self.dir}
ErrorLog {self.dir}/error.log
LogLevel info ssl:warn
{user}
Listen 127.0.0.1:{self.port}
Listen 127.0.0.1:{self.plain_port}
TypesConfig {self.dir}/mime.types
StartServers 1
<Directory "/">
    Options FollowSymLinks
    AllowOverride None
    Require all denied
</Directory>
<Directory "{self.www}">
    Options Indexes FollowSymLinks
    AllowOverride All
    Require all granted
</Directory>
{self.server}
{self.outer}
Include apikeyd/{self.example}
""")

    def command(self):
        return ["/usr/sbin/apache2", "-f", self.dir / "httpd.conf", "-DFOREGROUND"]

    def runs(self):
        """How often it has said that it runs; before that, it takes no signal."""
        return self.errors().count("resuming normal operations")

    def start(self):
        before = self.runs()
        super().start()
        wait_until(lambda: self.runs() > before, "Apache runs", said=self.errors)
        return self

    def reload(self):
        before, runs = self.workers(), self.runs()
        self.process.send_signal(signal.SIGUSR1)
        # The old ones leave when their last request is done.
        wait_until(lambda: self.runs() > runs and (now := self.workers()) and not now & before, "Apache has new children alone", said=self.errors)


# Stands for the program that Apache starts: hands each connection of descriptor 0 on to a socket of the test's.
RELAY = """#!/usr/bin/python3
import socket, threading
def pump(a, b):
    try:
        while data := a.recv(65536):
            b.sendall(data)
        b.shutdown(socket.SHUT_WR)
    except OSError:
        a.close()
        b.close()
listener = socket.socket(fileno=0)
while True:
    a, b = listener.accept()[0], socket.socket(socket.AF_UNIX)
    b.connect({address!r})
    for pair in ((a, b), (b, a)):
        threading.Thread(target=pump, args=pair, daemon=True).start()
"""


class ApacheFcgid(ApacheAuthnz):
    """The workers are Apache's; they find the keeper of the site's apikeyd, and could not start one of their own: the store is not theirs."""
    name = "apache-fcgid"
    listen = "unix"
    internal = (*ApacheAuthnz.internal, "/_apikeyd/deny", "/_apikeyd/deny?x=1", "/_apikeyd/deny/")
    example = "fcgid-example.conf"
    protect = "fcgid-protect.conf"
    whoami = None
    refused_natively = False
    reload_forgets = True   # mod_fcgid's process manager ends first; who then asks it for a worker waits for ever, and so does the child that he is in
    # Workers that tests break are started again at once.
    server = "FcgidSpawnScore 0\nFcgidTerminationScore 0\nFcgidErrorScanInterval 1"

    protecting = [
        ("server.conf", "Redirect 404", "internal_locations"),
        ("fcgid-protect.conf", "Require expr \"-n reqenv('APIKEY_ID')\"", "gate_admits_nobody"),
        ("fcgid-protect.conf", "ErrorDocument 502 /_apikeyd/error\n", "backend_down"),
        ("fcgid-gate.conf", "Header always unset Variable-APIKEY_OWNER\n", "backend_down"),
        ("server.conf", "Header always unset Apikey-Denied \"expr=-n reqenv('REDIRECT_APIKEY_ID')\"\n", "backend_down"),
        ("fcgid-example.conf", "(?i)", "odd_targets_around_a_scope"),
        *((f, line, a) for f, line, a in ApacheAuthnz.protecting if f == "backend.conf"),
    ]

    def where(self):
        (self.dir / "bin").mkdir()
        self.program = for_everybody(APIKEYD, self.dir / "bin")
        os.chmod(self.daemon.conf, 0o644)
        self.edit("fcgid-gate.conf", "Define APIKEYD_PROGRAM /usr/sbin/apikeyd", f"Define APIKEYD_PROGRAM {self.program}")
        self.edit("fcgid-gate.conf", "Define APIKEYD_CONF    /etc/apikeyd/apikeyd.conf", f"Define APIKEYD_CONF {self.daemon.conf}")

    @contextlib.contextmanager
    def program_is(self, text):
        """Apache starts something else as its workers."""
        real = self.program.with_suffix(".real")
        self.program.rename(real)
        self.program.write_text(text)
        self.program.chmod(0o755)
        self.reload()
        try:
            yield
        finally:
            real.rename(self.program)
            self.reload()

    @contextlib.contextmanager
    def gate_fake(self, serve):
        with self.gate_down(), self.daemon.impostor(serve) as accepted, self.program_is(RELAY.format(address=str(self.address))):
            os.chmod(self.address, 0o777)
            yield accepted
