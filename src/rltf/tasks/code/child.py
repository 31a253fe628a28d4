"""Runs one attempt in a process of its own: a script that `sandbox.py` starts, and that imports nothing of rltf.

It gets the attempt and expressions to evaluate after it, not what they should be. It writes one JSON list per line:
["ready", PROTECTIONS] or ["refused", WHY]; then ["syntax", LINE, MESSAGE] or ["failed", TYPE, MESSAGE, FRAMES] where
the attempt does not run, else for each expression ["value", VALUE, REPR] or ["raised", TYPE, MESSAGE, FRAMES].
Whatever the attempt does to this process, all that it can forge is its own outputs.
"""

from __future__ import annotations

import _thread
import builtins
import ctypes
import io
import json
import os
import resource
import signal
import struct
import sys
import types
from collections.abc import Callable, Sequence
from typing import Any

ATTEMPT = "<attempt>"
_NODES, _CHARACTERS, _DEPTH, _SHOWN = 100_000, 1_000_000, 60, 400
_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, _PR_SET_NO_NEW_PRIVS = 1, 22, 2, 38
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_OUTPUTS = {
    "/dev/stdout": 1, "/dev/fd/1": 1, "/proc/self/fd/1": 1, "/dev/stderr": 2, "/dev/fd/2": 2, "/proc/self/fd/2": 2,
}  # fmt: skip
_FORBIDDEN_EVENTS = (
    "ctypes.",
    "os.exec",
    "os.fork",
    "os.posix_spawn",
    "os.spawn",
    "os.system",
    "os.kill",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.mkdir",
    "os.link",
    "os.symlink",
    "os.truncate",
    "os.ch",
    "os.utime",
    "os.setxattr",
    "os.removexattr",
    "pty.",
    "resource.",
    "shutil.",
    "socket.",
    "subprocess.",
    "tempfile.",
    "syslog.",
    "gc.",
)


class TooLarge(Exception):
    """A value that is too large or too deep to send."""


def main(request_fd: int, results_fd: int) -> bool:
    """Reads the request, gives up what an attempt must not have, and runs it; whether it is to end as programs do."""
    with os.fdopen(request_fd) as file:
        request = json.load(file)

    def send(*line: object) -> None:
        text = json.dumps(line).encode() + b"\n"
        while text:
            text = text[os.write(results_fd, text) :]

    try:
        protections = confine(request)
    except OSError as error:
        send("refused", str(error))
        return False
    grant(request["megabytes"])
    send("ready", protections)
    return run(request, send)


def grant(megabytes: int) -> None:
    """What programs of contests take for granted, as far as it can be had here."""
    # `exit` and `quit` come from `site`, which is left out.
    builtins.exit = builtins.quit = sys.exit  # type: ignore[assignment]
    sys.argv, sys.orig_argv = ["attempt.py"], ["python", "attempt.py"]
    set_limit, set_stack, most = resource.setrlimit, _thread.stack_size, megabytes * 2**20 // 4

    def setrlimit(limit: int, values: tuple[int, int], /) -> None:
        # The kernel refuses to raise a limit, and Python needs no more stack.
        if limit != resource.RLIMIT_STACK:
            set_limit(limit, values)

    def stack_size(size: int = 0, /) -> int:
        # The stack of a thread is taken from the memory.
        return set_stack(min(size, most))

    resource.setrlimit, _thread.stack_size = setrlimit, stack_size
    _open_outputs_by_name()


def _open_outputs_by_name() -> None:
    """Has /dev/stdout and its like opened as what they are: the process may open nothing to write, but has these."""
    open_file, open_number = io.open, os.open

    def output(name: Any) -> int | None:
        if isinstance(name, int):
            return None
        number = _OUTPUTS.get(os.fsdecode(name))
        return None if number is None else os.dup(number)

    def open_or_copy(file: Any, mode: str = "r", *more: Any, **named: Any) -> Any:
        number = output(file) if set(mode) & set("wax") else None
        # A copy, whose end is not that of the output.
        return open_file(file if number is None else number, mode.replace("x", "w"), *more, **named)

    def open_number_or_copy(path: Any, flags: int, *more: Any, **named: Any) -> int:
        number = output(path) if flags & (os.O_WRONLY | os.O_RDWR) else None
        return open_number(path, flags, *more, **named) if number is None else number

    builtins.open = io.open = open_or_copy
    os.open = open_number_or_copy


def run(request: dict[str, Any], send: Callable[..., None]) -> bool:
    """The attempt, then each expression; one line for each, but none for an attempt that only defines things.

    Whether it was a program that came to its end, which still has to do what programs do then: waiting for threads,
    functions of `atexit`, writing what is in buffers.
    """
    try:
        code = compile(request["code"], ATTEMPT, "exec", dont_inherit=True)
    except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError) as error:
        send("syntax", getattr(error, "lineno", None) or 0, str(getattr(error, "msg", None) or error)[:_SHOWN])
        return False
    program = request["expressions"] is None
    # A module that can be found under its name, as dataclasses and others look for it.
    module = types.ModuleType("__main__" if program else "attempt")
    module.__dict__["__builtins__"] = builtins
    sys.modules[module.__name__] = module
    space = module.__dict__
    try:
        exec(request["supplied"], space)  # noqa: S102
        exec(code, space)  # noqa: S102
        if not program:
            exec(request["setup"], space)  # noqa: S102
    except BaseException as error:
        if not (program and isinstance(error, SystemExit) and error.code in (None, 0)):
            send("failed", *described(error))
            return False
    if program:
        send("value", None, "")
        return True
    for expression in request["expressions"]:
        try:
            value = eval(expression, space)  # noqa: S307
            budget = [_NODES, _CHARACTERS]
            send("value", encoded(value, budget, 0), shown(value))
        except BaseException as error:
            send("raised", *described(error))
    return False


def encoded(value: Any, budget: list[int], depth: int) -> Any:
    """A value as JSON that keeps tuples, sets, keys and long numbers apart. Raises `TooLarge`."""
    budget[0] -= 1
    if budget[0] < 0 or depth > _DEPTH:
        raise TooLarge("the value is too large to compare")
    if value is None or value is True or value is False:
        return value
    if isinstance(value, int):
        value = int(value)
        if abs(value) < 2**53:
            return value
        value = hex(value)
        kind = "int"
    elif isinstance(value, float):
        return float(value)
    elif isinstance(value, str):
        budget[1] -= len(value)
        if budget[1] < 0:
            raise TooLarge("the text is too long to compare")
        return str.__str__(value)
    elif isinstance(value, complex):
        return ["complex", value.real, value.imag]
    elif isinstance(value, bytes | bytearray):
        value = bytes(value).hex()
        kind = "bytes"
    else:
        kinds: tuple[tuple[Any, str], ...] = ((list, "list"), (tuple, "tuple"), (set, "set"), (frozenset, "set"))
        for type_, kind in kinds:
            if isinstance(value, type_):
                # Not the iteration that a subclass may have of its own.
                items = type_.__iter__(value)
                return [kind, *[encoded(item, budget, depth + 1) for item in items]]
        if isinstance(value, dict):
            pairs = dict.items(value)
            return ["dict", *[[encoded(k, budget, depth + 1), encoded(v, budget, depth + 1)] for k, v in pairs]]
        return ["other", type(value).__name__[:100]]
    budget[1] -= len(value)
    if budget[1] < 0:
        raise TooLarge("the value is too long to compare")
    return [kind, value]


def shown(value: Any) -> str:
    """The start of a value's `repr`."""
    try:
        return repr(value)[:_SHOWN]
    except Exception:
        return f"a value of type {type(value).__name__[:100]}"


def described(error: BaseException) -> tuple[str, str, list[list[Any]]]:
    """Type, message, and the last lines of the attempt (number and function) that led to an error."""
    frames: list[list[Any]] = []
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == ATTEMPT:
            frames = [*frames[-2:], [trace.tb_lineno, trace.tb_frame.f_code.co_name[:100]]]
        trace = trace.tb_next
    try:
        message = str(error)[:_SHOWN]
    except Exception:
        message = ""
    return type(error).__name__[:100], message, frames


def confine(request: dict[str, Any]) -> list[str]:
    """Gives up files, processes, connections and resources; returns what protects. Raises OSError where refused."""
    megabytes, cpu_seconds = request["megabytes"], request["cpu_seconds"]
    found: list[str] = []
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
            raise OSError("it cannot end with its parent")
    except (AttributeError, OSError):
        if request["strict"]:
            raise OSError("it is no Linux") from None
        libc = None
    if os.getppid() != request["parent"]:
        os._exit(1)
    libraries = [path for path, whole in request["readable"] if whole]
    if libc is not None:
        layers = (("Landlock", _landlock, request["readable"]), ("seccomp", _seccomp, request["filter"]))
        if not request["strict"] and libc.unshare(_CLONE_NEWNET) != 0:
            libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        # Before the filter, which forbids to change limits.
        _limit(megabytes, cpu_seconds)
        for name, apply, argument in layers:
            if apply(libc, argument):
                found.append(name)
            elif request["strict"]:
                raise OSError(f"its kernel refuses {name}")
    else:
        _limit(megabytes, cpu_seconds)
    if not request["strict"]:
        sys.addaudithook(_watch(libraries))
        found.append("audit hook")
    return found


def _limit(megabytes: int, cpu_seconds: int) -> None:
    for limit, value in (
        (resource.RLIMIT_AS, megabytes * 2**20),
        # At the hard limit the kernel kills: there is no signal to catch.
        (resource.RLIMIT_CPU, cpu_seconds),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (value, value))


def _landlock(libc: ctypes.CDLL, readable: Sequence[tuple[str, bool]]) -> bool:
    """Whether from here on nothing but the named files can be opened."""
    version = libc.syscall(_LANDLOCK_CREATE, None, 0, 1)
    if version < 1:
        return False
    # Every right that the kernel's version knows: 13 in the first, then one for linking across and one for truncation.
    handled = struct.pack("=Q", (1 << 13 + min(version - 1, 2)) - 1)
    rules = libc.syscall(_LANDLOCK_CREATE, handled, len(handled), 0)
    if rules < 0:
        return False
    for path, whole in readable:
        try:
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue
        rights = (_READ_FILE if whole else 0) | (_READ_DIR if os.path.isdir(path) else 0)  # noqa: PTH112
        if libc.syscall(_LANDLOCK_ADD, rules, 1, struct.pack("=Qi", rights, place), 0) != 0:
            return False
        os.close(place)
    held = bool(libc.syscall(_LANDLOCK_RESTRICT, rules, 0) == 0)
    os.close(rules)
    return held


def _seccomp(libc: ctypes.CDLL, program: str | None) -> bool:
    """Whether from here on only the listed system calls are answered."""
    if program is None:
        return False
    steps = ctypes.create_string_buffer(bytes.fromhex(program))
    header = struct.pack("HP", len(program) // 16, ctypes.addressof(steps))
    return bool(libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, header, 0, 0) == 0)


def _watch(libraries: Sequence[str]) -> Callable[[str, tuple[Any, ...]], None]:
    """An audit hook for where the kernel gives no protection: it stops what is careless, not what is clever."""
    writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
    allowed = tuple(libraries)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event.startswith(_FORBIDDEN_EVENTS) or (event == "import" and arguments[0] in ("ctypes", "_ctypes")):
            raise PermissionError(f"{event} is not allowed")
        if event == "open":
            path, mode, flags = arguments
            writes = bool(isinstance(mode, str) and set(mode) & set("wax+")) or bool((flags or 0) & writing)
            # A number is of a file that is open already.
            if not isinstance(path, int) and (writes or not os.fsdecode(path).startswith(allowed)):
                raise PermissionError(f"opening {path!r} is not allowed")

    return hook


if __name__ == "__main__":
    if not main(int(sys.argv[1]), int(sys.argv[2])):
        # Not `sys.exit`: threads of the attempt may never end.
        os._exit(0)
