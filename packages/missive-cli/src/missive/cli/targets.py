"""Targets: what ``MODULE:NAME`` on the command line stands for."""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import click
from missive import Adapter, JSONMessage, Message, Processor, RawMessage
from missive.messages import check_message_cls

#: Makes a message of the bytes of a delivery.
MessageClass = Callable[[bytes], Any]

_READY_MADE: dict[str, type[Message]] = {"raw": RawMessage, "json": JSONMessage}


@dataclass(frozen=True)
class Target:
    """A processor with the class of its messages.

    :ivar spec: the processor as ``MODULE:NAME``, or the adapter that has it.
    :ivar adapter: the adapter, where one was named.
    """

    spec: str
    processor: Processor[Any]
    message_cls: MessageClass
    adapter: Adapter[Any] | None


def load_target(spec: str, message: str | None) -> Target:
    """Load a processor with the class of its messages.

    :param spec: an adapter, which knows the class, or a processor.
    :param message: ``raw``, ``json`` or ``MODULE:CLASS``; for a processor, and only there.
    :raises click.UsageError: it cannot be had from these.
    """
    found = load_object(spec)
    adapter, processor = as_adapter(found), as_processor(found)
    if adapter is not None:
        if message is not None:
            raise click.UsageError(
                f"{spec} is an adapter and has its message class; omit --message"
            )
        message_cls = getattr(adapter, "message_cls", None)
        if message_cls is None:
            raise click.UsageError(
                f"{spec} does not tell its message class; give its processor, and --message"
            )
        return Target(spec, adapter.processor, message_cls, adapter)
    if processor is None:
        raise click.UsageError(not_a(spec, found, "an adapter or a processor"))
    if message is None:
        raise click.UsageError(
            f"{spec} is a processor, so the class of its messages must be given:"
            " --message json, raw or MODULE:CLASS"
        )
    return Target(spec, processor, load_message_cls(message), None)


def load_processor(spec: str) -> Processor[Any]:
    """Load a processor, or that of an adapter.

    :raises click.UsageError: there is none.
    """
    found = load_object(spec)
    adapter = as_adapter(found)
    processor = as_processor(found) if adapter is None else adapter.processor
    if processor is None:
        raise click.UsageError(not_a(spec, found, "a processor or an adapter"))
    return processor


def as_adapter(found: object) -> Adapter[Any] | None:
    """Give an object back if it is an adapter."""
    return cast("Adapter[Any]", found) if isinstance(found, Adapter) else None


def as_processor(found: object) -> Processor[Any] | None:
    """Give an object back if it is a processor."""
    return cast("Processor[Any]", found) if isinstance(found, Processor) else None


def load_message_cls(text: str) -> MessageClass:
    """Load a message class: ``raw``, ``json`` or ``MODULE:CLASS``.

    :raises click.UsageError: there is none.
    :raises InvalidMessageClass: it cannot be called with bytes alone.
    """
    ready_made = _READY_MADE.get(text)
    if ready_made is not None:
        return ready_made
    if ":" not in text:
        raise click.UsageError(f"no message class is called {text}; give json, raw or MODULE:CLASS")
    found: Any = load_object(text)
    check_message_cls(found)
    return found  # type: ignore[no-any-return]


def load_object(spec: str) -> Any:
    """Import ``MODULE:NAME``, with the working directory first on the path.

    :raises click.UsageError: the module or the name is not there, or importing it failed.
    """
    module_name, colon, path = spec.partition(":")
    if not colon or not module_name or not path:
        raise click.UsageError(
            f"{spec!r} names nothing to load; give MODULE:NAME, as in app:adapter"
        )
    if module_name.endswith(".py") or "/" in module_name:
        dotted = module_name.removesuffix(".py").strip("./").replace("/", ".")
        raise click.UsageError(f"{spec} names a file; give its module: {dotted}:{path}")
    found: Any = _import(module_name)
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError as error:
            raise click.UsageError(
                f"{module_name} has no {path}{_candidates(sys.modules[module_name])}"
            ) from error
    return found


def _import(name: str) -> Any:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if name == missing or name.startswith(missing + "."):
            raise click.UsageError(
                f"there is no module {missing}; looked in {here} and where Python's packages are"
            ) from error
        raise click.UsageError(
            f"{name} imports {missing}, which is not installed (at {_place(error)})"
        ) from error
    except SystemExit as error:
        raise click.UsageError(
            f"{name} ends the program when it is imported (at {_place(error)});"
            ' put that under if __name__ == "__main__":'
        ) from error
    except Exception as error:
        raise click.UsageError(
            f"{name} cannot be imported: {type(error).__name__}: {error} (at {_place(error)})"
        ) from error


def _place(error: BaseException) -> str:
    """Name the line of code that raised; of a syntax error, the line that is wrong."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}"
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if "importlib" not in frame.filename
    ]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "an unknown line"


def _candidates(module: ModuleType) -> str:
    """Name what a module has that a command could take."""
    things: dict[str, object] = vars(module)
    names = [name for name, thing in things.items() if isinstance(thing, (Adapter, Processor))]
    return f"; it has {', '.join(names)}" if names else "; it has no adapter and no processor"


def not_a(spec: str, found: object, wanted: str) -> str:
    """Say that a target is not what was wanted, and what its module has."""
    name = spec.partition(":")[0]
    return f"{spec} is a {type(found).__name__}, not {wanted}{_candidates(sys.modules[name])}"
