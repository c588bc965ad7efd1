"""What stays open: WebSocket and server-sent events through a mount, with a key and without."""

import os

HELLO = ("GET /api/websocket HTTP/1.1\r\nHost: localhost\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade, Apikey-Id\r\n"
         "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n")


def check_websocket(site):
    """The backend greets, echoes small and large frames, and knows whose they are; without a key it is not asked."""
    with site.mount.connect() as s, s.makefile("rb") as f:
        s.sendall(f"{HELLO}Authorization: Bearer {site.key}\r\n\r\n".encode())
        assert b" 101 " in f.readline()
        while f.readline() != b"\r\n":
            pass
        for data in (b"\x81\x05hello", os.urandom(50000)):
            s.sendall(data)
            assert f.read(len(data)) == data
    site.check_identity(site.backend.seen[-1])
    with site.backend_untouched(), site.mount.connect() as s, s.makefile("rb") as f:
        s.sendall(f"{HELLO}\r\n".encode())
        assert b" 401 " in f.readline()


def check_events(site):
    """The first event arrives while the backend waits with the second."""
    site.backend.go_on.clear()
    with site.mount.connect() as s, s.makefile("rb") as f:
        s.sendall(f"GET /api/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {site.key}\r\n\r\n".encode())
        while b"data: one" not in f.readline():
            pass
        site.backend.go_on.set()
        while b"data: two" not in f.readline():
            pass
