"""Commands in processes that have imported torch and transformers already: most of a short command's time goes there.

One server for each process of tests imports them once, and each command runs in a fork of it as a program of its own,
with its directory, environment, output and exit status. An environment variable that is read on import alone has no
effect there; a test of one starts a new process.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from rltf.support import user_code

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        "peft",
        "reasoning_gym",
        "rltf.cli.inspect",
        "rltf.cli.main",
        "rltf.cli.train",
        "rltf.engines.torch.engine",
        "rltf.runs.look",
        "torch._dynamo",
        "transformers.models.auto.tokenization_auto",
        "transformers.models.llama.modeling_llama",
    ]
)


def run_warm(arguments: Sequence[str], cwd: Path, timeout: float) -> subprocess.CompletedProcess[str]:
    """Runs `rltf` with these arguments. Raises `subprocess.TimeoutExpired` where it takes longer, in seconds."""
    with tempfile.TemporaryDirectory() as place:
        out, err = Path(place) / "out", Path(place) / "err"
        process = CONTEXT.Process(target=_command, args=(list(arguments), cwd, dict(os.environ), out, err))
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired(list(arguments), timeout)
        texts = [path.read_text() if path.is_file() else "" for path in (out, err)]
        return subprocess.CompletedProcess(list(arguments), process.exitcode, *texts)


def _command(arguments: Sequence[str], cwd: Path, environment: Mapping[str, str], out: Path, err: Path) -> None:
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    for path, stream in ((out, sys.stdout), (err, sys.stderr)):
        with path.open("w") as file:
            os.dup2(file.fileno(), stream.fileno())
    sys.argv = ["rltf", *arguments]
    try:
        runpy.run_module("rltf", run_name="__main__", alter_sys=True)
    finally:
        # In the order of an ordinary end; a process of multiprocessing leaves the functions out.
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        # From here on it is multiprocessing that ends the process, by os._exit, and no code of a user's.
        user_code._reports.clear()
