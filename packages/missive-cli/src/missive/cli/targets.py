"""Targets: what ``MODULE:NAME`` on the command line stands for."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, cast

import click
from missive import Adapter, JSONMessage, Message, Processor, RawMessage
from missive.polling import check_message_cls

from .loading import call_factory, candidates, load_object, split
from .options import Settings

#: Makes a message of the bytes of a delivery.
MessageClass = Callable[[bytes], Any]

_READY_MADE: dict[str, type[Message]] = {"raw": RawMessage, "json": JSONMessage}


@dataclass(frozen=True)
class Target:
    """A processor with the class of its messages.

    :ivar spec: the processor as ``MODULE:NAME``, or the adapter that has it.
    :ivar adapter: the adapter, where one was named.
    :ivar called: whether ``spec`` names a factory that made it.
    """

    spec: str
    processor: Processor[Any]
    message_cls: MessageClass
    adapter: Adapter[Any] | None
    called: bool


class Loaded(NamedTuple):
    """What a target names.

    :ivar called: whether it was made by the factory that the target names.
    """

    found: Any
    called: bool


def load_target(spec: str, message: str | None) -> Target:
    """Load a processor with the class of its messages.

    :param spec: an adapter, which knows the class, or a processor.
    :param message: ``raw``, ``json`` or ``MODULE:CLASS``; for a processor, and only there.
    :raises click.UsageError: it cannot be had from these.
    """
    loaded = load_target_object(spec)
    adapter, processor = as_adapter(loaded.found), as_processor(loaded.found)
    if adapter is not None:
        if message is not None:
            raise click.UsageError(
                f"{spec} is an adapter and has its message class; omit --message"
            )
        message_cls = getattr(adapter, "message_cls", None)
        if message_cls is None:
            raise click.UsageError(
                f"{spec} does not say which class its messages have; give its processor, and --message"
            )
        return Target(spec, adapter.processor, message_cls, adapter, loaded.called)
    if processor is None:
        raise click.UsageError(not_a(spec, loaded, "an adapter or a processor"))
    if message is None:
        raise click.UsageError(
            f"{spec} is a processor, so the class of its messages must be given:"
            " --message json, raw or MODULE:CLASS"
        )
    return Target(spec, processor, load_message_cls(message), None, loaded.called)


def load_processor(spec: str) -> Processor[Any]:
    """Load a processor, or that of an adapter.

    :raises click.UsageError: there is none.
    """
    loaded = load_target_object(spec)
    adapter = as_adapter(loaded.found)
    processor = as_processor(loaded.found) if adapter is None else adapter.processor
    if processor is None:
        raise click.UsageError(not_a(spec, loaded, "a processor or an adapter"))
    return processor


def as_adapter(found: object) -> Adapter[Any] | None:
    """Return an object if it is an adapter."""
    return cast("Adapter[Any]", found) if isinstance(found, Adapter) else None


def as_processor(found: object) -> Processor[Any] | None:
    """Return an object if it is a processor."""
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


def load_target_object(spec: str) -> Loaded:
    """Load what a target names, and call it where it is a factory.

    :raises click.UsageError: it is neither an adapter nor a processor, and makes none.
    """
    found: Any = load_object(spec)
    ctx = click.get_current_context(silent=True)
    forced = ctx is not None and ctx.ensure_object(Settings).factory
    if not forced and not _is_function(found):
        return Loaded(found, called=False)
    if not callable(found):
        raise click.UsageError(f"{spec} is a {type(found).__name__}, so --factory cannot call it")
    needed = _required_parameters(found)
    if needed:
        raise click.UsageError(
            f"{spec} takes arguments ({', '.join(needed)}), so it cannot be a factory; name a function"
            f" that takes none{candidates(sys.modules[split(spec)[0]])}"
        )
    return Loaded(call_factory(spec, found), called=True)


def _is_function(thing: object) -> bool:
    return inspect.isroutine(thing) or isinstance(thing, partial)


def _required_parameters(function: Callable[..., Any]) -> list[str]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # a callable written in C
        return []
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [
        parameter.name
        for parameter in parameters
        if parameter.default is parameter.empty and parameter.kind not in optional
    ]


def not_a(spec: str, loaded: Loaded, wanted: str) -> str:
    """Say that a target is not what was wanted, and what its module has."""
    kind = type(loaded.found).__name__
    article = "an" if kind[0] in "aeiouAEIOU" else "a"
    if loaded.called:
        return f"the factory {spec} returned {article} {kind}, not {wanted}"
    name = split(spec)[0]
    return f"{spec} is {article} {kind}, not {wanted}{candidates(sys.modules[name])}"
