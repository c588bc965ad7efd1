"""Peers that want too much, in a process of their own: python3 flood.py SOCKET HOW KEYS CONNECTIONS.

HOW: "ask" asks as fast as it can, one request at a time on each connection, with the keys of the file KEYS in turn ("-": junk; a file that is
replaced is read again), from one
address; "spread" the same from ever new addresses; "idle" connects and says nothing; "drip" sends heads byte by byte and finishes none; "run" starts the
command line in the file KEYS again and again.
Runs only where nobody else wants the processor, so that what is measured is what apikeyd makes others wait, and ends with its parent. Writes how
many answers it has had (bytes it has sent, connections it has, runs) to standard output, a line a time, when there are some more."""

import ctypes
import itertools
import os
import resource
import select
import signal
import socket
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness import fcgi  # noqa: E402

END = bytes([1, fcgi.END])


def connect(path):
    s = socket.socket(socket.AF_UNIX)
    s.connect(path)
    return s


def tell(n):
    os.write(1, b"%d\n" % n)


def addresses(spread):
    if not spread:
        return itertools.repeat("192.0.2.200")
    return (f"{10 + (i >> 24)}.{i >> 16 & 255}.{i >> 8 & 255}.{i & 255}" for i in itertools.count())


def requests(file, spread):
    """The requests of one reading of the file, again and again."""
    address = addresses(spread)
    keys = ["junk"] if file == "-" else open(file).read().split()
    if spread:
        for key in itertools.cycle(keys):
            yield fcgi.request_bytes(fcgi.params_for(key, REMOTE_ADDR=next(address)))
    yield from itertools.cycle([fcgi.request_bytes(fcgi.params_for(key, REMOTE_ADDR=next(address))) for key in keys])


def version(file):
    return None if file == "-" else os.stat(file).st_mtime_ns


def ask(path, file, n, spread):
    peers, seen, answers = [connect(path) for _ in range(n)], version(file), 0
    source = requests(file, spread)
    while True:
        for s in peers:
            s.sendall(next(source))
        for s in peers:
            data = b""
            # The answer is in few records, of which the last is END_REQUEST with 8 bytes.
            while data[-16:-14] != END:
                piece = s.recv(65536)
                if not piece:
                    raise EOFError("closed")
                data += piece
            answers += 1
        if answers % (64 * n) == 0:
            tell(answers)
            if version(file) != seen:
                seen, source = version(file), requests(file, spread)


def idle(path, n):
    peers = []
    for i in range(n):
        peers.append(connect(path))
        if i % 100 == 99:
            tell(i + 1)
    tell(n)
    while True:
        select.select([], [], [])


def drip(path, n):
    whole = fcgi.request_bytes(fcgi.params_for("junk", HTTP_X_LONG="x" * 3000))[:-1]
    peers = [[connect(path), 7 * i % len(whole)] for i in range(n)]
    for s, at in peers:
        s.sendall(whole[:at])
    for rounds in itertools.count(1):
        for i, (s, at) in enumerate(peers):
            try:
                s.send(whole[at:at + 1])
                peers[i][1] = at + 1
            except OSError:
                peers[i][1] = len(whole)
            if peers[i][1] >= len(whole):
                s.close()
                peers[i] = [connect(path), 0]
        tell(rounds * n)


def run(command):
    for i in itertools.count(1):
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        tell(i)


def main():
    path, how, file, n = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, n + 64)), hard))
    if how in ("ask", "spread"):
        ask(path, file, n, how == "spread")
    elif how == "idle":
        idle(path, n)
    elif how == "run":
        run(open(file).read().split("\n"))
    else:
        drip(path, n)


main()
