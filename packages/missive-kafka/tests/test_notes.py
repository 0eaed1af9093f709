"""What is kept in the metadata of an offset is short, and read as it was written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from missive.adapters.kafka.notes import LONGEST, Note, read_note, runs_between

#: Runs as (gap before, length - 1).
RUNS = st.lists(st.tuples(st.integers(1, 10**6), st.integers(0, 10**6)), max_size=600)


def note_of(position: int, runs: list[tuple[int, int]], **options: int) -> Note:
    """Return a note whose runs begin above a position."""
    settled: list[tuple[int, int]] = []
    before = position
    for gap, length in runs:
        first = before + gap
        before = first + length
        settled.append((first, before))
    return Note(settled=tuple(settled), **options)


@given(
    st.integers(0, 10**15),
    RUNS,
    st.integers(0, 10**6),
    st.none() | st.tuples(st.integers(0, 10**6), st.integers(1, 99)),
)
def test_a_note_is_read_as_it_was_written(
    position: int, runs: list[tuple[int, int]], suspects: int, alone: tuple[int, int] | None
) -> None:
    """What is read is what was written, less the highest runs where there are too many."""
    note = note_of(position, runs, suspects=suspects)
    if alone is not None:
        note = Note(suspects, position + alone[0], alone[1], note.settled)
    text = note.write(position)
    assert len(text.encode()) <= LONGEST
    read = read_note(position, text)
    assert (read.suspects, read.alone, read.deliveries) == (suspects, note.alone, note.deliveries)
    assert read.settled == note.settled[: len(read.settled)]
    if len(runs) < 200:
        assert read == note


@given(RUNS, st.integers(60, 300))
def test_a_note_may_be_made_shorter(runs: list[tuple[int, int]], longest: int) -> None:
    """A broker that takes less gets less, and what is left is true."""
    note = note_of(7, runs, suspects=3)
    text = note.write(7, longest)
    assert len(text) <= longest
    read = read_note(7, text)
    assert read.settled == note.settled[: len(read.settled)]


@given(st.text(max_size=60))
def test_any_metadata_is_read(text: str) -> None:
    """The metadata of other programs is no note, whatever it is."""
    if not text.startswith("missive1 "):
        assert read_note(5, text) == Note()


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "missive1",
        "missive1 x  ",
        "missive1 1 x ",
        "missive1 1 3x ",
        "missive1 1  1.x",
        "missive1 1  1",
        "missive2 1  ",
    ],
)
def test_damaged_metadata_is_no_note(text: str | None) -> None:
    """Metadata that is damaged counts as none: messages are handled again."""
    assert read_note(5, text) == Note()


def test_nothing_to_say_is_no_metadata() -> None:
    """A partition that was given up in order leaves no metadata."""
    assert Note().write(5) == ""


@given(st.sets(st.integers(0, 60), min_size=1), st.integers(0, 80))
def test_what_is_not_pending_is_settled(pending: set[int], more: int) -> None:
    """The runs between pending offsets are all the others, up to the last that was begun."""
    last = max(pending) + more
    runs = runs_between(sorted(pending), last)
    settled = {offset for first, end in runs for offset in range(first, end + 1)}
    assert settled == set(range(min(pending), last + 1)) - pending
