"""What a store tells about its letters together, and about what people did to them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from missive import ConfigurationError, DeadLetter
from missive.letters import MAX_ACTION_IDS, Action, kind_of

from ..contract import check, expect
from ..dlq_lab import THEN, DLQLab, deferred, letter
from .store import STORE

GROUPS = "dead-letters#groups"
ACTIONS = "dead-letters#actions"


def failed_at(number: int, line: int, **fields: Any) -> DeadLetter:
    """Make a letter that failed in a line of a handler."""
    trace = f'Traceback:\n  File "/srv/shop/app.py", line {line}, in sell\nKeyError: {number}\n'
    known: dict[str, Any] = {
        "reason": f"no customer {number}",
        "error_type": "KeyError",
        "handler": "app.sell",
        "traceback": trace,
    }
    return letter(number, **{**known, **fields})


class AccountChecks:
    """Groups, counts over time, and the record of actions."""

    @check("D100", since="0.2", needs=STORE, read=GROUPS)
    def test_d100_letters_are_grouped(self, lab: DLQLab) -> None:
        """groups() counts by error type, handler and raising line, whatever the reasons name, the
        most frequent first; without a traceback the masked reason tells groups apart.
        """
        store = lab.open()
        store.put_many(failed_at(number, 17) for number in range(5))
        store.put_many(failed_at(number, 40) for number in range(5, 8))
        store.put_many(failed_at(number, 0, traceback=None) for number in (8, 9))
        store.put(failed_at(10, 40, handler="app.buy"))
        store.defer([deferred(11, due=lab.far)])
        found = [(one.letters, one.kind.handler, one.kind.place) for one in store.groups()]
        expected = [
            (5, "app.sell", "app.py:17"),
            (3, "app.sell", "app.py:40"),
            (2, "app.sell", None),
            (1, "app.buy", "app.py:40"),
        ]
        expect(found == expected, f"the groups have {[one[0] for one in found]} letters")
        first = store.groups(limit=1)
        expect(len(first) == 1, f"limited to one group, it gives {len(first)}")
        expect(first[0].reason == "no customer #", "the values in a group's reason are not masked")
        times = (first[0].first_seen, first[0].last_seen)
        expect(times == (THEN, THEN + timedelta(minutes=4)), "first and last seen are not right")
        both = sum(one.letters for one in store.groups(state=None))
        expect(both == 12, f"the groups of both states have {both} letters, not 12")

    @check("D101", since="0.2", needs=STORE, read=GROUPS)
    def test_d101_letters_are_selected_by_group(self, lab: DLQLab) -> None:
        """The filter group finds the letters of one group, and follows a letter that fails
        elsewhere or is replaced.
        """
        store = lab.open()
        store.put_many(failed_at(number, 17 if number % 3 else 40) for number in range(12))
        here, there = kind_of(failed_at(1, 17)).digits(), kind_of(failed_at(0, 40)).digits()
        found = [int(one.id[7:]) for one in store.letters(group=there, limit=3, newest_first=True)]
        expect(found == [9, 6, 3], f"the newest 3 of the group are {found}")
        expect(list(store.letters(group="1")) == [], "a group that is not there has letters")
        store.put(failed_at(1, 40))  # the same message again, in the other line
        store.restore(failed_at(2, 40))
        store.restore(failed_at(0, 17, state="deferred", due=lab.far))
        found = [int(one.id[7:]) for one in store.letters(group=there)]
        expect(found == [1, 2, 3, 6, 9], f"after changes the group has {found}")
        deferred_too = [int(one.id[7:]) for one in store.letters(group=here, state=None)]
        expect(deferred_too == [0, 4, 5, 7, 8, 10, 11], f"the other one has {deferred_too}")
        count = store.remove_chosen(store.choose(group=there))
        expect(count == 5, f"of 5 letters of a group {count} were removed")
        counts = [one.letters for one in store.groups()]
        expect(counts == [6], f"the groups that are left have {counts} letters, not 6")

    @check("D102", since="0.2", needs=STORE, read=GROUPS)
    def test_d102_failures_are_counted_over_time(self, lab: DLQLab) -> None:
        """tally() counts the letters whose last failure is between each two times, of those that
        the filters match.
        """
        store = lab.open()
        store.put_many(failed_at(number, 17 if number % 3 else 40) for number in range(12))
        store.defer([deferred(3, b"later", id=b"later", due=lab.far)])
        times = [THEN + timedelta(minutes=minutes) for minutes in (0, 4, 4, 10)]
        counts = store.tally(times)
        expect(list(counts) == [4, 0, 6], f"it counts {counts}, not 4, 0 and 6")
        group = kind_of(failed_at(0, 40)).digits()
        counts = store.tally(times, group=group)
        expect(list(counts) == [2, 0, 2], f"of one group it counts {counts}, not 2, 0 and 2")
        counts = store.tally(times, state=None)
        expect(list(counts) == [5, 0, 6], f"of both states it counts {counts}, not 5, 0 and 6")
        for wrong in (times[:1], times[::-1]):
            try:
                store.tally(wrong)
            except ConfigurationError:
                continue
            expect(False, "it counts between times that make no sense")

    @check("D103", since="0.2", needs=STORE, read=ACTIONS)
    def test_d103_actions_are_recorded(self, lab: DLQLab) -> None:
        """record() keeps who did what to which letters, and actions() gives it back in pages, the
        newest first.
        """
        store = lab.open()
        expect(store.actions() == [], "a new store has actions")
        action = Action(THEN, "Ada \udcff", "delete", "group 482", 3, "3 deleted", (b"\x00", b"a"))
        for number in range(5):
            store.record(action._replace(letters=number))
        found = store.actions(limit=2)
        expect([one.letters for one in found] == [4, 3], "the newest two do not come first")
        rest = store.actions(before=found[-1].number)
        expect([one.letters for one in rest] == [2, 1, 0], "the next page has not the others")
        expect(
            rest[-1]._replace(number=None) == action._replace(letters=0),
            "an action came back changed",
        )
        many = tuple(b"%d" % number for number in range(MAX_ACTION_IDS + 5))
        store.record(action._replace(ids=many, letters=len(many)))
        newest = store.actions(limit=1)[0]
        expect(newest.letters == len(many), "the number of letters was changed")
        expect(newest.ids == many[:MAX_ACTION_IDS], f"of the ids it kept {len(newest.ids)}")

    @check("D104", since="0.2", needs=(*STORE, "harness.persistent"), read=ACTIONS)
    def test_d104_actions_outlive_the_process(self, lab: DLQLab) -> None:
        """What was recorded is there when the store is opened again."""
        store = lab.open()
        store.record(Action(THEN, "Ada", "delete", "all letters", 3))
        store.close()
        again = lab.open()
        found = [(one.who, one.letters) for one in again.actions()]
        expect(
            found == [("Ada", 3)], f"{len(found)} actions are there, not the 1 that was recorded"
        )
