"""The contract between a processor and a transport."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from .batch import check_batches
from .capabilities import Capabilities
from .error_base import describe
from .error_notes import note_later_error
from .errors import ConfigurationError, SettlementFailed
from .handling import NACKED, HandlingContext
from .message import M
from .run import ProcessingContext
from .waiting import Declared

A = TypeVar("A", bound="Adapter[Any]")


class Runs(Declared[M], Protocol[M]):
    """What an adapter needs of a :class:`Processor`."""

    def context(
        self, message_cls: Callable[[bytes], M], adapter: Any
    ) -> AbstractContextManager[ProcessingContext[M]]:
        """Enter a run; see :meth:`Processor.context`."""
        ...


class Adapter(ABC, Generic[M]):
    """What a processor needs from a transport: a way to ack and to nack.

    An adapter decides itself how it runs; one that reads in a loop subclasses ``PollingAdapter``.
    The processing context calls ``settle`` once for each delivery, after the handler and all its
    hooks have finished and after a letter was written; unless overridden that calls ``ack`` or
    ``nack``.

    :param processor: the processor to run.
    :raises ConfigurationError: it is not a processor.
    """

    #: What the transport can promise. The defaults promise little; an adapter states its own.
    capabilities: Capabilities = Capabilities()
    #: What OpenTelemetry calls the transport (``messaging.system``), such as ``kafka``; None for
    #: one that is no messaging system.
    messaging_system: str | None = None

    def __init__(self, processor: Runs[M]) -> None:
        if isinstance(processor, type) or not hasattr(processor, "context"):
            raise ConfigurationError(
                f"{type(self).__name__} cannot run {describe(processor)};"
                " give the processor itself, such as missive.Processor()"
            )
        check_batches(processor.router.handlers, self)
        #: The :class:`Processor`, whose module is above this one.
        self.processor: Any = processor

    @abstractmethod
    def ack(self, message: M) -> None:
        """Tell the transport that the message is done.

        An adapter may send acks in batches, but must not lose one while it runs.

        :param message: the message that was acked, dead-lettered or deferred to a store.
        """

    @abstractmethod
    def nack(self, message: M) -> None:
        """Return the message to the transport, or refuse it.

        Never called where ``capabilities.nack`` is ``"drop-refused"``.

        :param message: the message that was nacked.
        """

    def settle(self, batch: Sequence[HandlingContext[M]]) -> None:
        """Tell the transport what became of deliveries: call ``ack`` or ``nack`` for each.

        Override it to read more than that from a context: its ``delay``, its ``delivery``, or to
        ack several at once. If one fails, settle the others all the same, and set its ``outcome``
        to None.

        :param batch: contexts whose ``outcome`` is ``NACKED``, or else one to ack for.
        :raises SettlementFailed: the transport did not take one of them.
        """
        failures: list[SettlementFailed] = []
        ack = self.ack
        for context in batch:
            nacks = context.outcome is NACKED
            try:
                if nacks:
                    self.nack(context.message)
                else:
                    ack(context.message)
            except Exception as error:
                context.outcome = None
                failure = SettlementFailed(context.message, "nack" if nacks else "ack")
                failure.__cause__ = error
                failures.append(failure)
        for later in failures[1:]:
            note_later_error(failures[0], later)
        if failures:
            raise failures[0]

    #: A single ack may go to ``ack`` at once; not so where ``settle`` is overridden.
    settle.tells_one_by_one = True  # type: ignore[attr-defined]

    @classmethod
    def from_url(
        cls: type[A],
        url: str,
        message_cls: Callable[[bytes], Any],
        processor: Any,
        **options: Any,
    ) -> A:
        """Return the adapter that a URL describes.

        :param url: the transport, with options in the query; the class documents its form.
        :param message_cls: the class of the messages.
        :param processor: the processor to run.
        :param options: keyword arguments of the class; they win over those in the URL.
        :raises ConfigurationError: the class takes no URL, or cannot use this one.
        """
        raise ConfigurationError(
            f"{cls.__name__} is not built from a URL; call {cls.__name__}(...) instead"
        )


@runtime_checkable
class Runnable(Protocol):
    """An adapter that can be run and stopped: what a command or a supervisor drives."""

    #: Set while a message that is published now would be delivered.
    ready: threading.Event

    def run(self) -> object:
        """Run until the input ends or ``stop`` is called; raise what cannot be recovered from.

        :returns: nothing, or the result of the run, such as a replay's counts.
        """
        ...

    def stop(self) -> None:
        """Ask ``run`` to finish what is in flight and return; any thread, any number of times."""
        ...
