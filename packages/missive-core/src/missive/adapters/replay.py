"""Replay: dead letters handled again, by the processor that they failed in."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any, NamedTuple, cast

from ..adapter import Adapter
from ..capabilities import Capabilities
from ..error_notes import place_of
from ..errors import ConfigurationError
from ..handling import ACKED, DEAD_LETTERED, DEFERRED, NACKED, Outcome
from ..ids import format_id
from ..letters import (
    MAX_LEASE,
    Choice,
    Claim,
    DeadLetter,
    DeadLetterStore,
    LetterFilters,
    check_filters,
    utc_now,
)
from ..letters.filters import matches
from ..matching import Explanation
from ..message import M, check_message_cls
from ..processor import Processor
from ..run import ProcessingContext
from ..shutdown_handler import ShutdownHandler

__all__ = ["ReplayAdapter", "ReplayResult", "Replayed"]

logger = logging.getLogger("missive.adapters.replay")


class ReplayResult(NamedTuple):
    """What a replay did.

    :ivar acked: letters whose message was acked; they are gone from the store, but for one that
        failed or was replaced elsewhere while it was handled: that stays, and is logged.
    :ivar failed: letters that failed again; their failure was appended.
    :ivar nacked: letters whose handler nacked; they are as before.
    :ivar skipped: letters that somebody else was replaying, or that failed elsewhere or were
        removed since the run started; in a dry run, every letter.
    """

    acked: int = 0
    failed: int = 0
    nacked: int = 0
    skipped: int = 0


class Replayed(NamedTuple):
    """One letter of a replay, as ``on_progress`` is told of it.

    :ivar outcome: what was done; None for a letter that was skipped, and in a dry run.
    :ivar handler: the name of the handler it went to, or in a dry run would go to; None where that
        is none, or several.
    :ivar error: what it failed by; in a dry run, what building or matching it raised.
    :ivar explanation: in a dry run, which matchers hit and which raised; None where the message
        could not be built.
    :ivar result: the counts so far, this letter included.
    :ivar held: the claim of another for which it was skipped, where the store can say.
    """

    letter: DeadLetter
    outcome: Outcome | None
    handler: str | None
    error: Exception | None
    explanation: Explanation[Any] | None
    result: ReplayResult
    held: Claim | None = None

    def __repr__(self) -> str:
        return f"<Replayed {self.letter!r}: {self.outcome}>"


class ReplayAdapter(Adapter[M]):
    """Takes dead letters from a store as messages, once each, oldest first.

    What is acked leaves the store, what fails again gets its failure appended, what is nacked stays
    as it is. A run takes the letters that are there when it starts, and none of them twice. Each is
    claimed before it is handled, so that several replays can share a store: what failed in another
    since this one started is left to a later run. A claim is renewed while a slow handler runs, and
    expires where its process died. The store stands in for the processor's own DLQ.

    :param message_cls: makes a message of a letter's bytes. It is never guessed from the letter.
    :param processor: the processor to run.
    :param store: the store to take letters from.
    :param ids: only the letters with these ids, in this order. An id that is not in the store is
        passed over, and not counted.
    :param reason: only letters with exactly this reason; likewise ``handler``, ``source`` and
        ``error_type``, where an empty text stands for those that have none.
    :param since: only letters that failed last at this moment or later; aware.
    :param until: only letters that failed last before this moment; aware.
    :param choice: only the letters of this choice of the store's, as they stood when they were
        chosen; one that changed since is skipped.
    :param dry_run: call no handler and change nothing; tell ``on_progress`` where each would go.
    :param limit: at most so many letters, those that are skipped not counted.
    :param on_progress: called with a :class:`Replayed` after each letter, in the thread of ``run``.
    :param lease: how long a claim outlives a process that died, in seconds; at most MAX_LEASE,
        thirty days.
    :raises ConfigurationError: these cannot work.

    :ivar result: the counts of the run, so far or at its end.
    """

    capabilities = Capabilities(
        delivery="at-least-once",
        nack="redeliver",
        persistent=True,
        crash_redelivery=True,
        ordering="total",
        competing_consumers=True,
        stable_id=True,
        headers=True,
    )

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
        self.message_cls = message_cls
        self.store = store
        self.ids = None if ids is None else _check_ids(ids)
        self.filters: LetterFilters = {
            "reason": reason,
            "handler": handler,
            "source": source,
            "error_type": error_type,
            "since": since,
            "until": until,
        }
        check_filters(self.filters)
        self.choice = choice
        self.dry_run = dry_run
        self.limit = limit
        self.on_progress = on_progress
        self.lease = lease
        self.result = ReplayResult()
        self.ready = threading.Event()
        self.shutdown_handler = ShutdownHandler()
        self._in_hand: _InHand | None = None
        self._running = threading.Lock()

    def run(self) -> ReplayResult:
        """Replay the letters that are there now, until all were tried or ``stop`` is called.

        :returns: the counts, also kept as ``result``.
        :raises Exception: what a processing hook, the store or ``on_progress`` raised. The letter
            in hand is in the store then, and its claim given back, if the store allows.
        """
        if not self._running.acquire(blocking=False):
            raise ConfigurationError("this ReplayAdapter runs already; build another one")
        self.result = ReplayResult()
        self._started = utc_now()
        try:
            self.shutdown_handler.enable()
            if self.dry_run:  # without the hooks, which may connect to something or write
                self._explain_all(
                    ProcessingContext(self.message_cls, self, self.processor, dlq=self.store)
                )
            else:
                with self.processor.context(self.message_cls, self, dlq=self.store) as ctx:
                    self.ready.set()
                    self._replay_all(ctx)
        finally:
            self.ready.clear()
            self.shutdown_handler.disable()
            self.shutdown_handler.clear_flag()
            self._running.release()
        return self.result

    def stop(self) -> None:
        """Ask ``run`` to return after the letter in hand; from any thread, any number of times."""
        self.shutdown_handler.set_flag()

    def ack(self, message: M) -> None:
        """Take a letter that was acked from the store, and give the claim of one that failed back.

        :param message: the message that was acked or dead-lettered.
        """
        in_hand = self._hold(message)
        if in_hand.failed_again:
            self.store.release(in_hand.claim)
        elif not self.store.remove(in_hand.claim):
            # Somebody else changed the letter meanwhile, so what they know of it stays.
            self.store.release(in_hand.claim)
            logger.warning(
                "%s was acked, and stays in the store: it failed or was replaced elsewhere, or its"
                " claim expired",
                format_id(in_hand.claim.id),
            )

    def nack(self, message: M) -> None:
        """Give the claim of a letter that was nacked back; the letter stays.

        :param message: the message that was nacked.
        """
        self.store.release(self._hold(message).claim)

    def _hold(self, message: M) -> _InHand:
        in_hand = self._in_hand
        assert in_hand is not None, f"{message} is not in hand"
        in_hand.settling = True
        return in_hand

    def _snapshot(self) -> Iterator[DeadLetter]:
        """Give the letters that are there at the start, each once, whatever happens meanwhile."""
        if self.ids is not None:
            for id in dict.fromkeys(self.ids):
                yield from _matching(self.store, id, self.filters)
            return
        newest = next(self.store.letters(newest_first=True, limit=1), None)
        if newest is None or newest.position is None:
            return
        for letter in self.store.letters(**self.filters):
            # A letter that came since has a higher position, the same message put again included.
            if letter.position is None or letter.position > newest.position:
                return
            if self.choice is None or self.choice.covers(letter):
                yield letter

    def _is_over(self, tried: int) -> bool:
        return self.shutdown_handler.should_exit() or (
            self.limit is not None and tried >= self.limit
        )

    def _explain(self, ctx: ProcessingContext[M], letter: DeadLetter) -> Explanation[M]:
        context = ctx.begin(letter.raw_data, letter.delivery())
        if context.error is not None:
            raise context.error
        return self.processor.explain(context.message)

    def _explain_all(self, ctx: ProcessingContext[M]) -> None:
        if self._is_over(0):
            return
        for letter in self._snapshot():
            explanation: Explanation[M] | None = None
            error: Exception | None = None
            try:
                explanation = self._explain(ctx, letter)
                error = explanation.raised[0][1] if explanation.raised else None
            except Exception as raised:
                error = raised
            found = explanation.handler if explanation is not None else None
            self._count("skipped")
            self._tell(letter, None, found.name if found else None, error, explanation)
            if self._is_over(self.result.skipped):
                return

    def _replay_all(self, ctx: ProcessingContext[M]) -> None:
        tried = 0
        if self._is_over(tried):
            return
        with _Heartbeat(self.store, self.lease) as heartbeat:
            for letter in self._snapshot():
                claimed = self._claim(letter)
                if claimed is None:
                    self._count("skipped")
                    self._tell(letter, None, None, None, None, self.store.claim_of(letter.id))
                else:
                    tried += 1
                    self._replay(ctx, *claimed, heartbeat)
                if self._is_over(tried):
                    return

    def _claim(self, letter: DeadLetter) -> tuple[DeadLetter, Claim] | None:
        """Claim a letter and read it anew: what was read before the claim may be out of date."""
        claimed = self.store.claim(letter.id, lease=self.lease)
        if claimed is None:
            return None
        claim, current = claimed
        # One that failed later than now did so before its clock was set back.
        failed_since = self._started < current.last_failed <= utc_now()
        unchanged = self.choice is None or current in self.choice
        if (
            matches(current, self.filters)
            and current.position == letter.position
            and unchanged
            and not failed_since
        ):
            return current, claim
        self.store.release(claim)
        return None

    def _replay(
        self,
        ctx: ProcessingContext[M],
        letter: DeadLetter,
        claim: Claim,
        heartbeat: _Heartbeat,
    ) -> None:
        in_hand = self._in_hand = _InHand(claim)
        heartbeat.in_hand = in_hand
        try:
            delivery = letter.delivery()
            # Failures are counted, but neither nacks nor the replays that a crash ended.
            delivery.delivery_count = None
            context = ctx.process(delivery)
            if context.letter is not None:
                in_hand.failed_again = True
                # The failure belongs to this letter, whatever the handler did to the message.
                context.letter = context.letter._replace(
                    id=letter.id, raw_data=letter.raw_data, source=letter.source
                )
            (outcome,) = ctx.settle((context,))
        except BaseException:
            self._give_back(claim)
            raise
        finally:
            heartbeat.in_hand = self._in_hand = None
        assert outcome is not None
        self._count(_COUNTED_AS[outcome])
        self._tell(
            letter,
            outcome,
            context.handler.name if context.handler else None,
            context.error,
            None,
        )

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

    def _count(self, name: str) -> None:
        self.result = self.result._replace(**{name: getattr(self.result, name) + 1})

    def _tell(
        self,
        letter: DeadLetter,
        outcome: Outcome | None,
        handler: str | None,
        error: Exception | None,
        explanation: Explanation[M] | None,
        held: Claim | None = None,
    ) -> None:
        if self.on_progress is not None:
            self.on_progress(
                Replayed(letter, outcome, handler, error, explanation, self.result, held)
            )


_COUNTED_AS = {ACKED: "acked", DEAD_LETTERED: "failed", DEFERRED: "failed", NACKED: "nacked"}


class _InHand:
    """The claim of the letter that is being handled, and what became of it.

    :ivar failed_again: its failure goes to the letter.
    :ivar settling: the store is being told, so the claim may have ended.
    """

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        self.failed_again = False
        self.settling = False


def _check_options(store: object, limit: int | None, lease: float) -> None:
    """Refuse options that cannot work.

    :raises ConfigurationError: one of them cannot.
    """
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


def _check_ids(ids: Iterable[bytes]) -> tuple[bytes, ...]:
    """Give ids as a tuple, or refuse what no letter can have.

    :raises ConfigurationError: they are no iterable of bytes.
    """
    given: object = ids
    if isinstance(given, Iterable) and not isinstance(given, (bytes, str)):
        ids = tuple(ids)
        if all(isinstance(cast(object, id), bytes) for id in ids):
            return ids
    raise ConfigurationError(
        "ids of ReplayAdapter must be an iterable of bytes; an id is bytes, and"
        " missive.parse_id(text) reads a printed one"
    )


def _matching(store: DeadLetterStore, id: bytes, filters: LetterFilters) -> Iterator[DeadLetter]:
    """Give the letter with an id, if it is there and matches."""
    try:
        letter = store.letter(id)
    except KeyError:
        return
    if matches(letter, filters):
        yield letter


class _Heartbeat:
    """A thread that renews the claim in hand, for as long as its handler takes."""

    def __init__(self, store: DeadLetterStore, lease: float) -> None:
        self.store = store
        self.lease = lease
        #: What is in hand; set and cleared by the thread that replays.
        self.in_hand: _InHand | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="missive-replay", daemon=True)

    def __enter__(self) -> _Heartbeat:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._over.wait(self.lease / 3):
            in_hand = self.in_hand
            if in_hand is None:
                continue
            printable = format_id(in_hand.claim.id)
            try:
                renewed = self.store.renew(in_hand.claim, lease=self.lease)
            except Exception as error:
                logger.warning(
                    "the claim on %s could not be renewed: %s at %s",
                    printable,
                    type(error).__name__,
                    place_of(error),
                )
                continue
            if renewed is None and not in_hand.settling:
                logger.warning(
                    "the claim on %s was lost: the letter was removed or replaced, or another"
                    " replay has it",
                    printable,
                )
