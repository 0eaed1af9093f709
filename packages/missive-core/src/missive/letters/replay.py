"""Replay: dead letters handled again, by the processor that they failed in."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from typing import cast

from ..adapter import Adapter
from ..capabilities import OF_A_STORE
from ..error_notes import place_of
from ..errors import ConfigurationError
from ..handling import ACKED, HandlingContext
from ..ids import format_id
from ..message import M, check_message_cls
from ..processor import Processor
from ..run import ProcessingContext
from ..shutdown_handler import ShutdownHandler
from .choice import Choice
from .claim import MAX_LEASE, Claim, ClaimedDelivery
from .leases import Leases
from .letter import DeadLetter
from .replayed import COUNTED_AS, Replayed, ReplayResult, would_be_replayed
from .selection import Selection
from .store import DeadLetterStore

logger = logging.getLogger("missive.letters.replay")


class ReplayAdapter(Adapter[M]):
    """Takes dead letters from a store as messages, once each, oldest first.

    A letter that is acked leaves the store. If it fails again, the failure is added to it; if it is
    nacked, it stays unchanged. A run takes the letters that are in the store when it starts, and
    none of them twice. Each is claimed before it is handled, so several replays can share a store:
    a letter that failed in another replay meanwhile is left to a later run. A claim is renewed
    while a handler runs, and expires if its process dies. The store replaces the processor's DLQ.

    :param message_cls: makes a message of a letter's bytes. The letter does not decide it.
    :param processor: the processor to run.
    :param store: the store to take letters from.
    :param ids: only the letters with these ids, in this order. An id that is not in the store is
        passed over, and not counted.
    :param reason: only letters with exactly this reason; likewise ``handler``, ``source``,
        ``error_type`` and ``group``; an empty text stands for those that have none.
    :param since: only letters that failed last at this moment or later; aware.
    :param until: only letters that failed last before this moment; aware.
    :param choice: only the letters of this choice of the store's, as they stood when they were
        chosen; one that changed since is skipped.
    :param dry_run: call no handler and change nothing; ``on_progress`` is told where each would go.
    :param limit: at most this many letters, those that are skipped not counted.
    :param on_progress: called with a :class:`Replayed` after each letter, in the thread of ``run``.
    :param lease: how long a claim outlives a process that died, in seconds; at most MAX_LEASE,
        thirty days.
    :raises ConfigurationError: the arguments cannot work.

    :ivar result: the counts of the run, so far or at its end.
    """

    capabilities = replace(OF_A_STORE, ordering="total")

    def __init__(
        self,
        message_cls: Callable[[bytes], M],
        processor: Processor[M],
        store: DeadLetterStore,
        *,
        ids: Iterable[bytes] | None = None,
        reason: str | None = None,
        handler: str | None = None,
        source: str | None = None,
        error_type: str | None = None,
        group: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        choice: Choice | None = None,
        dry_run: bool = False,
        limit: int | None = None,
        on_progress: Callable[[Replayed], None] | None = None,
        lease: float = 60.0,
    ) -> None:
        super().__init__(processor)
        check_message_cls(message_cls)
        _check_options(store, limit, lease)
        self._processor = processor
        self.message_cls = message_cls
        self.store = store
        self.selection = Selection(
            store,
            ids,
            {
                "reason": reason,
                "handler": handler,
                "source": source,
                "error_type": error_type,
                "group": group,
                "since": since,
                "until": until,
            },
            choice,
        )
        self.dry_run = dry_run
        self.limit = limit
        self.on_progress = on_progress
        self.lease = lease
        self.result = ReplayResult()
        self.ready = threading.Event()
        self.shutdown_handler = ShutdownHandler()
        self._leases = Leases(store, lease)
        self._running = threading.Lock()

    def run(self) -> ReplayResult:
        """Replay the letters that are there now, until all were tried or ``stop`` is called.

        :returns: the counts, also kept as ``result``.
        :raises Exception: what a processing hook, the store or ``on_progress`` raised. The letter
            in flight is in the store then, and its claim given back, if the store allows.
        """
        if not self._running.acquire(blocking=False):
            raise ConfigurationError("this ReplayAdapter runs already; build another one")
        self.result = ReplayResult()
        self.selection.begin()
        try:
            self.shutdown_handler.enable()
            if self.dry_run:  # without the hooks, which may connect to something or write
                self._explain_all(
                    ProcessingContext(self.message_cls, self, self._processor, dlq=self.store)
                )
            else:
                with (
                    self._processor.context(self.message_cls, self, dlq=self.store) as ctx,
                    closing(Leases(self.store, self.lease)) as self._leases,
                ):
                    self.ready.set()
                    self._replay_all(ctx)
        finally:
            self.ready.clear()
            self.shutdown_handler.disable()
            self.shutdown_handler.clear_flag()
            self._running.release()
        return self.result

    def stop(self) -> None:
        """Ask ``run`` to return after the letter in flight; from any thread, any number of times."""
        self.shutdown_handler.set_flag()

    def settle(self, batch: Sequence[HandlingContext[M]]) -> None:
        """Remove letters that were acked, and give the claims on the others back.

        What failed again was written to the letter before.

        :param batch: contexts whose delivery is a :class:`ClaimedDelivery` of this adapter.
        """
        for context in batch:
            delivery = cast(ClaimedDelivery, context.delivery)
            self._leases.drop((delivery,))
            claim = delivery.claim
            if context.outcome is ACKED and self.store.remove(claim):
                continue
            self.store.release(claim)
            if context.outcome is ACKED:
                # It changed elsewhere meanwhile, and what is known of it there stays.
                logger.warning(
                    "%s was acked, and stays in the store: it failed or was replaced elsewhere,"
                    " or its claim expired",
                    format_id(claim.id),
                )

    def ack(self, message: M) -> None:
        """Remove the letter of a message from the store; :meth:`settle` does so in a run.

        :param message: a message that this adapter delivered.
        """
        self.store.remove(cast(ClaimedDelivery, message.envelope).claim)

    def nack(self, message: M) -> None:
        """Give the claim on the letter of a message back; :meth:`settle` does so in a run.

        :param message: a message that this adapter delivered.
        """
        self.store.release(cast(ClaimedDelivery, message.envelope).claim)

    def _is_over(self) -> bool:
        acked, failed, nacked, skipped = self.result
        tried = skipped if self.dry_run else acked + failed + nacked
        return self.shutdown_handler.should_exit() or (
            self.limit is not None and tried >= self.limit
        )

    def _letters(self) -> Iterator[DeadLetter]:
        if not self._is_over():
            for letter in self.selection:
                yield letter
                if self._is_over():
                    return

    def _replay_all(self, ctx: ProcessingContext[M]) -> None:
        for letter in self._letters():
            claimed = self.selection.claim(letter, self.lease)
            if claimed is None:
                self._note(Replayed(letter, held=self.store.claim_of(letter.id)), "skipped")
            else:
                self._replay(ctx, *claimed)

    def _replay(self, ctx: ProcessingContext[M], claim: Claim, letter: DeadLetter) -> None:
        delivery = ClaimedDelivery(letter, claim, self)
        self._leases.hold(delivery)
        try:
            context = ctx.deliver(delivery)
        except BaseException:
            self._give_back(delivery.claim)
            raise
        finally:
            self._leases.drop((delivery,))
        assert context.outcome is not None
        name = context.handler.name if context.handler else None
        replayed = Replayed(letter, context.outcome, name, context.error)
        self._note(replayed, COUNTED_AS[context.outcome])

    def _give_back(self, claim: Claim) -> None:
        """Release the claim on a letter whose replay failed, without hiding by what."""
        try:
            self.store.release(claim)
        except Exception as error:
            logger.warning(
                "the claim on %s could not be given back, and will expire: %s at %s",
                format_id(claim.id),
                type(error).__name__,
                place_of(error),
            )

    def _explain_all(self, ctx: ProcessingContext[M]) -> None:
        for letter in self._letters():
            self._note(would_be_replayed(letter, ctx, self._processor), "skipped")

    def _note(self, replayed: Replayed, name: str) -> None:
        """Count a letter, and tell of it."""
        self.result = self.result._replace(**{name: getattr(self.result, name) + 1})
        if self.on_progress is not None:
            self.on_progress(replayed._replace(result=self.result))


def _check_options(store: object, limit: int | None, lease: float) -> None:
    """Refuse options that cannot work, by a ConfigurationError."""
    if not isinstance(store, DeadLetterStore):
        raise ConfigurationError(
            f"ReplayAdapter cannot claim letters from a {type(store).__name__};"
            " give a DeadLetterStore, such as missive.MemoryDLQ or SQLiteDLQ"
        )
    if limit is not None and limit < 0:
        raise ConfigurationError(f"limit of ReplayAdapter must be 0 or more, not {limit!r}")
    if not 0 < lease <= MAX_LEASE:
        raise ConfigurationError(
            f"lease of ReplayAdapter must be more than 0 s and at most {MAX_LEASE} s,"
            f" not {lease!r}; it is renewed while a handler runs"
        )
