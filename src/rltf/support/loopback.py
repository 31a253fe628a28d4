"""A page for one person on this machine: a server on loopback, where every request must carry the printed token."""

from __future__ import annotations

import json
import secrets
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit


class LoopbackServer(ThreadingHTTPServer):
    """Listens on 127.0.0.1 until it is shut down."""

    daemon_threads = True

    def __init__(self, port: int, handler: type[LoopbackHandler]) -> None:
        """`port` 0: any free one."""
        super().__init__(("127.0.0.1", port), handler)
        self.token = secrets.token_urlsafe(16)

    @property
    def url(self) -> str:
        """The page's address with its token."""
        return f"http://127.0.0.1:{self.server_address[1]}/?token={self.token}"


class LoopbackHandler(BaseHTTPRequestHandler):
    """Answers one connection's requests. Texts of others are in what it sends: no page may run or fetch them."""

    protocol_version = "HTTP/1.1"
    server: LoopbackServer
    command_name: ClassVar[str]
    """The command that printed the address, for whoever comes without the token."""

    def query(self) -> dict[str, str]:
        """What stands behind the question mark of the address, the first value of each name."""
        return {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}

    def may(self, token: str) -> bool:
        """Whether the request has the token, and names this machine; answers it with a refusal otherwise."""
        # The Host header keeps other sites' names from being pointed at this machine.
        host = self.headers.get("Host", "").rpartition(":")[0]
        if host in ("127.0.0.1", "localhost") and secrets.compare_digest(token.encode(), self.server.token.encode()):
            return True
        self.answer(403, {"error": f"open the address that {self.command_name} printed, with its token"})
        return False

    def answer(self, status: int, value: dict[str, Any]) -> None:
        """Sends JSON."""
        self.send(status, "application/json", json.dumps(value).encode())

    def send(self, status: int, kind: str, body: bytes, policy: str = "default-src 'none'") -> None:
        """Sends a whole response, `kind` its media type and `policy` what a page may load."""
        self.send_response(status)
        for name, value in {
            "Content-Type": kind,
            "Content-Length": str(len(body)),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Content-Security-Policy": policy,
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the page itself says what happens."""
