"""Operations of the keeper's as the tool asks for them, without the tool: many at once, in one process."""

import json
import socket


class Admin:
    def __init__(self, daemon, connections=32):
        self.peers = [socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(connections)]
        for s in self.peers:
            s.settimeout(60)
            s.connect(str(daemon.dir / "run" / "keeper.sock"))

    def all(self, requests):
        """The results, in the order of the requests; each of them must succeed."""
        results = []
        for i in range(0, len(requests), len(self.peers)):
            some = list(zip(self.peers, requests[i:i + len(self.peers)]))
            for s, request in some:
                body = json.dumps(request).encode()
                s.send(bytes([1, 3, 0, 0]) + len(body).to_bytes(4, "big") + body)
            for s, request in some:
                reply = json.loads(s.recv(1 << 18)[8:])
                assert reply["ok"], (request, reply)
                results.append(reply["result"])
        return results

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for s in self.peers:
            s.close()
