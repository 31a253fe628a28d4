"""The live page's server. It listens on loopback, and every request must carry the token in the page's address."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from rltf.report.live import Live
from rltf.report.page import page, policy
from rltf.rollouts.records import RolloutRecord
from rltf.support.errors import UserError


class WatchServer(ThreadingHTTPServer):
    """Serves the page of some runs until it is shut down."""

    daemon_threads = True

    def __init__(self, live: Live, port: int, annotate: Callable[[RolloutRecord], str]) -> None:
        """`port` 0: any free one. `annotate` gives the address where feedback on a rollout is written; it raises
        `UserError` where there is nothing to write about."""
        super().__init__(("127.0.0.1", port), _Handler)
        self.live, self.annotate = live, annotate
        self.token = secrets.token_urlsafe(16)

    @property
    def url(self) -> str:
        """The page's address with its token."""
        return f"http://127.0.0.1:{self.server_address[1]}/?token={self.token}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: WatchServer

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(address.query).items()}
        # The Host header keeps other sites' names from being pointed at this machine.
        host = self.headers.get("Host", "").rpartition(":")[0]
        mine = secrets.compare_digest(query.get("token", "").encode(), self.server.token.encode())
        if host not in ("127.0.0.1", "localhost") or not mine:
            self._answer(403, {"error": "open the address that rltf watch printed, with its token"})
            return
        numbers = {name: int(value) for name, value in query.items() if value.isascii() and value.isdecimal()}
        try:
            match address.path:
                case "/":
                    _, text = self.server.live.data(0)
                    body = page(json.loads(text or "{}"), live=True)
                    self._send(200, "text/html; charset=utf-8", body.encode())
                case "/data":
                    version, text = self.server.live.data(numbers.get("known", 0))
                    self._send(200, "application/json", f'{{"version":{version},"data":{text or "null"}}}'.encode())
                case "/annotate":
                    place = (numbers.get(name, -1) for name in ("run", "step", "group", "rollout"))
                    record = self.server.live.record(*place)
                    if record is None:
                        self._answer(404, {"error": "there is no such rollout"})
                    else:
                        self._answer(200, {"url": self.server.annotate(record)})
                case _:
                    self._answer(404, {"error": "there is no such page"})
        except UserError as error:
            self._answer(409, {"error": str(error)})

    def _answer(self, status: int, value: dict[str, Any]) -> None:
        self._send(status, "application/json", json.dumps(value).encode())

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        for name, value in {
            "Content-Type": kind,
            "Content-Length": str(len(body)),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Content-Security-Policy": policy(live=True),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the page itself says what happens."""
