"""Whether a decimal, which may be rounded, is a value."""

from __future__ import annotations

from fractions import Fraction

_PLACES = Fraction(1, 2_000_000)
_SHARE = Fraction(1, 2_000)
_MACHINE = 15
"""Digits in all from which a decimal may be what a machine printed, with an error in the last of them."""


def is_rounded(value: Fraction, other: Fraction, places: int | None, other_places: int | None) -> bool:
    """Whether two numbers agree to six places and in their first four digits, and as far as both are written.

    `places` are the decimal places of a number that may be rounded or cut off there, None of an exact one. Decimals of
    the same places must be equal: a last digit that is another is a mistake and no rounding.
    """
    off, size = abs(value - other), min(abs(value), abs(other))
    if off == 0:
        return True
    if places == other_places or off > min(_PLACES, _SHARE * size):
        return False
    shown = min(place for place in (places, other_places) if place is not None)
    unit = Fraction(1, 10**shown) if shown >= 0 else Fraction(10**-shown)
    digits = shown + len(str(int(size))) if size >= 1 else shown
    return off < max(unit, size / 10 ** (_MACHINE - 1) if digits >= _MACHINE else Fraction(0))
