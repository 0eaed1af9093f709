"""Harnesses: the one class that the author of an adapter or a store writes for the kit."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar

from missive import DLQ, Adapter, Capabilities, Processor, RawMessage

from .contract import NotOffered
from .reasons import reason
from .styles import BATCH, PLAIN, kind_of


class Harness:
    """What both kinds of harness have in common.

    A harness is importable by its dotted name, since child processes build it again from
    ``folder`` and ``address``.

    :param folder: an empty folder of this harness's own.
    :param address: in a child process, what ``start`` noted in the parent; JSON.

    :ivar address: whatever a child process needs to find the transport; JSON, filled by ``start``.
    """

    def __init__(self, folder: Path, address: Mapping[str, Any] | None = None) -> None:
        self.folder = folder
        self.address: dict[str, Any] = dict(address or {})

    #: The longest that something may take which ought to happen at once, in seconds.
    patience: ClassVar[float] = 10.0

    def start(self) -> None:
        """Provide an empty transport or store; called once for each check, in the parent alone.

        :raises BrokerMissing: the server that this needs is not there.
        """

    def stop(self) -> None:
        """Give back what ``start`` took; called also where ``start`` failed."""

    @classmethod
    def close_all(cls) -> None:
        """Give back what all harnesses of this class share, such as a server; called at the end."""

    @classmethod
    def offers(cls, hook: str) -> bool:
        """Whether this class offers something optional: a method it overrides, a true attribute."""
        mine = getattr(cls, hook, None)
        for base in (AdapterHarness, DLQHarness):
            if issubclass(cls, base) and hasattr(base, hook):
                return bool(mine) if not callable(mine) else mine is not getattr(base, hook)
        return bool(mine)


class AdapterHarness(Harness, ABC):
    """Tells the kit how to make an adapter, publish to it, and count what its transport holds.

    Three methods are asked for. Every other one is optional: what a harness does not offer is
    skipped, with a sentence that says so.
    """

    #: The class under test; its ``capabilities`` decide which checks run.
    adapter_cls: ClassVar[type[Adapter[Any]]]
    #: What the kit may publish from: more than one source where the adapter can read several.
    sources: ClassVar[tuple[str, ...]] = ()
    #: Each of several adapters gets every message.
    fan_out: ClassVar[bool] = False
    #: ``run`` returns by itself when nothing is left; the kit then calls it again for more.
    run_ends: ClassVar[bool] = False
    #: Other processes can reach the transport too; not so where it lies in this process's memory.
    reaches_processes: ClassVar[bool] = True
    #: The longest that an idle ``run`` may take to return after ``stop``, in seconds.
    stop_within: ClassVar[float] = 2.0
    #: ``remaining`` counts messages that were settled behind unsettled ones as settled; not so where
    #: the transport keeps no more than a position.
    counts_each: ClassVar[bool] = True
    #: ``make_adapter`` takes ``max_deliveries``: a message that was delivered so often, and ended its
    #: process each time, is rejected.
    max_deliveries: ClassVar[bool] = False
    #: A URL that ``adapter_cls.from_url`` takes, if it takes any; nothing is connected to.
    url: ClassVar[str | None] = None

    @abstractmethod
    def make_adapter(
        self,
        processor: Processor[Any],
        message_cls: Callable[[bytes], Any] = RawMessage,
        **options: Any,
    ) -> Adapter[Any]:
        """Build an adapter on the transport of this harness.

        :param options: keyword arguments of the adapter, such as ``workers``; the kit gives none
            to a class that is no ``PollingAdapter``.
        """

    @abstractmethod
    def publish(
        self, body: bytes, *, headers: Mapping[str, str] | None = None, source: str | None = None
    ) -> bool:
        """Publish a message, and return when the transport has confirmed it.

        :param headers: given only where ``capabilities.headers`` says that they are carried.
        :param source: one of ``sources``, where there are several.
        :returns: whether the transport accepted it. For request-reply transports: whether the
            sender was told of success; the call may wait for the answer, in a thread of its own.
        :raises Exception: the transport cannot carry such a message.
        """

    @abstractmethod
    def remaining(self) -> int:
        """Count the messages that the transport still has: waiting, or delivered and unsettled.

        A transport that forgets what it delivered counts what waits.
        """

    def own_dlq(self) -> DLQ:
        """Return the DLQ where letters go whatever the processor has: one that the adapter brings."""
        raise NotOffered("own_dlq")

    def unreachable_adapter(self, processor: Processor[Any], **options: Any) -> Adapter[Any]:
        """Build an adapter for an address where nothing listens."""
        raise NotOffered("unreachable_adapter")

    def refused_adapter(self, processor: Processor[Any], **options: Any) -> Adapter[Any]:
        """Build an adapter whose credentials the transport does not accept."""
        raise NotOffered("refused_adapter")

    def missing_adapter(self, processor: Processor[Any], **options: Any) -> Adapter[Any]:
        """Build an adapter for a queue, channel or file that does not exist."""
        raise NotOffered("missing_adapter")

    def down(self) -> None:
        """Stop the broker as its operator would, keeping what it persists."""
        raise NotOffered("down")

    def kill(self) -> None:
        """Kill the broker, as a power cut would."""
        raise NotOffered("kill")

    def up(self) -> None:
        """Start the broker again, at the same address, after ``down`` or ``kill``."""
        raise NotOffered("up")

    def endpoint(self) -> tuple[str, int]:
        """Return host and port of the broker, so that the kit can put its proxy before it."""
        raise NotOffered("endpoint")

    def proxied(self, host: str, port: int) -> None:
        """Have the adapters that are made from now on connect to this address; publish as
        before.
        """
        raise NotOffered("proxied")


class DLQHarness(Harness, ABC):
    """Tells the kit how to open a DLQ: a store, or any mutable mapping.

    Only ``open`` is asked for. What else a harness offers decides which checks run.
    """

    #: The class under test.
    dlq_cls: ClassVar[type[Any]]
    #: What is in it is still there when it is opened again.
    persistent: ClassVar[bool] = False
    #: Several processes may have it open at once.
    shared: ClassVar[bool] = False

    @abstractmethod
    def open(self) -> DLQ:
        """Open the DLQ of this harness; where ``persistent``, again with what it held."""

    def corrupt(self) -> None:
        """Damage what is stored, while nobody has it open, so that it cannot all be read."""
        raise NotOffered("corrupt")

    def foreign(self) -> None:
        """Put a file of something else where the store would be."""
        raise NotOffered("foreign")

    def newer(self) -> None:
        """Put a store of a version that does not exist yet where the store would be."""
        raise NotOffered("newer")

    def older(self) -> Mapping[bytes, tuple[bytes, str]]:
        """Put a store of an earlier version where the store would be, with letters in it.

        :returns: the body and the reason of each letter, by id, the oldest first.
        """
        raise NotOffered("older")

    def locked(self) -> AbstractContextManager[None]:
        """Hold the store so that nobody else can write to it, while in the ``with``."""
        raise NotOffered("locked")

    def limit_disk(self, limit: int) -> None:
        """Have writes to an open DLQ fail for want of room, sooner or later; in a child process.

        Unless overridden, no file that this process writes may become longer: a DLQ whose files
        another process writes overrides this.

        :param limit: about how many bytes there is room for; a few times as many are written.
        """
        import resource
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # so that a write fails instead
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    def read_only(self) -> None:
        """Make what is stored unwritable for the user that the process runs as."""
        raise NotOffered("read_only")


def capabilities_of(harness: type[AdapterHarness]) -> Capabilities:
    """Return the capabilities of the class under test: from the class, and nowhere else."""
    return harness.adapter_cls.capabilities


def subject_of(harness: type[Harness]) -> type:
    """Return the class under test."""
    if issubclass(harness, AdapterHarness):
        return harness.adapter_cls
    assert issubclass(harness, DLQHarness)
    return harness.dlq_cls


#: Why nothing is judged with batches where core refuses them.
NO_BATCHES = "a transport whose sender waits for an answer has no batches"


def unmet(needs: tuple[str, ...], harness: type[Harness], style: str = PLAIN) -> str | None:
    """Return why a check with these needs is skipped, as a sentence; None where all are met.

    :param style: how the handlers of the checks are written; see :mod:`missive.conformance.styles`.
    """
    if kind_of(style) == BATCH and _is_met("delivery=request-reply", harness):
        return NO_BATCHES
    for need in needs:
        about_handlers = need.startswith("handlers")
        if not (_is_met_by(need, kind_of(style)) if about_handlers else _is_met(need, harness)):
            return reason(need)
    return None


def _is_met_by(need: str, kind: str) -> bool:
    """Return whether a kind of handlers is one that a check is about."""
    _, operator, asked = need.partition("!=" if "!=" in need else "=")
    return (kind == asked) is (operator == "=")


def _is_met(need: str, harness: type[Harness]) -> bool:
    if need.startswith("no "):
        return not _is_met(need.removeprefix("no "), harness)
    if need.startswith("harness."):
        return harness.offers(need.removeprefix("harness."))
    if need[:1].isupper():
        return any(cls.__name__ == need for cls in subject_of(harness).__mro__)
    if issubclass(harness, AdapterHarness):
        capabilities = capabilities_of(harness)
        name, operator, value = need.partition("=")
        if name.endswith("<"):
            limit: int | None = getattr(capabilities, name.rstrip("<"))
            return limit is not None and limit <= int(value)
        if not operator:
            actual: object = getattr(capabilities, name)
            return actual is not None and actual is not False
        unequal = name.endswith("!")
        return (str(getattr(capabilities, name.rstrip("!"))) == value) is not unequal
    raise ValueError(f"a check of a DLQ cannot need {need!r}")
