"""The real nginx with the shipped configuration, TLS and HTTP/2: with auth_request, and with accel."""

import os
import shutil
import signal

from .daemon import wait_until
from .mount import Mount

IDENTITY = [
    ("identity.conf", "proxy_set_header Apikey-Id      $apikey_id;", "forged_identity"),
    ("identity.conf", "proxy_set_header Apikey-Meta    $apikey_meta;", "forged_identity_where_the_key_has_none"),
    ("identity.conf", 'proxy_set_header Apikey-Status  "";', "forged_internal_headers"),
    ("identity.conf", 'proxy_set_header X-Api-Key      "";', "keys_with_other_spellings"),
    ("identity.conf", 'proxy_set_header Authorization  "";', "forged_identity"),
    ("identity.conf", "proxy_ignore_headers   X-Accel-Redirect;", "backend_redirects"),
    ("identity.conf", "proxy_hide_header   Apikey-Owner;", "backend_in_the_gates_name"),
]


class Nginx(Mount):
    shipped = "nginx"
    example = None

    asks_who = False       # auth_request is content with any 2xx
    one_limit = False

    def configure(self):
        self.edit("upstream.conf", "/run/apikeyd/fcgi.sock", str(self.address))
        for old, new in {
            "127.0.0.1:8080": f"127.0.0.1:{self.backend.port}",
            "443 ssl http2": f"127.0.0.1:{self.port} ssl http2",
            "api.example.com;": "localhost;",
            "/etc/ssl/certs/api.example.com.pem": str(self.cert),
            "/etc/ssl/private/api.example.com.key": str(self.dir / "key.pem"),
            "/srv/www": str(self.www),
            "/var/log/nginx/access.log": f"{self.dir}/access.log",
            "unix:/run/php/php-fpm.sock": f"unix:{self.dir}/php.sock",
        }.items():
            self.edit(self.example, old, new)
        shutil.copy("/etc/nginx/fastcgi_params", self.dir)
        path = self.conf / self.example
        site = path.read_text().rstrip()
        assert site.endswith("}")
        # The same site over plain HTTP, to see https_required; and what a test adds.
        path.write_text(site[:-1] + f"    listen 127.0.0.1:{self.plain_port};\n{self.extra}\n}}\n")
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


class NginxAuthRequest(Nginx):
    name = "nginx-auth_request"
    example = "example.conf"
    internal = ("/_apikeyd", "/_apikeyd/", "/_apikeyd?x=1", "/%5fapikeyd", "/@apikey_deny", "/@apikey_down")
    protecting = [
        *IDENTITY,
        ("example.conf", "set $apikey_scope $api_scope;", "policy_from_the_client"),
        ("example.conf", "set $apikey_scope $api_scope;", "http2_fields"),
        ("example.conf", "~*", "odd_targets_around_a_scope"),  # the pattern is a plain path then
        ("protect.conf", "auth_request /_apikeyd;", "gate_down"),
        ("gate.conf", "internal;                  # only nginx itself asks here", "internal_locations"),
    ]


class NginxAccel(Nginx):
    name = "nginx-accel"
    example = "example-accel.conf"
    internal = ("/@backend", "/@files", "/@events", "/%40backend", "/@apikey_down")
    refuses_before_body = False
    protecting = [
        *IDENTITY,
        ("accel.conf", "fastcgi_param APIKEYD_SCOPE $apikey_scope;", "odd_targets_around_a_scope"),
        ("example-accel.conf", "set $apikey_scope $api_scope;", "http2_fields"),
        ("example-accel.conf", "~*", "odd_targets_around_a_scope"),
    ]
