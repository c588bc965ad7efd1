"""The real lighttpd with the shipped configuration: apikeyd as its FastCGI authorizer, mod_magnet for what an authorizer cannot say."""

import contextlib
import os
import signal

from .daemon import wait_until
from .mount import Mount


class LighttpdAuthorizer(Mount):
    name = "lighttpd-authorizer"
    shipped = "lighttpd"
    http2 = False          # a request with a body stays without an answer behind an authorizer

    protecting = [
        ("request.lua", 'folded:find("^apikey") or ', "forged_identity"),
        ("request.lua", 'folded:find("^apikey") or ', "forged_internal_headers"),
        ("request.lua", 'folded:find("^apikey") or ', "forged_identity_where_the_key_has_none"),
        ("request.lua", 'or (folded == "x-api-key" and lower ~= "x-api-key")', "keys_with_other_spellings"),
        ("request.lua", 'header["X-Api-Key"] = nil', "keys_with_other_spellings"),
        ("request.lua", 'header["Authorization"] = nil', "forged_identity"),
        ("lighttpd.conf", 'setenv.set-environment = ( "APIKEYD_SCOPE" => "admin:write" )', "policy_from_the_client"),
    ]

    def configure(self):
        for old, new in {
            "/etc/lighttpd/apikeyd": str(self.conf),
            "/run/apikeyd/fcgi.sock": str(self.address),
            '"port" => 8080': f'"port" => {self.backend.port}',
            "/srv/files/": f"{self.www}/files/",
            "/var/www/html": str(self.www / "public"),
            "/var/log/lighttpd/error.log": f"{self.dir}/error.log",
            "/var/log/lighttpd/access.log": f"{self.dir}/access.log",
            "/run/lighttpd.pid": f"{self.dir}/pid",
            "server.port           = 80": f"server.port = {self.plain_port}",
            "0.0.0.0:443": f"127.0.0.1:{self.port}",
            "/etc/ssl/certs/api.example.com.pem": str(self.cert),
            "/etc/ssl/private/api.example.com.key": str(self.dir / "key.pem"),
        }.items():
            self.edit("lighttpd.conf", old, new)
        if os.getuid() == 0:
            for line in ('server.username       = "www-data"', 'server.groupname      = "www-data"'):
                self.edit("lighttpd.conf", line, "")
        (self.www / "public").mkdir()
        path = self.conf / "lighttpd.conf"
        path.write_text(path.read_text() + f'server.bind = "127.0.0.1"\nserver.upload-dirs = ( "{self.dir}" )\n{self.outer}\n{self.extra}\n')

    def command(self):
        return ["lighttpd", "-D", "-f", self.conf / "lighttpd.conf"]

    def starts(self):
        """How often it has read its configuration."""
        return self.errors().count("server started")

    def reload(self):
        before = self.starts()
        self.process.send_signal(signal.SIGUSR1)
        wait_until(lambda: self.starts() > before, "lighttpd has the new configuration")

    # lighttpd looks once a second whether a backend that was away is back.
    def gate_is_back(self):
        for path in (self.api, self.whoami):
            wait_until(lambda: self.send(path).status == 401, "lighttpd has found apikeyd again")

    @contextlib.contextmanager
    def gate_down(self):
        with super().gate_down():
            yield
        self.gate_is_back()
