from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import settings
from missive import (
    ConfigurationError,
    DeadLetter,
    DeadLetterStore,
    DecodingError,
    JSONMessage,
    MemoryDLQ,
    RawMessage,
    dlq_from_url,
)
from missive.letters import Claim
from store_suite import FILTERED, NOON, AgainstDict, fill, make_letter


def claimed(store: DeadLetterStore, id: bytes = b"1", **options: Any) -> Claim:
    """Claim a letter that nobody holds."""
    found = store.claim(id, **options)
    assert found is not None
    claim, letter = found
    assert letter == store.letter(id)
    return claim


class MemoryAgainstDict(AgainstDict):
    """Do the same to a store in memory and to a dict."""

    def open(self) -> list[Any]:
        return [MemoryDLQ()]


def make_minimal() -> DeadLetterStore:
    """Make a store that writes what a store must, and takes all else from the base class."""

    def delegate(name: str) -> Callable[..., Any]:
        return lambda self, *args, **kwargs: getattr(self.inner, name)(*args, **kwargs)

    methods = {name: delegate(name) for name in DeadLetterStore.__abstractmethods__}
    minimal: Any = type("Minimal", (DeadLetterStore,), methods)()
    minimal.inner = MemoryDLQ()
    return minimal  # type: ignore[no-any-return]


class MinimalAgainstDict(AgainstDict):
    """Do the same to a store that has no mapping of its own."""

    def open(self) -> list[Any]:
        return [make_minimal()]


for machine in (MemoryAgainstDict, MinimalAgainstDict):  # half the examples: each has many steps
    half = (settings.default.max_examples or 0) // 2
    machine.TestCase.settings = settings(settings.default, max_examples=half)


class TestMapping:
    test_against_dict = MemoryAgainstDict.TestCase
    test_minimal_against_dict = MinimalAgainstDict.TestCase

    @pytest.mark.parametrize("key", ["text", 1, None, ("t",)])
    def test_other_keys_are_missing(self, key: object) -> None:
        """What is not bytes is no key: missing on reading, refused on writing."""
        store = MemoryDLQ()
        assert key not in store
        with pytest.raises(KeyError):
            store[key]  # type: ignore[index]
        with pytest.raises(KeyError):
            del store[key]  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="key is bytes"):
            store[key] = (RawMessage(b""), "")  # type: ignore[index]

    def test_unhashable_key(self) -> None:
        """A key that no dict could look up raises what a dict raises."""
        with pytest.raises(TypeError):
            [] in MemoryDLQ()  # type: ignore[operator]  # noqa: B015
        with pytest.raises(TypeError):
            MemoryDLQ()[[]]  # type: ignore[index]

    @pytest.mark.parametrize(
        "value", [None, b"secret", (b"secret", ""), (RawMessage(b"secret"), b"secret"), (1, 2, 3)]
    )
    def test_other_values_are_refused(self, value: object) -> None:
        """A value is a message with a reason; what is not is refused without being shown."""
        store = MemoryDLQ()
        with pytest.raises(TypeError, match=r"\(message, reason\)") as caught:
            store[b"1"] = value  # type: ignore[assignment]
        assert "secret" not in str(caught.value)
        assert not store

    def test_is_no_other_thing(self) -> None:
        """A store equals itself and no object that is not a mapping, and cannot be hashed."""
        store = MemoryDLQ()
        assert store == store
        assert store != 1
        with pytest.raises(TypeError):
            hash(MemoryDLQ())


class TestMessages:
    def test_class_of_messages(self) -> None:
        """Messages come back as the class that the store was given, with their envelope."""
        store = MemoryDLQ(message_cls=JSONMessage)
        store.put(make_letter(b"1", b"[1]", source="s", headers={"a": "b"}, message_id=b"m"))
        message, _ = store[b"1"]
        assert isinstance(message, JSONMessage)
        assert message.get_json() == [1]
        assert (message.message_id, message.source, message.headers) == (b"m", "s", {"A": "b"})

    @pytest.mark.parametrize(
        "message_cls", [lambda raw: 1 / 0, lambda raw: "none"], ids=["raises", "no message"]
    )
    def test_class_that_fails(self, message_cls: object) -> None:
        """A message class that fails leaves the letter readable, as a RawMessage."""
        store = MemoryDLQ(message_cls=message_cls)  # type: ignore[arg-type]
        store.put(make_letter(b"1", b"body"))
        message, reason = store[b"1"]
        assert type(message) is RawMessage
        assert (message.raw_data, message.message_id, reason) == (b"body", b"1", "reason")


class TestReading:
    @pytest.fixture
    def store(self) -> MemoryDLQ:
        store = MemoryDLQ()
        fill(store)
        return store

    @pytest.mark.parametrize(("filters", "ids"), FILTERED)
    def test_filters(self, store: MemoryDLQ, filters: dict[str, object], ids: bytes) -> None:
        """Letters are found by every filter given, in order, from a position on."""
        assert b"".join(letter.id for letter in store.letters(**filters)) == ids  # type: ignore[arg-type]

    def test_oldest(self, store: MemoryDLQ) -> None:
        """The oldest is the one that came first, with the time of its first failure in UTC."""
        message, reason, at = store.oldest()
        assert (message.message_id, reason, at) == (b"1", "a", NOON + timedelta(minutes=1))
        assert at.utcoffset() == timedelta(0)
        store.clear()
        with pytest.raises(KeyError, match="empty"):
            store.oldest()

    def test_summary(self, store: MemoryDLQ) -> None:
        """Letters are counted by error, handler and reason, the most frequent first."""
        rows = store.summary()
        assert [(row.error_type, row.handler, row.reason, row.count) for row in rows] == [
            ("E", "h", "a", 2),
            ("E", "h", "b", 1),
            (None, None, "a", 1),
        ]
        assert rows[0].first_seen == NOON + timedelta(minutes=1)
        assert rows[0].last_seen == NOON + timedelta(minutes=4)
        assert store.summary(limit=1) == rows[:1]
        assert "reason" not in repr(make_letter())
        assert repr(rows[0]) == "<SummaryRow: 2 of E in h>"

    def test_purge_beside_others(self, store: MemoryDLQ) -> None:
        """What failed again or went while others were purged is neither removed nor counted."""

        class Raced(MemoryDLQ):
            def letters(self, **filters: Any) -> Iterator[DeadLetter]:
                for letter in list(super().letters(**filters)):
                    if letter.id == b"1":
                        self.put(letter)
                    yield letter

        raced = Raced()
        raced.put_many([make_letter(b"1"), make_letter(b"2")])
        assert raced.purge(older_than=timedelta(0)) == 1
        assert list(raced) == [b"1"]


class Plain(MemoryDLQ):
    """A store that removes what was chosen as the contract does it, through claims."""

    remove_chosen = DeadLetterStore.remove_chosen


@pytest.mark.parametrize("store_cls", [MemoryDLQ, Plain])
class TestChoices:
    def test_only_what_was_chosen_goes(self, store_cls: type[MemoryDLQ]) -> None:
        """What failed again, was replaced or arrived since the choice stays; a claim on it too."""
        store = store_cls()
        store.put_many(make_letter(b"%d" % number, minutes=number) for number in range(6))
        choice = store.choose(reason="reason")
        assert (len(choice), choice.newest) == (6, 6)
        assert list(choice) == [(position, 1) for position in range(1, 7)]
        assert repr(choice) == "<Choice of 6 letter(s)>"
        store.put(make_letter(b"1"))
        store.restore(make_letter(b"2", reason="another"))
        store.put(make_letter(b"6"))
        del store[b"3"]
        assert store.remove_chosen(choice) == 3
        assert list(store) == [b"1", b"2", b"6"]
        assert store.remove_chosen(choice) == 0
        assert all(store.claim(id) for id in store)

    def test_by_ids_and_filters(self, store_cls: type[MemoryDLQ]) -> None:
        """Letters are chosen by their ids, those that are missing or do not match left out."""
        store = store_cls()
        store.put_many(make_letter(b"%d" % number, minutes=number) for number in range(4))
        choice = store.choose([b"3", b"x", b"1", b"3", b"0"], since=NOON + timedelta(minutes=1))
        assert list(choice) == [(2, 1), (4, 1)]
        assert store.letter(b"3") in choice
        assert store.letter(b"0") not in choice
        assert make_letter(b"3") not in choice, "it stands in no store"
        assert store.remove_chosen(choice) == 2
        assert list(store) == [b"0", b"2"]

    def test_of_nothing(self, store_cls: type[MemoryDLQ]) -> None:
        """A choice may be empty; a filter that makes no sense is refused."""
        store = store_cls()
        choice = store.choose()
        store.put(make_letter())
        assert (len(choice), choice.newest, store.remove_chosen(choice)) == (0, None, 0)
        with pytest.raises(ConfigurationError, match="no filter"):
            store.choose(colour="red")  # type: ignore[call-arg]

    def test_letters_that_change_while_they_are_removed(self, store_cls: type[MemoryDLQ]) -> None:
        """What fails again, goes or is claimed at the last moment is not removed by the choice."""

        class Raced(store_cls):  # type: ignore[misc, valid-type]
            def claim(self, id: bytes, *, lease: float = 300.0) -> Any:
                claim = super().claim(id, lease=lease)
                if id == b"1":
                    self.put(make_letter(b"1"))
                elif id == b"2":
                    del self[b"2"]
                return claim

        raced = Raced()
        raced.put_many(make_letter(b"%d" % number) for number in range(4))
        choice = raced.choose()
        if store_cls is MemoryDLQ:
            assert raced.remove_chosen(choice) == 4
        else:
            assert MemoryDLQ.claim(raced, b"3") is not None
            assert raced.remove_chosen(choice) == 1
            assert list(raced) == [b"1", b"3"]


class TestClaims:
    def test_owner(self) -> None:
        """The claim in force says who holds it until when; the letter of none says None."""
        store = MemoryDLQ()
        assert store.claim_of(b"1") is None
        store.put(make_letter())
        claim = claimed(store, b"1")
        assert store.claim_of(b"1") == claim
        assert claim.owner.startswith(f"process {os.getpid()} on ")
        assert DeadLetterStore.claim_of(store, b"1") is None
        store.release(claim)
        assert store.claim_of(b"1") is None
        assert store.claim(b"1", lease=0) is not None
        assert store.claim_of(b"1") is None


def test_by_url() -> None:
    """A store in memory has the URL memory:, without anything behind it."""
    with dlq_from_url("memory:") as store:
        assert isinstance(store, MemoryDLQ)
        store.check()
    assert repr(store) == "<MemoryDLQ>"
    with pytest.raises(ConfigurationError, match="no address"):
        MemoryDLQ.from_url("memory:somewhere")


def test_json_error_is_kept() -> None:
    """What a processor cannot handle comes into the store whole."""
    from missive import Processor

    store = MemoryDLQ(message_cls=JSONMessage)
    processor: Processor[JSONMessage] = Processor()
    processor.set_dlq(store)
    processor.handle_for(lambda message: message.get_json() == 1)(lambda message, ctx: ctx.ack())
    with processor.test_client(JSONMessage) as client:
        client.send(b"{", message_id=b"1", source="s", headers={"a": "b"})
    letter = store.letter(b"1")
    assert letter.error_type == f"{DecodingError.__module__}.DecodingError"
    assert (letter.stage, letter.source, letter.raw_data) == ("decoding", "s", b"{")
    assert letter.headers == {"a": "b"}
    assert letter.traceback is not None
    assert "JSONDecodeError" in letter.traceback
