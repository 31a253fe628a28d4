"""The page's server. It listens on loopback, and every request must carry the token in the page's address."""

from __future__ import annotations

import json
import secrets
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qs, urlsplit

from rltf.annotate.items import Desk, Item

_LONGEST_BODY = 200_000
_LONGEST_NAME = 60
_PAGE = "page.html"
# The page's own script and style alone; nothing that a text brings along is run or fetched.
_POLICY = "default-src 'none'; script-src {own}; style-src {own}; connect-src 'self'; base-uri 'none'"


class AnnotationServer(ThreadingHTTPServer):
    """Serves one desk until it is shut down."""

    daemon_threads = True

    def __init__(self, desk: Desk, port: int) -> None:
        """`port` 0: any free one."""
        super().__init__(("127.0.0.1", port), _Handler)
        self.desk = desk
        self.token = secrets.token_urlsafe(16)

    @property
    def url(self) -> str:
        """The page's address with its token."""
        return f"http://127.0.0.1:{self.server_address[1]}/?token={self.token}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: AnnotationServer

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(address.query).items()}
        if not self._may(query.get("token", "")):
            return
        if address.path == "/":
            self._page()
        elif address.path == "/item":
            self._item(query.get("annotator", ""), query.get("item", ""))
        else:
            self._answer(404, {"error": "there is no such page"})

    def do_POST(self) -> None:
        if not self._may(self.headers.get("X-Token", "")):
            return
        body = self._body()
        if body is None:
            return
        texts = [body.get(name, "") for name in ("annotator", "item", "feedback")]
        if not all(isinstance(text, str) for text in texts):
            self._answer(400, {"error": "name, item and feedback must be texts"})
            return
        annotator, key, feedback = texts
        desk = self.server.desk
        if not annotator.strip() or len(annotator) > _LONGEST_NAME:
            self._answer(400, {"error": f"a name of 1 to {_LONGEST_NAME} characters is needed"})
            return
        try:
            match urlsplit(self.path).path:
                case "/save" if feedback.strip():
                    desk.save(annotator, key, feedback.strip())
                case "/save":
                    self._answer(400, {"error": "the feedback is empty; write some, or skip"})
                    return
                case "/skip":
                    desk.skip(annotator, key)
                case "/undo":
                    undone = desk.undo(annotator)
                    if undone is None:
                        self._answer(400, {"error": "you have written nothing yet that could be taken back"})
                    else:
                        self._answer(200, self._record(undone[0], annotator, undone[1]))
                    return
                case _:
                    self._answer(404, {"error": "there is no such page"})
                    return
        except KeyError:
            self._answer(409, {"error": "somebody else has done this item meanwhile"})
            return
        except OSError as error:
            self._answer(507, {"error": f"not saved: {error.strerror}"})
            return
        self._item(annotator)

    def _may(self, token: str) -> bool:
        # The Host header keeps other sites' names from being pointed at this machine.
        host = self.headers.get("Host", "").rpartition(":")[0]
        if host in ("127.0.0.1", "localhost") and secrets.compare_digest(token.encode(), self.server.token.encode()):
            return True
        self._answer(403, {"error": "open the address that rltf annotate printed, with its token"})
        return False

    def _body(self) -> dict[str, Any] | None:
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > _LONGEST_BODY:
            self.close_connection = True
            self._answer(413, {"error": f"more than {_LONGEST_BODY:,} characters"})
            return None
        try:
            body = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict):
            self._answer(400, {"error": "the body is no JSON object"})
            return None
        return body

    def _item(self, annotator: str, wanted: str = "") -> None:
        self._answer(200, self._record(self.server.desk.next(annotator, wanted), annotator))

    def _record(self, item: Item | None, annotator: str, text: str = "") -> dict[str, Any]:
        progress = self.server.desk.progress(annotator)
        if item is None:
            return {"item": None, "progress": progress}
        entry = item.entry
        shown = {
            "key": item.key,
            "messages": [{"role": message.role, "content": message.content} for message in entry.messages],
            "response": entry.response,
            "score": item.score,
            "answer": entry.answer,
            "feedback": text,
        }
        return {"item": shown, "progress": progress}

    def _page(self) -> None:
        nonce = secrets.token_urlsafe(16)
        page = files("rltf.annotate").joinpath(_PAGE).read_text("utf-8").replace("NONCE", nonce)
        headers = {"Content-Security-Policy": _POLICY.format(own=f"'nonce-{nonce}'")}
        self._send(200, "text/html; charset=utf-8", page.encode(), headers)

    def _answer(self, status: int, value: dict[str, Any]) -> None:
        self._send(status, "application/json", json.dumps(value).encode(), {})

    def _send(self, status: int, kind: str, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {
            "Content-Type": kind,
            "Content-Length": str(len(body)),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            **headers,
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the page itself says what happens."""
