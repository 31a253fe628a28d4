"""All weights from GPU to GPU, by vLLM's own weight transfer, without files.

What is sent, and in which order, is that of vLLM 0.32 (vllm/distributed/weight_transfer, its routes in
vllm/entrypoints/rl/online): the way is opened once; for each change an update is started, the parameters are named and
handed over, and it is finished. vLLM itself is not imported. This was never run on GPUs: the comparison of server and
learner after each change stands behind it.
"""

from __future__ import annotations

import base64
import pickle
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from typing import Any, Protocol, TypeVar

import torch
import torch.cuda.nccl
import torch.multiprocessing.reductions

from rltf.config import SamplerConfig, TorchEngineConfig
from rltf.engines.torch.model import pick_device
from rltf.engines.vllm.client import Client
from rltf.support.errors import UserError
from rltf.support.side_by_side import in_daemon_thread

T = TypeVar("T")
nccl: Any = torch.cuda.nccl
reductions: Any = torch.multiprocessing.reductions
"""Neither has types."""


class Transfer(Protocol):
    """A way for all weights."""

    def send(self, model: Any) -> None:
        """Has the server take a model's weights."""
        ...


def open_transfer(config: SamplerConfig, client: Client) -> Transfer | None:
    """The way that the settings name; None for files, which are no part of this."""
    match config.transfer:
        case "ipc":
            return BySharedMemory(client)
        case "nccl":
            return ByBroadcast(client, config.timeout)
        case "file":
            return None


def check_device(config: SamplerConfig, engine: TorchEngineConfig) -> None:
    """Raises `UserError` where there is no GPU for weights to come from."""
    if config.transfer == "file":
        return
    device = pick_device(engine.device)
    if device.type != "cuda":
        raise UserError(
            f"sampler.transfer={config.transfer} sends weights from a CUDA device, and the learner is on "
            f"{device.type}; set sampler.transfer=file"
        )


class BySharedMemory:
    """CUDA IPC: the server reads the learner's weights where they lie, on the GPU that both have."""

    def __init__(self, client: Client) -> None:
        self._client = client
        client.init_transfer({"packed": False})

    def send(self, model: Any) -> None:
        """See `Transfer`. The model's weights must not change meanwhile, nor go."""
        parameters = parameters_of(model)
        handles = [handle(tensor) for _, tensor in parameters]
        if torch.cuda.is_available():
            torch.cuda.synchronize()  # The step that made them is done.
        self._client.start_update()
        # Handles are no JSON. The server reads what is pickled only where its environment allows that.
        pickled = base64.b64encode(pickle.dumps(handles)).decode()
        self._client.update_weights(described(parameters) | {"ipc_handles_pickled": pickled})
        self._client.finish_update()


class ByBroadcast:
    """NCCL: the learner is rank 0 of a group, the server's processes are the others, on GPUs of their own.

    The group has no store: the learner makes its id, and the server is told it.
    """

    def __init__(self, client: Client, timeout: float) -> None:
        """`timeout`: seconds that the group, or the weights, may take. NCCL itself would wait for ever."""
        self._client, self._timeout = client, timeout
        size, device = client.world_size() + 1, current_device()
        identity = Group.new_id()
        opening = {
            "rank_offset": 1,
            "world_size": size,
            "nccl_unique_id_b64": base64.b64encode(identity).decode(),
            "packed": False,
        }
        # Both sides have to be there at the same time: the server answers once the group stands.
        answer = in_daemon_thread(lambda: client.init_transfer(opening))
        group = in_daemon_thread(lambda: Group(size, identity, device))
        self._group = self._both(answer, group)

    def send(self, model: Any) -> None:
        """See `Transfer`."""
        parameters = parameters_of(model)
        self._client.start_update()
        answer = in_daemon_thread(lambda: self._client.update_weights(described(parameters)))
        self._both(answer, in_daemon_thread(lambda: self._group.send([tensor for _, tensor in parameters])))
        self._client.finish_update()

    def _both(self, answer: Future[None], mine: Future[T]) -> T:
        """What this side's work gives, once the server has answered too; raises what either raises first."""
        both: tuple[Future[Any], ...] = (answer, mine)
        done, waiting = wait(both, self._timeout, return_when=FIRST_EXCEPTION)
        if answer in done:
            answer.result()
        if mine in done and (error := mine.exception()) is not None:
            raise UserError(f"sampler.transfer=nccl: {' '.join(str(error).split())}") from error
        if waiting:
            raise UserError(
                f"sampler.transfer=nccl: the learner and the vLLM server did not meet within {self._timeout:g} seconds "
                "(sampler.timeout); both need GPUs of their own, a network between them, and the same version of NCCL"
            )
        return mine.result()


class Group:
    """The learner's place in a group of NCCL's, by what torch has of NCCL itself."""

    @staticmethod
    def new_id() -> bytes:
        """The id of a group that is yet to be."""
        found: bytes = nccl.unique_id()
        return found

    def __init__(self, size: int, identity: bytes, device: torch.device) -> None:
        """Joins as rank 0, from a device; waits for the others."""
        self._device = device
        with torch.cuda.device(device):
            self._member = nccl.init_rank(size, identity, 0)
            # vLLM's side tries each new group out with a sum of one number, in which all have to take part.
            tried = torch.zeros(1, device=device)
            stream = torch.cuda.current_stream()
            nccl.all_reduce([tried], streams=[stream], comms=[self._member])
            stream.synchronize()

    def send(self, tensors: Sequence[torch.Tensor]) -> None:
        """Gives each tensor to all others, in order."""
        with torch.cuda.device(self._device):
            stream = torch.cuda.current_stream()
            for tensor in tensors:
                # One that lies elsewhere, as where processes have parts of the model, comes here first.
                there = tensor.to(self._device)
                nccl.broadcast([there], root=0, streams=[stream], comms=[self._member])
            stream.synchronize()


def current_device() -> torch.device:
    """The GPU of this thread, which other threads have to be told."""
    return torch.device("cuda", torch.cuda.current_device())


def parameters_of(model: Any) -> list[tuple[str, torch.Tensor]]:
    """What is sent: each weight once, under the name that it has in the model."""
    return [(name, parameter.detach().contiguous()) for name, parameter in model.named_parameters()]


def described(parameters: Sequence[tuple[str, torch.Tensor]]) -> dict[str, Any]:
    """What the server has to know of the parameters, in their order."""
    return {
        "names": [name for name, _ in parameters],
        "dtype_names": [str(tensor.dtype).removeprefix("torch.") for _, tensor in parameters],
        "shapes": [list(tensor.shape) for _, tensor in parameters],
    }


def handle(tensor: torch.Tensor) -> dict[str, tuple[Any, ...]]:
    """Where a tensor lies, for another process: by its GPU's name, the arguments that torch opens it with there."""
    if tensor.device.type != "cuda":
        raise UserError("sampler.transfer=ipc: the weights lie on no GPU; set sampler.transfer=file")
    _, arguments = reductions.reduce_tensor(tensor)
    return {str(torch.cuda.get_device_properties(tensor.device).uuid): arguments}
