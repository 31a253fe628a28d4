"""All weights by vLLM's own transfer: what is sent, in which order, and what goes wrong. No GPU is needed: where a
tensor's memory would be handed over, or broadcast, the tensor itself goes. `python -m tests.real_vllm` has vLLM's own
classes read what is sent."""

from __future__ import annotations

import base64
import pickle
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
import torch
from command_line import rltf
from test_vllm import dry, engine_at, gap, settings, step
from vllm_server import StandIn, make_model, vllm_server

from rltf.config.load import configure
from rltf.engines.vllm import engine as engine_module
from rltf.engines.vllm import transfer
from rltf.runs.build import build_engine
from rltf.support.errors import UserError

UPDATE = ["/start_weight_update", "/update_weights", "/finish_weight_update", "/reset_prefix_cache"]


def updates(server: StandIn) -> list[str]:
    return [route for route in server.routes if route in UPDATE]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def server(model: Path) -> Iterator[StandIn]:
    with vllm_server(model) as found:
        found.settings["weight_transfer_config"] = {"backend": "ipc"}
        found.variables["VLLM_ALLOW_INSECURE_SERIALIZATION"] = True
        found.receives = opened
        yield found


@pytest.fixture(autouse=True)
def without_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "check_device", lambda *_: None)
    monkeypatch.setattr(transfer, "handle", lambda tensor: {"GPU-1": (tensor,)})
    monkeypatch.setattr(transfer, "current_device", lambda: torch.device("cpu"))
    monkeypatch.setattr(transfer, "Group", Group)


def opened(info: dict[str, Any]) -> list[torch.Tensor]:
    """What a server makes of handles."""
    return [handle["GPU-1"][0] for handle in pickle.loads(base64.b64decode(info["ipc_handles_pickled"]))]


class Group:
    """In place of a group of NCCL's: a queue."""

    sent: SimpleQueue[torch.Tensor]
    joined: threading.Event
    waits: threading.Event
    """What the learner waits for before it has joined."""

    @staticmethod
    def new_id() -> bytes:
        return bytes(range(128))

    def __init__(self, size: int, identity: bytes, device: torch.device) -> None:
        assert (size, identity) == (3, self.new_id())
        Group.joined.set()
        Group.waits.wait()

    def send(self, tensors: Sequence[torch.Tensor]) -> None:
        for tensor in tensors:
            Group.sent.put(tensor)


@pytest.fixture
def by_broadcast(server: StandIn) -> StandIn:
    """A server that joins the learner's group, and waits for it to be there."""
    server.settings["weight_transfer_config"] = {"backend": "nccl"}
    server.receives = lambda info: [Group.sent.get(timeout=5) for _ in info["names"]]
    Group.sent, Group.joined, Group.waits = SimpleQueue(), threading.Event(), threading.Event()

    def joins() -> None:
        assert Group.joined.wait(5)
        Group.waits.set()

    server.joins = joins
    return server


def test_weights_reach_the_server_where_they_lie(server: StandIn, model: Path) -> None:
    engine = engine_at(server, model, **{"sampler.transfer": "ipc"})
    assert server.opened == {"packed": False}
    for _ in range(3):
        step(engine)
        assert gap(engine) < 1e-4
    assert updates(server) == UPDATE * 4
    assert not server.paths, "files are written"
    engine.close()


def test_weights_reach_the_server_by_a_broadcast(by_broadcast: StandIn, model: Path) -> None:
    engine = engine_at(by_broadcast, model, **{"sampler.transfer": "nccl"})
    identity = base64.b64encode(bytes(range(128))).decode()
    assert by_broadcast.opened == {
        "rank_offset": 1,
        "world_size": 3,
        "nccl_unique_id_b64": identity,
        "packed": False,
    }
    for _ in range(3):
        step(engine)
        assert gap(engine) < 1e-4
    assert updates(by_broadcast) == UPDATE * 4
    engine.close()


def test_a_server_that_keeps_its_weights_stops_the_run(server: StandIn, model: Path) -> None:
    engine = engine_at(server, model, **{"sampler.transfer": "ipc"})
    step(engine)
    server.stale = True
    with pytest.raises(UserError, match=r"differ from the learner's by .* after it was given the weights of step 1"):
        gap(engine)
    engine.close()


def test_no_side_waits_for_ever(by_broadcast: StandIn, model: Path) -> None:
    by_broadcast.joins = None  # It says that it has joined, and has not.
    with pytest.raises(UserError, match=r"did not meet within 0\.5 seconds \(sampler\.timeout\)"):
        engine_at(by_broadcast, model, **{"sampler.transfer": "nccl", "sampler.timeout": 0.5})
    by_broadcast.joins = Group.waits.set
    engine = engine_at(by_broadcast, model, **{"sampler.transfer": "nccl"})

    def dies(info: dict[str, Any]) -> None:
        raise AssertionError("no such parameter")

    by_broadcast.receives = dies
    with pytest.raises(UserError, match=r"the vLLM server at .* cannot be reached"):
        gap(engine)
    engine.close()


def test_what_this_side_cannot_do_is_a_line(
    by_broadcast: StandIn, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> None:
        raise RuntimeError("NCCL Error 1:\n unhandled cuda error")

    monkeypatch.setattr(Group, "__init__", fails)
    by_broadcast.joins = lambda: threading.Event().wait(1.0)
    with pytest.raises(UserError, match=r"^sampler\.transfer=nccl: NCCL Error 1: unhandled cuda error$"):
        engine_at(by_broadcast, model, **{"sampler.transfer": "nccl"})


@pytest.mark.parametrize(
    ("backend", "variables", "how", "lacks"),
    [
        (None, {"VLLM_ALLOW_INSECURE_SERIALIZATION": True}, "ipc", r'--weight-transfer-config .*"ipc"'),
        ("nccl", {"VLLM_ALLOW_INSECURE_SERIALIZATION": True}, "ipc", r'--weight-transfer-config .*"ipc"'),
        ("ipc", {}, "ipc", "VLLM_ALLOW_INSECURE_SERIALIZATION=1"),
        ("ipc", {}, "nccl", r'--weight-transfer-config .*"nccl"'),
    ],
)
def test_a_server_that_was_started_otherwise_is_refused(
    server: StandIn, model: Path, backend: str | None, variables: dict[str, Any], how: str, lacks: str
) -> None:
    server.settings["weight_transfer_config"] = backend and {"backend": backend}
    server.variables = variables
    with pytest.raises(UserError, match=rf"sampler\.transfer={how}: .* was started without {lacks}"):
        engine_at(server, model, **{"sampler.transfer": how})


def test_what_has_no_way_from_gpu_to_gpu_is_refused(
    server: StandIn, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = settings(model, **{"sampler.url": server.url, "sampler.transfer": "ipc"})
    with pytest.raises(UserError, match=r"sampler\.transfer=ipc is for all weights.*set sampler\.transfer=file"):
        configure(changes=asked | {"engine.lora.rank": 4})
    monkeypatch.undo()
    with pytest.raises(UserError, match=r"sampler\.transfer=ipc .* the learner is on cpu; set sampler\.transfer=file"):
        build_engine(configure(changes=asked))
    done = rltf(*dry(model, f"sampler.url={server.url}", "sampler.transfer=ipc"), cwd=tmp_path, status=1)
    assert "the learner is on cpu" in done.stdout
    with pytest.raises(UserError, match="the weights lie on no GPU"):
        transfer.handle(torch.zeros(1))
