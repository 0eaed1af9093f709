"""What is at the edge: very many failures, ids that are taken, filters that make no sense."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from missive import ConfigurationError
from missive.letters import MAX_HISTORY

from ..contract import check, expect
from ..dlq_lab import DLQLab, letter
from .store import STORE

SAME = "dead-letters#the-same-message-again"


class BoundChecks:
    """Edges."""

    @check("D47", since="0.2", needs=STORE, read=SAME)
    def test_d47_a_letter_kept_beside_stays_one(self, lab: DLQLab) -> None:
        """A letter kept beside another is found again when that has gone, and where even the id
        with its digest is taken; an empty id is an id like any other.
        """
        store = lab.open()
        store.put_many([letter(1, b"one body"), letter(1, b"another body"), letter(2, id=b"")])
        del store[b"letter-1"]
        store.put(letter(1, b"another body"))
        found = [(one.raw_data, one.failures) for one in store.letters()]
        expect(
            found == [(b"another body", 2), (b"a body", 1)],
            f"with the first gone, its neighbour's next failure left {len(found)} letters, not 2",
        )
        taken = letter(3, b"one body").beside_id()
        store.put_many([letter(3), letter(3, b"third body", id=taken), letter(3, b"one body")])
        bodies = {one.raw_data for one in store.letters() if one.message_id != b"letter-1"}
        expect(
            bodies == {b"a body", b"third body", b"one body"},
            "where the id with its digest was taken, a letter was lost",
        )

    @check("D48", since="0.2", needs=STORE, read=SAME)
    def test_d48_the_history_is_bounded(self, lab: DLQLab) -> None:
        """Of very many failures the newest are kept singly, and all are counted."""
        store = lab.open()
        count = MAX_HISTORY + 10
        store.put_many(letter(at, id=b"key", reason=str(at)) for at in range(count))
        found = store.letter(b"key")
        expect(found.failures == count, f"of {count} failures {found.failures} are counted")
        reasons = [failure.reason for failure in found.history]
        expect(reasons == [str(at) for at in range(10, count)], f"{len(reasons)} are kept singly")
        expect(found.first_failed == letter(0).first_failed, "the first failure was forgotten")

    @check("D49", since="0.2", needs=STORE, read=SAME)
    def test_d49_no_failure_is_earlier_than_the_one_before(self, lab: DLQLab) -> None:
        """Where the clock was set back, a later failure is no earlier than the one before it."""
        store = lab.open()
        store.put(letter(10, id=b"key"))
        store.put(letter(5, id=b"key"))
        found = store.letter(b"key")
        expect(found.last_failed == letter(10).last_failed, "the last failure is before the first")
        times = [failure.at for failure in found.history]
        expect(times == sorted(times), "the history goes back in time")

    @check("D65", since="0.2", needs=STORE, read="dead-letters#selecting")
    def test_d65_senseless_filters_are_refused(self, lab: DLQLab) -> None:
        """A filter that cannot be compared, or that there is not, is refused by
        ConfigurationError when letters() is called; a limit below 1 gives nothing.
        """
        store = lab.open()
        store.put(letter(1))
        senseless: tuple[dict[str, Any], ...] = (
            {"since": datetime(2024, 5, 1)},  # noqa: DTZ001
            {"until": "yesterday"},
            {"reason": 1},
            {"reazon": "x"},
        )
        for filters in senseless:
            for call in (store.letters, store.choose, store.retry_now, store.give_up):
                try:
                    call(**filters)
                except ConfigurationError:
                    continue
                expect(False, f"the filter {next(iter(filters))} was taken, whatever it means")
        for limit in (0, -1):
            expect(not list(store.letters(limit=limit)), f"a limit of {limit} gives letters")
            expect(not store.summary(limit=limit), f"a limit of {limit} gives rows of the summary")
        age = timedelta(days=10**6)
        expect(store.purge(older_than=age) == 0, "a letter is older than the calendar")
