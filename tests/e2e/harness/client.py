"""What a client sees: replies of curl, and replies read off a socket byte by byte."""

import json


class Reply:
    def __init__(self, head, body):
        # Interim answers (100 Continue) come first: the last block is the answer.
        blocks = [b for b in head.replace(b"\r\n", b"\n").split(b"\n\n") if b.strip()]
        lines = blocks[-1].decode("latin-1").split("\n")
        self.version, self.status = lines[0].split()[0], int(lines[0].split()[1])
        self.headers = [tuple(line.split(": ", 1)) if ": " in line else (line.rstrip(":"), "") for line in lines[1:] if line]
        self.body = body

    def all(self, name):
        return [v for n, v in self.headers if n.lower() == name.lower()]

    def header(self, name):
        values = self.all(name)
        assert len(values) <= 1, f"{name} repeated: {values}"
        return values[0] if values else None

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"<{self.status} {self.headers} {self.body[:300]!r}>"


def _body(stream, reply, bodiless):
    if bodiless or reply.status in (204, 304) or reply.status < 200:
        return b""
    if "chunked" in (reply.header("Transfer-Encoding") or "").lower():
        out = b""
        while True:
            size = int(stream.readline().split(b";")[0] or b"0", 16)
            out += stream.read(size)
            stream.readline()
            if size == 0:
                return out
    length = reply.header("Content-Length")
    return stream.read() if length is None else stream.read(int(length))


def read_reply(stream, bodiless=False):
    """The next final reply of an HTTP/1 stream (interim ones are passed over); None when the peer closed instead."""
    while True:
        head = b""
        while not head.endswith((b"\r\n\r\n", b"\n\n")):
            line = stream.readline()
            if not line:
                return None
            head += line
        reply = Reply(head, b"")
        if reply.status >= 200 or reply.status == 101:
            reply.body = _body(stream, reply, bodiless)
            return reply
