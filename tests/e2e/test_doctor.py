"""Goal: `apikey doctor` proves from outside what it says: every shipped mount passes, and every way to mount the gate wrongly that is
known fails and is called by its name. Invariant: exit 0 means that no probe failed; what doctor makes (a key, a plan) is taken back
however it ends, and no key of it is shown to anybody who should not have it."""

import json
import os
import subprocess

import pytest

from harness.daemon import APIKEY


def doctor(conf, url, *args, cert=None, input=None, timeout=120):
    """(exit status, {probe: its line}, standard error)"""
    trust = ["--cacert", cert] if cert else []
    done = subprocess.run([APIKEY, "-c", conf, "--json", "doctor", url, *trust, *map(str, args)], input=input or "", text=True,
                          capture_output=True, timeout=timeout, env={**os.environ, "LC_ALL": "C.UTF-8"})
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len({line["probe"] for line in lines}) == len(lines)
    return done.returncode, {line["probe"]: line for line in lines}, done.stderr


def examine(site, *args, path="/api/x", **how):
    mount = site.mount
    return doctor(site.daemon.conf, mount.url(path), "--http-url", mount.url(path, plain=True), *args, cert=mount.cert, **how)


def failures(lines):
    return {name: line["cause"] for name, line in lines.items() if line["result"] == "fail"}


def nothing_left(site):
    assert [k["state"] for k in site.daemon.json_lines("list", "--owner", "apikey-doctor") if k["state"] != "revoked"] == []
    assert [p["name"] for p in site.daemon.json_lines("plan", "list") if p["name"].startswith("doctor-")] == []


def test_a_right_mount_passes(site):
    code, lines, said = examine(site, "--limits")
    assert (failures(lines), code, said) == ({}, 0, "")
    # Nothing is passed over either: the echo backend shows what it gets. The plan of the temporary key has no limits.
    allowed = {"ratelimit"} | (set() if site.mount.http2 else {"http2"})
    assert {n for n, line in lines.items() if line["result"] == "skipped"} - allowed == set()
    nothing_left(site)


def test_a_key_of_ones_own(site):
    code, lines, _ = examine(site, "--key-stdin", input=site.key + "\n")
    assert failures(lines) == {} and code == 0
    assert lines["key"]["result"] == lines["ratelimit"]["result"] == "pass"
    assert {lines[n]["result"] for n in ("address", "limits", "revoked", "identity")} == {"skipped"}
    assert site.daemon.json("show", site.id)["exposed"] is None
