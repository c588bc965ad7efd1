"""The real Caddy with the shipped configuration: its reverse proxy asks apikeyd over FastCGI, and goes on where it is admitted."""

import os
import subprocess

from .mount import Mount


class CaddyForwardAuth(Mount):
    name = "caddy-forward_auth"
    shipped = "caddy"
    reload_resets = True   # it listens anew (SO_REUSEPORT), and what waited at the old socket is gone, unless the kernel moves it (tcp_migrate_req)

    protecting = [
        ("apikeyd.caddy", "		request_header -X-Api-Key\n", "keys_with_other_spellings"),
        ("apikeyd.caddy", "		request_header -Authorization\n", "forged_identity"),
        ("apikeyd.caddy", "	request_header -X_Api_Key\n", "keys_with_other_spellings"),
        ("apikeyd.caddy", "	request_header -X-Api_Key\n", "keys_with_other_spellings"),
        ("apikeyd.caddy", "	request_header -X_Api-Key\n", "keys_with_other_spellings"),
        ("apikeyd.caddy", "	request_header @apikeyd_no_websocket -Connection\n", "stripped_identity"),
        ("apikeyd.caddy", "	request_header @apikeyd_no_websocket -Connection\n", "upgrades"),
        ("apikeyd.caddy", "		env APIKEYD_SCOPE {args.0}\n", "policy_from_the_client"),
    ]

    def configure(self):
        self.admin_socket = self.dir / "admin.sock"
        self.edit("apikeyd.caddy", "/run/apikeyd/fcgi.sock", str(self.address))
        for old, new in {
            "127.0.0.1:8080": f"127.0.0.1:{self.backend.port}",
            "root * /srv ": f"root * {self.www} ",
            "https://api.example.com {": f"https://localhost:{self.port} {{\n\tbind 127.0.0.1\n\ttls {self.cert} {self.dir}/key.pem\n",
            "http://api.example.com {": f"http://localhost:{self.plain_port} {{\n\tbind 127.0.0.1\n",
            "https:// {": f"https://:{self.port} {{\n\tbind 127.0.0.1\n",
            "http:// {": f"http://:{self.plain_port} {{\n\tbind 127.0.0.1\n",
            "	import apikeyd_site\n": f"	import apikeyd_site\n{self.extra}\n",
        }.items():
            self.edit("Caddyfile", old, new)
        path = self.conf / "Caddyfile"
        path.write_text(f"""{{
	admin unix/{self.admin_socket}
	auto_https disable_redirects
	storage file_system {self.dir}/data
	{self.outer}
}}
{path.read_text()}""")

    def environment(self):
        return {**os.environ, "HOME": str(self.dir), "XDG_CONFIG_HOME": str(self.dir), "XDG_DATA_HOME": str(self.dir)}

    def command(self):
        return ["env", f"HOME={self.dir}", f"XDG_CONFIG_HOME={self.dir}", f"XDG_DATA_HOME={self.dir}",
                "caddy", "run", "--adapter", "caddyfile", "--config", self.conf / "Caddyfile"]

    def reload(self):
        subprocess.run(["caddy", "reload", "--force", "--adapter", "caddyfile", "--config", self.conf / "Caddyfile", "--address", f"unix/{self.admin_socket}"],
                       check=True, capture_output=True, env=self.environment(), timeout=60)
