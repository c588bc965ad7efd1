"""The real HAProxy with the shipped configuration, TLS and HTTP/2, as a master with one worker, as Debian's unit runs it."""

import os
import signal

from .daemon import wait_until
from .mount import Mount


class HAProxy(Mount):
    name = "haproxy-lua"
    shipped = "haproxy"
    whoami = None
    files = None           # HAProxy serves no files

    edits = ()             # (file, old, new), done last: what a test wants otherwise

    protecting = [
        ("haproxy.cfg", "http-request del-header apikey -m beg", "forged_identity_where_the_key_has_none"),
        ("haproxy.cfg", "option http-restrict-req-hdr-names delete", "keys_with_other_spellings"),
        ("haproxy.cfg", "http-request del-header Upgrade", "upgrades"),
        ("haproxy.cfg", "http-request del-header Authorization", "forged_identity"),
        ("haproxy.cfg", "http-request del-header X-Api-Key", "keys_with_other_spellings"),
        ("haproxy.cfg", "http-request set-var-fmt(txn.apikeyd_scope) \"%[var(txn.apikeyd_scope)] admin:write\" if { var(txn.apikeyd_path) -m beg -i /api/admin }", "policy_from_the_client"),
    ]

    def configure(self):
        (self.dir / "site.pem").write_text(self.cert.read_text() + (self.dir / "key.pem").read_text())
        run = self.dir / "run"
        run.mkdir()
        self.inner = run / "apikeyd.sock"
        for old, new in {
            "unix@/run/apikeyd/fcgi.sock": f"unix@{self.address}",
            "unix@/run/haproxy/apikeyd.sock": f"unix@{self.inner}",
            "/run/haproxy/admin.sock": str(run / "admin.sock"),
            "/etc/haproxy/apikeyd.lua": str(self.conf / "apikeyd.lua"),
            "bind :443 ssl crt /etc/haproxy/api.example.com.pem": f"bind 127.0.0.1:{self.port} ssl crt {self.dir}/site.pem",
            "bind :80 ": f"bind 127.0.0.1:{self.plain_port} ",
            "127.0.0.1:8080": f"127.0.0.1:{self.backend.port}",
            "log /dev/log local0": "log stderr format raw local0",  # global and defaults
            "    user  haproxy\n": "    user  root\n" if os.getuid() == 0 else "",
            "    group apikeyd ": "    group root " if os.getuid() == 0 else "    # ",
            "mode 600 user haproxy\n": "mode 600\n",
        }.items():
            self.edit("haproxy.cfg", old, new)
        self.edit("apikeyd.lua", "unix@/run/haproxy/apikeyd.sock", f"unix@{self.inner}")
        path = self.conf / "haproxy.cfg"
        # What a test adds comes first in the frontend: later rules stand as shipped.
        path.write_text(path.read_text().replace("    maxconn 4000 ", f"{self.extra}\n    maxconn 4000 ") + self.outer + "\n")
        for file, old, new in self.edits:
            self.edit(file, old, new)

    def command(self):
        return ["haproxy", "-W", "-f", self.conf / "haproxy.cfg"]

    def reload(self):
        before = self.workers()
        self.process.send_signal(signal.SIGUSR2)
        wait_until(lambda: (now := self.workers()) and not now & before, "HAProxy has a new worker alone", 40)
