"""Whether anybody listens at an address, found out in a moment and before a library waits for minutes."""

from __future__ import annotations

import socket
import urllib.request
from urllib.parse import urlsplit

from rltf.support.errors import UserError

SECONDS = 2.0


def check_listens(url: str, setting: str, *, by_proxy: bool = False) -> None:
    """Raises `UserError` where nobody takes a connection at an `http(s)` address within two seconds.

    Args:
        url: the address.
        setting: what is to be mended where it is wrong.
        by_proxy: whoever asks there goes by the proxy of the environment. Then this machine may not reach it itself.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if by_proxy and parts.scheme in urllib.request.getproxies() and not urllib.request.proxy_bypass(host):
            return
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
        socket.create_connection((host, port), SECONDS).close()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UserError(f"nobody listens at {url} ({why}): start the server, or mend {setting}") from error
