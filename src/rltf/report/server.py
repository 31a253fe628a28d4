"""The live page's server, and what it answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from urllib.parse import urlsplit

from rltf.report.live import Live
from rltf.report.page import page, policy
from rltf.rollouts.records import RolloutRecord
from rltf.support.errors import UserError
from rltf.support.loopback import LoopbackHandler, LoopbackServer


class WatchServer(LoopbackServer):
    """Serves the page of some runs until it is shut down."""

    def __init__(self, live: Live, port: int, annotate: Callable[[RolloutRecord], str]) -> None:
        """`port` 0: any free one. `annotate` gives the address where feedback on a rollout is written; it raises
        `UserError` where there is nothing to write about."""
        super().__init__(port, _Handler)
        self.live, self.annotate = live, annotate


class _Handler(LoopbackHandler):
    server: WatchServer
    command_name = "rltf watch"

    def do_GET(self) -> None:
        query = self.query()
        if not self.may(query.get("token", "")):
            return
        numbers = {name: int(value) for name, value in query.items() if value.isascii() and value.isdecimal()}
        try:
            match urlsplit(self.path).path:
                case "/":
                    _, text = self.server.live.data(0)
                    body = page(json.loads(text or "{}"), live=True)
                    self.send(200, "text/html; charset=utf-8", body.encode(), policy(live=True))
                case "/data":
                    version, text = self.server.live.data(numbers.get("known", 0))
                    self.send(200, "application/json", f'{{"version":{version},"data":{text or "null"}}}'.encode())
                case "/annotate":
                    place = (numbers.get(name, -1) for name in ("run", "step", "group", "rollout"))
                    record = self.server.live.record(*place)
                    if record is None:
                        self.answer(404, {"error": "there is no such rollout"})
                    else:
                        self.answer(200, {"url": self.server.annotate(record)})
                case _:
                    self.answer(404, {"error": "there is no such page"})
        except UserError as error:
            self.answer(409, {"error": str(error)})
