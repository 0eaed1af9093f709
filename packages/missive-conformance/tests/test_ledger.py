"""The ledger: it tells what became of every message, and is on the disk when it is needed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from missive.conformance import Account, Ledger, balance
from missive.conformance.ledger import number_of, numbered_body, read_ledgers


def kept(tmp_path: Path, *events: tuple[str, bytes]) -> list[dict[str, object]]:
    """Return the lines of a ledger in which these events were noted."""
    ledger = Ledger(tmp_path / "one.ledger")
    for event, body in events:
        ledger.note(event, body)
    ledger.close()
    return read_ledgers(tmp_path)


@pytest.mark.parametrize("size", [0, 16, 64, 5000])
def test_bodies_say_their_number(size: int) -> None:
    """A numbered body has the size asked for, where its number fits, and tells its number."""
    body = numbered_body(1234, size)
    assert number_of(body) == 1234
    assert len(body) == max(size, len("ledger 00001234 "))


def test_a_damaged_number_is_none() -> None:
    """A body of something else has no number."""
    assert number_of(b"another body") is None


CASES = {
    "acked": [("confirmed", 1), ("started", 1), ("acked", 1)],
    "dead_lettered": [("confirmed", 1), ("started", 1), ("dead-lettered", 1)],
    "lost": [("confirmed", 1), ("started", 1)],
    "acked, says nobody": [("confirmed", 1), ("started", 1), ("decided", 1)],
    "duplicated": [("confirmed", 1), ("acked", 1), ("acked", 1)],
}


@pytest.mark.parametrize("expected", CASES)
def test_messages_are_classified(expected: str, tmp_path: Path) -> None:
    """What was noted of a message decides what became of it."""
    lines = kept(tmp_path, *((event, numbered_body(n)) for event, n in CASES[expected]))
    account = balance("a run", lines, remaining=0, drained=True)
    assert getattr(account, expected.partition(",")[0]) == [1]
    assert (account.at_fault is None) is (expected != "lost")


def test_what_remains_is_stuck_after_a_drain(tmp_path: Path) -> None:
    """What the transport still has is stuck if a healthy worker had its time, else just there."""
    lines = kept(tmp_path, ("confirmed", numbered_body(1)))
    assert balance("a run", lines, remaining=1, drained=False).on_transport == [1]
    drained = balance("a run", lines, remaining=1, drained=True)
    assert (drained.stuck, drained.on_transport, drained.lost) == ([1], [], [])
    assert drained.at_fault == "of 1 confirmed messages: 1 stuck"


def test_what_remains_is_what_nobody_decided_on(tmp_path: Path) -> None:
    """A message that a killed worker had decided on is acked, unless the transport still has it."""
    one, two = numbered_body(1), numbered_body(2)
    lines = kept(tmp_path, ("confirmed", one), ("decided", one), ("confirmed", two))
    assert balance("a run", lines, remaining=0, drained=True).lost == [2]
    for remaining, acked in ((1, [1]), (2, [])):
        account = balance("a run", lines, remaining=remaining, drained=False)
        assert (account.acked, account.lost) == (acked, [])


def test_other_bytes_are_corruption(tmp_path: Path) -> None:
    """A body that arrives with other bytes than were published is corrupted, and not acked."""
    damaged = numbered_body(1)[:-1] + b"?"
    lines = kept(tmp_path, ("confirmed", numbered_body(1)), ("acked", damaged), ("acked", b"?"))
    account = balance("a run", lines, remaining=0, drained=True)
    assert (account.acked, account.corrupted, account.lost) == ([], [-1, 1], [1])


def test_what_nobody_confirmed_is_no_loss(tmp_path: Path) -> None:
    """Only what the broker confirmed can be lost."""
    lines = kept(tmp_path, ("started", numbered_body(7)), ("acked", numbered_body(7)))
    account = balance("a run", lines, remaining=0, drained=True)
    assert (account.confirmed, account.at_fault) == (0, None)


def test_a_line_cut_short_is_left_out(tmp_path: Path) -> None:
    """A line that a kill cut short does not keep the others from being read."""
    kept(tmp_path, ("confirmed", numbered_body(1)))
    with (tmp_path / "one.ledger").open("ab") as file:
        file.write(b'{"event": "acked", "numb')
    assert [line["event"] for line in read_ledgers(tmp_path)] == ["confirmed"]


def test_an_account_is_kept(tmp_path: Path) -> None:
    """An account is written as JSON, and tells its counts on one line."""
    account = Account("a run", 2, acked=[1], lost=[2])
    account.write(tmp_path / "deep" / "ledger-x.json")
    assert json.loads((tmp_path / "deep" / "ledger-x.json").read_text())["lost"] == [2]
    assert account.text().startswith("a run: 2 confirmed; 1 acked, 0 dead lettered")
