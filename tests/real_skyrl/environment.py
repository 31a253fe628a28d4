"""An environment that has SkyRL, and a server of it on loopback."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

PINS = (
    "skyrl[jax,tinker]==0.3.0",
    "tinker==0.24.1",
    "torch==2.13.0",
    "jax==0.10.2",
    "transformers==5.8.0",
    "peft==0.18.1",
)
"""Versions that work together on Python 3.11; unpinned, builds for GPUs are fetched."""
_READY = "Initialized TinkerEngine"
_LONGEST_START = 180.0
# One sequence at a time, so that a number of them needs no compilation of its own.
_BACKEND = '{"max_lora_adapters": 32, "max_lora_rank": 8, "train_micro_batch_size": 1, "sample_max_num_sequences": 8}'


def interpreter(directory: Path) -> Path:
    """The environment's interpreter; makes the environment (2.2 GB, some minutes) where it is not there."""
    python = directory / "bin" / "python"
    if not python.exists():
        print(f"making {directory} with {' '.join(PINS)}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(directory)], check=True)
        # Not held to the constraints of this checkout: SkyRL wants older versions.
        subprocess.run([str(python), "-m", "pip", "install", "-q", *PINS], check=True)
    return python


class Server:
    """A server with one base model. It can be killed, and started again with what it had saved."""

    def __init__(self, python: Path, model: Path, directory: Path) -> None:
        self._python, self._model, self._directory = python, model, directory
        directory.mkdir(parents=True)
        self.log = directory / "log"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Returns once it is ready, after so many seconds."""
        begun = time.monotonic()
        there = self.log.read_text().count(_READY) if self.log.exists() else 0
        flags = {
            "base-model": self._model,
            "backend": "jax",
            "backend-config": _BACKEND,
            "port": self.port,
            "database-url": f"sqlite:///{self._directory / 'server.db'}",
            "checkpoints-base": self._directory / "checkpoints",
        }
        command = [str(self._python), str(Path(__file__).with_name("server.py"))]
        command += [part for name, value in flags.items() for part in (f"--{name}", str(value))]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, env=self._variables(), start_new_session=True
            )
        while self.log.read_text().count(_READY) == there:
            if self._process.poll() is not None or time.monotonic() - begun > _LONGEST_START:
                raise SystemExit(f"the server did not start:\n{self.log.read_text()[-3000:]}")
            time.sleep(0.2)
        return time.monotonic() - begun

    def _variables(self) -> dict[str, str]:
        cache = self._python.parent.parent / "jax-cache"
        return os.environ | {
            "HF_HUB_OFFLINE": "1",
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
            "JAX_COMPILATION_CACHE_DIR": str(cache),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        }

    def kill(self) -> None:
        """Ends it at once, with the engine that it started."""
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None
