"""Fixtures: the real programs, one directory a test (or a module), everything stopped and removed after it."""

import pathlib
import shutil
import signal
import sys
import tempfile

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from harness.daemon import Daemon  # noqa: E402
from harness.mounts import MOUNTS  # noqa: E402
from harness.site import Site  # noqa: E402


# Under nohup, or in the background of a shell, some signals are ignored, and programs inherit that: tests that send them would wait for ever.
for _signal in signal.SIGINT, signal.SIGHUP, signal.SIGQUIT:
    if signal.getsignal(_signal) == signal.SIG_IGN:
        signal.signal(_signal, signal.default_int_handler if _signal == signal.SIGINT else signal.SIG_DFL)


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="the same tests with bigger numbers")


@pytest.fixture(scope="session")
def scale(request):
    """scale(short, long): the number for this run."""
    return lambda short, long: long if request.config.getoption("--long") else short


def _directory():
    # Short paths: a unix socket's may have 107 bytes.
    return pathlib.Path(tempfile.mkdtemp(prefix="apikeyd-"))


@pytest.fixture
def directory():
    path = _directory()
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def daemon(directory):
    """A daemon that is not started yet: change its settings with write_conf, then start()."""
    d = Daemon(directory / "d")
    yield d
    d.stop(expect=None)


@pytest.fixture(scope="module")
def shared():
    """A running daemon for all tests of a module that only add to it."""
    path = _directory()
    d = Daemon(path / "d").start()
    yield d
    d.stop()
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module", params=MOUNTS, ids=lambda m: m.name)
def site(request):
    """Each mount in turn, with an apikeyd and a backend of its own."""
    path = _directory()
    site = Site(request.param, path)
    try:
        yield site.start()
    finally:
        site.stop()
        shutil.rmtree(path, ignore_errors=True)
