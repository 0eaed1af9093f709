"""Starting: the executor that a run needs, and the loop around it."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from ..message import M
from ..run import ProcessingContext
from .connection import Connection
from .executor import Executor
from .inline import InlineExecutor
from .loop import Loop
from .port import Port
from .threads import ThreadExecutor
from .watch import Turnstile, Watch


@contextmanager
def start_loop(
    port: Port[M], ctx: ProcessingContext[M], connection: Connection
) -> Generator[Loop[M]]:
    """Make the loop of a run, with its executor: tasks where handlers are async, threads where
    there are several workers, else the receiving thread itself.

    :param port: the adapter.
    :param ctx: the run, entered.
    :param connection: the transport's connection, open.
    """
    wakes: list[Loop[M]] = []

    def on_done() -> None:
        for loop in wakes:
            loop.wake()

    def keep_alive() -> None:
        if port.keepalive_interval is not None:
            port.keepalive()

    executor: Executor[M]
    intervals = [port.keepalive_interval]
    if ctx.is_async:
        from .event_loop import EventLoopExecutor  # a plain run imports no asyncio

        executor = EventLoopExecutor(ctx, port.workers, on_done)
    elif port.workers > 1:
        executor = ThreadExecutor(ctx, port.workers, on_done)
    else:
        executor = InlineExecutor(ctx)
        intervals.append(port.handler_timeout)
    interval = min((each for each in intervals if each), default=None)
    watch: Watch | None = None
    if interval is not None:
        ctx.elsewhere = turnstile = Turnstile()
        recoverable = (*port.fatal_errors, *port.connection_errors)
        watch = Watch(turnstile, interval, keep_alive, port.overdue, recoverable)
        if isinstance(executor, InlineExecutor):
            executor.busy = turnstile
    loop = Loop(port, ctx, connection, executor, watch)
    wakes.append(loop)
    try:
        yield loop
    finally:
        if watch is not None:
            watch.close()
