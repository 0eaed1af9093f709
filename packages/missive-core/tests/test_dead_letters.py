from __future__ import annotations

import re
import sys
import traceback
from datetime import datetime, timedelta, timezone

import missive.letters.tracebacks
import pytest
from missive import (
    ConfigurationError,
    DeadLetter,
    DeadLetterStore,
    DeadLetterStoreError,
    JSONMessage,
    RawMessage,
)
from missive.errors import DeadLetterStoreBusy, DeadLetterStoreFull, DeadLetterStoreRefused
from missive.letters import (
    MAX_REASON,
    MAX_TRACEBACK,
    SummaryRow,
    check_filters,
    format_traceback,
    qualified_name,
)


def catch(function: object, *args: object) -> Exception:
    """Call something that raises, and give what it raised."""
    try:
        function(*args)  # type: ignore[operator]
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def fail(text: str = "it failed") -> None:
    raise ValueError(text)


def fail_with_cause() -> None:
    try:
        fail("first")
    except ValueError as error:
        raise KeyError("second") from error


def fail_while_handling() -> None:
    try:
        fail("first")
    except ValueError:
        fail("second")


def fail_without_context() -> None:
    try:
        fail("first")
    except ValueError:
        raise KeyError("second") from None


def fail_deep(depth: int = 20) -> None:
    if depth:
        fail_deep(depth - 1)
    fail()


def fail_to_compile() -> None:
    compile("a b", "a file", "exec")


class QuietError(Exception):
    """Raised without a text."""


def fail_quietly() -> None:
    raise QuietError


class TestTraceback:
    @pytest.mark.parametrize(
        "function",
        [
            fail,
            fail_with_cause,
            fail_while_handling,
            fail_without_context,
            fail_deep,
            fail_to_compile,
            fail_quietly,
        ],
    )
    def test_is_what_python_prints(self, function: object) -> None:
        """A traceback reads as Python prints it, at first and from memory."""
        for _ in range(2):
            error = catch(function)
            assert format_traceback(error) == "".join(traceback.format_exception(error))

    @pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 has no groups")
    def test_group(self) -> None:
        """A group of exceptions is shown with all that is in it."""
        group = ExceptionGroup("several", [catch(fail), catch(fail_with_cause)])  # noqa: F821

        def fail_together() -> None:
            raise group

        error = catch(fail_together)
        assert format_traceback(error) == "".join(traceback.format_exception(error))

    def test_notes(self) -> None:
        """Notes stand below the exception, on every Python."""
        error = catch(fail)
        error.__notes__ = ["a note", "another"]  # type: ignore[attr-defined]
        text = format_traceback(error)
        assert text is not None
        assert text.endswith("ValueError: it failed\na note\nanother\n")

    def test_notes_that_are_no_list(self) -> None:
        """What stands in the place of notes is shown, whatever it is."""
        error = catch(fail)
        error.__notes__ = 5  # type: ignore[attr-defined]
        text = format_traceback(error)
        assert text is not None
        assert text.endswith("ValueError: it failed\n5\n")

    def test_cannot_be_shown(self) -> None:
        """An error that raises when it is inspected is named at least."""

        class HostileError(Exception):
            @property
            def exceptions(self) -> object:
                raise RuntimeError("secret")

        def fail_hostilely() -> None:
            raise HostileError

        text = format_traceback(catch(fail_hostilely))
        assert text is not None
        assert "HostileError" in text
        assert "RuntimeError" in text

    def test_circle(self) -> None:
        """Exceptions that lead to each other in a circle are each shown once."""
        first, second = catch(fail), catch(fail_quietly)
        first.__cause__, second.__cause__ = second, first
        text = format_traceback(first)
        assert text is not None
        assert text.count("Traceback") == 2

    def test_cause_that_was_not_raised(self) -> None:
        """A cause that was never raised itself is shown without a traceback of its own."""

        def fail_from_nothing() -> None:
            raise ValueError("second") from KeyError("first")

        error = catch(fail_from_nothing)
        assert format_traceback(error) == "".join(traceback.format_exception(error))

    def test_broken_text(self) -> None:
        """An exception that cannot say what it is loses nothing else."""

        class BrokenError(Exception):
            def __str__(self) -> str:
                raise RuntimeError

        def fail_unspeakably() -> None:
            raise BrokenError

        text = format_traceback(catch(fail_unspeakably))
        assert text is not None
        assert "fail_unspeakably" in text
        assert text.endswith("<exception str() failed>\n")

    def test_without_traceback(self) -> None:
        """An exception that was never raised has no traceback."""
        assert format_traceback(ValueError()) is None

    def test_the_end_is_kept(self) -> None:
        """A traceback that is too long loses its beginning."""
        error = catch(fail)
        error.__notes__ = ["x" * MAX_TRACEBACK + "end"]
        text = format_traceback(error)
        assert text is not None
        assert len(text) == MAX_TRACEBACK
        assert text.endswith("xend\n")

    def test_long_text_of_an_exception(self) -> None:
        """A text too long to be kept is cut, and the lines of the traceback stay."""
        text = format_traceback(catch(fail, "x" * 10 * MAX_TRACEBACK))
        assert text is not None
        assert text.startswith("Traceback (most recent call last):\n")
        assert text.endswith("more characters cut]\n")
        assert len(text) < 2 * MAX_REASON

    def test_memory_is_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Only so many lines are remembered, and all are right again after they were forgotten."""
        monkeypatch.setattr(missive.letters.tracebacks, "_MAX_REMEMBERED", 2)
        missive.letters.tracebacks._remembered.clear()
        for function in (fail, fail_with_cause, fail_while_handling):
            error = catch(function)
            assert format_traceback(error) == "".join(traceback.format_exception(error))
            assert len(missive.letters.tracebacks._remembered) <= 2


class TestLetter:
    def test_of_a_failure(self) -> None:
        """A letter says what failed, where, why, when and on which machine, with the envelope."""
        message = RawMessage(b"body")
        message.put_in(JSONMessage(b"").envelope)
        error = catch(fail)
        before = datetime.now(timezone.utc)
        letter = DeadLetter.from_failure(
            message, stage="handling", reason="why", error=error, handler="a.handler"
        )
        assert before <= letter.first_failed == letter.last_failed <= datetime.now(timezone.utc)
        assert letter.id == letter.message_id == message.message_id
        assert letter.raw_data == b"body"
        assert letter.message_class == "missive.message.RawMessage"
        assert (letter.error_type, letter.handler) == ("ValueError", "a.handler")
        assert letter.traceback == format_traceback(error)
        assert letter.host
        assert letter.history[0].reason == letter.reason == "why"

    def test_long_reason(self) -> None:
        """A reason that is too long is cut, and says how much is missing."""
        for size in (MAX_REASON, MAX_REASON + 1, 20 * MAX_REASON):
            letter = DeadLetter.from_failure(
                RawMessage(b""), stage="handling", reason="ä" * size, error=None
            )
            assert len(letter.reason) <= MAX_REASON
            kept = letter.reason.count("ä")
            cut = f"… [{size - kept} more characters cut]" if size > MAX_REASON else ""
            assert letter.reason == letter.history[0].reason == "ä" * kept + cut

    def test_empty_reason(self) -> None:
        """A reason that would be empty is the exception's type."""
        message = RawMessage(b"")
        for error, reason in ((QuietError(), "QuietError"), (None, "unknown")):
            letter = DeadLetter.from_failure(message, stage="handling", reason="", error=error)
            assert letter.reason == reason

    def test_shows_no_content(self) -> None:
        """Neither a letter, its failures nor a row of a summary show what may be content."""
        message = RawMessage(b"secret")
        letter = DeadLetter.from_failure(
            message, stage="handling", reason="secret", error=catch(fail, "secret")
        )
        row = SummaryRow("E", "h", "secret", 1, letter.first_failed, letter.last_failed)
        for shown in (letter, letter.history, row):
            assert "secret" not in f"{shown!r} {shown!s}"

    def test_delivery(self) -> None:
        """A letter gives its message as a transport would deliver it once more."""
        letter = DeadLetter.from_failure(RawMessage(b"body"), stage="handling", reason="why")
        delivery = letter._replace(source="s", headers={"a": "b"}, failures=3).delivery()
        assert (delivery.raw_data, delivery.message_id) == (b"body", letter.id)
        assert (delivery.source, delivery.headers, delivery.delivery_count) == ("s", {"a": "b"}, 4)

    def test_ids_beside(self) -> None:
        """The id beside another depends on source and body, and tells them apart."""
        letter = DeadLetter.from_failure(RawMessage(b"body"), stage="handling", reason="why")
        others = [
            letter,
            letter._replace(raw_data=b"other"),
            letter._replace(source=""),
            letter._replace(source="\udc80"),
            letter._replace(source="b", raw_data=b"ody"),
        ]
        assert len({other.beside_id() for other in others}) == len(others)
        assert letter._replace(reason="other").beside_id() == letter.beside_id()

    def test_names_of_classes(self) -> None:
        """A class is named with its module, a built-in one without."""
        assert qualified_name(ValueError) == "ValueError"
        assert qualified_name(timedelta) == "datetime.timedelta"


def test_filters_may_be_none() -> None:
    """A filter that is None filters nothing."""
    check_filters({"reason": None, "since": None, "until": datetime.now(timezone.utc)})


@pytest.mark.parametrize(
    ("error", "words", "attributes"),
    [
        (DeadLetterStoreRefused("a.db", "it is a directory"), "a.db.*directory", {"place": "a.db"}),
        (DeadLetterStoreBusy("a.db", 2.5), "a.db.*2.5 s", {"place": "a.db", "seconds": 2.5}),
        (DeadLetterStoreFull("a.db"), "a.db.*full", {"place": "a.db"}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_errors_of_stores(
    error: DeadLetterStoreError, words: str, attributes: dict[str, object]
) -> None:
    """What a store raises names the store and the remedy, and carries its data."""
    assert re.search(words, str(error))
    assert isinstance(error, DeadLetterStoreError)
    for name, value in attributes.items():
        assert getattr(error, name) == value


def test_store_without_url() -> None:
    """A store that is opened by no URL says what to call instead."""
    with pytest.raises(ConfigurationError, match=r"DeadLetterStore\(\.\.\.\)"):
        DeadLetterStore.from_url("x:")
