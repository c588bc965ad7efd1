"""Floods (harness/flood.py, each in a process of its own), and what the processes under them take."""

import contextlib
import os
import pathlib
import select
import signal
import subprocess
import sys
import time

PROGRAM = pathlib.Path(__file__).parent / "flood.py"


class Flood:
    """Stopped and continued at will."""

    def __init__(self, process, file):
        self.process = process
        self.file = file
        self.done = 0

    def reached(self, n, seconds=60):
        """Waits until it has done so much."""
        end = time.monotonic() + seconds
        while self.done < n:
            assert select.select([self.process.stdout], [], [], max(0, end - time.monotonic()))[0], f"the flood got to {self.done} of {n}"
            data = os.read(self.process.stdout.fileno(), 65536)
            assert data, f"the flood ended:\n{self.process.stderr.read().decode()}"
            self.done = int(data.split()[-1])

    def keys(self, keys):
        """Other ones from now on."""
        new = self.file.with_suffix(".new")
        new.write_text("\n".join(keys))
        new.replace(self.file)

    def stop(self):
        os.killpg(self.process.pid, signal.SIGSTOP)

    def go_on(self):
        os.killpg(self.process.pid, signal.SIGCONT)


@contextlib.contextmanager
def flood(daemon, how, connections, keys=None):
    """keys: what it asks with; for "run", the words of the command."""
    file = daemon.dir / f"flood-{os.urandom(4).hex()}"
    if keys:
        file.write_text("\n".join(keys))
    process = subprocess.Popen([sys.executable, PROGRAM, daemon.address, how, file if keys else "-", str(connections)],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0, start_new_session=True)
    try:
        yield Flood(process, file)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        process.stderr.close()


def memory(daemon):
    """{(role, pid): KiB}."""
    out = {}
    for pid, role in daemon.children().items():
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        out[role, pid] = int(status.split("VmRSS:")[1].split()[0])
    return out


def descriptors(daemon):
    """{(role, pid): how many}."""
    return {(role, pid): len(os.listdir(f"/proc/{pid}/fd")) for pid, role in daemon.children().items()}
