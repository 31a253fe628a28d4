"""A vLLM server that a run starts for itself in another environment, and stops when it is done."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from rltf.support.errors import UserError
from rltf.support.texts import sound

_LAUNCHER = Path(__file__).parent / "serve.py"
_ENVIRONMENT = {
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
    "VLLM_SERVER_DEV_MODE": "1",  # Weights can be changed in that mode alone.
    "VLLM_NO_USAGE_STATS": "1",
}
_GRACE_SECONDS = 20
_MOMENT_SECONDS = 3
_SHOWN = 300
_COMPLAINT = re.compile(r"ERROR|^[\w.]*Error\b|^ *Value error, |: error: ")
"""A line of a log that tells what went wrong: of a logger, at a traceback's end, on a setting, on an argument."""


class Server:
    """One process, and what it wrote."""

    def __init__(
        self, python: Path, model: Path, arguments: Sequence[str], log: Path, environment: Mapping[str, str]
    ) -> None:
        """Starts it with a model's directory, and variables beside those that every one needs; `log` is added to."""
        self._log, self._python = log, python
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = [str(python), str(_LAUNCHER), "--model", str(model), "--host", "127.0.0.1", "--port", str(port)]
        # The interpreter's own environment: nothing of ours is to be imported there.
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "OMP_"))}
        try:
            output = log.open("ab")
        except OSError as error:
            raise UserError(f"sampler.log={log}: cannot be written to ({error.strerror})") from error
        with output:
            self._begun = output.tell()
            """Where in the log this server's own lines begin."""
            try:
                self._process = subprocess.Popen(
                    [*command, *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env={**inherited, **_ENVIRONMENT, **environment},
                    start_new_session=True,  # A Ctrl-C is for the run, which stops the server when it is done.
                )
            except OSError as error:
                raise UserError(f"sampler.python={python}: cannot be run ({error.strerror})") from error

    def state(self) -> str | None:
        """How it ended, in one line; None while it runs."""
        status = self._process.poll()
        return None if status is None else self._ending(status)

    def ending(self) -> str | None:
        """The same where something has just failed: a process that is killed takes a moment to be gone."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_MOMENT_SECONDS)
        return self.state()

    def _ending(self, status: int) -> str:
        how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        return f"{how} (see {self._log}){self._last_words()}"

    def _last_words(self) -> str:
        lines = self._log.read_bytes()[self._begun :][-20_000:].decode("utf-8", "replace").splitlines()
        if any("No module named 'vllm'" in line for line in lines):
            return f": {lacks_vllm(self._python)}"
        told = [line for line in lines if _COMPLAINT.search(line)]
        return f": {sound(told[-1]).strip()[:_SHOWN]}" if told else ""

    def wait_until(self, is_ready: Callable[[], bool], seconds: float) -> None:
        """Waits until it answers. Raises `UserError` where it ends before, or takes too long."""
        begun = time.monotonic()
        while not is_ready():
            if (state := self.state()) is not None:
                raise UserError(f"the vLLM server {state}")
            if time.monotonic() - begun > seconds:
                raise UserError(
                    f"the vLLM server was not ready after {seconds:g} seconds (sampler.start_timeout); see {self._log}"
                )
            time.sleep(0.5)

    def stop(self) -> None:
        """Ends it with all its processes."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._process.pid, number)
                self._process.wait(_GRACE_SECONDS)
            except ProcessLookupError:
                break
            except subprocess.TimeoutExpired:
                continue
        self._process.poll()


def check_python(python: Path) -> None:
    """Raises `UserError` where an interpreter cannot be run, or finds no vLLM; vLLM itself is not loaded."""
    asked = "import importlib.util, sys; sys.exit(importlib.util.find_spec('vllm') is None)"
    try:
        found = subprocess.run([str(python), "-I", "-c", asked], capture_output=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(f"sampler.python={python}: cannot be run ({type(error).__name__})") from error
    if found.returncode:
        raise UserError(f"sampler.python={lacks_vllm(python)}")


def lacks_vllm(python: Path) -> str:
    """What is wrong with an interpreter without vLLM, and the mend."""
    return f"{python}: its environment has no vLLM; install it there: {python} -m pip install vllm"


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
