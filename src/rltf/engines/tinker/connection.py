"""The way to a server of the Tinker API: the SDK, the key, and a limit on every wait."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from rltf.config import TinkerEngineConfig
from rltf.support.addresses import check_listens
from rltf.support.errors import EngineLost, UserError
from rltf.support.side_by_side import in_daemon_thread

T = TypeVar("T")
HOSTED_KEY = "TINKER_API_KEY"
_NO_KEY = "tml-none"
"""The SDK wants a key of this form where the server wants none."""


class ServerLost(EngineLost):
    """The server did not do what it was asked to, or did not answer in time."""


def sdk() -> Any:
    """The SDK, which reports nothing of what it does to anybody unless `TINKER_TELEMETRY` asks it to."""
    os.environ.setdefault("TINKER_TELEMETRY", "0")
    try:
        import tinker
    except ImportError as error:
        raise UserError(
            'engine.name=tinker needs the Tinker SDK: pip install -c constraints.txt ".[tinker]"'
        ) from error
    return tinker


def key_of(config: TinkerEngineConfig) -> str:
    """The key from the environment; raises `UserError` where it is missing."""
    name = config.key_env or (HOSTED_KEY if config.base_url is None else None)
    if name is None:
        return _NO_KEY
    key = os.environ.get(name, "").strip()
    if not key:
        raise UserError(f"engine.key_env: the environment variable {name} is not set; put the server's key there")
    if not key.startswith(("tml-", "eyJ")):
        raise UserError(f"engine.key_env: the environment variable {name} holds no key of the Tinker API (tml-...)")
    return key


def check_connection(config: TinkerEngineConfig) -> None:
    """Finds what can be found without asking the server: no SDK, no key, an address that no record would name."""
    sdk()
    key_of(config)
    if config.base_url is None and os.environ.get("TINKER_BASE_URL"):
        raise UserError(
            "the environment variable TINKER_BASE_URL names a server that the run's record would not; remove it, and "
            "set engine.base_url"
        )


def check_listening(config: TinkerEngineConfig) -> None:
    """Raises `UserError` where nobody is at the address of a server of the user's, which the SDK would go on trying
    without a word. The hosted service is not asked."""
    if config.base_url is not None:
        check_listens(config.base_url, "engine.base_url", by_proxy=True)


class Connection:
    """One session at a server."""

    def __init__(self, config: TinkerEngineConfig) -> None:
        """Raises `ServerLost` where nobody answers, `UserError` where the server does not have the model."""
        check_connection(config)
        check_listening(config)
        self._name = config.base_url or "the hosted service"
        self.timeout, self._key = config.timeout, key_of(config)
        address = {} if config.base_url is None else {"base_url": config.base_url}
        service = sdk().ServiceClient
        self.service: Any = self.call(
            "open a session",
            # The header would else be filled from the hosted service's variable, whoever is asked.
            lambda: service(api_key=self._key, default_headers={"X-API-Key": self._key}, **address),
        )

    def longest(self, model: str) -> int | None:
        """The longest sequence of a model by word of the server, None where it says nothing of that.

        Raises `UserError` where the server does not have the model, about which some say nothing when it is asked for.
        """
        found = self.call("say which models it has", lambda: self.service.get_server_capabilities())
        lengths = {known.model_name: known.max_context_length for known in found.supported_models}
        if lengths and model not in lengths:
            names = ", ".join(sorted(map(str, lengths))[:10])
            raise UserError(f"engine.model={model}: the server has no such model, but {names}")
        return lengths.get(model)

    def call(self, doing: str, work: Callable[[], T]) -> T:
        """What a call of the SDK gives that blocks, and has no limit of its own."""
        found: T = self.wait(doing, in_daemon_thread(work))
        return found

    def wait(self, doing: str, future: Any) -> Any:
        """The result of a request under way. Past the limit it is given up, its retries with it."""
        try:
            return future.result(timeout=self.timeout)
        except TimeoutError:
            with suppress(Exception):
                (future if hasattr(future, "cancel") else future.future()).cancel()
            raise ServerLost(f"{self._name} did not {doing} within engine.timeout={self.timeout:g} s") from None
        except UserError:
            raise
        except Exception as error:
            reason = " ".join(str(error).replace(self._key, "(key)").split())[:300] or type(error).__name__
            raise ServerLost(f"{self._name} did not {doing}: {reason}") from error

    def close(self) -> None:
        """Ends the session, so that the server gives its adapters back in time."""
        service, self.service = self.service, None
        if service is None:
            return
        with suppress(Exception):
            service.holder.close()
        with suppress(Exception):
            service.create_rest_client().holder.close()
        # What of the SDK is still there when the interpreter ends complains on stderr.
        del service
        gc.collect()
