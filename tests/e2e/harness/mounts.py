"""The mounts that test_mounts.py and test_attacks.py run against: one line each."""

from .apache import ApacheAuthnz, ApacheFcgid
from .caddy import CaddyForwardAuth
from .haproxy import HAProxy
from .lighttpd import LighttpdAuthorizer
from .nginx import NginxAccel, NginxAuthRequest

MOUNTS = [
    NginxAuthRequest,
    NginxAccel,
    ApacheAuthnz,
    ApacheFcgid,
    HAProxy,
    CaddyForwardAuth,
    LighttpdAuthorizer,
]
