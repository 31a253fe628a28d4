"""A judge to try things with: an OpenAI-compatible endpoint on loopback that criticises Binary Matrix by rule.

It stands where a language model would, and gets what one would get: the question and the attempt in a prompt.

    python examples/rule_judge.py 8321 &
    rltf train feedback.source=llm judge.base_url=http://127.0.0.1:8321/v1 judge.model=rules judge.key_env=none
"""

from __future__ import annotations

import json
import re
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from rltf.config import BinaryMatrixConfig
from rltf.runs.build import build_task
from rltf.tasks.binary_matrix import distances, parse_matrix, write_matrix
from rltf.types import Problem

TASK = build_task(BinaryMatrixConfig())


def criticise(prompt: str) -> str:
    """Feedback on the attempt in a judge's prompt."""
    question = re.search(r"<question>\n(.*?)\n</question>", prompt, re.DOTALL)
    attempt = re.search(r"<attempt>\n(.*?)\n</attempt>", prompt, re.DOTALL)
    rows = re.search(r"matrix below:\n([0-9 \n]+?)\n\n", question[1]) if question else None
    matrix = parse_matrix(rows[1]) if rows else "no matrix"
    if attempt is None or isinstance(matrix, str):
        return "This is no question of Binary Matrix."
    solution = distances(matrix)
    problem = Problem(
        task="binary_matrix",
        split="train",
        index=0,
        prompt="",
        answer=write_matrix(solution),
        metadata={"matrix": matrix, "solution": solution},
    )
    return TASK.feedback(problem, attempt[1], TASK.score(problem, attempt[1]), "located")


class Handler(BaseHTTPRequestHandler):
    """Answers chat completions."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """One chat completion."""
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = request["messages"][-1]["content"]
        text = f"<feedback>{criticise(prompt)}</feedback>"
        usage = {"prompt_tokens": len(prompt) // 4, "completion_tokens": len(text) // 4}
        message = {"role": "assistant", "content": text}
        self._answer(
            {
                "id": "rules",
                "object": "chat.completion",
                "created": int(time.time()),
                "model": request["model"],
                "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
                "usage": usage | {"total_tokens": sum(usage.values())},
            }
        )

    def _answer(self, value: dict[str, Any]) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


class Server(ThreadingHTTPServer):
    """Many calls at once."""

    daemon_threads = True
    request_queue_size = 256


if __name__ == "__main__":
    server = Server(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 8321), Handler)
    print(f"judging at http://127.0.0.1:{server.server_address[1]}/v1", flush=True)
    server.serve_forever()
