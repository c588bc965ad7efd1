"""One who changes keys and uses them while everything around is killed, and keeps a log of its own.

A process of its own, started by tests/e2e/test_faults.py; it shares no code with what is checked. Each line of its log is written before the next
step is taken, so that the log is never behind what it was told:

    {"try": OP, ...}    is asked of the keeper now
    {"ack": OP, ...}    was acknowledged
    {"wrong": ...}      an answer that is not right, whatever died meanwhile
    {"count": {...}}    at the end: how many answers of which status; "broken": connections that ended without one

usage: witness.py admin|client LOG KEEPER_SOCKET FCGI_SOCKET [KEY]; ends when its standard input does.
"""

import collections
import json
import os
import pathlib
import random
import select
import socket
import struct
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

from harness.fcgi import Connection, params_for  # noqa: E402

STATES = {"active": (200, None), "disabled": (401, "key_disabled"), "revoked": (401, "key_revoked")}


class Witness:
    def __init__(self, log, keeper, fcgi):
        self.log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.keeper_path, self.fcgi_path = keeper, fcgi
        self.keeper = self.fcgi = None
        self.count = collections.Counter()

    def write(self, **line):
        os.write(self.log, json.dumps(line).encode() + b"\n")

    def over(self, seconds=0):
        """Our input has ended; or that much time has passed."""
        return bool(select.select([0], [], [], seconds)[0])

    # ---- the keeper, as `apikey` asks it ----

    def admin(self, **request):
        """The reply, or None: it may have been done or not."""
        body = json.dumps(request).encode()
        try:
            if self.keeper is None:
                self.keeper = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                self.keeper.settimeout(60)
                self.keeper.connect(self.keeper_path)
            self.keeper.send(struct.pack(">BBHI", 1, 3, 0, len(body)) + body)
            reply = self.keeper.recv(200000)
            if reply:
                return json.loads(reply[8:])
        except OSError:
            pass
        self.keeper.close()
        self.keeper = None
        self.over(0.002)
        return None

    # ---- the gate, as a web server asks it ----

    def ask(self, key):
        """(status, code), or None when the connection ended without an answer."""
        try:
            self.fcgi = self.fcgi or Connection(self.fcgi_path, 60)
            reply = self.fcgi.request(params_for(key))
        except (OSError, EOFError):
            self.fcgi = None
            self.count["broken"] += 1
            return None
        self.count[reply.status] += 1
        return reply.status, None if reply.status in (200, 429) else reply.json()["code"]

    # ---- what it does ----

    def expect(self, key, states):
        """An answer that fits one of the states the key may be in; or that it cannot be told now."""
        said = self.ask(key)
        if said is not None and said[0] != 503 and said not in [STATES[s] for s in states]:
            self.write(wrong=said, key=key[:16], states=states)

    def change(self, op, id, key, before, after):
        """Asked for until it is acknowledged."""
        self.write(**{"try": op, "id": id, "state": after})
        while not self.over():
            reply = self.admin(op=op, id=id)
            if reply is None:
                self.expect(key, [before, after])
                continue
            if not reply["ok"] and reply["error"] not in ("unavailable", "full"):
                self.write(wrong=reply, op=op, id=id)
            if reply["ok"]:
                self.write(ack=op, id=id, state=after)
                break
        else:
            return None
        self.expect(key, [after])
        return after

    def administrate(self):
        keys = {}
        while not self.over():
            if len(keys) < 4 or random.random() < 0.3:
                self.write(**{"try": "key.create"})
                reply = self.admin(op="key.create", owner="witness")
                if reply is None or not reply["ok"]:
                    continue
                id, key = reply["result"]["id"], reply["result"]["key"]
                self.write(ack="key.create", id=id, key=key, state="active")
                keys[id] = key, "active"
                self.expect(key, ["active"])
                continue
            id = random.choice(list(keys))
            key, state = keys[id]
            op, after = random.choice([("key.revoke", "revoked"), ("key.enable", "active") if state == "disabled" else ("key.disable", "disabled")])
            state = self.change(op, id, key, state, after)
            if state in (None, "revoked"):
                del keys[id]
            else:
                keys[id] = key, state

    def use(self, key):
        while not self.over():
            said = self.ask(key)
            if said is not None and said[0] not in (200, 429, 503):
                self.write(wrong=said, key=key[:16])


def main(role, log, keeper, fcgi, key=None):
    w = Witness(log, keeper, fcgi)
    if role == "admin":
        w.administrate()
    else:
        w.use(key)
    w.write(count=dict(w.count))


main(*sys.argv[1:])
