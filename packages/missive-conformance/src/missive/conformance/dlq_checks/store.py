"""What a dead letter store does beyond the mapping: whole records, claims, selections."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

from missive import DeadLetter, DeadLetterStoreError
from missive.letters import Failure

from ..contract import check, expect
from ..dlq_lab import THEN, DLQLab, letter, message

STORE = ("DeadLetterStore",)
READ = "dead-letters#stores"

#: What a letter keeps, whatever store it went through.
FIELDS = (
    "id",
    "raw_data",
    "reason",
    "stage",
    "first_failed",
    "last_failed",
    "message_id",
    "source",
    "message_class",
    "error_type",
    "traceback",
    "handler",
    "failures",
    "host",
    "version",
)


def differing(one: DeadLetter, other: DeadLetter) -> list[str]:
    """Name the fields in which two letters differ; the position is the store's own."""
    names = [name for name in FIELDS if getattr(one, name) != getattr(other, name)]
    return names + (["headers"] if dict(one.headers) != dict(other.headers) else [])


def full_letter(number: int = 1) -> DeadLetter:
    """Make a letter in which every field says something."""
    at = THEN + timedelta(minutes=number, microseconds=123456)
    return letter(
        number,
        bytes(range(256)),
        reason="it failed, \U0001f40c",
        stage="matching",
        first_failed=at,
        last_failed=at,
        headers={"Colour": "blue", "X-Bytes": "\udcff"},
        source="orders",
        message_class="shop.Order",
        error_type="shop.OutOfStock",
        traceback="Traceback …\n  the end",
        handler="shop.sell",
        host="a-host",
        version="0.1.0",
        history=(Failure(at, "matching", "it failed, \U0001f40c", "shop.OutOfStock", "shop.sell"),),
    )


class StoreChecks:
    """The store."""

    @check("D20", needs=STORE, read=READ)
    def test_d20_the_whole_record_is_kept(self, lab: DLQLab) -> None:
        """A letter that is put is read back with every field as it was, times to the
        microsecond.
        """
        store = lab.open()
        store.put(full_letter())
        found = store.letter(full_letter().id)
        wrong = differing(full_letter(), found)
        expect(not wrong, f"these fields came back changed: {', '.join(wrong)}")
        expect(
            found.last_failed.utcoffset() == timedelta(0), "a time came back without its zone, UTC"
        )
        expect(len(found.history) == 1, f"the history has {len(found.history)} failures")

    @check("D21", needs=STORE, read="dead-letters#the-same-message-again")
    def test_d21_the_same_message_again_adds_a_failure(self, lab: DLQLab) -> None:
        """Putting the same id, source and body again adds the failure to the letter that
        is there.
        """
        store = lab.open()
        store.put(letter(1, reason="the first time"))
        store.put(letter(2, reason="the second time", id=b"letter-1", handler="later"))
        expect(len(store) == 1, f"there are {len(store)} letters")
        found = store.letter(b"letter-1")
        expect(found.failures == 2, f"it says {found.failures} failures")
        expect(found.reason == "the second time", "the reason is not the newer one")
        expect(found.first_failed == letter(1).first_failed, "the first failure was forgotten")
        expect(found.last_failed == letter(2).last_failed, "the last failure is not the newer one")
        reasons = [failure.reason for failure in found.history]
        expect(reasons == ["the first time", "the second time"], f"the history has {len(reasons)}")

    @check("D22", needs=STORE, read="dead-letters#the-same-message-again")
    def test_d22_another_message_with_the_id_is_kept_beside(self, lab: DLQLab) -> None:
        """A letter with the same id and another body or source is kept beside: nothing is lost."""
        store = lab.open()
        store.put(letter(1, b"one body"))
        store.put(letter(1, b"another body"))
        store.put(letter(1, b"one body", source="another source"))
        kept = sorted((found.raw_data, found.source) for found in store.letters())
        expected = [
            (b"another body", "a-source"),
            (b"one body", "a-source"),
            (b"one body", "another source"),
        ]
        expect(kept == expected, f"of three different messages with one id {len(kept)} are kept")
        expect(store.letter(b"letter-1").source == "a-source", "the first lost its own id")
        ids = {found.message_id for found in store.letters()}
        expect(ids == {b"letter-1"}, "the id of the message itself was changed")

    @check("D23", needs=STORE, read=READ)
    def test_d23_a_batch_is_kept_whole_or_not_at_all(self, lab: DLQLab) -> None:
        """put_many keeps all letters; where one cannot even be given, it keeps none."""
        store = lab.open()

        def broken() -> Iterator[DeadLetter]:
            yield letter(1)
            yield letter(2)
            raise LookupError("the third cannot be given")

        try:
            store.put_many(broken())
        except LookupError:
            expect(len(store) == 0, f"{len(store)} letters of a failed batch were kept")
        else:
            expect(False, "the error of the iterator was swallowed")
        store.put_many(letter(number) for number in range(50))
        expect(len(store) == 50, f"of a batch of 50 letters {len(store)} were kept")

    @check("D24", needs=STORE, read="dead-letters#selecting")
    def test_d24_letters_are_selected(self, lab: DLQLab) -> None:
        """letters() gives those that match every filter: reason, handler, source, error type,
        time.
        """
        store = lab.open()
        for number in range(12):
            store.put(
                letter(
                    number,
                    reason=f"reason {number % 2}",
                    handler=f"handler {number % 3}",
                    source=f"source {number % 4}",
                    error_type=f"error.Type{number % 6}",
                )
            )
        cases: dict[str, tuple[dict[str, Any], list[int]]] = {
            "reason": ({"reason": "reason 1"}, [1, 3, 5, 7, 9, 11]),
            "handler": ({"handler": "handler 2"}, [2, 5, 8, 11]),
            "source": ({"source": "source 3"}, [3, 7, 11]),
            "error_type": ({"error_type": "error.Type4"}, [4, 10]),
            "since": ({"since": THEN + timedelta(minutes=9)}, [9, 10, 11]),
            "until": ({"until": THEN + timedelta(minutes=2)}, [0, 1]),
            "reason and handler": ({"reason": "reason 1", "handler": "handler 2"}, [5, 11]),
            "nothing": ({}, list(range(12))),
            "what does not exist": ({"source": "elsewhere"}, []),
        }
        for name, (filters, expected) in cases.items():
            found = [int(one.id[7:]) for one in store.letters(**filters)]
            expect(found == expected, f"selected by {name} came {found} instead of {expected}")

    @check("D25", needs=STORE, read="dead-letters#selecting")
    def test_d25_letters_come_in_pages(self, lab: DLQLab) -> None:
        """With limit and after the store pages through the letters in either direction;
        positions rise with age.
        """
        store = lab.open()
        for number in range(10):
            store.put(letter(number))
        for newest_first in (False, True):
            expected = [b"letter-%d" % number for number in range(10)]
            if newest_first:
                expected.reverse()
            found: list[DeadLetter] = []
            while page := list(
                store.letters(
                    limit=3,
                    after=found[-1].position if found else None,
                    newest_first=newest_first,
                )
            ):
                expect(len(page) <= 3, f"a page of 3 has {len(page)} letters")
                found += page
                expect(len(found) <= 10, "paging does not come to an end")
            way = "newest first" if newest_first else "oldest first"
            expect([one.id for one in found] == expected, f"{way}, the pages do not make the whole")

    @check("D26", needs=STORE, read="dead-letters#selecting")
    def test_d26_a_failure_does_not_make_it_younger(self, lab: DLQLab) -> None:
        """A letter that fails again keeps its place: the oldest stays the oldest."""
        store = lab.open()
        for number in range(3):
            store.put(letter(number))
        store.put(letter(9, id=b"letter-0"))
        order = [one.id for one in store.letters()]
        expect(order == [b"letter-0", b"letter-1", b"letter-2"], f"the order is {order}")

    @check("D27", needs=STORE, read="dead-letters#summary")
    def test_d27_the_summary_counts(self, lab: DLQLab) -> None:
        """summary() counts by error type, handler and reason, the most frequent first,
        with times.
        """
        store = lab.open()
        for number in range(6):
            kind = "frequent" if number < 4 else "rare"
            store.put(letter(number, reason=kind, handler=f"h-{kind}", error_type=f"e.{kind}"))
        rows = [(row.error_type, row.handler, row.reason, row.count) for row in store.summary()]
        expected = [("e.frequent", "h-frequent", "frequent", 4), ("e.rare", "h-rare", "rare", 2)]
        expect(rows == expected, f"the counts are {[row[3] for row in rows]}, not 4 and 2")
        first = store.summary()[0]
        expect(
            (first.first_seen, first.last_seen) == (THEN, THEN + timedelta(minutes=3)),
            "the times of a row are not those of its first and last failure",
        )

    @check("D33", needs=STORE, read="dead-letters#moving")
    def test_d33_restore_keeps_it_as_it_is(self, lab: DLQLab) -> None:
        """restore() keeps a letter exactly as it is, with its history, and replaces one with its
        id.
        """
        store = lab.open()
        store.put(letter(1))
        at = THEN + timedelta(days=1)
        history = tuple(
            Failure(at + timedelta(hours=hour), "handling", f"time {hour}") for hour in range(3)
        )
        moved = letter(
            1,
            b"another body",
            failures=3,
            first_failed=at,
            last_failed=at + timedelta(hours=2),
            history=history,
        )
        store.restore(moved)
        expect(len(store) == 1, f"there are {len(store)} letters")
        found = store.letter(b"letter-1")
        wrong = differing(moved, found)
        expect(not wrong, f"these fields came back changed: {', '.join(wrong)}")
        expect(tuple(found.history) == history, f"the history has {len(found.history)} failures")

    @check("D34", needs=STORE, read="dead-letters#purging")
    def test_d34_purge_removes_the_old(self, lab: DLQLab) -> None:
        """purge() removes exactly the letters whose last failure is longer ago, and counts them."""
        store = lab.open()
        now = datetime.now(timezone.utc)
        for number, age in enumerate((timedelta(days=3), timedelta(days=2), timedelta(0))):
            store.put(letter(number, first_failed=now - age, last_failed=now - age))
        # An old letter that failed again a moment ago is not old.
        store.put(letter(0, first_failed=now, last_failed=now))
        count = store.purge(older_than=timedelta(days=1))
        left = sorted(store)
        expect(count == 1, f"purge() says that it removed {count}")
        expect(left == [b"letter-0", b"letter-2"], f"{len(left)} letters are left, not the right 2")

    @check("D35", needs=STORE, read=READ)
    def test_d35_check_says_that_it_is_writable(self, lab: DLQLab) -> None:
        """check() of a store that can be written to returns, and leaves nothing behind."""
        store = lab.open()
        store.check()
        expect(len(store) == 0, "check() left a letter")

    @check("D36", needs=STORE, read=READ)
    def test_d36_close_any_number_of_times(self, lab: DLQLab) -> None:
        """close() may be called any number of times."""
        store = lab.open()
        store.put(letter(1))
        store.close()
        store.close()

    @check("D37", needs=STORE, read="dead-letters#iterating")
    def test_d37_it_may_change_under_iteration(self, lab: DLQLab) -> None:
        """While letters come and go during iteration, each that stays is given exactly once."""
        store = lab.open()
        for number in range(200):
            store.put(letter(number))
        seen: list[bytes] = []
        for at, key in enumerate(store):
            seen.append(key)
            if at % 10 == 0:
                store.pop(b"letter-%d" % (at + 1), None)
                store.put(letter(1000 + at))
        expected = [b"letter-%d" % number for number in range(200) if number % 10 != 1]
        stayed = [key for key in seen if key in set(expected)]
        expect(
            stayed == expected,
            f"of {len(expected)} letters that stayed {len(set(stayed))} were given,"
            f" {len(stayed) - len(set(stayed))} of them twice",
        )

    @check("D38", needs=STORE, profile="full", read="dead-letters#iterating")
    def test_d38_reading_takes_flat_memory(self, lab: DLQLab) -> None:
        """Going through the letters takes memory for a few of them, not for all."""
        import tracemalloc

        store = lab.open()
        size, count = 20_000, 1_000
        for start in range(0, count, 100):
            store.put_many(letter(start + at, b"%d" % at + b"x" * size) for at in range(100))
        tracemalloc.start()
        try:
            total = sum(len(found.raw_data) for found in store.letters())
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        expect(total >= size * count, "not every letter was given")
        expect(
            peak < size * count / 2,
            f"going through {size * count // 1_000_000} MB of letters took"
            f" {peak // 1_000_000} MB of memory",
        )

    @check("D39", needs=STORE, read="dead-letters#concurrency")
    def test_d39_failures_of_threads_are_all_counted(self, lab: DLQLab) -> None:
        """When threads put the same message at once, every failure is counted."""
        store = lab.open()
        start = threading.Barrier(6)
        done: list[int] = []

        def fail_often(thread: int) -> None:
            start.wait(lab.patience)
            for _ in range(10):
                store.put(letter(1))
            done.append(thread)

        threads = [threading.Thread(target=fail_often, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(lab.patience)
        expect(len(done) == 6, f"{6 - len(done)} of 6 threads failed or hang")
        failures = store.letter(b"letter-1").failures
        expect(failures == 60, f"of 60 failures {failures} were counted")

    @check("D40", needs=(*STORE, "harness.persistent"), read=READ)
    def test_d40_a_closed_store_is_closed(self, lab: DLQLab) -> None:
        """A closed store opens no more by itself: it raises DeadLetterStoreError when
        written to.
        """
        store = lab.open()
        store.close()
        try:
            store[b"late"] = (message(b"late"), "a reason")
        except DeadLetterStoreError:
            return
        expect(False, "a letter was taken by a store that is closed")

    @check("D42", needs=STORE, read="dead-letters#purging")
    def test_d42_only_what_was_chosen_is_removed(self, lab: DLQLab) -> None:
        """remove_chosen() removes the letters that stand as choose() found them: one that failed
        again or arrived since stays, and is not counted.
        """
        store = lab.open()
        store.put_many(letter(number, reason=f"reason {number % 2}") for number in range(6))
        choice = store.choose(reason="reason 0")
        expect(len(choice) == 3, f"of 3 letters that match, {len(choice)} were chosen")
        store.put(letter(2, reason="reason 0"))
        store.put(letter(8, reason="reason 0"))
        count = store.remove_chosen(choice)
        expect(count == 2, f"of 2 letters that stand as they were chosen, it counts {count}")
        left = sorted(store)
        expected = [b"letter-%d" % number for number in (1, 2, 3, 5, 8)]
        expect(left == expected, f"{len(left)} letters are left, not the right {len(expected)}")
