"""How long a step's feedback takes with a slow judge, against the least it can take.

A server on loopback, in a process of its own, answers each call after a fixed time. The ideal is the number of waves
(calls / concurrency) times that. `--groups` times whole rollouts in place of that, with a stand-in for a sampler whose
completions take from a tenth of a second to a second: all groups together, and each by itself.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random

import numpy as np
from transformers import AutoTokenizer

from rltf.builtin import builtin_directory
from rltf.config import BinaryMatrixConfig, JudgeConfig, PromptsConfig, RolloutConfig
from rltf.feedback.llm import Endpoints, LLMSource
from rltf.feedback.scoring import TaskScorer
from rltf.rollouts.collector import RolloutCollector
from rltf.runs.build import build_task
from rltf.support.seeds import derive_seed
from rltf.support.side_by_side import wait_for
from rltf.tasks import Task
from rltf.text.prompts import Prompts
from rltf.text.renderer import Renderer
from rltf.types import Completion, Feedback, FeedbackRequest, Finish, SamplingParams, Tokens

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


class Policy:
    """Writes wrong attempts; how long it takes for a prompt, its seed decides."""

    def __init__(self, renderer: Renderer, at_once: int) -> None:
        self._renderer, self._pool = renderer, ThreadPoolExecutor(at_once)

    def __call__(
        self, prompts: Sequence[Tokens], n: int, sampling: SamplingParams, seeds: Sequence[int]
    ) -> list[list[Completion]]:
        """See `Generate`."""
        futures = [self._pool.submit(self._write, seed, n) for seed in seeds]
        wait_for(futures)
        return [future.result() for future in futures]

    def _write(self, seed: int, n: int) -> list[Completion]:
        time.sleep(0.1 + 0.9 * Random(seed).random())
        tokens = [self._renderer.completion(f"attempt {derive_seed(seed, 'attempt', k)}") for k in range(n)]
        return [Completion(tokens=t, logprobs=np.zeros(len(t), np.float32), finish=Finish.STOP) for t in tokens]


def time_groups(task: Task, source: LLMSource, groups: int, size: int) -> None:
    """Times rollouts both ways. No two have a seed in common, so that the judge's record answers none of them."""
    tokenizer = AutoTokenizer.from_pretrained(builtin_directory())
    renderer = Renderer(tokenizer, [tokenizer.eos_token_id])
    collector = RolloutCollector(
        task=task,
        scorer=TaskScorer(task),
        source=source,
        renderer=renderer,
        prompts=Prompts(PromptsConfig()),
        generate=Policy(renderer, groups * size),
        max_tokens=100_000,
        config=RolloutConfig(),
        horizon=2,
    )
    problems = [task.problem("train", i) for i in range(groups)]
    for seed in range(3):
        seconds = []
        for each in (False, True):
            start = time.perf_counter()
            replace(collector, each_by_itself=each).collect(problems, size, 1.0, 2 * seed + each)
            seconds.append(time.perf_counter() - start)
        print(f"{groups} groups of {size}: {seconds[0]:.2f} s together, {seconds[1]:.2f} s each by itself", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--calls", type=int, default=256)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=0.2, help="how long the judge takes for a call")
    parser.add_argument("--steps", type=int, default=7)
    parser.add_argument("--groups", type=int, help="time rollouts in so many groups of 8")
    arguments = parser.parse_args()
    here, there = multiprocessing.Pipe()
    server = multiprocessing.Process(target=serve, args=(arguments.seconds, there), daemon=True)
    server.start()
    task = build_task(
        BinaryMatrixConfig(train_size=arguments.groups or arguments.steps, validation_size=1, test_size=1)
    )
    config = JudgeConfig(
        base_url=f"http://127.0.0.1:{here.recv()}/v1", model="judge", key_env=None, concurrency=arguments.concurrency
    )
    ideal = -(-arguments.calls // arguments.concurrency) * arguments.seconds
    ratios: list[float] = []
    with tempfile.TemporaryDirectory() as directory, Endpoints(Path(directory) / "judge.sqlite") as endpoints:
        source = LLMSource(config, task, endpoints)
        if arguments.groups:
            time_groups(task, source, arguments.groups, 8)
            return
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
