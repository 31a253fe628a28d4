"""Every case of `tests/data/wild` has its right value; `python -m tests.wild` prints them by kind."""

from __future__ import annotations

import pytest
from wild import areas, cases, faults, kinds


@pytest.mark.parametrize(("area", "kind"), [(area, kind) for area in areas() for kind in kinds(area)])
def test_the_cases_of_a_kind_hold(area: str, kind: str) -> None:
    assert not list(faults(area, kinds(area)[kind]))


@pytest.mark.parametrize("area", areas())
def test_every_area_has_cases_and_none_stands_twice(area: str) -> None:
    found = [str(case) for case in cases(area)]
    assert found
    assert len(set(found)) == len(found)
