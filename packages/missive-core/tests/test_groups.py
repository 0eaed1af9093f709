"""Groups, counts over time, actions, and what a letter is exported as."""

from __future__ import annotations

import sys
import types
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from missive import ConfigurationError, DeadLetter, MemoryDLQ, Processor, RawMessage
from missive.letters import (
    MAX_ACTION_IDS,
    Action,
    divide,
    group_letters,
    join,
    kind_of,
    masked_reason,
    named,
    number_of,
    to_record,
    write_test,
)

THEN = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)


def letter(id: str, reason: str, *, line: int | None = 23, **more: Any) -> DeadLetter:
    """Make a letter that failed on a line."""
    trace = f'Traceback (most recent call last):\n  File "/srv/app.py", line {line}, in greet\n'
    fields: dict[str, Any] = {
        "raw_data": b"a body",
        "first_failed": THEN,
        "last_failed": THEN,
        "error_type": "ValueError",
        "handler": "app.greet",
        "traceback": None if line is None else f"{trace}ValueError: {reason}\n",
        **more,
    }
    return DeadLetter(id=id.encode(), reason=reason, stage="handling", **fields)


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("no customer 17", "no customer #"),
        ("'Ada' is not in \"the list\"", "'…' is not in \"…\""),
        ("it doesn't say what isn't there", "it doesn't say what isn't there"),
        ("order-17 took 1.5 s, not 0,3", "order-# took # s, not #"),
        ("id 123e4567-e89b-12d3-a456-426614174000", "id …"),
        ("at 0x7fca3b, commit 4ff58cb1", "at …, commit …"),
        ("first line\nsecond line with content", "first line"),
        ("", ""),
    ],
)
def test_values_in_a_reason_are_masked(reason: str, expected: str) -> None:
    """Numbers, quoted texts and ids do not tell one failure from another; words do."""
    assert masked_reason(reason) == expected


def test_letters_of_one_bug_are_one_group() -> None:
    """Error, handler and raising line make a group, whatever the values in the reason."""
    groups = group_letters(letter(str(number), f"no customer {number}") for number in range(25))
    assert [(one.letters, one.reason) for one in groups] == [(25, "no customer #")]


@pytest.mark.parametrize(
    "change",
    [{"line": 24}, {"handler": "app.fail"}, {"error_type": "KeyError"}, {"handler": None}],
)
def test_another_line_handler_or_error_is_another_group(change: dict[str, Any]) -> None:
    """What failed elsewhere, or by something else, is told apart though its reason is alike."""
    one = letter("a", "no customer 1")
    other = letter("b", "no customer 2", **{"line": 23, **change})
    assert kind_of(one) != kind_of(other)


def test_without_a_traceback_the_masked_reason_tells_groups_apart() -> None:
    """Where nothing was raised in a handler the words of the reason are all there is."""
    letters = [
        letter("a", "delivered 5 times", line=None),
        letter("b", "delivered 6 times", line=None),
        letter("c", "no matching handlers", line=None),
    ]
    assert sorted(one.letters for one in group_letters(letters)) == [1, 2]


@pytest.mark.parametrize(
    ("traceback", "place"),
    [
        ('  File "/srv/app.py", line 3, in f\n', "app.py:3"),
        ('  File "C:\\shop\\app.py", line 3, in f\n', "app.py:3"),
        ('  File "/srv/shop/__init__.py", line 3, in f\n', "shop/__init__.py:3"),
        ('x\n  File "/a.py", line 1, in f\n  File "/b.py", line 2, in g\n', "b.py:2"),
        ('  File "/a.py", line 1, in f\nError: no  File "/x.py", line 9\n', "a.py:1"),
        ('  File "/a.py", line 1, in f\n  File "damaged\n', "a.py:1"),
        ("no frame at all", None),
        ("", None),
    ],
)
def test_the_raising_line_is_the_last_frame(traceback: str, place: str | None) -> None:
    """The last line that names a file is where it was raised, whatever the error says."""
    assert kind_of(letter("a", "b")._replace(traceback=traceback)).place == place


def test_a_store_groups_and_counts() -> None:
    """Groups come the most frequent first, with numbers; letters are counted between times."""
    store = MemoryDLQ()
    minutes = [THEN + timedelta(minutes=number) for number in range(4)]
    for number, at in enumerate(minutes):
        store.put(letter(f"a-{number}", f"no {number}", first_failed=at, last_failed=at))
    store.put(letter("b", "because", line=40))
    first, second = store.groups()
    assert (first.letters, first.first_seen, first.last_seen) == (4, minutes[0], minutes[3])
    assert first.number == number_of(first.kind)
    assert store.groups(limit=1) == [first]
    assert store.groups(limit=-1) == []
    assert store.groups(state="deferred") == []
    digits = second.kind.digits()
    assert [one.id for one in store.letters(group=digits)] == [b"b"]
    times = [minutes[0], minutes[2], minutes[3]]
    assert store.tally(times) == [3, 1]
    assert store.tally(times, group=digits) == [1, 0]


@pytest.mark.parametrize(
    ("times", "filters"),
    [
        ([THEN], {}),
        ([THEN, THEN.replace(tzinfo=None)], {}),
        ([THEN, THEN - timedelta(1)], {}),
        ([THEN, THEN], {"since": THEN}),
        ([THEN, THEN], {"until": THEN}),
        ([THEN, THEN], {"colour": "blue"}),
        ([THEN, THEN], {"group": 482}),
    ],
)
def test_a_tally_of_nonsense_is_refused(times: list[datetime], filters: dict[str, Any]) -> None:
    """Times that do not rise, have no time zone or are too few are refused; so are filters."""
    with pytest.raises(ConfigurationError):
        MemoryDLQ().tally(times, **filters)


def test_actions_are_kept_in_memory() -> None:
    """A store in memory gives back what was recorded, the newest first."""
    store = MemoryDLQ()
    assert store.actions() == []
    ids = tuple(b"%d" % number for number in range(MAX_ACTION_IDS + 1))
    for number in range(3):
        store.record(Action(THEN, "Ada", "delete", "all", number, "done", ids))
    found = store.actions(limit=2)
    assert [one.letters for one in found] == [2, 1]
    assert found[0].ids == ids[:MAX_ACTION_IDS]
    assert [one.letters for one in store.actions(before=found[1].number)] == [0]
    assert store.actions(limit=-1) == []
    assert repr(found[0]) == f"<Action delete by Ada at {THEN.isoformat()}>"


def test_a_choice_is_divided_by_group_and_joined() -> None:
    """Each group of a choice is a choice of its own; several make one again."""
    store = MemoryDLQ()
    for number in range(4):
        store.put(letter(f"a-{number}", "no", line=23 + number % 2))
    choice = store.choose()
    store.put(letter("late", "no", line=99))
    parts = divide(store, choice)
    assert [kind.place for kind in parts] == ["app.py:23", "app.py:24"]
    assert [len(part) for part in parts.values()] == [2, 2]
    assert list(join(choice, parts.values())) == list(choice)


def test_a_record_has_the_body_as_text_or_base64() -> None:
    """What is UTF-8 can be read in an export; all else is base64."""
    record = to_record(letter("a", "no", raw_data="ü".encode()))
    assert (record["body"], record["due"], len(record["history"])) == ("ü", None, 0)
    due = letter("b", "no", raw_data=b"\xff", state="deferred", due=THEN).with_history()
    record = to_record(due)
    assert (record["body_base64"], record["due"]) == ("/w==", THEN.isoformat())
    assert record["history"][0]["reason"] == "no"


def test_an_exported_test_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test sends the very message of the letter to the processor that it names."""
    processor: Processor[RawMessage] = Processor()
    seen: list[tuple[bytes, str | None]] = []

    @processor.handle_for(lambda message: True)
    def catch(message: RawMessage, ctx: Any) -> None:
        seen.append((message.raw_data, message.source))
        ctx.ack()

    module = types.ModuleType("one-shop")
    module.__dict__.update(processor=processor)
    monkeypatch.setitem(sys.modules, "one-shop", module)
    needed, expression = named("one-shop", "processor")
    assert (needed, named("shop", "a.b")) == ("importlib", ("shop", "shop.a.b"))
    source = write_test(
        letter("!", "no", raw_data=bytes(range(256)), source="orders", handler=None),
        processor=expression,
        message_cls="missive.RawMessage",
        modules={needed},
    )
    assert source.isascii()
    assert "def test_letter_empty_is_acked(monkeypatch):" in source
    scope: dict[str, Any] = {}
    exec(compile(source, "test_letter.py", "exec"), scope)
    scope["test_letter_empty_is_acked"](monkeypatch)
    assert seen == [(bytes(range(256)), "orders")]
