"""Goal: nobody gets in without a valid key, or in as somebody else, through any web server that apikeyd ships a configuration for. Each attack is a
function in harness/attacks.py; each must succeed when the line of configuration that keeps it out is removed. Invariant 6."""

import pytest

from harness.attacks import ATTACKS
from harness.mounts import MOUNTS


@pytest.mark.parametrize("attack", ATTACKS)
def test_kept_out(site, attack):
    ATTACKS[attack](site)


def test_strict_paths_matter(site):
    """Without the setting the same paths lead around a scope, where the server hands them on as they are."""
    if not site.mount.raw_path:
        pytest.skip("this server hands on a path that it has resolved itself")
    site.daemon.write_conf(strict_paths=False)
    site.mount.gate_reload()
    try:
        with pytest.raises(AssertionError):
            ATTACKS["odd_targets_around_a_scope"](site)
    finally:
        site.daemon.write_conf(strict_paths=True)
        site.mount.gate_reload()


LINES = [pytest.param(m, *line, id=f"{m.name}:{line[0]}:{line[1].strip()[:60]}") for m in MOUNTS for line in m.protecting]


@pytest.mark.parametrize("site, file, line, attack", LINES, indirect=["site"])
def test_the_line_matters(site, file, line, attack):
    """Without this line the attack succeeds: the test above can fail, and the line is needed."""
    with site.changed(drop=(file, line)), pytest.raises(AssertionError):
        ATTACKS[attack](site)
