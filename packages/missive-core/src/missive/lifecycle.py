"""The life of a run: its processing hooks, and its event loop where something is async."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from contextvars import Context, ContextVar, Token, copy_context
from typing import TYPE_CHECKING, Any

from .hooks import HookGroup, Passage
from .steps import run_async, run_plainly

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from .loop_thread import Lifespan, LoopThread

_UNSET: Any = object()


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
        self._lifespan: Lifespan | None = None
        self._tokens: list[Token[Any]] = []
        #: The context variables that the processing hooks set, for threads other than this one.
        self.variables: dict[ContextVar[Any], Any] = {}

    @abstractmethod
    def _look_at_hooks(self) -> None:
        """Take note of the hooks that are registered by now."""

    def start(self) -> None:
        """Enter the run: run the before- and around-processing hooks. Call ``finish`` in any case.

        Context variables that they set are set in this thread. A run that is started after a fork
        belongs to the child alone.

        :raises BaseException: what a hook raised.
        """
        before = copy_context()
        if self._processing.is_async:
            from .loop_thread import Lifespan

            self._lifespan = Lifespan(self.loop, self._passage)
            self._tokens = set_variables(changed_variables(before, self._lifespan.enter()))
        else:
            run_plainly(self._passage.enter(), self.wait)
        self.variables = changed_variables(before, copy_context())
        self._look_at_hooks()
        self._raise(None)

    def finish(self, error: BaseException | None = None) -> None:
        """Leave the run: unwind the processing hooks.

        :param error: what ended the run, for the around-hooks.
        :raises BaseException: what a hook raised, unless ``error`` came before it.
        """
        try:
            if error is not None:
                self._passage.fail(error)
            lifespan, self._lifespan = self._lifespan, None
            if lifespan is not None:
                lifespan.exit()
                reset_variables(self._tokens)
            else:
                run_plainly(self._passage.exit(), self.wait)
        finally:
            loop, self._loop = self._loop, None
            if loop is not None:
                loop.close()
        self._raise(error)

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
        before = copy_context()
        await run_async(self._passage.enter())
        self.variables = changed_variables(before, copy_context())
        self._look_at_hooks()
        self._raise(None)

    async def afinish(self, error: BaseException | None = None) -> None:
        """Do what ``finish`` does, on the running event loop."""
        if error is not None:
            self._passage.fail(error)
        await run_async(self._passage.exit())
        loop, self._loop = self._loop, None
        if loop is not None:  # where a plain handler returned an awaitable
            loop.close()
        self._raise(error)

    def _raise(self, known: BaseException | None) -> None:
        if self._passage.error is not None and self._passage.error is not known:
            raise self._passage.error

    @property
    def loop(self) -> LoopThread:
        """The event loop of this run's async handlers and hooks, in a thread of its own."""
        if self._loop is None:
            from .loop_thread import LoopThread  # a plain run imports no asyncio

            self._loop = LoopThread(self.loop_factory)
        return self._loop

    def wait(self, awaitable: Awaitable[Any]) -> Any:
        """Await on the run's loop what a plain function returned."""
        return self.loop.wait(awaitable)


def changed_variables(before: Context, after: Context) -> dict[ContextVar[Any], Any]:
    """Return the context variables whose values differ, with the later ones."""
    return {
        variable: value
        for variable, value in after.items()
        if before.get(variable, _UNSET) is not value
    }


def set_variables(variables: dict[ContextVar[Any], Any]) -> list[Token[Any]]:
    """Set context variables in this thread or task; return what resets them."""
    return [variable.set(value) for variable, value in variables.items()]


def reset_variables(tokens: list[Token[Any]]) -> None:
    """Undo :func:`set_variables`, unless it was called in another thread or context."""
    for token in tokens:
        try:
            token.var.reset(token)
        except ValueError:  # set in another context, which is over with its thread
            return
