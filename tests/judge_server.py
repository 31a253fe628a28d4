"""An OpenAI-compatible chat endpoint on loopback, scripted: a real HTTP server that answers, dawdles and breaks."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What the server does with one request."""

    content: str | None = "<feedback>Row 1, column 1 should be larger.</feedback>"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    """`Content-Type` is JSON unless it stands here; empty for none."""
    body: bytes | None = None
    """In place of a chat completion."""
    seconds: float = 0.0
    """Before the answer."""
    drip: float = 0.0
    """Seconds between the bytes of the body."""


Script: TypeAlias = Callable[[dict[str, Any], int], Reply]
"""From a request's body and the number of times that this very body has come before to what happens."""


class JudgeServer:
    """The server's address and what it was asked."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.requests: list[dict[str, Any]] = []
        self.keys: set[str] = set()
        self.most_at_once = 0
        self._at_once = 0
        self._seen: dict[str, int] = {}
        self._lock = threading.Lock()
        self.url = ""

    def enter(self, body: dict[str, Any], key: str) -> int:
        text = json.dumps(body, sort_keys=True)
        with self._lock:
            self.requests.append(body)
            self.keys.add(key)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            before = self._seen.get(text, 0)
            self._seen[text] = before + 1
            return before

    def leave(self) -> None:
        with self._lock:
            self._at_once -= 1


def completion(content: str | None) -> bytes:
    return json.dumps(
        {
            "id": "c",
            "object": "chat.completion",
            "created": 0,
            "model": "judge",
            "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}}],
            "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
        }
    ).encode()


@contextmanager
def judge_server(script: Script = lambda body, before: Reply()) -> Iterator[JudgeServer]:
    judge = JudgeServer(script)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.path == "/v1/chat/completions"
            body = json.loads(raw)
            before = judge.enter(body, self.headers.get("Authorization", ""))
            try:
                reply = judge.script(body, before)
                time.sleep(reply.seconds)
            finally:
                judge.leave()
            payload = completion(reply.content) if reply.body is None else reply.body
            self.send_response(reply.status)
            self.send_header("Content-Length", str(len(payload)))
            for name, value in ({"Content-Type": "application/json"} | reply.headers).items():
                if value:
                    self.send_header(name, value)
            self.end_headers()
            if not reply.drip:
                self.wfile.write(payload)
                return
            for byte in payload:
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                time.sleep(reply.drip)

        def log_message(self, format: str, *args: Any) -> None: ...

    class Server(ThreadingHTTPServer):
        request_queue_size = 512
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None: ...

    server = Server(("127.0.0.1", 0), Handler)
    judge.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield judge
    finally:
        server.shutdown()
        server.server_close()
