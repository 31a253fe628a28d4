"""The page's server, and what it answers."""

from __future__ import annotations

import json
import secrets
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

from rltf.annotate.items import Desk, Item
from rltf.support.loopback import LoopbackHandler, LoopbackServer

_LONGEST_BODY = 200_000
_LONGEST_NAME = 60
_PAGE = "page.html"
# The page's own script and style alone; nothing that a text brings along is run or fetched.
_POLICY = "default-src 'none'; script-src {own}; style-src {own}; connect-src 'self'; base-uri 'none'"


class AnnotationServer(LoopbackServer):
    """Serves one desk until it is shut down."""

    def __init__(self, desk: Desk, port: int) -> None:
        """`port` 0: any free one."""
        super().__init__(port, _Handler)
        self.desk = desk


class _Handler(LoopbackHandler):
    server: AnnotationServer
    command_name = "rltf annotate"

    def do_GET(self) -> None:
        query = self.query()
        if not self.may(query.get("token", "")):
            return
        address = urlsplit(self.path)
        if address.path == "/":
            self._page()
        elif address.path == "/item":
            self._item(query.get("annotator", ""), query.get("item", ""))
        else:
            self.answer(404, {"error": "there is no such page"})

    def do_POST(self) -> None:
        if not self.may(self.headers.get("X-Token", "")):
            return
        body = self._body()
        if body is None:
            return
        texts = [body.get(name, "") for name in ("annotator", "item", "feedback")]
        if not all(isinstance(text, str) for text in texts):
            self.answer(400, {"error": "name, item and feedback must be texts"})
            return
        annotator, key, feedback = texts
        desk = self.server.desk
        if not annotator.strip() or len(annotator) > _LONGEST_NAME:
            self.answer(400, {"error": f"a name of 1 to {_LONGEST_NAME} characters is needed"})
            return
        try:
            match urlsplit(self.path).path:
                case "/save" if feedback.strip():
                    desk.save(annotator, key, feedback.strip())
                case "/save":
                    self.answer(400, {"error": "the feedback is empty; write some, or skip"})
                    return
                case "/skip":
                    desk.skip(annotator, key)
                case "/undo":
                    undone = desk.undo(annotator)
                    if undone is None:
                        self.answer(400, {"error": "you have written nothing yet that could be taken back"})
                    else:
                        self.answer(200, self._record(undone[0], annotator, undone[1]))
                    return
                case _:
                    self.answer(404, {"error": "there is no such page"})
                    return
        except KeyError:
            self.answer(409, {"error": "somebody else has done this item meanwhile"})
            return
        except OSError as error:
            self.answer(507, {"error": f"not saved: {error.strerror}"})
            return
        self._item(annotator)

    def _body(self) -> dict[str, Any] | None:
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > _LONGEST_BODY:
            self.close_connection = True
            self.answer(413, {"error": f"more than {_LONGEST_BODY:,} characters"})
            return None
        try:
            body = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict):
            self.answer(400, {"error": "the body is no JSON object"})
            return None
        return body

    def _item(self, annotator: str, wanted: str = "") -> None:
        self.answer(200, self._record(self.server.desk.next(annotator, wanted), annotator))

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
        policy = _POLICY.format(own=f"'nonce-{nonce}'")
        self.send(200, "text/html; charset=utf-8", page.encode(), policy)
