"""Commands in several processes that a launcher started together."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from rltf.cli.ending import fail
from rltf.support.launched import is_helper, process_count


@contextmanager
def leading() -> Iterator[None]:
    """Within it, process 0 runs the run. The others are joined before anything else, so that they wait in peace while a
    data set is fetched; at the end they are let go."""
    if process_count() == 1:
        yield
        return
    # Imported here: torch takes seconds to import.
    from rltf.engines.torch.several import dismiss
    from rltf.engines.torch.team import team

    team()
    try:
        yield
    finally:
        dismiss()


def refuse_other_command(name: str) -> NoReturn:
    """Ends a command that several processes cannot share; one of them says why."""
    if is_helper():
        raise SystemExit(2)
    fail(f"rltf {name}: {process_count()} processes were started, which share `rltf train` alone: start one")


def help_out() -> None:
    """What the other processes do. When to stop is for process 0 to say, which saves first."""
    from rltf.engines.torch.several import help_out as serve
    from rltf.engines.torch.team import team

    team()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    serve()
