"""Goal: whatever becomes of the clocks, no limit forgives what was used and none keeps anybody out for longer than its window.

The real programs, with clocks that the test sets (tests/lib/clock_shim.c). Invariant 2.
"""

import mmap
import re
import struct
import subprocess
import uuid

import pytest

from harness.daemon import ROOT, kill, wait_until

HOUR, DAY = 3600, 86400
SLACK = 20  # seconds that a test may take between two looks at an hour's limit
SAVED = 10  # the last time seen is stored so often, in seconds


class Clock:
    """Offsets of the daemon's clocks to ours, in seconds, and the boot that it believes to be in."""

    def __init__(self, directory, monkeypatch):
        path, shim = directory / "clock", directory / "clock_shim.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", shim, ROOT / "tests/lib/clock_shim.c"], check=True)
        path.write_bytes(bytes(16 + 36))
        path.chmod(0o644)
        with open(path, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), 16 + 36)
        self.wall = self.boot = 0
        self.reboot()
        monkeypatch.setenv("CLOCK_SHIM", str(path))
        monkeypatch.setenv("LD_PRELOAD", str(shim))

    def step(self, wall=0, boot=0):
        self.wall += wall
        self.boot += boot
        self.map[:16] = struct.pack("=qq", self.wall * 1000000, self.boot * 1000000)

    def reboot(self, wall=0):
        """Another boot, in which the wall clock is that much off where it was."""
        with open("/proc/uptime") as f:
            up = float(f.read().split()[0])
        self.step(wall=wall, boot=5 - int(up) - self.boot)
        self.map[16:] = str(uuid.uuid4()).encode()


@pytest.fixture
def clock(directory, monkeypatch):
    return Clock(directory, monkeypatch)


@pytest.fixture
def used(daemon, clock):
    """A key that has used its 3 units an hour, of a running daemon."""
    daemon.start()
    daemon.tool("plan", "set", "p", "--limit", "hour=3/1h", check=0)
    _, key = daemon.create("acme", plan="p")
    assert [daemon.ask(key).status for _ in range(4)] == [200, 200, 200, 429]
    return key


def wait_of(daemon, key):
    """Seconds until there is room, as the headers say; and nothing is forgiven yet."""
    reply = daemon.ask(key)
    assert reply.status == 429
    t = int(re.fullmatch(r'"hour";r=0;t=(\d+)', reply.header("RateLimit"))[1])
    assert int(reply.header("Retry-After")) == t
    return t


def test_the_shim_is_believed(daemon, clock):
    """Expiry of keys goes by the wall clock: the test's clock is the daemon's."""
    daemon.start()
    _, key = daemon.create("acme", expires="1h")
    assert daemon.ask(key).status == 200
    clock.step(wall=DAY)
    assert daemon.ask(key).json()["code"] == "key_expired"
    clock.step(wall=-DAY)
    assert daemon.ask(key).status == 200


@pytest.mark.parametrize("step", [-HOUR, -10 * DAY, DAY, 400 * DAY])
def test_a_wall_clock_that_steps_changes_nothing(daemon, clock, used, step):
    before = wait_of(daemon, used)
    assert HOUR - SLACK <= before <= HOUR
    clock.step(wall=step)
    assert before - SLACK <= wait_of(daemon, used) <= before
    # A key that is new under the stepped clock has its units, no more and no fewer, and they leave in time.
    _, key = daemon.create("acme", plan="p")
    assert [daemon.ask(key).status for _ in range(4)] == [200, 200, 200, 429]
    clock.step(wall=-step)
    assert HOUR - SLACK <= wait_of(daemon, key) <= HOUR


@pytest.mark.parametrize("step", [-HOUR, DAY])
@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_restart_in_the_same_boot_changes_nothing(daemon, clock, used, step, how):
    before = wait_of(daemon, used)
    if how == "stop":
        daemon.stop()
        clock.step(wall=step)
        daemon.start()
    else:
        pid = daemon.keeper_pid()
        clock.step(wall=step)
        kill(pid)
        wait_until(lambda: daemon.keeper_pid() != pid, "another keeper")
    assert before - SLACK <= wait_of(daemon, used) <= before


def test_a_reboot_with_an_earlier_clock_goes_on(daemon, clock, used):
    """Nobody gets units back, and nobody waits for longer than the window and what was not stored."""
    before = wait_of(daemon, used)
    daemon.stop()
    clock.reboot(wall=-30 * DAY)
    daemon.start()
    assert before - SLACK <= wait_of(daemon, used) <= before + SAVED
    # The hour passes with the machine's own clock, whatever the wall clock does.
    clock.step(wall=-HOUR, boot=HOUR + SAVED)
    assert [daemon.ask(used).status for _ in range(4)] == [200, 200, 200, 429]


def test_a_reboot_with_a_later_clock_is_time_that_passed(daemon, clock, used):
    before = wait_of(daemon, used)
    daemon.stop()
    clock.reboot(wall=HOUR // 2)
    daemon.start()
    assert before - HOUR // 2 - SLACK <= wait_of(daemon, used) <= before - HOUR // 2 + SAVED
    daemon.stop()
    clock.reboot(wall=DAY)
    daemon.start()
    assert [daemon.ask(used).status for _ in range(4)] == [200, 200, 200, 429]
    # When it is set right again, that day is not taken back in this boot, nor in the next.
    daemon.stop()
    clock.step(wall=-DAY)
    daemon.start()
    before = wait_of(daemon, used)
    assert HOUR - SLACK <= before <= HOUR
    daemon.stop()
    clock.reboot()
    daemon.start()
    assert before - SLACK <= wait_of(daemon, used) <= before + SAVED


def test_a_kill_and_a_reboot(daemon, clock, used):
    """Power is lost with nothing said; the battery as well."""
    before = wait_of(daemon, used)
    daemon.kill_all()
    clock.reboot(wall=-56 * 365 * DAY)  # 1970
    daemon.start()
    assert before - SLACK <= wait_of(daemon, used) <= before + SAVED


def test_sleep_is_time_that_passed(daemon, clock, used):
    """A machine that was suspended: its boot clock went on."""
    before = wait_of(daemon, used)
    clock.step(wall=HOUR // 2, boot=HOUR // 2)
    assert before - HOUR // 2 - SLACK <= wait_of(daemon, used) <= before - HOUR // 2
    clock.step(wall=HOUR // 2, boot=HOUR // 2)
    assert daemon.ask(used).status == 200
