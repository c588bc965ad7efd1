"""Goal: nothing grows under a flood with keys that come and go (soak.py says what exactly). Short here; for the real thing:
tests/e2e/soak.py --requests 10000000."""

from soak import Soak


def test_nothing_grows(directory, scale):
    soak = Soak(directory, scale(20000, 1000000))
    assert soak.run() == []
    assert soak.samples[-1][0] >= soak.requests and soak.rounds >= 2
