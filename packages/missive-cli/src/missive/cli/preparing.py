"""Preparing a run: the adapter that its arguments name, and the report on it."""

from __future__ import annotations

from typing import Any

import click
from missive import Adapter, Processor, Retry, Runnable

from .report import Report, make_report
from .schemes import build_adapter, masked, open_store
from .serving import count_threads, takes_server
from .targets import as_adapter, as_processor, load_message_cls, load_target_object, not_a

#: How long the first connection is tried where nobody says, in seconds.
CONNECT_TIMEOUT = 30.0


def prepare(
    target: str,
    *,
    url: str | None,
    message: str | None,
    dlq_url: str | None,
    connect_timeout: float | None,
    retry_attempts: int | None,
    retry_delay: float | None,
    **options: Any,
) -> tuple[Adapter[Any], Report]:
    """Build what is to run, and look at it.

    :raises click.UsageError: it cannot be built from these.
    :raises MissiveError: the adapter or the store refuses.
    """
    loaded = load_target_object(target)
    found = loaded.found
    given = {name: value for name, value in options.items() if value is not None}
    processor, adapter = as_processor(found), as_adapter(found)
    if processor is not None:
        adapter = _build(target, processor, url, message, given)
    elif adapter is not None:
        _adjust(target, adapter, url, message, given)
    else:
        raise click.UsageError(not_a(target, loaded, "an adapter or a processor"))
    if not isinstance(adapter, Runnable):
        raise click.UsageError(
            f"{target} cannot be run: a {type(adapter).__name__} has no run();"
            " a web server calls it"
        )
    if connect_timeout is not None or getattr(adapter, "connect_timeout", 0.0) is None:
        _set(adapter, "connect_timeout", connect_timeout or CONNECT_TIMEOUT)
    if dlq_url is not None:
        adapter.processor.set_dlq(open_store(dlq_url))
    _set_retry(target, adapter.processor, retry_attempts, retry_delay)
    if takes_server(adapter):
        workers = count_threads(options["workers"])
    else:
        workers = getattr(adapter, "workers", None)
    report = make_report(
        adapter,
        workers=workers,
        source=masked(url) if url else None,
        dlq=masked(dlq_url) if dlq_url else None,
    )
    return adapter, report


def _build(
    target: str,
    processor: Processor[Any],
    url: str | None,
    message: str | None,
    options: dict[str, Any],
) -> Adapter[Any]:
    if url is None:
        raise click.UsageError(
            f"{target} is a processor, so its transport must be given: --from stdin:,"
            " --from 'redis://localhost/0?channels=a', ..."
        )
    if message is None:
        raise click.UsageError(
            f"{target} is a processor, so the class of its messages must be given:"
            " --message json, raw or MODULE:CLASS"
        )
    message_cls = load_message_cls(message)
    # Building connects to nothing, so that it can be looked what the adapter is.
    of_workers = options.keys() & {"workers", "max_in_flight"}
    if of_workers and takes_server(build_adapter(url, message_cls, processor)):
        if "max_in_flight" in of_workers:
            raise click.UsageError(
                "--max-in-flight is for transports that are read from; for webhooks,"
                " --workers limits what is in flight"
            )
        del options["workers"]
    return build_adapter(url, message_cls, processor, **options)


def _adjust(
    target: str,
    adapter: Adapter[Any],
    url: str | None,
    message: str | None,
    options: dict[str, Any],
) -> None:
    """Change how long an adapter waits; all else was fixed when it was built.

    :raises click.UsageError: something else was to be changed.
    """
    for name in ("drain_timeout", "handler_timeout"):
        if name in options:
            _set(adapter, name, options.pop(name))
    fixed = [f"--{name.replace('_', '-')}" for name in options]
    fixed += ["--from"] if url is not None else []
    fixed += ["--message"] if message is not None else []
    if fixed:
        raise click.UsageError(
            f"{target} is an adapter, built already; {', '.join(fixed)} can only be given with a"
            " processor"
        )


def _set_retry(
    target: str, processor: Processor[Any], attempts: int | None, delay: float | None
) -> None:
    """Have a processor retry that declares nothing about it.

    :raises click.UsageError: it does, or there is a delay without attempts.
    """
    if attempts is None:
        if delay is not None:
            raise click.UsageError("--retry-delay needs --retry-attempts")
        return
    if processor.retry is not None:
        raise click.UsageError(
            f"{target} has a Retry of its own, Processor(retry=...); omit --retry-attempts"
        )
    delay = 1.0 if delay is None else delay
    processor.retry = Retry(attempts=attempts, delay=delay, max_delay=max(delay, 300.0))


def _set(adapter: Adapter[Any], name: str, value: float) -> None:
    # Not through the adapter's __dict__: once that was asked for, CPython 3.11 reads every
    # attribute the slow way, which costs 6 % of the time that a message takes.
    setattr(adapter, name, value)
