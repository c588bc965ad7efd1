"""A real web server that runs the shipped configuration, on ports and a directory of its own.

A subclass is one way to mount the gate (nginx with auth_request, Apache with mod_authnz_fcgi, ...). It says what its server can do in
the traits below, writes the configuration in configure(), and is listed in harness/mounts.py: then all of test_mounts.py and
test_attacks.py run against it."""

import collections
import contextlib
import os
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess

from .client import Reply, read_reply
from .daemon import ROOT, Daemon, children_of, wait_until, whole_lines


_kept = collections.deque(maxlen=60)


def free_port():
    """One that nobody else is given until its server has it: it stays bound here. That hinders no server, because neither side listens yet and
    both say SO_REUSEADDR; said after bind, so that the kernel chooses among those that are not in use in this way."""
    s = socket.socket()
    s.bind(("127.0.0.1", 0))
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    _kept.append(s)
    return s.getsockname()[1]


def make_certificate(directory):
    """cert.pem and key.pem for localhost and 127.0.0.1 in ${directory}."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-keyout", directory / "key.pem", "-out", directory / "cert.pem", "-days", "2", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"], check=True, capture_output=True)
    return directory / "cert.pem"


class Mount:
    # ---- what a subclass says of itself ----

    name = None            # in test ids: "nginx-auth_request"
    shipped = None         # directory under conf/ that is copied to self.conf, where drop= and edit() work
    listen = "unix"        # what apikeyd listens on: "unix" or "tcp"

    # Routes of the site under test. Each proxied route goes to the echo backend with its path unchanged.
    api = "/api/"          # needs a key
    admin = "/api/admin/"  # needs a key with the scope admin:write
    whoami = "/whoami"     # serve mode; None: this mount has no such route
    files = "/files/"      # needs a key, serves the directory self.www (index.html: "hello\n"); None: no static files
    internal = ()          # paths that exist inside of the server only

    # Traits. Every other value than the one here is a limit of that server, and is written down in its guide.
    http2 = True
    refuses_before_body = True    # a denied upload is answered although its body never comes; "expect": if the client waits for 100 Continue
    resets_early = False          # over HTTP/2 it resets a stream that it answered before the body's end (NO_ERROR, RFC 9113 8.1)
    down_status = 503             # while apikeyd cannot be reached
    down_is_problem = True        # ... and the body is problem+json with the code unavailable
    raw_path = True               # the backend gets the request target as the client wrote it
    asks_who = True               # a yes of the gate that names no key lets nobody in
    one_limit = True              # a backend's own RateLimit does not stand beside the gate's
    reload_resets = False         # a reload of the server may reset a connection that it has not taken yet
    reload_forgets = False        # a reload of the server may leave a request for ever that it has taken and not yet asked about
    sees_whole_credentials = True  # repeated credential headers are told as such (else: the server's own refusal)

    # Lines that keep somebody out: (file, fragment, attack). Removed, the named function of harness/attacks.py must succeed.
    protecting = ()

    # ---- set-up ----

    def __init__(self, directory, gate, backend, drop=None, extra="", outer="", edits=()):
        """gate: the Daemon, or an address (a path, or (host, port)) where nobody listens.
        drop: (file, fragment), removed from the shipped files, to show that it matters.
        edits: (file, old, new), ... in the shipped files, for a mount that is mounted otherwise.
        extra, outer: lines added to the site and to the level around it, in the server's own words; {dir} and {port} are this mount's."""
        self.dir = pathlib.Path(directory)
        self.dir.mkdir(parents=True, exist_ok=True)
        os.chmod(self.dir, 0o755)
        self.daemon = gate if isinstance(gate, Daemon) else None
        self.address = gate.address if self.daemon else gate
        self.backend = backend
        self.drop = drop
        self.port, self.plain_port = free_port(), free_port()
        self.extra = extra.replace("{dir}", str(self.dir)).replace("{port}", str(self.port))
        self.outer = outer.replace("{dir}", str(self.dir)).replace("{port}", str(self.port))
        self.process = None
        self.cert = make_certificate(self.dir)
        self.www = self.dir / "www"
        (self.www / "files" / "sub").mkdir(parents=True)
        for d in ("files", "files/sub"):
            (self.www / d / "index.html").write_text("hello\n")
        if self.shipped:
            self.conf = self.dir / "apikeyd"
            shutil.copytree(ROOT / "conf" / self.shipped, self.conf)
        self.configure()
        for file, old, new in edits:
            self.edit(file, old, new)
        if drop:
            self.edit(drop[0], drop[1], "")

    @classmethod
    def daemon_settings(cls):
        """What apikeyd.conf needs for this mount."""
        return {"listen": f"127.0.0.1:{free_port()}"} if cls.listen == "tcp" else {}

    def configure(self):
        """Writes everything the server reads, from the shipped files."""
        raise NotImplementedError

    def command(self):
        """The server in the foreground."""
        raise NotImplementedError

    def edit(self, name, old, new, count=None):
        """Replace in a shipped file; one that lost the text fails."""
        path = self.conf / name
        text = path.read_text()
        assert old in text, f"{name} lost {old!r}"
        path.write_text(text.replace(old, new) if count is None else text.replace(old, new, count))

    # ---- running ----

    def start(self):
        with open(self.dir / "stderr", "ab") as err:
            self.process = subprocess.Popen(list(map(str, self.command())), stdin=subprocess.DEVNULL, stdout=err, stderr=err, cwd=self.dir)

        def up():
            assert self.process.poll() is None, self.errors()
            with socket.socket() as s, socket.socket() as p:
                return s.connect_ex(("127.0.0.1", self.port)) == 0 and p.connect_ex(("127.0.0.1", self.plain_port)) == 0
        wait_until(up, f"{self.name} listens", said=self.errors)
        return self

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None

    def reload(self):
        """Graceful: takes the configuration anew, loses no request; returns when the new one serves."""
        raise NotImplementedError

    def workers(self):
        """Process ids of the server's children, for reload()."""
        return set(children_of(self.process.pid))

    def errors(self):
        """What the server had to say, for messages of failed tests."""
        return "".join(whole_lines(self.dir / name) for name in ("stderr", "error.log"))

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    # ---- the gate behind it (overridden where the web server starts the workers itself) ----

    def gate_reload(self):
        """SIGHUP to apikeyd; returns when the new workers serve alone."""
        before = set(self.daemon.children("worker"))
        self.daemon.process.send_signal(signal.SIGHUP)
        wait_until(lambda: (now := set(self.daemon.children("worker"))) and not now & before, "new workers serve")

    @contextlib.contextmanager
    def gate_down(self):
        """Nobody listens where apikeyd did."""
        self.daemon.stop()
        try:
            yield
        finally:
            self.daemon.start()

    @contextlib.contextmanager
    def gate_fake(self, serve):
        """Somebody else listens where apikeyd did: serve(connection) for each, in threads. Yields the number of accepted ones as a list."""
        with self.gate_down(), self.daemon.impostor(serve) as accepted:
            yield accepted

    @contextlib.contextmanager
    def keeper_stopped(self):
        """Workers answer, the keeper does not."""
        with self.daemon.without_keeper():
            yield

    # ---- requests ----

    def url(self, path, plain=False):
        return f"http://localhost:{self.plain_port}{path}" if plain else f"https://localhost:{self.port}{path}"

    def curl(self, path, *args, key=None, plain=False, input=None):
        """curl: a Reply with status, headers (list), body."""
        auth = ["-H", f"Authorization: Bearer {key}"] if key else []
        with open(self.dir / f"reply-{os.urandom(6).hex()}", "w+b") as headers:
            os.unlink(headers.name)
            command = ["curl", "-sS", "--cacert", self.cert, "-D", f"/proc/self/fd/{headers.fileno()}", "--max-time", "30",
                       "--path-as-is", *auth, *map(str, args), self.url(path, plain)]
            done = subprocess.run(command, input=input, capture_output=True, timeout=60, pass_fds=[headers.fileno()])
            if self.resets_early and done.returncode == 92:
                # curl 7.88 takes the reset for a failure and drops the answer, if both arrive at once.
                done = subprocess.run([*command, "--http1.1"], input=input, capture_output=True, timeout=60, pass_fds=[headers.fileno()])
            assert done.returncode == 0, done.stderr.decode()
            headers.seek(0)
            return Reply(headers.read(), done.stdout)

    def connect(self, plain=False, timeout=20, server_name="localhost", source="127.0.0.1"):
        """A socket to the server, over TLS unless plain. server_name None: no SNI. source: the address to come from."""
        sock = socket.create_connection(("127.0.0.1", self.plain_port if plain else self.port), timeout, (source, 0))
        if plain:
            return sock
        context = ssl.create_default_context(cafile=self.cert)
        context.check_hostname = server_name is not None
        return context.wrap_socket(sock, server_hostname=server_name)

    def raw(self, data, replies=1, plain=False, timeout=20, bodiless=False, source="127.0.0.1"):
        """Bytes as they are, on a connection of their own: up to ${replies} Replies, fewer when the server closes before."""
        with self.connect(plain, timeout, source=source) as s:
            out = []
            try:
                s.sendall(data)
                with s.makefile("rb") as stream:
                    while len(out) < replies and (reply := read_reply(stream, bodiless)) is not None:
                        out.append(reply)
            except (ConnectionResetError, BrokenPipeError, ssl.SSLEOFError):
                pass  # closed with bytes of ours unread
            return out

    def send(self, target, *headers, key=None, method="GET", version="HTTP/1.1", body=b"", plain=False, host="localhost", source="127.0.0.1"):
        """One request whose lines are sent as given: a Reply, or None when the server closed without one."""
        lines = [f"{method} {target} {version}", *([f"Host: {host}"] if host else []), "Connection: close"]
        if key:
            lines.append(f"Authorization: Bearer {key}")
        if body:
            lines.append(f"Content-Length: {len(body)}")
        # A test's own Connection line stands for ours.
        if any(h.lower().startswith("connection:") for h in headers):
            lines.remove("Connection: close")
        data = "\r\n".join([*lines, *headers]).encode("latin-1") + b"\r\n\r\n" + body
        got = self.raw(data, plain=plain, bodiless=method == "HEAD", source=source)
        return got[0] if got else None
