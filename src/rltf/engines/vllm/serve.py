"""Starts vLLM's server. Run by an interpreter that has vLLM, where rltf need not be installed; imports nothing of rltf.

On a CPU vLLM packs the weights of linear layers anew when it loads a model, and later weights do not reach the packed
ones. So packing is turned off there. On a GPU nothing is changed.
"""

import runpy
from typing import Any


def keep_weights_replaceable() -> None:
    """Lets linear layers on a CPU compute with their weights as they are."""
    from vllm.model_executor.layers import utils
    from vllm.platforms import current_platform

    if not current_platform.is_cpu() or not hasattr(utils, "dispatch_cpu_unquantized_gemm"):
        return
    from torch.nn.functional import linear

    def plain(layer: Any, remove_weight: bool) -> None:
        layer.cpu_linear = linear

    utils.dispatch_cpu_unquantized_gemm = plain


# Also where a process of vLLM's own imports this file again.
keep_weights_replaceable()

if __name__ == "__main__":
    runpy.run_module("vllm.entrypoints.openai.api_server", run_name="__main__")
