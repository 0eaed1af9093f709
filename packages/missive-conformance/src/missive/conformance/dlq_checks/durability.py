"""Durability: what is kept when processes die, disks fill, and files are not what they
should be.
"""

from __future__ import annotations

from typing import Any

from missive import DeadLetterStoreError

from ..contract import check, expect
from ..dlq_lab import DLQLab, claimed, deferred, expect_entry, letter, message
from ..ledger import number_of, numbered_body

PERSISTENT = ("harness.persistent",)
READ = "dead-letters#durability"


def expect_store_error(lab: DLQLab, what: str) -> None:
    """Make sure that a damaged store is refused by a clear error, when it is opened or
    first read.
    """
    try:
        dlq = lab.open()
        for _ in dlq.items():
            continue
        dlq[b"new"] = (message(b"new"), "a reason")
    except DeadLetterStoreError as error:
        expect(len(str(error)) > 20, "the error says nothing")
        return
    except Exception as error:
        expect(False, f"{what} led to a {type(error).__name__}, no DeadLetterStoreError")
    expect(False, f"{what} was opened, read and written to, as if nothing were wrong")


class Durability:
    """What outlives a process."""

    @check("D50", needs=PERSISTENT, read=READ)
    def test_d50_it_is_there_when_opened_again(self, lab: DLQLab) -> None:
        """What was written is there when the store is opened again: bytes, reasons, order."""
        dlq = lab.open()
        for number in range(20):
            key = b"%d" % number
            dlq[key] = (message(key, bytes(range(number, 256))), f"reason {number}")
        dlq.close()
        again = lab.open()
        expect(
            list(again) == [b"%d" % number for number in range(20)],
            f"of 20 letters {len(list(again))} are there, or in another order",
        )
        for number in range(20):
            expect_entry(again, b"%d" % number, bytes(range(number, 256)), f"reason {number}")

    @check("D51", needs=(*PERSISTENT, "DeadLetterStore"), read=READ)
    def test_d51_records_outlive_the_process_too(self, lab: DLQLab) -> None:
        """Failures, history and claims are there when the store is opened again."""
        store = lab.open()
        store.put(letter(1, reason="the first time"))
        store.put(letter(2, reason="the second time", id=b"letter-1"))
        store.put(letter(3))
        claim = claimed(store, b"letter-1")
        store.close()
        again = lab.open()
        found = again.letter(b"letter-1")
        expect(found.failures == 2, f"it says {found.failures} failures instead of 2")
        expect(len(found.history) == 2, f"the history has {len(found.history)} failures, not 2")
        expect(again.claim(b"letter-1") is None, "what is claimed can be claimed again")
        expect(again.remove(claim) is True, "the claim is worth nothing any more")

    @check("D52", needs=PERSISTENT, profile="full", read=READ)
    def test_d52_a_kill_loses_nothing_that_was_confirmed(self, lab: DLQLab) -> None:
        """After a kill, every letter whose write had returned is there, whole."""
        for first in (0, 100, 200):
            child = lab.child("write_letters", first=first, count=100, size=3000, hold_after=23)
            child.wait_noted("held")
            child.kill()
            self._expect_confirmed(lab, child.lines)

    @check("D53", needs=PERSISTENT, profile="faults", read=READ)
    def test_d53_kills_in_the_midst_of_writing(self, lab: DLQLab) -> None:
        """Killed again and again in the midst of writing, it opens again with all it confirmed."""
        for first in range(0, 10_000, 1000):
            child = lab.child("write_letters", first=first, count=1000, size=3000)
            child.wait_noted("confirmed", 3 + first // 1000)
            child.kill()
            self._expect_confirmed(lab, child.lines)

    def _expect_confirmed(self, lab: DLQLab, lines: list[dict[str, Any]]) -> None:
        confirmed = {line["number"] for line in lines if line["event"] == "confirmed"}
        dlq = lab.open()
        there = {number_of(found.raw_data): found.raw_data for found, _ in dlq.values()}
        lost = confirmed - set(there)
        expect(not lost, f"{len(lost)} of {len(confirmed)} confirmed letters are gone")
        damaged = [number for number in confirmed if there[number] != numbered_body(number, 3000)]
        expect(not damaged, f"{len(damaged)} of {len(confirmed)} confirmed letters are damaged")
        dlq.close()

    @check("D54", needs=(*PERSISTENT, "harness.shared"), profile="full", read=READ)
    def test_d54_processes_may_write_at_once(self, lab: DLQLab) -> None:
        """Several processes may write at once: no letter is lost, and no call fails."""
        dlq = lab.open()
        children = [lab.child("write_letters", first=first, count=40) for first in (0, 1000, 2000)]
        for child in children:
            status = child.wait()
            expect(status == 0, f"a process failed: {child.tail()}")
        expect(len(dlq) == 120, f"120 letters were written, and {len(dlq)} are there")

    @check("D55", needs=(*PERSISTENT, "harness.shared"), read=READ)
    def test_d55_two_openings_see_each_other(self, lab: DLQLab) -> None:
        """What one opening writes, another that was open before sees."""
        first, second = lab.open(), lab.open()
        first[b"a"] = (message(b"a", b"from the first"), "a reason")
        expect_entry(second, b"a", b"from the first", "a reason")
        second[b"b"] = (message(b"b", b"from the second"), "a reason")
        del second[b"a"]
        expect(list(first) == [b"b"], f"the first sees {len(list(first))} letters, not the right 1")

    @check("D56", needs=(*PERSISTENT, "harness.corrupt"), read=READ)
    def test_d56_damage_is_told(self, lab: DLQLab) -> None:
        """A store that is damaged says so by DeadLetterStoreError; it never begins anew in
        silence.
        """
        dlq = lab.open()
        for number in range(50):
            dlq[b"%d" % number] = (message(b"%d" % number, b"x" * 2000), "a reason")
        dlq.close()
        lab.harness.corrupt()
        expect_store_error(lab, "a damaged store")

    @check("D57", needs=(*PERSISTENT, "harness.foreign"), read=READ)
    def test_d57_a_foreign_file_is_left_alone(self, lab: DLQLab) -> None:
        """A file of something else is refused by DeadLetterStoreError, and not changed."""
        lab.harness.foreign()
        before = _contents(lab)
        expect_store_error(lab, "a foreign file")
        expect(_contents(lab) == before, "the foreign file was changed")

    @check("D58", needs=(*PERSISTENT, "harness.newer"), read=READ)
    def test_d58_a_newer_store_is_left_alone(self, lab: DLQLab) -> None:
        """A store of a version that is not known yet is refused by DeadLetterStoreError."""
        lab.harness.newer()
        expect_store_error(lab, "a store of a newer version")

    @check("D59", needs=(*PERSISTENT, "harness.locked"), profile="full", read=READ)
    def test_d59_a_locked_store_is_told(self, lab: DLQLab) -> None:
        """While another holds the store, writing waits or raises DeadLetterStoreError; then it
        works.
        """
        dlq = lab.open()
        dlq[b"before"] = (message(b"before"), "a reason")
        with lab.harness.locked():
            try:
                dlq[b"meanwhile"] = (message(b"meanwhile"), "a reason")
            except DeadLetterStoreError:
                written = False
            else:
                written = True
        expect(not written, "it was written while another held the store")
        dlq[b"after"] = (message(b"after"), "a reason")
        expect(list(dlq) == [b"before", b"after"], "not exactly what was confirmed is there")

    @check("D60", needs=PERSISTENT, profile="full", read=READ)
    def test_d60_a_full_disk_is_told(self, lab: DLQLab) -> None:
        """When the disk is full, writing raises DeadLetterStoreError, and what was kept is
        readable.
        """
        child = lab.child("fill_disk", limit=400_000, size=10_000)
        child.wait()
        events = [
            line["event"] for line in child.lines if line["event"] not in ("alive", "confirmed")
        ]
        confirmed = {line["number"] for line in child.lines if line["event"] == "confirmed"}
        expect(
            events[:1] == ["full"],
            f"a full disk led to {events[:1] or child.tail()}, not to a DeadLetterStoreError",
        )
        expect("readable" in events, "after that the store could not be read any more")
        dlq = lab.open()
        there = {number_of(found.raw_data) for found, _ in dlq.values()}
        expect(confirmed <= there, f"{len(confirmed - there)} confirmed letters are gone")

    @check("D61", needs=(*PERSISTENT, "harness.read_only"), read=READ)
    def test_d61_a_read_only_store_is_told(self, lab: DLQLab) -> None:
        """A store that cannot be written to raises DeadLetterStoreError, at the latest when
        written.
        """
        dlq = lab.open()
        dlq[b"before"] = (message(b"before"), "a reason")
        dlq.close()
        lab.harness.read_only()
        child = lab.child("write_read_only")
        child.wait()
        events = [line["event"] for line in child.lines]
        expect(events[-1:] == ["refused-write"], f"it came to {events[-1:] or child.tail()}")

    @check("D62", since="0.2", needs=(*PERSISTENT, "DeadLetterStore"), read=READ)
    def test_d62_deferred_messages_outlive_the_process(self, lab: DLQLab) -> None:
        """Deferred messages, their due times and the claims on them are there when the store is
        opened again.
        """
        store = lab.open()
        store.defer([deferred(1, attempt=2), deferred(2), deferred(3, due=lab.far)])
        ((claim, _),) = store.claim_due(1, 600.0)
        store.close()
        again = lab.open()
        counts = again.counts()
        expect(counts == (0, 3, 1, 1), f"3 deferred, 1 due, 1 claimed became {tuple(counts)}")
        expect(again.letter(b"letter-1").attempt == 2, "the attempts were forgotten")
        expect(again.letter(b"letter-3").due == lab.far, "a due time was changed")
        due = [found.id for _, found in again.claim_due(10)]
        expect(due == [b"letter-2"], f"{len(due)} messages are given out, or the wrong one")
        expect(again.remove(claim) is True, "the claim is worth nothing any more")

    @check(
        "D63",
        since="0.2",
        profile="full",
        needs=(*PERSISTENT, "harness.shared", "DeadLetterStore"),
        read=READ,
    )
    def test_d63_one_process_at_a_time(self, lab: DLQLab) -> None:
        """Each due message goes to one process at a time; what a killed process held goes to
        another when its lease has ended.
        """
        store = lab.open()
        store.defer(
            deferred(number, numbered_body(number, 64), id=b"letter-%d" % number)
            for number in range(60)
        )
        killed = lab.child("handle_due", limit=3, lease=1.5, hold_after=10)
        killed.wait_noted("held")
        killed.kill()
        children = [lab.child("handle_due", limit=3, lease=60.0) for _ in range(2)]
        for child in children:
            status = child.wait()
            expect(status == 0, f"a process failed: {child.tail()}")
        lines = [line for child in (killed, *children) for line in child.lines]
        removed = [line["number"] for line in lines if line["event"] == "removed"]
        expect(len(removed) == len(set(removed)), "a message was handled to its end twice")
        expect(len(removed) == 60, f"of 60 messages {len(removed)} were handled")
        given = [line["number"] for line in lines if line["event"] == "given"]
        again = len(given) - 60
        expect(again <= 3, f"{again} messages were given again, of 3 that a killed process held")
        expect(store.counts().deferred == 0, f"{store.counts().deferred} messages are left")

    @check(
        "D64",
        since="0.2",
        needs=(*PERSISTENT, "harness.older", "DeadLetterStore"),
        read=READ,
    )
    def test_d64_an_older_store_becomes_a_new_one(self, lab: DLQLab) -> None:
        """A store of an earlier version is opened with its letters, all dead, and keeps deferred
        messages from then on.
        """
        expected = lab.harness.older()
        store = lab.open()
        expect(list(store) == list(expected), f"of {len(expected)} letters {len(store)} are there")
        for key, (body, reason) in expected.items():
            expect_entry(store, key, body, reason)
        store.defer([deferred(1, id=b"deferred now")])
        store.close()
        again = lab.open()
        counts = again.counts()
        expect(counts[:2] == (len(expected), 1), f"opened again it counts {tuple(counts)}")


def _contents(lab: DLQLab) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes()
        for path in sorted(lab.harness.folder.iterdir())
        if path.is_file()
    }
