"""Hooks: what runs around a run, around each delivery, and around each handler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from .callables import check_function, is_async
from .error_notes import note_later_error
from .errors import HookError
from .steps import Steps, awaited

F = TypeVar("F", bound=Callable[..., Any])


class HookGroup:
    """The before-, around- and after-hooks of one kind, each in order of registration.

    :param takes: the names of what each hook is called with.
    """

    def __init__(self, *takes: str) -> None:
        self._takes = takes
        self.before: list[Callable[..., Any]] = []
        self.around: list[Callable[..., Any]] = []
        self.after: list[Callable[..., Any]] = []
        #: False while there is no hook at all, so that running none of them costs nothing.
        self.active = False
        #: Whether one of them is ``async def``.
        self.is_async = False

    def add(self, when: str, hook: F) -> F:
        """Register a hook as the last ``before``, ``around`` or ``after``, and return it.

        :raises InvalidHandler: it cannot be called so.
        """
        around = when == "around"
        role = "an around-hook" if around else "a hook"
        check_function(hook, role, self._takes, yields=around)
        getattr(self, when).append(hook)
        self.active = True
        self.is_async = self.is_async or is_async(hook)
        return hook


class ProcessorHooks:
    """All hooks of a processor: around a run, each delivery and each handler; and of outcomes."""

    def __init__(self) -> None:
        self.processing = HookGroup("processing_ctx")
        self.delivery = HookGroup("processing_ctx", "handling_ctx")
        self.handling = HookGroup("processing_ctx", "handling_ctx")
        self.settled: list[Callable[..., Any]] = []

    @property
    def is_async(self) -> bool:
        """Whether a hook around deliveries or handlers is ``async def``."""
        return self.delivery.is_async or self.handling.is_async


class Passage:
    """One passage through a group of hooks, in steps: enter it, do the work, exit it.

    Before-hooks run in order, around-hooks are entered in order; on the way out the around-hooks
    that were entered are unwound in reverse, then every after-hook runs in reverse, whatever
    happened before. The first error decides; a later one is logged and noted on the first.

    :param group: the hooks.
    :param args: what each hook is called with.
    :param note_error: told of the first error as soon as there is one.
    """

    def __init__(
        self,
        group: HookGroup,
        args: tuple[Any, ...],
        note_error: Callable[[BaseException], None] | None = None,
    ) -> None:
        self.error: BaseException | None = None
        self._group = group
        self._args = args
        self._entered: list[tuple[Callable[..., Any], Any]] = []
        self._note_error = note_error

    def enter(self) -> Steps[None]:
        """Run the before-hooks and enter the around-hooks, up to the first that raises.

        What it raised is kept as ``error``; ``exit`` must be called in any case.
        """
        hook: Callable[..., Any] | None = None
        try:
            for hook in self._group.before:
                yield from awaited(hook(*self._args))
            for hook in self._group.around:
                generator = hook(*self._args)
                if not (yield from _advance(generator)):
                    raise HookError(hook, "did not yield")
                self._entered.append((hook, generator))
        except BaseException as error:
            self.fail(error, hook)

    def exit(self) -> Steps[None]:
        """Unwind the around-hooks, then run the after-hooks; ``error`` says how it all ended."""
        while self._entered:
            around, generator = self._entered.pop()
            try:
                yield from self._unwind(around, generator)
            except BaseException as error:
                self.fail(error, around)
        for hook in reversed(self._group.after):
            try:
                yield from awaited(hook(*self._args))
            except BaseException as error:
                self.fail(error, hook)

    def fail(self, error: BaseException, hook: Callable[..., Any] | None = None) -> None:
        """Note an error: the first is kept, a later one is logged and noted on it.

        KeyboardInterrupt, SystemExit and their kind take precedence over any Exception.
        """
        first = self.error
        if first is error:
            return
        if first is None or (isinstance(first, Exception) and not isinstance(error, Exception)):
            self.error = error
            if self._note_error is not None:
                self._note_error(error)
        if first is not None and self.error is not None:
            later = error if self.error is first else first
            note_later_error(self.error, later, hook)

    def _unwind(self, around: Callable[..., Any], generator: Any) -> Steps[None]:
        try:
            if not (yield from _advance(generator, self.error)):
                return  # it ended; an error that it swallowed is still ours
        except RuntimeError as error:
            # What Python makes of a StopIteration that is thrown in; see PEP 479.
            stops = isinstance(self.error, (StopIteration, StopAsyncIteration))
            if stops and error.__cause__ is self.error:
                return
            raise
        if hasattr(generator, "aclose"):
            yield generator.aclose()
        else:
            generator.close()
        raise HookError(around, "yielded more than once")


def _advance(generator: Any, error: BaseException | None = None) -> Steps[bool]:
    """Run a generator, plain or async, up to its next yield; return False where it ends instead.

    :param error: raised in it, where it yielded.
    """
    try:
        if hasattr(generator, "__anext__"):
            yield generator.__anext__() if error is None else generator.athrow(error)
        elif error is None:
            next(generator)
        else:
            generator.throw(error)
    except (StopIteration, StopAsyncIteration):
        return False
    return True
