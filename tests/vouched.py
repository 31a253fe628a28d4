"""`python -m tests.vouched [FIELD ...]`: does each test that vouches for a setting fail without the setting?

`test_config_alive.py` names, for settings that a short run cannot show, the test that is about them. Here each of these
tests runs in processes that ignore its setting. A test that still passes vouches for nothing. It takes half an hour.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parent
LONGEST = 300.0
"""Seconds after which a test does not pass: without its setting it may wait for ever."""
sys.path.insert(0, str(TESTS))

from test_config_alive import TESTED_ELSEWHERE  # noqa: E402


def holds_without(field: str, test: str) -> bool:
    """Whether the test passes although the setting is ignored."""
    path = os.pathsep.join([str(TESTS / "without"), os.environ.get("PYTHONPATH", "")])
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-x", "-q", "-n", "0", str(TESTS / test)],
            env={**os.environ, "PYTHONPATH": path, "RLTF_WITHOUT": field},
            capture_output=True,
            text=True,
            timeout=LONGEST,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    if done.returncode not in (0, 1) or (done.returncode == 0 and " passed" not in done.stdout):
        raise SystemExit(f"{test} could not be run, or was skipped:\n{done.stdout}{done.stderr}")
    return done.returncode == 0


def main(fields: list[str]) -> int:
    idle = 0
    for field in fields or sorted(TESTED_ELSEWHERE):
        holds = holds_without(field, TESTED_ELSEWHERE[field])
        idle += holds
        print(f"{field}: {'PASSES WITHOUT IT' if holds else 'fails without it'}, {TESTED_ELSEWHERE[field]}", flush=True)
    print(f"{idle} of {len(fields or TESTED_ELSEWHERE)} tests pass without the setting that they vouch for")
    return int(idle > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
