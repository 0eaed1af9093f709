"""What a store keeps of deferred messages, and how it keeps them apart from dead letters."""

from __future__ import annotations

from datetime import timedelta

from missive import ConfigurationError

from ..contract import check, expect
from ..dlq_lab import THEN, DLQLab, claimed, deferred, letter, message
from .store import STORE, differing, full_letter

READ = "dead-letters#deferred-messages"


class DeferredChecks:
    """Deferred messages."""

    @check("D70", since="0.2", needs=STORE, read=READ)
    def test_d70_the_whole_message_is_kept(self, lab: DLQLab) -> None:
        """A deferred message is read back with every field as it was: due time, attempts, state."""
        store = lab.open()
        due = THEN + timedelta(hours=1, microseconds=654321)
        store.defer([full_letter()._replace(due=due, attempt=3)])
        found = store.letter(full_letter().id)
        wrong = differing(full_letter(), found)
        expect(not wrong, f"these fields came back changed: {', '.join(wrong)}")
        expect(found.state == "deferred", f"its state is {found.state!r}")
        expect(found.due == due, "its due time came back changed")
        expect(found.attempt == 3, f"it says {found.attempt} attempts instead of 3")

    @check("D71", since="0.2", needs=STORE, read=READ)
    def test_d71_the_mapping_is_about_dead_letters(self, lab: DLQLab) -> None:
        """Deferred messages are not in the mapping, nor in letters(), oldest(), summary(),
        purge() or clear().
        """
        store = lab.open()
        store.defer([deferred(1), deferred(4)])
        store.put_many([letter(2), letter(3)])
        expect(len(store) == 2, f"of two dead letters and two messages the length is {len(store)}")
        for what, ids in (
            ("iteration", list(store)),
            ("reversed()", [*reversed(store)][::-1]),
            ("items()", [key for key, _ in store.items()]),
            ("letters()", [found.id for found in store.letters()]),
        ):
            expect(ids == [b"letter-2", b"letter-3"], f"{what} gives {len(ids)} letters, not the 2")
        expect(b"letter-1" not in store, "a deferred message is in the mapping")
        expect(store.get(b"letter-1") is None, "a deferred message can be read from the mapping")
        expect(store.pop(b"letter-1", None) is None, "a deferred message could be popped")
        expect(
            store.oldest()[0].message_id == b"letter-2", "oldest() is not the oldest dead letter"
        )
        expect(store.popitem()[0] == b"letter-3", "popitem() is not the newest dead letter")
        expect(sum(row.count for row in store.summary()) == 1, "summary() counts deferred messages")
        store.purge(older_than=timedelta(0))
        store.put(letter(5))
        store.clear()
        left = sorted(found.id for found in store.letters(state=None))
        expect(left == [b"letter-1", b"letter-4"], f"purge() and clear() left {len(left)} letters")

    @check("D72", since="0.2", needs=STORE, read=READ)
    def test_d72_a_state_can_be_asked_for(self, lab: DLQLab) -> None:
        """letters(), summary(), choose() and purge() take the state that they are about; None
        means both.
        """
        store = lab.open()
        store.defer([deferred(1), deferred(3, reason="another")])
        store.put_many([letter(2), letter(4)])
        for state, numbers in (("dead", (2, 4)), ("deferred", (1, 3)), (None, (1, 2, 3, 4))):
            expected = [b"letter-%d" % number for number in (*sorted(numbers, key=str),)]
            ids = sorted(found.id for found in store.letters(state=state))
            expect(ids == expected, f"letters(state={state!r}) gives {len(ids)} letters")
            count = sum(row.count for row in store.summary(state=state))
            expect(count == len(numbers), f"summary(state={state!r}) counts {count}")
            chosen = len(store.choose(state=state))
            expect(chosen == len(numbers), f"choose(state={state!r}) finds {chosen}")
        found = [one.id for one in store.letters(state="deferred", reason="another")]
        expect(found == [b"letter-3"], "a state and another filter do not both count")
        removed = store.purge(older_than=timedelta(0), state="deferred", reason="another")
        expect(removed == 1, f"purge() of one deferred message removed {removed}")
        try:
            store.letters(state="undead")
        except ConfigurationError:
            return
        expect(False, "a state that there is not was taken")

    @check("D73", since="0.2", needs=STORE, read=READ)
    def test_d73_one_history_until_the_end(self, lab: DLQLab) -> None:
        """Deferred again and then put, a message is one dead letter with its whole history."""
        store = lab.open()
        store.defer([deferred(1, reason="try 1", attempt=1)])
        store.defer([deferred(2, id=b"letter-1", reason="try 2", attempt=2)])
        found = store.letter(b"letter-1")
        expect((found.state, found.attempt) == ("deferred", 2), "the second try was not noted")
        expect(found.due == deferred(2).due, "it is not due when it was deferred to last")
        store.put(letter(3, id=b"letter-1", reason="try 3", attempt=3))
        expect(list(store) == [b"letter-1"], f"there are {len(store)} dead letters")
        found = store.letter(b"letter-1")
        expect((found.state, found.due) == ("dead", None), "it is still deferred")
        expect(found.attempt == found.failures == 3, f"it says {found.attempt} attempts, not 3")
        reasons = [failure.reason for failure in found.history]
        expect(reasons == ["try 1", "try 2", "try 3"], f"the history has {len(reasons)} failures")
        expect(found.first_failed == deferred(1).first_failed, "the first failure was forgotten")
        expect(not store.claim_due(10), "a dead letter is still handed out as due")

    @check("D74", since="0.2", needs=STORE, read=READ)
    def test_d74_another_failure_ends_the_claim(self, lab: DLQLab) -> None:
        """Deferring a claimed message again, and putting it, ends the claim."""
        for again in ("defer", "put_many"):
            store = lab.open()
            store.defer([deferred(1, source=again)])
            ((claim, _),) = store.claim_due(1)
            getattr(store, again)([deferred(2, id=b"letter-1", source=again)])
            expect(store.renew(claim) is None, f"after {again}() the claim could be renewed")
            expect(store.remove(claim) is False, f"after {again}() the claim removed the message")
            expect(store.release(claim) is False, f"after {again}() the claim could be given back")
            claimed(store, b"letter-1")
            store.purge(older_than=timedelta(0), state=None)

    @check("D75", since="0.2", needs=STORE, read=READ)
    def test_d75_a_batch_is_deferred_whole_or_not_at_all(self, lab: DLQLab) -> None:
        """defer() keeps all messages; where one is never due, it keeps none."""
        store = lab.open()
        try:
            store.defer([deferred(1), deferred(2)._replace(due=None)])
        except ConfigurationError:
            kept = store.counts().deferred
            expect(kept == 0, f"of a batch with one that is never due, {kept} were kept")
        else:
            expect(False, "a message was deferred that is never due")
        store.defer([deferred(number) for number in range(5)])
        kept = store.counts().deferred
        expect(kept == 5, f"of 5 messages {kept} are kept")

    @check("D76", since="0.2", needs=STORE, read=READ)
    def test_d76_another_message_with_the_id_is_left_alone(self, lab: DLQLab) -> None:
        """A deferred message is kept beside a letter of another body or source with its id."""
        store = lab.open()
        store.put(letter(1, b"one body"))
        store.defer([deferred(1, b"another body"), deferred(1, source="another source")])
        kept = sorted((found.state, found.raw_data) for found in store.letters(state=None))
        expected = [
            ("dead", b"one body"),
            ("deferred", b"a body"),
            ("deferred", b"another body"),
        ]
        expect(kept == expected, f"of three different messages with one id {len(kept)} are kept")
        store.put(letter(2, b"another body", id=b"letter-1"))
        expect(store.counts()[:2] == (2, 1), "a letter about a message kept beside did not find it")

    @check("D77", since="0.2", needs=STORE, read=READ)
    def test_d77_letters_are_counted_by_state(self, lab: DLQLab) -> None:
        """counts() tells dead letters, deferred messages, those that are due and unclaimed, and
        all that are claimed.
        """
        store = lab.open()
        expect(store.counts() == (0, 0, 0, 0), "an empty store has letters")
        store.put_many([letter(1), letter(2)])
        store.defer([deferred(number) for number in range(3, 7)])
        store.defer([deferred(7, due=lab.far)])
        counts = store.counts()
        expect(counts == (2, 5, 4, 0), f"of 2 dead, 5 deferred, 4 due it counts {tuple(counts)}")
        claimed(store, b"letter-1")
        store.claim_due(3)
        counts = store.counts()
        expect(counts == (2, 5, 1, 4), f"with 1 due left and 4 claimed it counts {tuple(counts)}")

    @check("D78", since="0.2", needs=STORE, read=READ)
    def test_d78_messages_can_be_retried_now(self, lab: DLQLab) -> None:
        """retry_now() makes those deferred messages due that it is told, and counts them."""
        store = lab.open()
        store.put(letter(9))
        store.defer([deferred(number, due=lab.far) for number in range(5)])
        store.defer([deferred(number, due=lab.far, reason="other") for number in (5, 6)])
        count = store.retry_now([b"letter-1", b"letter-2", b"letter-9", b"missing"])
        expect(count == 2, f"of two messages, a dead letter and a missing one it says {count}")
        due = sorted(found.id for _, found in store.claim_due(10))
        expect(due == [b"letter-1", b"letter-2"], f"{len(due)} messages are due, or the wrong two")
        count = store.retry_now(reason="other")
        expect(count == 2, f"of two messages with this reason it says {count}")
        due = sorted(found.id for _, found in store.claim_due(10))
        expect(due == [b"letter-5", b"letter-6"], f"{len(due)} messages are due, or the wrong two")
        count = store.retry_now()
        expect(count == 7, f"of seven messages in all it says {count}")
        expect(store.letter(b"letter-9").state == "dead", "a dead letter was deferred")

    @check("D79", since="0.2", needs=STORE, read=READ)
    def test_d79_messages_can_be_given_up(self, lab: DLQLab) -> None:
        """give_up() makes those deferred messages dead letters that it is told and that nobody
        has claimed, and counts them.
        """
        store = lab.open()
        store.defer([deferred(number, reason="many") for number in range(4)])
        store.defer([deferred(4, id=b"letter-3", reason="again")])
        claimed(store, b"letter-0")
        count = store.give_up([b"letter-0", b"letter-1", b"missing"])
        expect(count == 1, f"of a claimed message, a free one and a missing one it says {count}")
        expect(list(store) == [b"letter-1"], f"{len(store)} are dead letters, or the wrong one")
        count = store.give_up(reason="again")
        expect(count == 1, f"of one message with this reason it says {count}")
        found = store.letter(b"letter-3")
        expect((found.state, found.due) == ("dead", None), f"its state is {found.state!r}")
        expect(len(found.history) == 2, f"its history has {len(found.history)} failures, not 2")
        expect(store[b"letter-3"][1] == "again", "it cannot be read from the mapping")
        due = [found.id for _, found in store.claim_due(10)]
        expect(due == [b"letter-2"], f"{len(due)} messages are still handed out, not the one")

    @check("D80", since="0.2", needs=STORE, read="dead-letters#moving")
    def test_d80_restore_keeps_the_state(self, lab: DLQLab) -> None:
        """A deferred message that is restored is deferred, and due when it was."""
        store = lab.open()
        store.put(letter(1))
        store.restore(deferred(1, due=lab.far, attempt=2))
        found = store.letter(b"letter-1")
        expect(found.state == "deferred", f"its state is {found.state!r}")
        expect((found.due, found.attempt) == (lab.far, 2), "due time or attempts were changed")
        expect(found.failures == 1, "what it replaced was counted as a failure")
        store.restore(letter(1))
        expect(list(store) == [b"letter-1"], "what was restored as a dead letter is not one")

    @check("D81", since="0.2", needs=STORE, read=READ)
    def test_d81_what_is_set_anew_is_dead(self, lab: DLQLab) -> None:
        """Setting the key of a deferred message makes a dead letter of it, with its history."""
        store = lab.open()
        store.defer([deferred(1, source=None)])
        store[b"letter-1"] = (message(b"letter-1"), "set by hand")
        found = store.letter(b"letter-1")
        expect(found.state == "dead", f"its state is {found.state!r}")
        expect(found.failures == 2, f"it says {found.failures} failures, not 2")
        expect(not store.claim_due(1), "it is still handed out as due")
