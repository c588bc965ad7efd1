"""A mount with all that belongs to it: a running apikeyd, the echo backend, a key; and the oracle that says what the backend may have seen."""

import contextlib
import itertools
import pathlib

from .backend import Backend
from .daemon import Daemon

IDENTITY = ("APIKEY_ID", "APIKEY_OWNER", "APIKEY_PLAN", "APIKEY_SCOPES", "APIKEY_META")


def fold(name):
    """As CGI, WSGI, PHP and Rack read a header's name."""
    return name.upper().replace("-", "_")


class Site:
    def __init__(self, mount_class, directory):
        self.dir = pathlib.Path(directory)
        self.daemon = Daemon(self.dir / "d", failed_attempts=20, block_exempt=["127.0.0.1"], keeper_timeout="2s", **mount_class.daemon_settings()).start()
        self.backend = Backend()
        self.numbers = itertools.count()
        self.daemon.tool("plan", "set", "lots", "--limit", "minute=100000/60s", check=0)
        self.id, self.key = self.daemon.create("acme", plan="lots", scope="orders:read", meta="team=blue")
        self.admin_id, self.admin_key = self.daemon.create("root", plan="lots", scope="admin:write")
        self.mount = mount_class(self.dir / "m", self.daemon, self.backend)

    def start(self):
        self.mount.start()
        return self

    def stop(self):
        self.mount.stop()
        self.backend.close()
        self.daemon.stop(expect=None)

    def limited(self, units):
        """A key of a plan of ${units} an hour."""
        self.daemon.tool("plan", "set", f"units{units}", "--limit", f"hour={units}/1h", check=0)
        return self.daemon.create("acme", plan=f"units{units}")[1]

    @contextlib.contextmanager
    def changed(self, **how):
        """The same site with another server of the same kind: drop=, edits=, extra=, outer=."""
        mount, self.mount = self.mount, type(self.mount)(self.dir / f"m{next(self.numbers)}", self.daemon, self.backend, **how)
        try:
            with self.mount:
                yield self
        finally:
            self.mount = mount

    # ---- the oracle ----

    @contextlib.contextmanager
    def backend_untouched(self):
        """Nothing of what is sent inside reaches the backend."""
        before = len(self.backend.seen)
        yield
        assert self.backend.seen[before:] == []

    def identity(self, seen):
        """{APIKEY_ID: [values], ...} of a request that the backend saw, in every spelling that a backend may take for the name."""
        return {name: [v for n, v in seen["headers"] if fold(n) == name and v] for name in IDENTITY}

    def check_identity(self, seen, key_id=None, owner="acme", scopes="orders:read"):
        got = self.identity(seen)
        assert got["APIKEY_ID"] == [key_id or self.id], got
        assert got["APIKEY_OWNER"] == [owner] and got["APIKEY_PLAN"] == ["lots"] and got["APIKEY_SCOPES"] == [scopes], got
        assert len(got["APIKEY_META"]) <= 1

    def check_seen(self, seen, *never):
        """No word of ${never}, and no key, is anywhere in what the backend saw."""
        for name, value in seen["headers"]:
            for word in (*never, self.key, self.admin_key):
                assert word not in value, (name, value)
