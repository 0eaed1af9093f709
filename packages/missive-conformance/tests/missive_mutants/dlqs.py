"""Broken stores. Each is one mistake that an author could make."""

from __future__ import annotations

import base64
import pickle
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import Any, ClassVar

from missive import DeadLetter, DeadLetterStoreError, MemoryDLQ, Message
from missive.conformance import DLQConformance
from missive.letters import (
    MAX_HISTORY,
    MAX_LEASE,
    Action,
    Choice,
    Claim,
    Counts,
    Group,
    Receipt,
    SummaryRow,
    group_letters,
    inbox_key,
    kind_of,
)
from missive.letters.received import Received

from .mutation import Mutants
from .store import FileDLQ
from .store_harness import FileHarness

Claimed = tuple[Claim, DeadLetter]
MUTANTS = Mutants(DLQConformance, "dlq_cls")
sound = FileHarness


class Rewriting(FileDLQ):
    """A base for stores that change letters when they are written."""

    def put_many(self, letters: Iterable[DeadLetter]) -> None:
        super().put_many([self.rewrite(letter) for letter in letters])

    def assign(self, letter: DeadLetter) -> None:
        super().assign(self.rewrite(letter))

    def rewrite(self, letter: DeadLetter) -> DeadLetter:
        """Return what becomes of a letter."""
        return letter


# The mapping.


@MUTANTS.add(sound, "D01", "D08")
class ForgetsTheId(Rewriting):
    """Gives messages back without their ids, sources and headers."""

    def build(self, letter: DeadLetter) -> Message:
        return super().build(letter._replace(message_id=b"", id=b"?", source=None, headers={}))


@MUTANTS.add(sound, "D02")
class DeletesNothing(FileDLQ):
    """Deletes a key that is not there without a word."""

    def __delitem__(self, key: bytes) -> None:
        if key in self:
            super().__delitem__(key)


@MUTANTS.add(sound, "D02")
class GivesNoneForAMissingKey(FileDLQ):
    """Gives None for a key that is not there."""

    def __getitem__(self, key: bytes) -> Any:
        return super().__getitem__(key) if key in self else None


@MUTANTS.add(sound, "D03", "D14", "D15")
class ClearsAllButOne(FileDLQ):
    """Leaves the last letter when it is cleared."""

    def clear(self) -> None:
        while len(self) > 1:
            del self[next(iter(self))]


@MUTANTS.add(sound, "D03", "D14")
class KeepsDeletedInTheLength(FileDLQ):
    """Counts deleted letters."""

    deleted = 0

    def __delitem__(self, key: bytes) -> None:
        super().__delitem__(key)
        self.deleted += 1

    def __len__(self) -> int:
        return super().__len__() + self.deleted


@MUTANTS.add(sound, "D04", "D21", "D39")
class AppendsAlways(FileDLQ):
    """Keeps every failure as a letter of its own."""

    appended = 0

    def assign(self, letter: DeadLetter) -> None:
        self.put_many([letter])

    def put_many(self, letters: Iterable[DeadLetter]) -> None:
        fresh = []
        for letter in letters:
            taken = letter.id in self
            self.appended += 1
            fresh.append(
                letter._replace(id=b"%b-%d" % (letter.id, self.appended)) if taken else letter
            )
        super().put_many(fresh)


@MUTANTS.add(sound, "D05")
class FoldsKeys(Rewriting):
    """Takes keys that differ in case for the same."""

    def rewrite(self, letter: DeadLetter) -> DeadLetter:
        return letter._replace(id=letter.id.lower())

    def letter(self, id: bytes) -> DeadLetter:
        return super().letter(id.lower())


@MUTANTS.add(sound, "D05")
class TakesKeysForText(Rewriting):
    """Decodes keys as UTF-8."""

    def rewrite(self, letter: DeadLetter) -> DeadLetter:
        return letter._replace(id=letter.id.decode("utf-8", "replace").encode())


@MUTANTS.add(sound, "D06")
class TruncatesBodies(Rewriting):
    """Keeps 4096 bytes of a body."""

    def rewrite(self, letter: DeadLetter) -> DeadLetter:
        return letter._replace(raw_data=letter.raw_data[:4096])


@MUTANTS.add(sound, "D06", "D50", "D20")
class TakesBodiesForText(Rewriting):
    """Decodes bodies as UTF-8."""

    def rewrite(self, letter: DeadLetter) -> DeadLetter:
        return letter._replace(raw_data=letter.raw_data.decode("utf-8", "replace").encode())


@MUTANTS.add(sound, "D07")
class CutsReasons(Rewriting):
    """Keeps a thousand characters of a reason."""

    def rewrite(self, letter: DeadLetter) -> DeadLetter:
        return letter._replace(reason=letter.reason[:1000])


@MUTANTS.add(sound, "D07")
class StripsReasons(Rewriting):
    """Strips white space from a reason."""

    def rewrite(self, letter: DeadLetter) -> DeadLetter:
        return letter._replace(reason=letter.reason.strip())


@MUTANTS.add(sound, "D08", "D20")
class DropsHeaders(Rewriting):
    """Forgets the headers."""

    def rewrite(self, letter: DeadLetter) -> DeadLetter:
        return letter._replace(headers={})


@MUTANTS.add(sound, "D09", "D05", "D14", "D15", "D25", "D26", "D50")
class NewestAsOldest(FileDLQ):
    """Gives the newest letter for the oldest."""

    def letters(self, *, newest_first: bool = False, **options: Any) -> Iterator[DeadLetter]:
        found: Iterator[DeadLetter] = super().letters(newest_first=not newest_first, **options)
        return found


@MUTANTS.add(sound, "D10")
class NoLock(FileDLQ):
    """Reads, and writes what it read with one letter more, without a lock around the two."""

    def assign(self, letter: DeadLetter) -> None:
        self.refresh()
        letters = dict(self._shelf.letters)
        threading.Event().wait(0.005)
        with self.exclusive():
            self._shelf.letters = letters
            MemoryDLQ.assign(self, letter)
            self.dirty = True


@MUTANTS.add(sound, "D11")
class RefusesFailuresWithATraceback(Rewriting):
    """Cannot keep a letter that has a traceback."""

    def rewrite(self, letter: DeadLetter) -> DeadLetter:
        if letter.traceback:
            raise DeadLetterStoreError("there is no room for tracebacks in this store")
        return letter


@MUTANTS.add(sound, "D12")
class Pickles(FileDLQ):
    """Pickles messages."""

    def __setitem__(self, key: bytes, value: Any) -> None:
        pickle.dumps(value[0])
        super().__setitem__(key, value)


@MUTANTS.add(sound, "D13")
class ShowsContent(FileDLQ):
    """Shows its letters in its repr."""

    def __repr__(self) -> str:
        return repr([letter.raw_data for letter in self.letters()])


# The store.


@MUTANTS.add(sound, "D20", "D27", "D24")
class ForgetsTheHandler(Rewriting):
    """Forgets the handler and the error's type."""

    def rewrite(self, letter: DeadLetter) -> DeadLetter:
        return letter._replace(handler=None, error_type=None)


@MUTANTS.add(sound, "D20")
class WholeSeconds(Rewriting):
    """Keeps times to the second."""

    def rewrite(self, letter: DeadLetter) -> DeadLetter:
        return letter._replace(
            first_failed=letter.first_failed.replace(microsecond=0),
            last_failed=letter.last_failed.replace(microsecond=0),
        )


@MUTANTS.add(sound, "D21", "D51")
class ForgetsFormerFailures(FileDLQ):
    """Replaces a letter by its newest failure."""

    def put_many(self, letters: Iterable[DeadLetter]) -> None:
        self.restore_many(letters)


@MUTANTS.add(sound, "D22")
class OverwritesOtherMessages(Rewriting):
    """Takes another message with the same id for the same message."""

    def rewrite(self, letter: DeadLetter) -> DeadLetter:
        if letter.id in self:
            stored = self.letter(letter.id)
            return letter._replace(raw_data=stored.raw_data, source=stored.source)
        return letter


@MUTANTS.add(sound, "D23")
class KeepsHalfABatch(FileDLQ):
    """Keeps what came of a batch before it failed."""

    def put_many(self, letters: Iterable[DeadLetter]) -> None:
        for letter in letters:
            super().put_many([letter])


@MUTANTS.add(sound, "D24")
class FindsByPart(FileDLQ):
    """Takes filters that hit a part of a text, and knows no end of a time."""

    def letters(self, *, until: Any = None, **filters: Any) -> Iterator[DeadLetter]:
        found: Iterator[DeadLetter] = super().letters(**filters)
        return found


@MUTANTS.add(sound, "D25")
class PagesOverlap(FileDLQ):
    """Begins a page with the last letter of the page before."""

    def letters(self, *, after: int | None = None, **options: Any) -> Iterator[DeadLetter]:
        found: Iterator[DeadLetter] = super().letters(
            after=None if after is None else max(after - 1, 0), **options
        )
        return found


@MUTANTS.add(sound, "D26")
class FailureMakesYoung(FileDLQ):
    """Moves a letter that fails again to the end."""

    def put_many(self, letters: Iterable[DeadLetter]) -> None:
        for letter in letters:
            old = self.letter(letter.id) if letter.id in self else None
            if old is not None and old.is_same_message(letter):
                del self[letter.id]
                self.restore_many([old.failed_again(letter)])
            else:
                super().put_many([letter])


@MUTANTS.add(sound, "D27")
class RarestFirst(FileDLQ):
    """Gives the summary the wrong way round."""

    def summary(self, *, limit: int | None = None) -> list[SummaryRow]:
        rows: list[SummaryRow] = super().summary()
        return rows[::-1]


@MUTANTS.add(sound, "D28", "D51")
class EverybodyClaims(FileDLQ):
    """Gives a claim to everybody."""

    def claim(self, id: bytes, *, lease: float = 300.0) -> Claimed | None:
        self._shelf.claims.pop(id, None)
        with self.exclusive():
            self._shelf.claims.pop(id, None)
            found: Claimed | None = MemoryDLQ.claim(self, id, lease=lease)
            self.dirty = True
            return found


@MUTANTS.add(sound, "D29")
class ReleaseRemoves(FileDLQ):
    """Removes a letter whose claim is given back."""

    def release(self, claim: Claim) -> bool:
        if super().release(claim):
            del self[claim.id]
            return True
        return False


@MUTANTS.add(sound, "D30")
class RemovesNothing(FileDLQ):
    """Says that it has removed a letter, and keeps it."""

    def remove(self, claim: Claim) -> bool:
        return self.release(claim)


@MUTANTS.add(sound, "D31", "D29", "D32", "D41")
class RemovesAnyway(FileDLQ):
    """Removes a letter whatever became of it and of the claim."""

    def remove(self, claim: Claim) -> bool:
        return self.pop(claim.id, None) is not None


@MUTANTS.add(sound, "D41")
class ClaimsWhatCameInstead(FileDLQ):
    """Keeps the claim on a letter that was replaced."""

    def restore_many(self, letters: Iterable[DeadLetter]) -> None:
        with self.exclusive():
            claims = dict(self._shelf.claims)
            super().restore_many(letters)
            self._shelf.claims.update(claims)


@MUTANTS.add(sound, "D32")
class ClaimsForEver(FileDLQ):
    """Never lets a claim expire."""

    def claim(self, id: bytes, *, lease: float = 300.0) -> Claimed | None:
        found: Claimed | None = super().claim(id, lease=MAX_LEASE)
        return found


@MUTANTS.add(sound, "D33")
class RestoreFails(FileDLQ):
    """Takes a restored letter for one that has just failed."""

    def restore_many(self, letters: Iterable[DeadLetter]) -> None:
        self.put_many(letters)


@MUTANTS.add(sound, "D34")
class PurgesByFirstFailure(FileDLQ):
    """Purges by the first failure instead of the last."""

    def purge(self, *, older_than: timedelta, **filters: Any) -> int:
        last = {one.id: one for one in self.letters()}
        self.restore_many([one._replace(last_failed=one.first_failed) for one in last.values()])
        count: int = super().purge(older_than=older_than, **filters)
        return count


@MUTANTS.add(sound, "D35")
class CheckLeavesALetter(FileDLQ):
    """Tries a write in check(), and does not clean up."""

    def check(self) -> None:
        self[b"check"] = (Message(b"check"), "just a check")


@MUTANTS.add(sound, "D36")
class ClosesOnce(FileDLQ):
    """Raises when it is closed a second time."""

    def close(self) -> None:
        if self.closed and threading.current_thread() is threading.main_thread():
            self.closed_twice = True
            raise DeadLetterStoreError("this store was closed before")
        super().close()


@MUTANTS.add(sound, "D37")
class IteratesOverTheLiveThing(FileDLQ):
    """Iterates over what it changes meanwhile."""

    def __iter__(self) -> Iterator[bytes]:
        self.refresh()
        return iter(self._shelf.letters)


@MUTANTS.add(sound, "D38")
class LoadsEverything(FileDLQ):
    """Copies all letters before it gives the first."""

    def letters(self, **options: Any) -> Iterator[DeadLetter]:
        found = [
            one._replace(raw_data=base64.b64decode(base64.b64encode(one.raw_data)))
            for one in super().letters(**options)
        ]
        return iter(found)


@MUTANTS.add(sound, "D40")
class WritesWhenClosed(FileDLQ):
    """Opens again when it is written to after close()."""

    def close(self) -> None:
        return


@MUTANTS.add(sound, "D42")
class RemovesWhatMatchesNow(FileDLQ):
    """Removes what matches the filters of a choice when it is removed."""

    def remove_chosen(self, choice: Choice) -> int:
        ids = [one.id for one in self.letters(**choice.filters)]
        for id in ids:
            del self[id]
        return len(ids)


@MUTANTS.add(sound, "D43")
class TellsFormerClaims(FileDLQ):
    """Tells claims that were given back."""

    latest: Claim | None = None

    def claim(self, id: bytes, *, lease: float = 300.0) -> Claimed | None:
        found: Claimed | None = super().claim(id, lease=lease)
        if found is not None:
            self.latest = found[0]
        return found

    def claim_of(self, id: bytes) -> Claim | None:
        return self.latest


# Edges.


@MUTANTS.add(sound, "D44")
class RenewsWhatIsInForceAlone(FileDLQ):
    """Renews no claim that has ended, though nobody else has the letter."""

    def renew(self, claim: Claim, *, lease: float = 300.0) -> Claim | None:
        renewed: Claim | None = (
            super().renew(claim, lease=lease) if self.claim_of(claim.id) else None
        )
        return renewed


@MUTANTS.add(sound, "D45")
class ClaimsOutliveTheirLetters(FileDLQ):
    """Keeps the claim on a letter that is deleted, for the next with its id."""

    def __delitem__(self, key: bytes) -> None:
        with self.exclusive():
            claims = dict(self._shelf.claims)
            super().__delitem__(key)
            self.kept = claims

    def put_many(self, letters: Iterable[DeadLetter]) -> None:
        with self.exclusive():
            super().put_many(letters)
            self._shelf.claims.update(getattr(self, "kept", {}))


@MUTANTS.add(sound, "D46")
class TakesAnyLease(FileDLQ):
    """Makes of a lease that makes no sense the longest or the shortest."""

    def claim(self, id: bytes, *, lease: float = 300.0) -> Claimed | None:
        found: Claimed | None = super().claim(id, lease=min(max(lease, 0), MAX_LEASE))
        return found


@MUTANTS.add(sound, "D47")
class TakesTheFirstFreeId(FileDLQ):
    """Keeps a letter under its id as soon as that is free, whatever is kept beside it."""

    def put_many(self, letters: Iterable[DeadLetter]) -> None:
        with self.exclusive():
            for one in letters:
                if one.id in self._shelf.letters:
                    super().put_many([one])
                else:
                    self.restore_many([one])


@MUTANTS.add(sound, "D48")
class KeepsTheOldestFailures(FileDLQ):
    """Keeps the first failures singly, and forgets the newest."""

    def put_many(self, letters: Iterable[DeadLetter]) -> None:
        with self.exclusive():
            for one in letters:
                before = self._shelf.letters.get(one.id)
                super().put_many([one])
                if before is not None and before.failures >= MAX_HISTORY:
                    stored = self._shelf.letters[one.id]
                    self._shelf.letters[one.id] = stored._replace(history=before.history)


@MUTANTS.add(sound, "D49")
class BelievesTheClock(FileDLQ):
    """Lets a failure be earlier than the one before it."""

    def put_many(self, letters: Iterable[DeadLetter]) -> None:
        with self.exclusive():
            for one in letters:
                super().put_many([one])
                stored = self._shelf.letters[one.id]
                self._shelf.letters[one.id] = stored._replace(last_failed=one.last_failed)


@MUTANTS.add(sound, "D65")
class PassesOverUnknownFilters(FileDLQ):
    """Takes a filter that there is not for none."""

    def letters(self, **options: Any) -> Iterator[DeadLetter]:
        options.pop("reazon", None)
        found: Iterator[DeadLetter] = super().letters(**options)
        return found


# Deferred messages.


@MUTANTS.add(sound, "D70", "D73", "D62", "D80")
class ForgetsTheAttempts(FileDLQ):
    """Counts every try as the first."""

    def letter(self, id: bytes) -> DeadLetter:
        found: DeadLetter = super().letter(id)
        return found._replace(attempt=1)


@MUTANTS.add(sound, "D70")
class DueToTheSecond(FileDLQ):
    """Keeps due times to the second."""

    def defer(self, letters: Iterable[DeadLetter]) -> None:
        super().defer(
            [one._replace(due=one.due and one.due.replace(microsecond=0)) for one in letters]
        )


@MUTANTS.add(sound, "D71")
class CountsDeferredMessages(FileDLQ):
    """Has deferred messages in its length."""

    def __len__(self) -> int:
        return super().__len__() + self.counts().deferred


@MUTANTS.add(sound, "D71", "D72")
class ShowsBothStates(FileDLQ):
    """Takes deferred messages for dead letters, whatever it is asked for."""

    def letters(self, **options: Any) -> Iterator[DeadLetter]:
        found: Iterator[DeadLetter] = super().letters(**{**options, "state": None})
        return found


@MUTANTS.add(sound, "D72")
class SummarizesTheDeadAlone(FileDLQ):
    """Counts dead letters, whatever state it is asked for."""

    def summary(self, *, limit: int | None = None, state: Any = "dead") -> list[SummaryRow]:
        rows: list[SummaryRow] = super().summary(limit=limit)
        return rows


@MUTANTS.add(sound, "D73", "D81")
class StaysDeferred(FileDLQ):
    """Leaves a deferred message deferred when it is put."""

    def put_many(self, letters: Iterable[DeadLetter]) -> None:
        with self.exclusive():
            letters = list(letters)
            super().put_many(letters)
            for one in letters:
                stored = self._shelf.letters[one.id]
                if stored.failures > 1:
                    self._shelf.put_due(stored, stored.last_failed)

    def assign(self, letter: DeadLetter) -> None:
        with self.exclusive():
            super().assign(letter)
            stored = self._shelf.letters[letter.id]
            if stored.failures > 1:
                self._shelf.put_due(stored, stored.last_failed)


@MUTANTS.add(sound, "D73")
class ForgetsHistoryAtTheEnd(FileDLQ):
    """Keeps only the last failure when a deferred message becomes a dead letter."""

    def put_many(self, letters: Iterable[DeadLetter]) -> None:
        with self.exclusive():
            for one in letters:
                stored = self._shelf.letters.get(one.id)
                if stored is not None and stored.state == "deferred":
                    self.restore_many([one])
                else:
                    super().put_many([one])


@MUTANTS.add(sound, "D74")
class ClaimsOutlastDeferral(FileDLQ):
    """Keeps the claim on a message that is deferred again."""

    def defer(self, letters: Iterable[DeadLetter]) -> None:
        with self.exclusive():
            claims = dict(self._shelf.claims)
            super().defer(letters)
            self._shelf.claims.update(claims)
            for id in claims:
                self._shelf.schedule(id)


@MUTANTS.add(sound, "D75")
class DefersHalfABatch(FileDLQ):
    """Keeps what came of a batch before one that is never due."""

    def defer(self, letters: Iterable[DeadLetter]) -> None:
        for one in letters:
            super().defer([one])


@MUTANTS.add(sound, "D76")
class DefersOverOtherMessages(FileDLQ):
    """Takes another message with the same id for the same message, when it is deferred."""

    def defer(self, letters: Iterable[DeadLetter]) -> None:
        with self.exclusive():
            for one in letters:
                stored = self._shelf.letters.get(one.id, one)
                super().defer([one._replace(raw_data=stored.raw_data, source=stored.source)])


@MUTANTS.add(sound, "D77", "D62")
class CountsClaimedAsDue(FileDLQ):
    """Counts messages as due that somebody has claimed."""

    def counts(self) -> Counts:
        counts: Counts = super().counts()
        now = datetime.now(timezone.utc)
        due = sum(one.due <= now for one in self._shelf.letters.values() if one.due is not None)
        return counts._replace(due=due)


@MUTANTS.add(sound, "D78")
class RetriesEverything(FileDLQ):
    """Makes all messages due, whichever it is told."""

    def retry_now(self, ids: Any = None, **filters: Any) -> int:
        count: int = super().retry_now()
        return count


@MUTANTS.add(sound, "D79", "D95")
class GivesNothingUp(FileDLQ):
    """Says how many messages it would give up, and leaves them deferred."""

    def give_up(self, ids: Any = None, **filters: Any) -> int:
        return len(self.choose(ids, **{**filters, "state": "deferred"}))


@MUTANTS.add(sound, "D79")
class GivesUpWhatIsHandled(FileDLQ):
    """Makes messages dead letters that somebody handles."""

    def give_up(self, ids: Any = None, **filters: Any) -> int:
        with self.exclusive():
            for id in list(self._shelf.claims):
                self._shelf.claims.pop(id)
                self._shelf.schedule(id)
            count: int = super().give_up(ids, **filters)
            return count


@MUTANTS.add(sound, "D80")
class RestoresAsDead(FileDLQ):
    """Takes every letter that is restored for a dead one."""

    def restore_many(self, letters: Iterable[DeadLetter]) -> None:
        super().restore_many([one.given_up() for one in letters])


@MUTANTS.add(sound, "D81")
class AssignsBesideTheState(FileDLQ):
    """Leaves a deferred message as it is when its key is set."""

    def assign(self, letter: DeadLetter) -> None:
        with self.exclusive():
            stored = self._shelf.letters.get(letter.id)
            if stored is None or stored.state == "dead":
                super().assign(letter)


# Due messages.


@MUTANTS.add(sound, "D90")
class LatestFirst(FileDLQ):
    """Gives the messages that were due last before those that wait longer."""

    def claim_due(self, limit: int, lease: float = 300.0, *, now: Any = None) -> list[Claimed]:
        with self.exclusive():
            found: list[Claimed] = super().claim_due(1000, lease, now=now)
            found.sort(key=lambda one: one[1].due or one[1].last_failed, reverse=True)
            for claim, _ in found[limit:]:
                self.release(claim)
            return found[:limit]


@MUTANTS.add(sound, "D90", "D97", "D78")
class GivesWhatIsNotDue(FileDLQ):
    """Gives messages whose time has not come."""

    def claim_due(self, limit: int, lease: float = 300.0, *, now: Any = None) -> list[Claimed]:
        with self.exclusive():
            found: list[Claimed] = []
            for one in list(self.letters(state="deferred")):
                claimed = self.claim(one.id, lease=lease) if len(found) < limit else None
                if claimed is not None:
                    found.append(claimed)
            return found


@MUTANTS.add(sound, "D91")
class LooksThenClaims(FileDLQ):
    """Looks for what is due, and claims it afterwards, whatever became of it meanwhile."""

    def claim_due(self, limit: int, lease: float = 300.0, *, now: Any = None) -> list[Claimed]:
        moment = now or datetime.now(timezone.utc)
        due = [
            one
            for one in self.letters(state="deferred")
            if one.due is not None and one.due <= moment and self.claim_of(one.id) is None
        ]
        threading.Event().wait(0.005)
        found = []
        with self.exclusive():
            for one in due[:limit]:
                self._shelf.claims.pop(one.id, None)
                claimed = self.claim(one.id, lease=lease)
                if claimed is not None:
                    found.append(claimed)
        return found


@MUTANTS.add(sound, "D92", "D96")
class HandsOutOnce(FileDLQ):
    """Never gives a message to another, though its lease has ended."""

    def claim_due(self, limit: int, lease: float = 300.0, *, now: Any = None) -> list[Claimed]:
        found: list[Claimed] = super().claim_due(limit, MAX_LEASE, now=now)
        return found


@MUTANTS.add(sound, "D93", "D95")
class KeepsWhatIsGivenBack(FileDLQ):
    """Does not give out again what was given back before the lease has ended."""

    def release(self, claim: Claim) -> bool:
        with self.exclusive():
            return self._shelf.holds(claim)


@MUTANTS.add(sound, "D93")
class RenewsInName(FileDLQ):
    """Says that a claim is renewed, and lets it end when it would have."""

    def renew(self, claim: Claim, *, lease: float = 300.0) -> Claim | None:
        with self.exclusive():
            return claim if self._shelf.holds(claim) else None


@MUTANTS.add(sound, "D94")
class ClaimsTheDeadAlone(FileDLQ):
    """Hands out a deferred message by its id although it is claimed."""

    def claim(self, id: bytes, *, lease: float = 300.0) -> Claimed | None:
        with self.exclusive():
            found = self._shelf.letters.get(id)
            if found is not None and found.state == "deferred":
                self._shelf.claims.pop(id, None)
            claimed: Claimed | None = super().claim(id, lease=lease)
            return claimed


@MUTANTS.add(sound, "D95")
class NextIsClaimed(FileDLQ):
    """Says that a message is due that somebody has claimed."""

    def next_due(self) -> datetime | None:
        return min((one.due for one in self.letters(state="deferred") if one.due), default=None)


@MUTANTS.add(sound, "D96")
class LeasesByLength(FileDLQ):
    """Takes a lease that ends later than a lease from now would for one that has ended."""

    def claim_due(self, limit: int, lease: float = 300.0, *, now: Any = None) -> list[Claimed]:
        latest = (now or datetime.now(timezone.utc)) + timedelta(seconds=lease)
        with self.exclusive():
            for id, claim in list(self._shelf.claims.items()):
                if claim.expires > latest:
                    self._shelf.claims.pop(id)
                    self._shelf.schedule(id)
            found: list[Claimed] = super().claim_due(limit, lease, now=now)
            return found


@MUTANTS.add(sound, "D97", "D96")
class ForgetsLeasesWhenTheClockJumps(FileDLQ):
    """Begins anew with all claims when the time differs much from when it looked last."""

    looked: datetime | None = None

    def claim_due(self, limit: int, lease: float = 300.0, *, now: Any = None) -> list[Claimed]:
        moment = now or datetime.now(timezone.utc)
        with self.exclusive():
            if self.looked and abs(moment - self.looked) > timedelta(minutes=30):
                for id in list(self._shelf.claims):
                    self._shelf.claims.pop(id)
                    self._shelf.schedule(id)
            self.looked = moment
            found: list[Claimed] = super().claim_due(limit, lease, now=now)
            return found


# Accounts.


@MUTANTS.add(sound, "D100")
class GroupsByReason(FileDLQ):
    """Takes letters with different values in their reasons for different groups."""

    def groups(self, *, limit: int | None = None, state: Any = "dead") -> list[Group]:
        letters = self.letters(state=state)
        return group_letters((one._replace(error_type=one.reason) for one in letters), limit)


@MUTANTS.add(sound, "D101")
class KeepsTheFirstGroup(FileDLQ):
    """Finds a letter under the group that it was in first, also after it failed elsewhere."""

    first: ClassVar[dict[bytes, str]] = {}

    def put_many(self, letters: Iterable[DeadLetter]) -> None:
        letters = list(letters)
        for one in letters:
            self.first.setdefault(one.id, kind_of(one).digits())
        super().put_many(letters)

    def letters(self, *, group: str | None = None, **options: Any) -> Iterator[DeadLetter]:
        for one in super().letters(**options):
            if group is None or self.first.get(one.id) == group:
                yield one


@MUTANTS.add(sound, "D102")
class TalliesByFirstFailure(FileDLQ):
    """Counts a letter that failed at a time before that, too."""

    def tally(self, times: Sequence[datetime], **filters: Any) -> list[int]:
        return super().tally([time - timedelta(minutes=1) for time in times], **filters)


@MUTANTS.add(sound, "D103")
class OldestActionsFirst(FileDLQ):
    """Gives actions in the order in which they were done."""

    def actions(self, *, limit: int = 100, before: int | None = None) -> list[Action]:
        found: list[Action] = super().actions(limit=10_000, before=before)
        return found[::-1][:limit]


@MUTANTS.add(sound, "D104")
class ForgetsActions(FileDLQ):
    """Does not keep actions."""

    def persist(self) -> None:
        kept, self._actions = self._actions, None
        super().persist()
        self._actions = kept


# Inboxes.


@MUTANTS.add(sound, "D110")
class CountsReceivingAsAFailure(FileDLQ):
    """Takes the arrival of a message for its first attempt, and its first failure."""

    def receive(self, letters: Iterable[DeadLetter]) -> list[Receipt]:
        return super().receive([one._replace(attempt=1, failures=1) for one in letters])


@MUTANTS.add(sound, "D111", "D117", "D118")
class ForgetsWhatIsDone(FileDLQ):
    """Knows a message only for as long as it is stored."""

    def receive(self, letters: Iterable[DeadLetter]) -> list[Receipt]:
        with self.exclusive():
            self._shelf.received.forget(datetime.now(timezone.utc) + timedelta(hours=1), 1000)
            return super().receive(letters)


@MUTANTS.add(sound, "D112")
class SwallowsAnotherBody(FileDLQ):
    """Takes every message with a known id for the one that it knows."""

    def receive(self, letters: Iterable[DeadLetter]) -> list[Receipt]:
        with self.exclusive():
            return [self.receive_one(letter) for letter in letters]

    def receive_one(self, letter: DeadLetter) -> Receipt:
        """Receive one message."""
        if self._shelf.received.has_origin(inbox_key(letter)):
            return Receipt.KNOWN
        return super().receive([letter])[0]


@MUTANTS.add(sound, "D113")
class ReceivesUpToTheFault(FileDLQ):
    """Keeps the messages of a batch up to the one that it refuses."""

    def receive(self, letters: Iterable[DeadLetter]) -> list[Receipt]:
        return [super(ReceivesUpToTheFault, self).receive([letter])[0] for letter in letters]


@MUTANTS.add(sound, "D114")
class ForgetsTooEarly(FileDLQ):
    """Forgets all that was done, whenever it was done."""

    def forget_done(self, before: datetime, *, limit: int = 1000) -> int:
        later: int = super().forget_done(before + timedelta(hours=2), limit=limit)
        return later


@MUTANTS.add(sound, "D115")
class ReceivesWhatIsStored(FileDLQ):
    """Has a message that failed handled again when it is received."""

    def receive(self, letters: Iterable[DeadLetter]) -> list[Receipt]:
        letters = list(letters)
        with self.exclusive():
            received = self._shelf.received
            fresh = [one for one in letters if inbox_key(one) not in received]
            self.defer([one for one in fresh if one.id in self._shelf.letters])
            return super().receive(letters)


@MUTANTS.add(sound, "D116")
class LooksThenReceives(FileDLQ):
    """Looks for a message, and stores it afterwards, though another thread stored it meanwhile."""

    def receive(self, letters: Iterable[DeadLetter]) -> list[Receipt]:
        letters = list(letters)
        self.refresh()
        fresh = [inbox_key(one) not in self._shelf.received for one in letters]
        threading.Event().wait(0.01)
        super().receive(letters)
        return [Receipt.NEW if new else Receipt.KNOWN for new in fresh]


@MUTANTS.add(sound, "D117", "D118")
class RemembersInMemory(FileDLQ):
    """Keeps what it received in memory alone."""

    def persist(self) -> None:
        received, self._shelf.received = self._shelf.received, Received()
        super().persist()
        self._shelf.received = received


# Durability.


@MUTANTS.add(sound, "D62")
class ForgetsWhatIsDeferred(FileDLQ):
    """Writes deferred messages as dead letters."""

    def persist(self) -> None:
        letters = self._shelf.letters
        self._shelf.letters = {id: one.given_up() for id, one in letters.items()}
        super().persist()
        self._shelf.letters = letters


@MUTANTS.add(sound, "D63")
class ClaimsDueInThisProcessAlone(FileDLQ):
    """Keeps claims on due messages in memory, where no other process sees them."""

    def claim_due(self, limit: int, lease: float = 300.0, *, now: Any = None) -> list[Claimed]:
        with self._lock:
            self.refresh()
            found = MemoryDLQ.claim_due(self, limit, lease, now=now)
            threading.Event().wait(0.05)
            return found

    def remove(self, claim: Claim) -> bool:
        return self.pop_any(claim.id)

    def pop_any(self, id: bytes) -> bool:
        """Remove a letter, claimed by others or not."""
        with self.exclusive():
            there = id in self._shelf.letters
            if there:
                self._shelf.delete(id)
                self.dirty = True
            return True


@MUTANTS.add(sound, "D64")
class BeginsAnewWhenOlder(FileDLQ):
    """Takes a store of an earlier version for an empty one."""

    def load(self, content: bytes) -> None:
        if b'"version": 1' not in content.partition(b"\n")[0]:
            super().load(content)


@MUTANTS.add(sound, "D52", "D53", "D55")
class CommitsWithoutSync(FileDLQ):
    """Confirms letters that it has not written yet: it writes every tenth time, and when closed."""

    waiting = 0

    def persist(self) -> None:
        self.waiting += 1
        if self.waiting % 10 == 0:
            super().persist()

    def refresh(self) -> None:
        if not self.waiting % 10:
            super().refresh()

    def close(self) -> None:
        if not self.closed:
            super().persist()
        super().close()


@MUTANTS.add(sound, "D50", "D51", "D52", "D53", "D54", "D55")
class OnlyInMemory(FileDLQ):
    """Never writes."""

    def persist(self) -> None:
        return


@MUTANTS.add(sound, "D51")
class ForgetsClaims(FileDLQ):
    """Does not keep claims."""

    def persist(self) -> None:
        claims, self._shelf.claims = self._shelf.claims, {}
        super().persist()
        self._shelf.claims = claims


@MUTANTS.add(sound, "D55")
class ReadsOnce(FileDLQ):
    """Reads the file when it is opened, and never again."""

    opened = False

    def refresh(self) -> None:
        if not self.opened:
            super().refresh()
        self.opened = True


@MUTANTS.add(sound, "D56")
class BeginsAnewWhenDamaged(FileDLQ):
    """Takes a damaged store for an empty one."""

    def load(self, content: bytes) -> None:
        try:
            super().load(content)
        except DeadLetterStoreError as error:
            if "damaged" not in str(error):
                raise


@MUTANTS.add(sound, "D56", "D57")
class LetsItsReadersErrorsOut(FileDLQ):
    """Lets out what its reader of files raises."""

    def load(self, content: bytes) -> None:
        try:
            super().load(content)
        except DeadLetterStoreError as error:
            raise ValueError("cannot decode line 1 column 1") from error


@MUTANTS.add(sound, "D57")
class OverwritesForeignFiles(FileDLQ):
    """Overwrites a file of something else."""

    def load(self, content: bytes) -> None:
        if content.startswith(b"{"):
            super().load(content)


@MUTANTS.add(sound, "D58")
class TakesAnyVersion(FileDLQ):
    """Does not look at the version of a file."""

    def load(self, content: bytes) -> None:
        try:
            super().load(content)
        except DeadLetterStoreError as error:
            if "version" not in str(error):
                raise


@MUTANTS.add(sound, "D59")
class IgnoresTheLock(FileDLQ):
    """Writes while another holds the store."""

    @contextmanager
    def lock_file(self) -> Generator[None]:
        yield


@MUTANTS.add(sound, "D60")
class LetsADisksErrorOut(FileDLQ):
    """Lets out the operating system's own error where the disk is full."""

    def persist(self) -> None:
        try:
            super().persist()
        except DeadLetterStoreError as error:
            raise error.__cause__ or error from None


@MUTANTS.add(sound, "D60")
class SaysNothingOfAFullDisk(FileDLQ):
    """Swallows the error of a full disk."""

    def persist(self) -> None:
        try:
            super().persist()
        except DeadLetterStoreError:
            return


@MUTANTS.add(sound, "D61")
class LetsAPermissionErrorOut(FileDLQ):
    """Lets out the operating system's own error where it may not write."""

    @contextmanager
    def lock_file(self) -> Generator[None]:
        with self.path.with_suffix(".lock").open("ab"), super().lock_file():
            yield
