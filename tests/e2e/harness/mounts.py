"""The mounts that test_mounts.py and test_attacks.py run against: one line each."""

from .caddy import CaddyForwardAuth
from .haproxy import HAProxy
from .lighttpd import LighttpdAuthorizer
from .nginx import NginxAccel, NginxAuthRequest

MOUNTS = [
    NginxAuthRequest,
    NginxAccel,
    HAProxy,
    CaddyForwardAuth,
    LighttpdAuthorizer,
]
