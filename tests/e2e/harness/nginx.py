"""The real nginx with the shipped configuration, TLS and HTTP/2."""

import os
import signal

from .daemon import wait_until
from .mount import Mount


class NginxAuthRequest(Mount):
    name = "nginx-auth_request"
    shipped = "nginx"
    internal = ("/_apikeyd", "/_apikeyd/", "/_apikeyd?x=1", "/%5fapikeyd", "/@apikey_deny", "/@apikey_down")
    example = "example.conf"

    # The site of the shipped example, with this mount's names; and the locations that the tests need beside it.
    more = """
    listen 127.0.0.1:{plain_port};
    location /files/ {{
        include apikeyd/protect.conf;
        root {www};
    }}
"""

    protecting = [
        ("protect.conf", "auth_request /_apikeyd;", "gate_down"),
        ("protect.conf", "proxy_set_header Apikey-Id      $apikey_id;", "forged_identity"),
        ("protect.conf", "proxy_set_header Apikey-Meta    $apikey_meta;", "forged_identity_where_the_key_has_none"),
        ("protect.conf", "proxy_set_header Apikey-Status  \"\";", "forged_internal_headers"),
        ("protect.conf", "proxy_set_header X-Api-Key      \"\";", "keys_with_other_spellings"),
        ("protect.conf", "proxy_set_header Authorization  \"\";", "forged_identity"),
        ("protect.conf", "proxy_ignore_headers   X-Accel-Redirect;", "backend_redirects"),
        ("gate.conf", "internal;                  # only nginx itself asks here", "internal_locations"),
    ]

    def configure(self):
        self.edit("upstream.conf", "/run/apikeyd/fcgi.sock", str(self.address))
        for old, new in {
            "127.0.0.1:8080": f"127.0.0.1:{self.backend.port}",
            "443 ssl http2": f"127.0.0.1:{self.port} ssl http2",
            "api.example.com;": "localhost;",
            "/etc/ssl/certs/api.example.com.pem": str(self.cert),
            "/etc/ssl/private/api.example.com.key": str(self.dir / "key.pem"),
        }.items():
            self.edit(self.example, old, new)
        path = self.conf / self.example
        site = path.read_text().rstrip()
        assert site.endswith("}")
        path.write_text(site[:-1] + self.more.format(plain_port=self.plain_port, www=self.www) + self.extra + "\n}\n")
        user = "user root;" if os.getuid() == 0 else ""
        (self.dir / "nginx.conf").write_text(f"""
{user}
daemon off;
worker_processes 1;
pid {self.dir}/nginx.pid;
error_log {self.dir}/error.log info;
events {{ worker_connections 1024; }}
http {{
    access_log {self.dir}/access.log;
    client_body_temp_path {self.dir}/t1; proxy_temp_path {self.dir}/t2; fastcgi_temp_path {self.dir}/t3;
    uwsgi_temp_path {self.dir}/t4; scgi_temp_path {self.dir}/t5;
    client_max_body_size 16m;
    {self.outer}
    include apikeyd/{self.example};
}}
""")

    def command(self):
        return ["nginx", "-p", self.dir, "-c", self.dir / "nginx.conf"]

    def reload(self):
        before = self.workers()
        self.process.send_signal(signal.SIGHUP)
        # The old ones leave when their last request is done.
        wait_until(lambda: (now := self.workers()) and not now & before, "nginx has new workers alone")
