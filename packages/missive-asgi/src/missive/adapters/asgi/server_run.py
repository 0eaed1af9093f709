"""The run: from the server's start, or the first message, to its end."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic

from missive import DrainTimeout, M, ProcessingContext
from missive.webhooks.serving import Inbox

from .delivery import ScopeDelivery

if TYPE_CHECKING:
    from .adapter import ASGIAdapter

#: How long cancelled handlers may take to end, in seconds.
GRACE = 2.5


class ServerRun(Generic[M]):
    """What one adapter has on one event loop.

    The processing hooks run in a task of their own, from the first to the last: so timeouts and
    task groups in them work however the run is begun and ended.

    :param adapter: the adapter.

    :ivar inbox: the inbox, where there is one and it is open.
    :ivar stores: whether messages go to an inbox.
    :ivar broken: whether the before-hooks failed when they last ran.
    :ivar refusing: whether new messages are refused, since the end is near.
    """

    def __init__(self, adapter: ASGIAdapter[M]) -> None:
        self.inbox: Inbox[M] | None = None
        self.stores = adapter.inbox_options is not None
        self.broken = False
        self.refusing = False
        self._adapter = adapter
        #: The processing context, where there is no inbox and the before-hooks have run.
        self.ctx: ProcessingContext[M] | None = None
        #: How many plain handlers may run at once.
        self.threads = asyncio.Semaphore(adapter.threads)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._in_flight: dict[ScopeDelivery, asyncio.Task[Any] | None] = {}
        self._cancelled: set[ScopeDelivery] = set()
        self._opening = asyncio.Lock()
        self._idle = asyncio.Event()
        self._leave = asyncio.Event()
        self._hooks: asyncio.Task[None] | None = None
        self._error: BaseException | None = None
        self._closed = False

    @property
    def is_open(self) -> bool:
        """Whether the before-hooks have run, or the inbox is open."""
        return self.ctx is not None or self.inbox is not None

    async def open(self) -> None:
        """Run the before-hooks, or open the inbox, unless that was done, or the end has come.

        :raises BaseException: what a hook raised; the next call tries again.
        """
        async with self._opening:
            if self.is_open or self._closed:
                return
            self.broken = True
            self._loop = asyncio.get_running_loop()
            if self.stores:
                self._open_inbox()
            else:
                await self._start()
            self.broken = False
            self._adapter.set_ready()

    def _open_inbox(self) -> None:
        adapter = self._adapter
        assert adapter.inbox_options is not None
        inbox = Inbox(
            adapter.message_cls, adapter.processor, adapter.inbox_options, adapter.drain_timeout
        )
        inbox.open()
        self.inbox = inbox

    async def _start(self) -> None:
        adapter = self._adapter
        ctx = ProcessingContext(adapter.message_cls, adapter, adapter.processor)
        entered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._hooks = asyncio.create_task(self._live(ctx, entered), name="missive-hooks")
        await asyncio.shield(entered)
        self.ctx = ctx

    async def _live(self, ctx: ProcessingContext[M], entered: asyncio.Future[None]) -> None:
        try:
            try:
                await ctx.astart()
            except BaseException as error:
                await ctx.afinish(error)
                raise
        except BaseException as error:
            entered.set_exception(error)
            return
        entered.set_result(None)
        await self._leave.wait()
        await ctx.afinish(self._error)

    # One request.

    def begin(self, delivery: ScopeDelivery) -> None:
        """Take note that a message is in flight, in the task that runs."""
        self._in_flight[delivery] = asyncio.current_task(self._loop)

    def end(self, delivery: ScopeDelivery) -> None:
        """Take note that a message is no longer in flight."""
        del self._in_flight[delivery]
        if self.refusing and not self._in_flight:
            self._idle.set()

    def was_cancelled(self, delivery: ScopeDelivery) -> bool:
        """Return whether the end of the run cut the handling of a message short, in this task."""
        if delivery not in self._cancelled:
            return False
        task: Any = asyncio.current_task()
        if hasattr(task, "uncancel"):  # from Python 3.11 on
            task.uncancel()
        return True

    # The end.

    async def close(self, timeout: float) -> None:
        """Refuse new messages, wait for those in flight, run the after-hooks; once.

        :param timeout: how long to wait, in seconds; then handlers are cancelled.
        :raises DrainTimeout: handlers had not finished by then; the hooks ran all the same.
        :raises BaseException: what a hook raised.
        """
        self.refusing = True
        late = await self._drain(timeout)
        async with self._opening:
            self._closed = True
            self.ctx = None
            inbox, self.inbox = self.inbox, None
            hooks, self._hooks = self._hooks, None
        if late:
            self._error = DrainTimeout([delivery.name for delivery in late], timeout)
        self._leave.set()
        if hooks is not None:
            await hooks
        if inbox is not None:
            await asyncio.to_thread(inbox.close)
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    async def _drain(self, timeout: float) -> list[ScopeDelivery]:
        """Wait until nothing is in flight; cancel what is, when time is over, and return it."""
        if self._in_flight:
            endless = timeout == float("inf")
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._idle.wait(), None if endless else timeout)
        late = dict(self._in_flight)
        tasks = {task for task in late.values() if task is not None}
        self._cancelled.update(late)
        for task in tasks:
            task.cancel()
        if tasks:  # their handlers may need what the after-hooks close
            await asyncio.wait(tasks, timeout=GRACE)
        return list(late)
