"""How long a step's feedback takes with a slow judge, against the least it can take.

A server on loopback, in a process of its own, answers each call after a fixed time. The ideal is the number of waves
(calls / concurrency) times that.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import statistics
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

from rltf.config import BinaryMatrixConfig, JudgeConfig
from rltf.feedback.llm import Endpoints, LLMSource
from rltf.runs.build import build_task
from rltf.types import Feedback, FeedbackRequest

ANSWER = json.dumps(
    {
        "id": "c",
        "object": "chat.completion",
        "created": 0,
        "model": "judge",
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": "<feedback>Row 1 is wrong.</feedback>"},
            }
        ],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
    }
).encode()


def serve(seconds: float, port: Connection) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = next(int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if b"content-length" in line)
            await reader.readexactly(length)
            await asyncio.sleep(seconds)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
            writer.write(b"Content-Length: %d\r\n\r\n%b" % (len(ANSWER), ANSWER))
            await writer.drain()

    async def quietly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answer(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def main() -> None:
        server = await asyncio.start_server(quietly, "127.0.0.1", 0, backlog=1024)
        port.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--calls", type=int, default=256)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=0.2, help="how long the judge takes for a call")
    parser.add_argument("--steps", type=int, default=7)
    arguments = parser.parse_args()
    here, there = multiprocessing.Pipe()
    server = multiprocessing.Process(target=serve, args=(arguments.seconds, there), daemon=True)
    server.start()
    task = build_task(BinaryMatrixConfig(train_size=arguments.steps, validation_size=1, test_size=1))
    config = JudgeConfig(
        base_url=f"http://127.0.0.1:{here.recv()}/v1", model="judge", key_env=None, concurrency=arguments.concurrency
    )
    ideal = -(-arguments.calls // arguments.concurrency) * arguments.seconds
    ratios: list[float] = []
    with tempfile.TemporaryDirectory() as directory, Endpoints(Path(directory) / "judge.sqlite") as endpoints:
        source = LLMSource(config, task, endpoints)
        for step in range(arguments.steps):
            problem = task.problem("train", step)
            attempts = [f"attempt {i}" for i in range(arguments.calls)]
            scores = [task.score(problem, attempt) for attempt in attempts]
            requests = [
                FeedbackRequest(problem=problem, attempt=attempt, score=score)
                for attempt, score in zip(attempts, scores, strict=True)
            ]
            start = time.perf_counter()
            answers = source.feedback(requests, step)
            taken = time.perf_counter() - start
            assert all(isinstance(answer, Feedback) for answer in answers)
            ratios.append(taken / ideal)
            print(f"step {step}: {taken:.2f} s, {ratios[-1]:.2f} times the ideal {ideal:.2f} s", flush=True)
    # The first step opens the connections.
    later = ratios[1:]
    print(f"after the first: median {statistics.median(later):.2f}, least {min(later):.2f}, greatest {max(later):.2f}")
    server.terminate()


if __name__ == "__main__":
    main()
