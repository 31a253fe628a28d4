"""`python -m tests.families [KIND]...` from the checkout's root: tries every family, or those named."""

from __future__ import annotations

import sys
import tempfile
import time
import warnings
from pathlib import Path

from transformers import AutoTokenizer

from rltf.builtin import builtin_directory
from rltf.support.errors import UserError

from .check import MOST_OFF, Found, compare, write_tiny
from .table import CHANGES, LEFT_OUT, REFUSED, kinds


def main(named: list[str]) -> int:
    """The exit status: 1 where a family is off, refused though it should not be, or the other way round."""
    warnings.filterwarnings("ignore")
    tokenizer, wrong = AutoTokenizer.from_pretrained(builtin_directory()), 0
    for kind in named or kinds():
        for adapters in (False, True):
            begun = time.perf_counter()
            with tempfile.TemporaryDirectory() as directory:
                verdict, good = _try(kind, adapters, Path(directory) / "tiny", tokenizer)
            wrong += not good
            how = "adapters" if adapters else "full"
            print(
                f"{'good ' if good else 'WRONG'} {kind:24} {how:8} {time.perf_counter() - begun:5.1f}s  {verdict}",
                flush=True,
            )
    for kind, reason in LEFT_OUT.items():
        if not named:
            print(f"not tried: {kind}: {reason}")
    return int(wrong > 0)


def _try(kind: str, adapters: bool, path: Path, tokenizer: object) -> tuple[str, bool]:
    try:
        write_tiny(kind, tokenizer, path, **CHANGES.get(kind, {}))
        found: Found = compare(path, adapters)
    except UserError as error:
        text = str(error).replace(str(path), "")
        return f"refused: {text}", kind in REFUSED and REFUSED[kind] in text
    except Exception as error:
        return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}", False
    off = ", ".join(f"{name} {value:.0e}" for name, value in found.off.items() if value > MOST_OFF)
    return f"{found.batching}, off by {found.worst:.0e} {off} {' '.join(found.notes)}", found.worst <= MOST_OFF


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
