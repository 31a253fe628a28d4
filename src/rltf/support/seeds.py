"""Every random choice is a pure function of the run's seed, a purpose and a position.

Nothing holds generator state between steps, so a resumed run draws what the uninterrupted one would have.
"""

from __future__ import annotations

import hashlib
import json


def derive_seed(seed: int, *path: str | int) -> int:
    """A 63-bit seed for one purpose, e.g. `derive_seed(run_seed, "sample", step, turn)`.

    Distinct paths give independent seeds; the same path always gives the same seed.
    """
    # JSON keeps parts apart whatever they hold, and a number apart from its digits.
    text = json.dumps([seed, *path])
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
