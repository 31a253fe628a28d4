"""What a process holds over what it uses: compiled kernels, and memory that was freed."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from typing import ClassVar

import pytest
import torch

from rltf.config import TorchEngineConfig, TrainerConfig
from rltf.engines.base import Engine
from rltf.engines.torch import heap
from rltf.engines.torch.engine import torch_engine
from rltf.types import Query, SamplingParams

HELD = """
import os, sys
import torch
from rltf.engines.torch.heap import compact_heap

def held():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

torch.set_num_threads(1)
"""
PRODUCTS = """
weight = torch.zeros(256, 256, dtype=torch.bfloat16)
def products(sizes):
    for tokens in sizes:
        torch.zeros(tokens, 256, dtype=torch.bfloat16) @ weight
products(range(1, 150))
before = held()
products(range(150, 450))
print(held() - before)
"""
BATCHES = """
def batch():
    kept, freed = [], []
    for _ in range(200):
        freed.append(torch.ones(500_000))
        kept.append(torch.ones(20_000))
    return kept
model = torch.nn.Linear(4000, 4000)
with compact_heap(model):
    batch()
before = held()
with compact_heap(model):
    kept = batch()
print(held() - before)
"""


def grown(code: str) -> float:
    """MiB by which a fresh process grew, as it says."""
    done = subprocess.run([sys.executable, "-c", HELD + code], check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_products_of_many_sizes_do_not_pile_up_kernels() -> None:
    assert grown(PRODUCTS) < 110  # As it is 50 MiB; three hundred kernels took 210.


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_what_was_freed_goes_back() -> None:
    assert grown(BATCHES) < 40  # What is kept takes 15 MiB; what is freed, 380.


def test_a_number_in_the_environment_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LRU_CACHE_CAPACITY", "7")
    monkeypatch.delenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", raising=False)
    heap.keep_few_kernels()
    assert {name: os.environ[name] for name in heap.KERNELS} == {
        "LRU_CACHE_CAPACITY": "7",
        "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "128",
    }


def test_sampling_scoring_and_training_give_memory_back(monkeypatch: pytest.MonkeyPatch) -> None:
    class Library:
        calls: ClassVar[list[tuple[str, int]]] = []

        def mallopt(self, _: int, size: int) -> None:
            self.calls.append(("from", size))

        def malloc_trim(self, keep: int) -> None:
            self.calls.append(("trim", keep))

    engine = torch_engine(TorchEngineConfig(device="cpu"), TrainerConfig(), 1.0)
    monkeypatch.setattr(heap, "_glibc", Library)
    generate(engine)
    assert not Library.calls  # Of a small model there is nothing to save.
    monkeypatch.setattr(heap, "_SMALL", 1000)
    for work in (
        lambda: generate(engine),
        lambda: engine.answer([Query(prompt_tokens=(5, 6), completion_tokens=(7,))]),
        lambda: engine.forward_backward([], 1.0),
    ):
        Library.calls.clear()
        work()
        assert Library.calls == [("from", 2**20), ("from", 2**25), ("trim", 0)]


def generate(engine: Engine) -> None:
    engine.generate([(5, 6)], 1, SamplingParams(max_tokens=2), [0])


def test_without_that_library_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: str) -> None:
        raise OSError

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert heap._glibc.__wrapped__() is None
    monkeypatch.setattr(heap, "_glibc", heap._glibc.__wrapped__)
    with heap.compact_heap(torch.nn.Linear(4000, 4000)) as nothing:
        assert nothing is None
