"""`python -m tests.wild [AREA ...]`: how many cases of each kind hold, and those that do not."""

from __future__ import annotations

import json
import sys
from pathlib import Path

# What the areas share with the tests: `helpers` and the judge's server.
sys.path.insert(0, str(Path(__file__).parent.parent))

from . import areas, faults, kinds


def main(wanted: list[str]) -> int:
    if unknown := set(wanted) - set(areas()):
        print(f"no such area: {', '.join(sorted(unknown))}; there are {', '.join(areas())}")
        return 2
    tried = failed = 0
    for area in wanted or areas():
        for kind, those in kinds(area).items():
            bad = list(faults(area, those))
            tried, failed = tried + len(those), failed + len(bad)
            print(f"{len(those) - len(bad):5} of {len(those):4}  {area}: {kind}", flush=True)
            for case, seen in bad:
                print(f"{'':15}{json.dumps(case, ensure_ascii=False)[:300]}\n{'':17}seen: {seen[:200]}")
    print(f"{tried - failed:5} of {tried:4} hold")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
