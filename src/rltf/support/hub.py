"""Whether the Hugging Face hub can be reached, found in seconds where its own clients try for half a minute."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty, Queue
from threading import Thread
from typing import Any
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

SECONDS = 4.0
"""How long the hub, or the proxy on the way to it, may take to accept a connection."""
_YES = {"1", "on", "yes", "true"}


def endpoint() -> str:
    """The hub's address: that of `HF_ENDPOINT`, or huggingface.co."""
    return os.environ.get("HF_ENDPOINT") or "https://huggingface.co"


def reachable(seconds: float = SECONDS) -> bool:
    """Whether something accepts connections where the hub is, or where the proxy is that leads to it.

    Nothing is sent. False at once where `HF_HUB_OFFLINE` says so. Never raises.
    """
    if any(os.environ.get(name, "").lower() in _YES for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")):
        return False
    address = urlsplit(endpoint())
    proxy = getproxies().get(address.scheme) or getproxies().get("all")
    if proxy and not proxy_bypass(address.hostname or ""):
        address = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    answer: Queue[bool] = Queue()
    # In a thread of its own, as looking a name up heeds no limit of time.
    Thread(target=lambda: answer.put(_accepts(address.hostname, _port(address), seconds)), daemon=True).start()
    try:
        return answer.get(timeout=seconds)
    except Empty:
        return False


def missing_copy() -> str:
    """What to say of something that is to come from a hub that cannot be reached."""
    host = urlsplit(endpoint()).hostname or endpoint()
    return f"{host} cannot be reached, and no copy is on this machine; name a file, or try with a network"


@contextmanager
def copies_alone_without_hub() -> Iterator[str]:
    """Within it, the hub's clients (import them before) use their copies on this machine if it cannot be reached.

    Yields the reason, for an error message, or an empty text where the hub can be reached.
    """
    if reachable():
        yield ""
        return
    from huggingface_hub import constants

    # transformers asks huggingface_hub; datasets has a mark of its own.
    marks: list[Any] = [constants]
    if "datasets" in sys.modules:
        marks.append(sys.modules["datasets"].config)
    was = [mark.HF_HUB_OFFLINE for mark in marks]
    for mark in marks:
        mark.HF_HUB_OFFLINE = True
    try:
        yield missing_copy()
    finally:
        for mark, offline in zip(marks, was, strict=True):
            mark.HF_HUB_OFFLINE = offline


def _port(address: SplitResult) -> int:
    known = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}
    try:
        return address.port or known.get(address.scheme, 443)
    except ValueError:  # A port that is no number: nothing listens there.
        return 0


def _accepts(host: str | None, port: int, seconds: float) -> bool:
    try:
        socket.create_connection((host or "", port), timeout=seconds).close()
    except (OSError, UnicodeError):
        return False
    return True
