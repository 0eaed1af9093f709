"""The life of a run: its processing hooks, and its event loop where something is async."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .hooks import HookGroup, Passage
from .steps import Steps, run_async, run_plainly

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from .loop_thread import LoopThread


class Lifecycle(ABC):
    """A run that can be started and finished, also in a child that was forked before.

    :param processing: the hooks around the run.
    :param loop_factory: makes the event loop of async handlers and hooks, such as uvloop's.
    """

    def __init__(
        self, processing: HookGroup, loop_factory: Callable[[], AbstractEventLoop] | None
    ) -> None:
        self.loop_factory = loop_factory
        self._processing = processing
        self._passage = Passage(processing, (self,))
        self._loop: LoopThread | None = None

    @abstractmethod
    def _look_at_hooks(self) -> None:
        """Take note of the hooks that are registered by now."""

    def start(self) -> None:
        """Enter the run: run the before- and around-processing hooks. Call ``finish`` in any case.

        A run that is started after a fork belongs to the child alone.
        """
        self._run_steps(self._passage.enter())
        self._look_at_hooks()

    def finish(self, error: BaseException | None = None) -> None:
        """Leave the run: unwind the processing hooks.

        :param error: what ended the run, for the around-hooks.
        :raises BaseException: what a hook raised, unless ``error`` came before it.
        """
        try:
            if error is not None:
                self._passage.fail(error)
            self._run_steps(self._passage.exit())
        finally:
            loop, self._loop = self._loop, None
            if loop is not None:
                loop.close()
        if self._passage.error is not None and self._passage.error is not error:
            raise self._passage.error

    @contextmanager
    def entered(self) -> Generator[None]:
        """Start the run, and finish it however the ``with`` ends."""
        try:
            self.start()
            yield
        except BaseException as error:
            self.finish(error)
            raise
        self.finish()

    async def astart(self) -> None:
        """Do what ``start`` does, on the running event loop."""
        await run_async(self._passage.enter())
        self._look_at_hooks()

    async def afinish(self, error: BaseException | None = None) -> None:
        """Do what ``finish`` does, on the running event loop."""
        if error is not None:
            self._passage.fail(error)
        await run_async(self._passage.exit())
        if self._passage.error is not None and self._passage.error is not error:
            raise self._passage.error

    @property
    def loop(self) -> LoopThread:
        """The event loop of this run's async handlers and hooks, in a thread of its own."""
        if self._loop is None:
            from .loop_thread import LoopThread  # a plain run imports no asyncio

            self._loop = LoopThread(self.loop_factory)
        return self._loop

    def _run_steps(self, steps: Steps[None]) -> None:
        if self._processing.is_async:
            self.loop.run(run_async(steps))
        else:
            run_plainly(steps, self.wait)

    def wait(self, awaitable: Awaitable[Any]) -> Any:
        """Await on the run's loop what a plain function returned."""
        return self.loop.wait(awaitable)
