"""A FastCGI 1.0 client that shares no code with the program under test."""

import os
import socket
import struct

BEGIN, ABORT, END, PARAMS, STDIN, STDOUT, STDERR, GET_VALUES = 1, 2, 3, 4, 5, 6, 7, 9
RESPONDER, AUTHORIZER, FILTER = 1, 2, 3
KEEP_CONN = 1


def record(kind, content=b"", request_id=1, version=1, padding=0):
    return struct.pack(">BBHHBx", version, kind, request_id, len(content), padding) + content + b"\0" * padding


def pair(name, value):
    def length(n):
        return struct.pack(">B", n) if n < 128 else struct.pack(">I", n | 0x80000000)
    name = name if isinstance(name, bytes) else name.encode()
    value = value if isinstance(value, bytes) else value.encode()
    return length(len(name)) + length(len(value)) + name + value


def stream(kind, data, request_id=1):
    out = b"".join(record(kind, data[i:i + 65000], request_id) for i in range(0, len(data), 65000))
    return out + record(kind, b"", request_id)


def request_bytes(params, role=RESPONDER, keep=True, stdin=b"", request_id=1):
    """All records of one request; params is a dict or a list of pairs (names may repeat)."""
    items = params.items() if isinstance(params, dict) else params
    body = b"".join(pair(n, v) for n, v in items)
    begin = record(BEGIN, struct.pack(">HB5x", role, KEEP_CONN if keep else 0), request_id)
    return begin + stream(PARAMS, body, request_id) + stream(STDIN, stdin, request_id)


# ---- the other side: a program behind a web server ----

def read_request(file):
    """The params of the next request, as bytes, and whether the connection is kept; (None, 0) when the peer closed."""
    params, keep = b"", 0
    while True:
        head = file.read(8)
        if len(head) < 8:
            return None, 0
        kind, length, padding = head[1], int.from_bytes(head[4:6], "big"), head[6]
        content = file.read(length + padding)[:length]
        params += content if kind == PARAMS else b""
        if kind == BEGIN:
            keep = content[2] & KEEP_CONN
        if kind == STDIN and length == 0:
            return params, keep


def answer_bytes(cgi):
    return stream(STDOUT, cgi) + record(END, b"\0" * 8)


class Response:
    def __init__(self, raw, protocol_status):
        self.raw = raw
        self.protocol_status = protocol_status
        head, _, self.body = raw.partition(b"\r\n\r\n")
        self.headers = []
        for line in head.split(b"\r\n"):
            name, _, value = line.partition(b": ")
            self.headers.append((name.decode("latin-1"), value.decode("latin-1")))
        self.status = int(self.header("Status").split()[0])

    def all(self, name):
        return [v for n, v in self.headers if n.lower() == name.lower()]

    def header(self, name):
        """The one value of a header, None without it; a repeated one is an error of the test."""
        values = self.all(name)
        assert len(values) <= 1, f"{name} repeated: {values}"
        return values[0] if values else None

    def json(self):
        import json
        return json.loads(self.body)


class Connection:
    """One connection; requests one after the other."""

    def __init__(self, address, timeout=10):
        if isinstance(address, tuple):
            self.sock = socket.create_connection(address, timeout)
        else:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(timeout)
            self.sock.connect(os.fspath(address))
        self.buffered = b""

    def send(self, data):
        self.sock.sendall(data)

    def _take(self, n):
        while len(self.buffered) < n:
            piece = self.sock.recv(65536)
            if not piece:
                raise EOFError("connection closed by the program")
            self.buffered += piece
        out, self.buffered = self.buffered[:n], self.buffered[n:]
        return out

    def read_record(self):
        version, kind, request_id, length, padding = struct.unpack(">BBHHBx", self._take(8))
        assert version == 1
        content = self._take(length)
        self._take(padding)
        return kind, request_id, content

    def response(self, request_id=1):
        out = b""
        while True:
            kind, rid, content = self.read_record()
            if rid != request_id:
                continue
            if kind == STDOUT:
                out += content
            elif kind == END:
                return Response(out, content[4])

    def request(self, params, **how):
        self.send(request_bytes(params, **how))
        return self.response(how.get("request_id", 1))

    def closed(self):
        """True when the program closed the connection (waits for it)."""
        try:
            return self.sock.recv(1) == b""
        except ConnectionResetError:
            return True

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def params_for(key=None, **more):
    """Params of a plain HTTPS GET as a web server sends them; keyword arguments add or (with None) remove."""
    p = {
        "REQUEST_METHOD": "GET", "REQUEST_URI": "/api/x", "QUERY_STRING": "", "DOCUMENT_URI": "/api/x",
        "SERVER_PROTOCOL": "HTTP/1.1", "REMOTE_ADDR": "192.0.2.7", "HTTPS": "on", "REQUEST_SCHEME": "https",
        "SERVER_NAME": "api.example.com",
    }
    if key is not None:
        p["HTTP_AUTHORIZATION"] = f"Bearer {key}"
    for name, value in more.items():
        if value is None:
            p.pop(name, None)
        else:
            p[name] = value
    return p
