"""The recorder: a processor that notes what reaches its handlers, and how it was settled."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from missive import HandlingContext, Message, Processor

from .contract import ContractBroken
from .styles import PLAIN, register

#: What a handler does with a message.
Behaviour = Callable[[Any, HandlingContext[Any]], None]


@dataclass(frozen=True)
class Seen:
    """One call of a handler: the message as it was at that moment."""

    body: bytes = field(repr=False)
    message_id: bytes
    delivery_count: int | None
    source: str | None
    headers: dict[str, str] = field(repr=False)
    message: Message
    thread: threading.Thread


class Letters(MutableMapping[bytes, tuple[Message, str]]):
    """A DLQ in memory that can be waited on, and can refuse or watch writes.

    :param on_write: called before each letter is kept; what it raises refuses the letter.
    """

    def __init__(self, on_write: Callable[[bytes], None] | None = None) -> None:
        self._letters: dict[bytes, tuple[Message, str]] = {}
        self._changed = threading.Condition()
        self.on_write = on_write
        #: How many letters were written, those under an id that was there before included.
        self.writes = 0

    def __setitem__(self, key: bytes, letter: tuple[Message, str]) -> None:
        if self.on_write is not None:
            self.on_write(key)
        with self._changed:
            self._letters[key] = letter
            self.writes += 1
            self._changed.notify_all()

    def __getitem__(self, key: bytes) -> tuple[Message, str]:
        return self._letters[key]

    def __delitem__(self, key: bytes) -> None:
        del self._letters[key]

    def __iter__(self) -> Iterator[bytes]:
        return iter(list(self._letters))

    def __len__(self) -> int:
        return len(self._letters)

    def wait(self, count: int, patience: float) -> list[tuple[Message, str]]:
        """Wait until there are so many letters, and give them all.

        :raises ContractBroken: there were fewer when ``patience`` was over.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._letters) >= count, patience):
                raise ContractBroken(
                    f"{len(self._letters)} of {count} dead letters were written in {patience:g} s"
                )
            return list(self._letters.values())


class Recorder:
    """A processor with a handler that notes each call.

    :param behaviour: what the handler does with the message; acks it unless given.
    :param matcher: what the handler is registered for; None registers none.
    :param dlq: where dead letters go; None for nowhere.
    :param observe: note how each delivery was settled, too. It takes core's longer way through
        settlement, so checks that need it not go without.
    :param patience: how long the ``wait`` methods wait, in seconds.
    :param style: how its handlers are written; see :mod:`missive.conformance.styles`.
    :param blocks: whether the behaviour waits for something, so that it would hold up an event loop.
    """

    def __init__(
        self,
        behaviour: Behaviour | None,
        *,
        matcher: Callable[[Any], bool] | None,
        dlq: MutableMapping[bytes, tuple[Any, str]] | None,
        observe: bool,
        patience: float,
        style: str = PLAIN,
        blocks: bool = False,
    ) -> None:
        self.style = style
        self.blocks = blocks
        self.behaviour: Behaviour = behaviour or (lambda message, ctx: ctx.ack())
        self.patience = patience
        self.processor: Processor[Any] = Processor()
        self.processor.set_dlq(dlq)
        self.seen: list[Seen] = []
        self.settled: list[HandlingContext[Any]] = []
        self._changed = threading.Condition()
        if matcher is not None:
            self.handle_for(matcher)
        if observe:
            self.processor.on_settled(self._note_settled)

    def handle_for(self, matcher: Callable[[Any], bool], **options: Any) -> None:
        """Register the recording handler for what a matcher matches.

        :param options: keyword arguments of the processor's ``handle_for``.
        """

        def handler(message: Any, ctx: HandlingContext[Any]) -> None:
            self.note(message)
            self.behaviour(message, ctx)

        register(self.processor, matcher, handler, self.style, blocks=self.blocks, **options)

    def note(self, message: Any) -> None:
        """Note that a handler was called with a message."""
        seen = Seen(
            message.raw_data,
            message.message_id,
            message.delivery_count,
            message.source,
            dict(message.headers),
            message,
            threading.current_thread(),
        )
        with self._changed:
            self.seen.append(seen)
            self._changed.notify_all()

    def _note_settled(self, processing_ctx: object, settled: HandlingContext[Any]) -> None:
        with self._changed:
            self.settled.append(settled)
            self._changed.notify_all()

    @property
    def bodies(self) -> list[bytes]:
        """The bodies that reached a handler, in order."""
        return [seen.body for seen in self.seen]

    def wait_seen(self, count: int) -> list[Seen]:
        """Wait until handlers were called so often, and give all calls.

        :raises ContractBroken: they were not, and for ``patience`` seconds no call came.
        """
        with self._changed:
            while (had := len(self.seen)) < count:
                if not self._changed.wait_for(lambda: len(self.seen) > had, self.patience):
                    raise ContractBroken(
                        f"{had} of {count} deliveries reached a handler, and for"
                        f" {self.patience:g} s no more came"
                    )
            return list(self.seen)

    def wait_seen_again(self, count: int, nudge: Callable[[], None]) -> None:
        """Wait for each of several deliveries, and after each have the adapter look again.

        :param nudge: has an adapter whose ``run`` ends by itself run again.
        """
        for number in range(1, count + 1):
            self.wait_seen(number)
            nudge()

    def wait_settled(self, count: int) -> list[HandlingContext[Any]]:
        """Wait until so many deliveries were settled, and give how.

        :raises ContractBroken: they were not.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.settled) >= count, self.patience):
                raise ContractBroken(
                    f"{len(self.settled)} of {count} deliveries were settled in {self.patience:g} s"
                )
            return list(self.settled)
