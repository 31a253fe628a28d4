"""Starts SkyRL's server of the Tinker API on loopback, by the interpreter of an environment that has it.

    python tests/real_skyrl/server.py --base-model DIR --port P --host 127.0.0.1 ...     SkyRL's own flags

The stock start, `python -m skyrl.tinker.api`, fails without `uv`, and on Python 3.11: pydantic takes no
`typing.TypedDict` there. Nothing of rltf is imported.
"""

from __future__ import annotations

import argparse
import runpy
import sys
import typing

import typing_extensions

typing.TypedDict = typing_extensions.TypedDict


def serve() -> None:
    """The API, which starts this file again for the engine behind it."""
    import uvicorn
    from skyrl.tinker import api
    from skyrl.tinker.config import EngineConfig, add_model, config_to_argv

    parser = argparse.ArgumentParser()
    add_model(parser, EngineConfig)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    arguments = vars(parser.parse_args())
    known = {name: value for name, value in arguments.items() if name in EngineConfig.model_fields}
    api.app.state.engine_config = EngineConfig.model_validate(known)

    def command(parent: list[str], config: EngineConfig) -> list[str]:
        return [sys.executable, __file__, "--engine", *config_to_argv(config)]

    api._build_uv_run_cmd_engine = command
    uvicorn.run(api.app, host=arguments["host"], port=arguments["port"], log_level="warning")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--engine"]:
        del sys.argv[1]
        runpy.run_module("skyrl.tinker.engine", run_name="__main__")
    else:
        serve()
