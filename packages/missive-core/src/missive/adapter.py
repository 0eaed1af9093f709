"""The contract between a processor and a transport."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar, runtime_checkable

from .capabilities import Capabilities
from .errors import ConfigurationError, describe
from .messages import M

if TYPE_CHECKING:
    from .processor import Processor

A = TypeVar("A", bound="Adapter[Any]")


class Adapter(ABC, Generic[M]):
    """What a processor asks of a transport: to take an ack and a nack.

    How an adapter runs is its own affair; those that read in a loop subclass ``PollingAdapter``.
    The processing context calls ``ack`` or ``nack`` exactly once for each delivery that settles,
    after the handler and all hooks are through, and after a dead letter was written.

    :param processor: the processor to run.
    :raises ConfigurationError: it is no processor.
    """

    #: What the transport can promise. The defaults promise little; an adapter states its own.
    capabilities: ClassVar[Capabilities] = Capabilities()

    def __init__(self, processor: Processor[M]) -> None:
        if isinstance(processor, type) or not hasattr(processor, "context"):
            raise ConfigurationError(
                f"{type(self).__name__} cannot run {describe(processor)};"
                " give the processor itself, such as missive.Processor()"
            )
        self.processor = processor

    @abstractmethod
    def ack(self, message: M) -> None:
        """Tell the transport that the message is done with.

        An adapter may batch this, but must not lose it while it runs on.

        :param message: the message that was acked or dead-lettered.
        """

    @abstractmethod
    def nack(self, message: M) -> None:
        """Give the message back to the transport, or refuse it.

        Never called where ``capabilities.nack`` is ``"drop-refused"``.

        :param message: the message that was nacked.
        """

    @classmethod
    def from_url(
        cls: type[A],
        url: str,
        message_cls: Callable[[bytes], Any],
        processor: Processor[Any],
        **options: Any,
    ) -> A:
        """Build the adapter that a URL describes.

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

        :returns: nothing, or what the run came to, as a replay's counts.
        """
        ...

    def stop(self) -> None:
        """Ask ``run`` to finish what is in hand and return; any thread, any number of times."""
        ...
