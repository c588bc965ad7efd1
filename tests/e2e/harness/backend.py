"""A backend that tells what it received: method, target, headers (as sent), body length and SHA-256; and remembers all of it in `seen`.

/status/N      answers N
?say=Name:text adds a header to the answer (percent-encoded; may be repeated)
/websocket     takes a WebSocket handshake, then sends back each frame's bytes as they are
/vanish        closes the connection without an answer
/events        server-sent events: "data: one", then "data: two" once go_on is set
"""

import base64
import hashlib
import http.server
import json
import socket
import threading
import urllib.parse

from . import fcgi


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def body(self):
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            out = b""
            while True:
                size = int(self.rfile.readline().split(b";")[0], 16)
                out += self.rfile.read(size)
                self.rfile.readline()
                if size == 0:
                    return out
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def websocket(self):
        accept = hashlib.sha1((self.headers.get("Sec-WebSocket-Key", "") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(accept).decode())
        self.end_headers()
        self.close_connection = True
        while data := self.connection.recv(65536):
            self.connection.sendall(data)

    def events(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        self.wfile.write(b"data: one\n\n")
        if self.server.go_on.wait(30):
            self.wfile.write(b"data: two\n\n")

    def answer(self):
        body = self.body()
        seen = {
            "method": self.command, "target": self.path, "headers": self.headers.items(),
            "length": len(body), "sha256": hashlib.sha256(body).hexdigest(),
        }
        self.server.seen.append(seen)
        self.server.requests += 1
        path, _, query = self.path.partition("?")
        if path.endswith("/websocket") and self.headers.get("Upgrade", "").lower() == "websocket":
            return self.websocket()
        if path.endswith("/vanish"):
            self.close_connection = True
            return None
        if path.endswith("/events"):
            return self.events()
        text = json.dumps(seen).encode()
        self.send_response(int(path.rsplit("/", 1)[1]) if "/status/" in path else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("X-Backend", "yes")
        for said in urllib.parse.parse_qs(query).get("say", []):
            self.send_header(*said.split(":", 1))
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    # Whatever the method is called.
    def __getattr__(self, name):
        if name.startswith("do_"):
            return self.answer
        raise AttributeError(name)


class Backend(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests = 0
        self.seen = []
        self.go_on = threading.Event()
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def handle_error(self, *_):
        """A connection that the server cut is no fault of the backend's."""

    def close(self):
        self.shutdown()
        self.server_close()


class FastcgiBackend:
    """A FastCGI program that answers with the params it was given, as JSON; ?say=Name:text adds a header, as above."""

    def __init__(self, path):
        self.sock, self.path = socket.socket(socket.AF_UNIX), path
        self.sock.bind(str(path))
        self.sock.listen(16)
        threading.Thread(target=self.serve, daemon=True).start()

    @staticmethod
    def pairs(data):
        out, at = [], 0
        while at < len(data):
            lengths = []
            for _ in range(2):
                if data[at] < 128:
                    lengths.append(data[at])
                    at += 1
                else:
                    lengths.append(int.from_bytes(data[at:at + 4], "big") & 0x7fffffff)
                    at += 4
            name, value = data[at:at + lengths[0]], data[at + lengths[0]:at + sum(lengths)]
            at += sum(lengths)
            out.append((name.decode(), value.decode("latin-1")))
        return out

    def close(self):
        self.path.unlink()
        self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()

    def serve(self):
        while True:
            try:
                connection, _ = self.sock.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as file:
                params, _ = fcgi.read_request(file)
                seen = self.pairs(params)
                said = urllib.parse.parse_qs(dict(seen)["REQUEST_URI"].partition("?")[2]).get("say", [])
                head = "".join(line.replace(":", ": ", 1) + "\r\n" for line in ["Content-Type:application/json", *said])
                connection.sendall(fcgi.answer_bytes(head.encode() + b"\r\n" + json.dumps(seen).encode()))
