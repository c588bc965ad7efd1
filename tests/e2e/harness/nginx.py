"""The real nginx with the shipped configuration, TLS and HTTP/2, on a directory and a port of its own."""

import os
import pathlib
import shutil
import signal
import socket
import subprocess

from .daemon import ROOT, wait_until


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Nginx:
    def __init__(self, directory, fcgi_socket, backend_port, extra_server="", drop=None, extra_http=""):
        """drop: (file, line fragment) removed from the shipped files, to show that the line matters.
        extra_http: lines of the http level; {dir} and {port} are this nginx's."""
        self.dir = pathlib.Path(directory)
        self.dir.mkdir(parents=True, exist_ok=True)
        os.chmod(self.dir, 0o755)
        self.port, self.plain_port = free_port(), free_port()
        shutil.copytree(ROOT / "conf" / "nginx", self.dir / "apikeyd", dirs_exist_ok=True)
        self.edit("apikeyd/upstream.conf", "/run/apikeyd/fcgi.sock", str(fcgi_socket))
        if drop:
            self.edit("apikeyd/" + drop[0], drop[1], "")
        self.cert = self.dir / "cert.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-keyout", self.dir / "key.pem", "-out", self.cert, "-days", "2", "-subj", "/CN=localhost",
                        "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"], check=True, capture_output=True)
        site = (ROOT / "conf" / "nginx" / "example.conf").read_text()
        for old, new in {
            "127.0.0.1:8080": f"127.0.0.1:{backend_port}",
            "443 ssl http2": f"127.0.0.1:{self.port} ssl http2",
            "api.example.com;": "localhost;",
            "/etc/ssl/certs/api.example.com.pem": str(self.cert),
            "/etc/ssl/private/api.example.com.key": str(self.dir / "key.pem"),
        }.items():
            assert old in site, f"conf/nginx/example.conf lost the line with {old}"
            site = site.replace(old, new)
        # The same site over plain HTTP, to see https_required; and what a test adds.
        site = site.rstrip()
        assert site.endswith("}")
        site = site[:-1] + f"    listen 127.0.0.1:{self.plain_port};\n{extra_server}\n}}\n"
        (self.dir / "site.conf").write_text(site)
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
    {extra_http.format(dir=self.dir, port=self.port)}
    include site.conf;
}}
""")
        self.process = None

    def edit(self, name, old, new):
        path = self.dir / name
        text = path.read_text()
        assert old in text, f"{name} lost {old!r}"
        path.write_text(text.replace(old, new))

    def start(self):
        self.process = subprocess.Popen(["nginx", "-p", self.dir, "-c", self.dir / "nginx.conf"],
                                        stdout=subprocess.DEVNULL, stderr=open(self.dir / "stderr", "wb"))

        def up():
            assert self.process.poll() is None, (self.dir / "stderr").read_text() + self.errors()
            with socket.socket() as s:
                return s.connect_ex(("127.0.0.1", self.port)) == 0
        wait_until(up, "nginx listens")
        return self

    def errors(self):
        path = self.dir / "error.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(20)
        self.process = None

    def url(self, path, plain=False):
        return f"http://localhost:{self.plain_port}{path}" if plain else f"https://localhost:{self.port}{path}"

    def curl(self, path, *args, key=None, plain=False, input=None):
        """curl: a Reply with status, headers (list), body."""
        headers = self.dir / "reply-headers"
        auth = ["-H", f"Authorization: Bearer {key}"] if key else []
        done = subprocess.run(["curl", "-sS", "--cacert", self.cert, "-D", headers, "--max-time", "30", "--path-as-is", *auth, *map(str, args),
                               self.url(path, plain)], input=input, capture_output=True, timeout=60)
        assert done.returncode == 0, done.stderr.decode()
        return Reply(headers.read_bytes(), done.stdout)


class Reply:
    def __init__(self, head, body):
        # Interim answers (100 Continue) come first: the last block is the answer.
        blocks = [b for b in head.replace(b"\r\n", b"\n").split(b"\n\n") if b.strip()]
        lines = blocks[-1].decode("latin-1").split("\n")
        self.version, self.status = lines[0].split()[0], int(lines[0].split()[1])
        self.headers = [tuple(line.split(": ", 1)) if ": " in line else (line.rstrip(":"), "") for line in lines[1:]]
        self.body = body

    def all(self, name):
        return [v for n, v in self.headers if n.lower() == name.lower()]

    def header(self, name):
        values = self.all(name)
        assert len(values) <= 1, f"{name} repeated: {values}"
        return values[0] if values else None

    def json(self):
        import json
        return json.loads(self.body)
