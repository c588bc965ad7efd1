"""Goal: the real programs under valgrind: no byte is used that nobody wrote, none outside of its block or after its end, and nothing is forgotten, in
supervisor, workers and keeper, while they serve requests, changes, a reload and their end. Invariants 4 and 6.

With `--long` only. Without sandboxes: valgrind makes calls that they forbid.
"""

import subprocess

import pytest

from harness import daemon as harness
from harness.daemon import ROOT, wait_until
from harness.fcgi import params_for

VALGRIND = ["-q", "--trace-children=yes", "--leak-check=full", "--errors-for-leak-kinds=definite", "--show-leak-kinds=definite", "--num-callers=24",
            "--free-fill=dd", f"--suppressions={ROOT / 'tests/lib/memcheck.supp'}"]


@pytest.fixture
def memcheck(directory, monkeypatch):
    """Everything that is started as apikeyd runs in valgrind, with its children; where that writes."""
    reports = directory / "reports"
    reports.mkdir()
    script = directory / "apikeyd"
    script.write_text(f"#!/bin/sh\nLD_PRELOAD=$APIKEYD_PRELOAD exec valgrind {' '.join(VALGRIND)} --log-file={reports}/%p {harness.APIKEYD} \"$@\"\n")
    script.chmod(0o755)
    shim = directory / "exe_shim.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", shim, ROOT / "tests/lib/exe_shim.c"], check=True)
    monkeypatch.setenv("EXE_SHIM", str(harness.APIKEYD))
    monkeypatch.setenv("APIKEYD_PRELOAD", str(shim))
    monkeypatch.setattr(harness, "APIKEYD", script)
    return reports


def test_a_session(daemon, memcheck, scale):
    if not scale(False, True):
        pytest.skip("--long")
    daemon.write_conf(sandbox=False, workers=1)
    daemon.start()
    daemon.tool("plan", "set", "p", "--limit", "minute=5/1m", check=0)
    kid, key = daemon.create("acme", plan="p", scope=["a:b"], allow_ip=["192.0.2.0/24"])
    with daemon.connect(timeout=60) as c:
        assert [c.request(params_for(key)).status for _ in range(6)] == [200] * 5 + [429]
        for params in ({"APIKEYD_SCOPE": "no:way"}, {"APIKEYD_MODE": "auth_request"}, {"QUERY_STRING": f"api_key={key}"}, {"HTTPS": None},
                       {"REMOTE_ADDR": "198.51.100.1"}, {"HTTP_AUTHORIZATION": "Bearer junk"}, {"REQUEST_URI": "/a/../b"}):
            assert c.request(params_for(**{"HTTP_AUTHORIZATION": f"Bearer {key}", **params})).status != 200
    daemon.tool("set", kid, "--name", "x", check=0)
    new = daemon.json("rotate", kid, "--grace", "1h")["key"]
    daemon.tool("pepper", "add", check=0)
    assert {daemon.ask(k).status for k in (key, new)} == {429}
    daemon.tool("revoke", kid, check=0)
    assert daemon.ask(new).json()["code"] == "key_revoked"
    for args in (["list"], ["show", kid], ["audit", "--verify"], ["db", "stat"], ["plan", "list"], ["pepper", "list"]):
        daemon.tool(*args, check=0)
    assert daemon.tool("show", "key_0000000000000000").returncode == 1
    daemon.process.send_signal(1)
    wait_until(lambda: "event=reload" in daemon.log(), "it reloads", 60)
    daemon.wait_ready()
    daemon.stop()
    found = {p.name: p.read_text() for p in memcheck.iterdir()}
    # Supervisor, keeper, a worker before and one after the reload.
    assert len(found) >= 4
    # Lines that begin with -- are valgrind's about itself: a system call that it does not know.
    said = [line for text in found.values() for line in text.splitlines() if line.startswith("==")]
    assert not said, "\n".join(said)
