"""Hooks: what runs around processing and around the handling of each message."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from .errors import HookError, InvalidHandler, describe
from .loggers import logger_of
from .messages import M

if TYPE_CHECKING:
    from .contexts import HandlingContext, ProcessingContext
    from .settlement import Settled

logger = logger_of("missive.hooks")

ProcessingHook = Callable[["ProcessingContext[M]"], None]
HandlingHook = Callable[["ProcessingContext[M]", "HandlingContext[M]"], None]
AroundProcessingHook = Callable[["ProcessingContext[M]"], Iterator[None]]
AroundHandlingHook = Callable[["ProcessingContext[M]", "HandlingContext[M]"], Iterator[None]]
SettledHook = Callable[["ProcessingContext[M]", "Settled[M]"], None]

F = TypeVar("F", bound=Callable[..., Any])


class HookGroup:
    """The before-, around- and after-hooks of one kind, each in order of registration."""

    def __init__(self, *takes: str) -> None:
        self._takes = takes
        self.before: list[Callable[..., None]] = []
        self.around: list[Callable[..., Iterator[None]]] = []
        self.after: list[Callable[..., None]] = []
        #: False while there is no hook at all: then the way around them is the quick one.
        self.active = False

    def add(self, when: str, hook: F) -> F:
        """Register a hook as the last ``before``, ``around`` or ``after``; give it back.

        :raises InvalidHandler: it cannot be called so.
        """
        check_function(hook, "an around-hook" if when == "around" else "a hook", self._takes)
        getattr(self, when).append(hook)
        self.active = True
        return hook


class ProcessorHooks(Generic[M]):
    """All hooks of a processor: around a run, around each message, told of each outcome."""

    def __init__(self) -> None:
        self.processing = HookGroup("processing_ctx")
        self.handling = HookGroup("processing_ctx", "handling_ctx")
        self.settled: list[SettledHook[M]] = []


class Nest:
    """One passage through a group of hooks: enter it, do the work, exit it.

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

    def enter(self) -> None:
        """Run the before-hooks and enter the around-hooks.

        :raises BaseException: what one of them raised; the rest was not run, and ``exit`` is still
            to be called.
        """
        for hook in self._group.before:
            hook(*self._args)
        for around in self._group.around:
            generator: Any = around(*self._args)
            try:
                next(generator)
            except StopIteration:
                raise HookError(around, "did not yield") from None
            self._entered.append((around, generator))

    def exit(self) -> None:
        """Unwind the around-hooks, then run the after-hooks; ``error`` says how it all ended."""
        while self._entered:
            around, generator = self._entered.pop()
            self._attempt(around, self._unwind, around, generator)
        for hook in reversed(self._group.after):
            self._attempt(hook, hook, *self._args)

    def fail(self, error: BaseException, hook: Callable[..., Any] | None = None) -> None:
        """Take note of an error: the first is kept, a later one is logged and noted on it.

        KeyboardInterrupt, SystemExit and their kind go before any Exception.
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

    def _attempt(self, hook: Callable[..., Any], call: Callable[..., None], *args: Any) -> None:
        try:
            call(*args)
        except BaseException as error:
            self.fail(error, hook)

    def _unwind(self, around: Callable[..., Any], generator: Any) -> None:
        try:
            if self.error is None:
                next(generator)
            else:
                generator.throw(self.error)
        except StopIteration:  # it ended; an error that it swallowed is still ours
            return
        except RuntimeError as error:
            # What Python makes of a StopIteration that was thrown in; see PEP 479.
            if isinstance(self.error, StopIteration) and error.__cause__ is self.error:
                return
            raise
        generator.close()
        raise HookError(around, "yielded more than once")

    def __enter__(self) -> Nest:
        try:
            self.enter()
        except BaseException as error:
            self.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            self.fail(error)
        self.exit()
        if self.error is not None and self.error is not error:
            raise self.error


def note_later_error(
    first: BaseException, later: BaseException, culprit: Callable[..., Any] | None = None
) -> None:
    """Log an error that came after the one that decides, and note it on that one.

    The note names type and place only: an error's own text may hold a message's content.
    """
    if later is first:  # the same one, come round again
        return
    what = f"{type(later).__name__} at {place_of(later)}"
    if culprit is not None:
        what += f" in {describe(culprit)}"
    logger.error("after %s: %s", type(first).__name__, what)
    logger.debug("the later error in full", exc_info=later)
    # add_note is new in Python 3.11; the attribute it fills works everywhere, and set like this it
    # works on errors that are frozen dataclasses too.
    notes = [*getattr(first, "__notes__", ()), f"then also: {what}"]
    object.__setattr__(first, "__notes__", notes)


def place_of(error: BaseException) -> str:
    """Give the file and line where an error, or else its cause, was raised."""
    traceback = error.__traceback__
    if traceback is None and error.__cause__ is not None:
        traceback = error.__cause__.__traceback__
    if traceback is None:
        return "an unknown place"
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    return f"{traceback.tb_frame.f_code.co_filename}:{traceback.tb_lineno}"


def check_function(function: F, role: str, takes: tuple[str, ...]) -> F:
    """Refuse what cannot serve as a handler or hook: not callable so, or asynchronous.

    :param takes: the names of what it will be called with.

    :raises InvalidHandler: it cannot.
    """
    import inspect
    from functools import partial

    if not callable(function):
        raise InvalidHandler(function, f"cannot be {role}: it is not callable")
    call: Any = function
    while isinstance(call, partial):
        call = cast("partial[Any]", call).func
    if not inspect.isroutine(call):
        call = type(call).__call__
    if inspect.iscoroutinefunction(call) or inspect.isasyncgenfunction(call):
        raise InvalidHandler(
            function,
            f"cannot be {role}: it is async, and Missive calls plain functions;"
            " write it with def, and run a coroutine with asyncio.run(...) inside",
        )
    yields = inspect.isgeneratorfunction(call)
    if role.startswith("an around-hook") and not yields:
        remedy = "yield exactly once"
        if inspect.isgeneratorfunction(inspect.unwrap(function)):
            remedy = "leave out what is above it, such as @contextmanager"
        raise InvalidHandler(function, f"cannot be {role}: it does not yield; {remedy}")
    if yields and not role.startswith("an around-hook"):
        raise InvalidHandler(
            function,
            f"cannot be {role}: it yields, so calling it would run nothing;"
            " take the yield out, or make it an around-hook",
        )
    try:
        signature = inspect.signature(function)
    except ValueError:  # some built-in callables have none to check
        return function
    try:
        signature.bind(*takes)
    except TypeError as error:
        raise InvalidHandler(
            function,
            f"cannot be {role}: it is called with ({', '.join(takes)}),"
            f" and takes ({', '.join(signature.parameters)})",
        ) from error
    return function
