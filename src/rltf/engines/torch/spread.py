"""How a policy lies over the processes of a run: whole in one, whole in each (DDP), or a part in each (FSDP2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor
from transformers.modeling_layers import GradientCheckpointingLayer

from rltf.support.errors import UserError


class Alone:
    """One process holds all. The other ways are written as what they do otherwise."""

    writes = True
    """Whether this process writes checkpoints and models."""
    retries = True
    """Whether a pass that ran out of memory may be tried again with fewer tokens, whatever other processes do."""
    sharded = False
    """Whether each process holds a part of the weights."""

    def place(self, model: Any, *, adapters: bool) -> None:
        """Spreads a loaded model; `adapters`: they alone are trained."""

    def gathered(self) -> AbstractContextManager[None]:
        """Within it the model is whole, and passes without a gradient need no other process."""
        return nullcontext()

    def training(self, passes: int, empty_pass: Callable[[], None], *, shared: bool) -> AbstractContextManager[None]:
        """Within it, the passes over this process's share are made.

        Args:
            passes: how many they are.
            empty_pass: makes one whose gradient is zero, of which as many are made as the other processes wait for.
            shared: whether the passes share prefixes.
        """
        return nullcontext()

    def reduce(self, masters: Mapping[str, Tensor]) -> None:
        """Sums each process's gradient, so that every process has that of the whole batch."""

    def whole(self, tensor: Tensor) -> Tensor:
        """A tensor of the weights' kind, whole, on the CPU; an empty one in a process that writes nothing, so that a
        machine's memory holds a checkpoint once and not once for each GPU."""
        return tensor.detach().cpu().contiguous() if self.writes else tensor.new_empty(0)

    def part(self, whole: Tensor, like: Tensor) -> Tensor:
        """What this process holds of a whole tensor: of the kind, and on the device, of `like`."""
        return whole.to(like.device)


class Replicated(Alone):
    """The whole policy in each process, as in DDP; the gradients are summed before the step.

    Not accelerate's wrapper, whose gradients are means over as many backward passes in each process: shares differ.
    """

    def __init__(self, index: int) -> None:
        self.writes = index == 0

    def reduce(self, masters: Mapping[str, Tensor]) -> None:
        """See `Alone`. A weight that no process has a gradient of keeps none."""
        from accelerate.utils import reduce

        weights = list(masters.values())
        has = torch.tensor([float(weight.grad is not None) for weight in weights], device=weights[0].device)
        for weight, anywhere in zip(weights, reduce(has, "sum").tolist(), strict=True):
            if anywhere:
                own = torch.zeros_like(weight) if weight.grad is None else weight.grad
                weight.grad = reduce(own, "sum")


class Sharded(Alone):
    """A part of every weight in each process: FSDP2, by torch's `fully_shard`, as accelerate calls it.

    accelerate's own `prepare` is not used: it shards nothing on a CPU, has output layer and last norm wait for each
    other, which are used apart here, and wants to wrap the optimiser.

    Training passes gather one layer's weights at a time, and hand its gradients out, so every process makes as many
    passes as the others. With shared prefixes a layer runs twice in a pass, and how often differs from process to
    process: then all weights are gathered for all passes, gradients are added up whole, and handed out once at the end.
    """

    retries = False
    sharded = True

    def __init__(self, index: int, count: int, device: torch.device, dtype: torch.dtype) -> None:
        self.writes = index == 0
        self._count, self._device, self._dtype = count, device, dtype
        self._modules: list[Any] = []
        self._root: Any = None

    def place(self, model: Any, *, adapters: bool) -> None:
        """See `Alone`. Weights that are trained are held in float32, and computed with in the model's format."""
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard

        if not hasattr(FSDPModule, "set_reduce_scatter_unused_params"):
            raise UserError(f"engine.parallel=fsdp2 needs a newer torch than {torch.__version__}; ddp does not")
        mesh = init_device_mesh(self._device.type, (self._count,))
        rounds = not adapters and self._dtype != torch.float32
        policy = MixedPrecisionPolicy(param_dtype=self._dtype, reduce_dtype=torch.float32) if rounds else None
        root = model.get_base_model() if hasattr(model, "get_base_model") else model
        layers = [module for module in root.modules() if isinstance(module, GradientCheckpointingLayer)]
        for module in (*layers, root):
            fully_shard(
                module.float() if rounds else module,
                mesh=mesh,
                mp_policy=policy or MixedPrecisionPolicy(),
                # What stands outside the layers, the output layer among it, is read until the backward pass ends.
                reshard_after_forward=module is not root,
            )
        self._root = root
        self._modules = [module for module in root.modules() if isinstance(module, FSDPModule)]
        for module in self._modules:
            # Sums, not means; only so do processes with shares of other sizes add up to the whole batch.
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)
            module.set_reduce_scatter_unused_params(True)

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """See `Alone`."""
        for module in self._modules:
            module.unshard()
        self._keep(True)
        try:
            yield
        finally:
            self._keep(False)
            for module in self._modules:
                module.reshard()

    def _keep(self, whole: bool) -> None:
        """Whether passes leave the weights whole; the root's are left so in any case until its backward pass ends."""
        for module in self._modules:
            module.set_reshard_after_forward(not whole and module is not self._root, recurse=False)
            module.set_reshard_after_backward(not whole, recurse=False)

    @contextmanager
    def training(self, passes: int, empty_pass: Callable[[], None], *, shared: bool) -> Iterator[None]:
        """See `Alone`."""
        if shared:
            with self.gathered():
                self._root.set_requires_gradient_sync(False)
                yield
                # What was added up goes out with the gradient of one more pass.
                self._root.set_requires_gradient_sync(True)
                empty_pass()
            return
        most = torch.tensor(passes, device=self._device)
        torch.distributed.all_reduce(most, torch.distributed.ReduceOp.MAX)
        yield
        for _ in range(int(most) - passes):
            empty_pass()

    def whole(self, tensor: Tensor) -> Tensor:
        """See `Alone`; every process asks, at the same moment."""
        there: Any = tensor.detach()
        return super().whole(there.full_tensor() if hasattr(there, "full_tensor") else there)

    def part(self, whole: Tensor, like: Tensor) -> Tensor:
        """See `Alone`."""
        from torch.distributed.tensor import DTensor, distribute_tensor

        if not isinstance(like, DTensor):
            return super().part(whole, like)
        # Every process has read the whole: none is sent.
        return distribute_tensor(whole.to(self._device), like.device_mesh, like.placements, src_data_rank=None)
