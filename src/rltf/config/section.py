"""What every group of settings is: strict and frozen. And the checks that several of them make."""

from __future__ import annotations

import re
from typing import Annotated, Any, TypeAlias, get_args
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

Positive: TypeAlias = Annotated[int, Field(gt=0)]
NonNegative: TypeAlias = Annotated[int, Field(ge=0)]
Rate: TypeAlias = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Probability: TypeAlias = Annotated[float, Field(ge=0, le=1)]
# TOML and JSON know lists only; tuples can be hashed, as all settings can.
FROM_LIST = BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)


class Section(BaseModel):
    """A strict, frozen group of settings."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _none_words(cls, data: Any) -> Any:
        """TOML has no null: the word none unsets a field that can be unset."""
        if not isinstance(data, dict):
            return data
        unset = {n for n, f in cls.model_fields.items() if type(None) in get_args(f.annotation)}
        return {k: None if v == "none" and k in unset else v for k, v in data.items()}


_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]{0,63}")


def check_address(url: str, keys: str | None) -> str:
    """The address of a server in its usual form; raises `ValueError` where it is none, or holds what may be a key.

    `keys` is the setting that names the variable for a key; None where the server is asked without one.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("not an address that begins with http:// or https://")
    if parts.username or parts.password or parts.query:
        mend = "remove it" if keys is None else f"name the variable that holds the key in {keys}"
        raise ValueError(f"no keys belong in the address; {mend}")
    return url.rstrip("/")


def check_variable(name: str) -> str:
    """The name of an environment variable; raises `ValueError`, without the text, where it is none: it may be a key."""
    if not _VARIABLE.fullmatch(name):
        raise ValueError("not the name of an environment variable; put the key into a variable and name that")
    return name
