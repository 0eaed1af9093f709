"""Routing: plain and keyed matchers, otherwise, and what is refused."""

from __future__ import annotations

import asyncio
import builtins
import functools
import inspect
from dataclasses import dataclass
from typing import Any

import missive
import pytest
from missive import Outcome


def ack(message: Any, ctx: Any) -> None:
    ctx.ack()


def other(message: Any, ctx: Any) -> None:
    ctx.nack()


def client_of(processor: missive.Processor[Any], cls: Any = missive.RawMessage) -> Any:
    processor.set_dlq({})
    return processor.test_client(cls)


def reason(client: Any) -> str:
    (*_, (_, text)) = client.processor.dlq.values()
    return str(text)


def test_keyed_matchers_cost_one_key_call_whatever_their_number() -> None:
    """All matchers of a family share one look-up."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor()
    calls: list[bytes] = []

    @missive.route_on
    def by_body(message: missive.RawMessage) -> bytes:
        calls.append(message.raw_data)
        return message.raw_data

    for n in range(1000):
        processor.handle_for(by_body(b"%d" % n))(lambda m, ctx: ctx.ack())
    processor.handle_for(by_body(b"a", b"b"))(other)
    client = client_of(processor)
    assert client.send(b"7") is Outcome.ACKED
    assert client.send(b"b") is Outcome.NACKED
    assert client.send(b"none") is Outcome.DEAD_LETTERED
    assert calls == [b"7", b"b", b"none"]


def test_a_keyed_matcher_is_a_matcher_too() -> None:
    """It can be called by itself, inside another matcher."""
    by_size = missive.route_on(lambda m: len(m.raw_data))
    matcher = by_size(1, 2)
    assert matcher(missive.RawMessage(b"x"))
    assert not matcher(missive.RawMessage(b"xxx"))
    assert not missive.route_on(lambda m: [])("x")(missive.RawMessage(b""))
    assert by_size(1) == by_size(1)
    assert len({by_size(1), by_size(1), by_size(2)}) == 2
    assert by_size(1) != "by_size(1)"


@pytest.mark.parametrize("key", [missive.NO_KEY, [], {}, "unknown"])
def test_no_key_an_unhashable_key_and_an_unknown_key_match_nothing(key: Any) -> None:
    """Such a message simply goes to another handler."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor()
    processor.handle_for(missive.route_on(lambda m: key)("known"))(other)
    processor.handle_for(missive.otherwise)(ack)
    assert client_of(processor).send(b"x") is Outcome.ACKED
    assert repr(missive.NO_KEY) == "missive.NO_KEY"


def test_a_key_function_that_raises_is_an_error() -> None:
    """It is never taken for no match, not even beside otherwise."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor()

    def broken(message: Any) -> str:
        raise LookupError("no such key")

    processor.handle_for(missive.route_on(broken)("x"))(other)
    processor.handle_for(missive.otherwise)(ack)
    client = client_of(processor)
    assert client.send(b"x") is Outcome.DEAD_LETTERED
    assert reason(client) == "no such key"


def test_ready_made_families_route_on_header_source_and_field() -> None:
    """Header names count without case; equal families are one family."""
    processor: missive.Processor[missive.JSONMessage] = missive.Processor()
    went: list[str] = []

    def note(name: str) -> Any:
        def handler(message: Any, ctx: Any) -> None:
            went.append(name)
            ctx.ack()

        return handler

    processor.handle_for(missive.route_on_header("X-Event")("push"))(note("header"))
    processor.handle_for(missive.route_on_source()("orders"))(note("source"))
    processor.handle_for(missive.route_on_json("kind")("sale"))(note("json"))
    processor.handle_for(missive.otherwise)(note("otherwise"))
    client = client_of(processor, missive.JSONMessage)
    client.send(b"{}", headers={"x-event": "push"})
    client.send(b"[]", source="orders")
    client.send(b'{"kind": "sale"}')
    client.send(b'{"kind": []}')
    client.send(b"null", headers={"x-event": "pull"}, source="elsewhere")
    assert went == ["header", "source", "json", "otherwise", "otherwise"]
    with pytest.raises(missive.errors.MatcherConflict, match="the key 'push'"):
        processor.handle_for(missive.route_on_header("x-EVENT")("push"))(note("again"))
    assert missive.route_on_header("a") != missive.route_on_json("a")


def test_bytes_that_are_no_json_are_a_decoding_error_of_route_on_json() -> None:
    """The dead letter says decoding, not matching."""
    processor: missive.Processor[missive.JSONMessage] = missive.Processor()
    processor.handle_for(missive.route_on_json("kind")("sale"))(ack)
    with pytest.raises(missive.DecodingError):
        processor.test_client(missive.JSONMessage).send(b"nonsense")


def test_a_matcher_that_raises_hides_behind_no_other(subtests: Any) -> None:
    """Whatever else matches and in whatever order, the error wins."""

    def broken(message: Any) -> bool:
        raise LookupError("broken matcher")

    always = [lambda m: True, lambda m: bool(m), broken, missive.otherwise]
    for order in (always, always[::-1]):
        with subtests.test(order=[matcher.__name__ for matcher in order]):
            processor: missive.Processor[missive.RawMessage] = missive.Processor()
            for matcher in order:
                processor.handle_for(matcher)(lambda m, ctx: ctx.ack())
            client = client_of(processor)
            assert client.send(b"x") is Outcome.DEAD_LETTERED
            assert reason(client) == "broken matcher"


def test_overlaps_are_named() -> None:
    """The error names every handler that matched, plain and keyed ones."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor()
    processor.handle_for(lambda m: True)(ack)
    processor.handle_for(missive.route_on(lambda m: 1)(1))(other)
    with pytest.raises(missive.errors.MultipleMatchingHandlers) as caught:
        processor.test_client().send(b"x")
    assert [name.rpartition(".")[2] for name in caught.value.handlers] == ["ack", "other"]


class Unhashable:
    def __init__(self, label: bytes) -> None:
        self.label = label

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, them: object) -> bool:
        return self.label == getattr(them, "label", None)

    def __call__(self, message: missive.Message) -> bool:
        return message.raw_data == self.label


class Hashable(Unhashable):
    def __hash__(self) -> int:  # type: ignore[override]
        return hash(self.label)


class Methods:
    def matches(self, message: missive.Message) -> bool:
        return True


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (bool, bool),
        (Unhashable(b"a"), Unhashable(b"a")),
        (Hashable(b"a"), Hashable(b"a")),
        (Hashable(b"a"), Unhashable(b"a")),
        (Unhashable(b"a"), Hashable(b"a")),
        (missive.otherwise, missive.otherwise),
        (missive.route_on_source()("a", "b"), missive.route_on_source()("b", "c")),
    ],
)
def test_a_second_handler_under_an_equal_matcher_is_refused_by_both_names(
    first: Any, second: Any
) -> None:
    """The decorator refuses, and the processor is as it was."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor()
    processor.handle_for(Unhashable(b"z"))(lambda m, ctx: ctx.ack())
    processor.handle_for(first)(ack)
    with pytest.raises(missive.errors.MatcherConflict, match=r"other.*cannot.*ack.*does") as caught:
        processor.handle_for(second)(other)
    assert (caught.value.existing, caught.value.refused) == (ack, other)
    assert len(processor.handlers) == 2


def test_matchers_that_only_look_alike_are_two() -> None:
    """Different labels, different functions and different methods do not conflict."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor()
    matchers = [Unhashable(b"a"), Unhashable(b"b"), Hashable(b"c"), Methods().matches]
    for matcher in [*matchers, Methods().matches, lambda m: True, lambda m: True]:
        processor.handle_for(matcher)(ack)
    assert len(processor.handlers) == 7


async def asynchronous(*args: Any) -> None: ...


async def asynchronous_generator(*args: Any) -> Any:
    yield


class AsyncCall:
    async def __call__(self, *args: Any) -> None: ...


@pytest.mark.parametrize(
    "function",
    [
        asynchronous,
        asynchronous_generator,
        functools.partial(asynchronous, 1),
        AsyncCall(),
        AsyncCall().__call__,
    ],
    ids=["function", "generator", "partial", "callable", "method"],
)
def test_async_matchers_and_key_functions_are_refused(function: Any) -> None:
    """A matcher decides at once, so it is a plain function."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor()
    for register in (processor.handle_for, processor.handle_batch_for):
        with pytest.raises(missive.errors.InvalidHandler, match="async"):
            register(function)
    with pytest.raises(missive.errors.InvalidHandler, match="async"):
        processor.handle_for(missive.route_on(function)(1))


def test_a_plain_function_around_an_async_one_is_a_handler() -> None:
    """A wrapper that runs the coroutine itself is what the error advises."""

    async def work(message: Any, ctx: Any) -> None:
        ctx.ack()

    @functools.wraps(work)
    def run(message: Any, ctx: Any) -> None:
        asyncio.run(work(message, ctx))

    processor: missive.Processor[missive.RawMessage] = missive.Processor()
    processor.handle_for(missive.otherwise)(run)
    assert client_of(processor).send(b"x") is Outcome.ACKED


def test_what_is_not_callable_is_refused() -> None:
    """The error says what was given and what it was to be."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor()
    with pytest.raises(
        missive.errors.InvalidHandler, match="an instance of str cannot be a matcher"
    ):
        processor.handle_for("label")  # type: ignore[arg-type]
    with pytest.raises(missive.errors.InvalidHandler, match="a handler: it is not callable"):
        processor.handle_for(lambda m: True)(3)  # type: ignore[arg-type]
    with pytest.raises(missive.errors.InvalidHandler, match="not a key function"):
        missive.route_on("label")  # type: ignore[arg-type]


def test_key_values_must_be_able_to_match() -> None:
    """No value, an unhashable one and NO_KEY are refused where they are written."""
    by_source = missive.route_on_source()
    for values, problem in (
        ((), "at least one value"),
        (([],), "a list cannot be a key value"),
        ((missive.NO_KEY,), "NO_KEY"),
    ):
        with pytest.raises(missive.ConfigurationError, match=problem):
            by_source(*values)


def test_handlers_lists_what_is_registered() -> None:
    """Each handler is there with its function, matcher, name, file and line."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor()
    processor.handle_for(missive.otherwise)(ack)
    processor.handle_for(bool)(functools.partial(other))
    first, second = processor.handlers
    assert first.function is ack
    assert first.matcher is missive.otherwise
    assert first.name.endswith("test_matching.ack")
    assert first.file == __file__
    assert first.line == ack.__code__.co_firstlineno
    assert "test_matching.ack" in repr(first)
    assert second.name.endswith("test_matching.other")
    assert second.line == other.__code__.co_firstlineno
    third = missive.Processor[missive.RawMessage]()
    third.handle_for(bool)(CallableHandler())
    assert third.handlers[0].name.endswith("test_matching.CallableHandler")
    assert (third.handlers[0].file, third.handlers[0].line) == (None, None)


def test_equal_ready_made_families_hash_equally() -> None:
    """So their matchers can be counted in sets."""
    matchers = {missive.route_on_header("A")("x"), missive.route_on_header("a")("x")}
    assert len(matchers) == 1
    assert hash(missive.route_on_json("a").key) != hash(missive.route_on_json("b").key)


def test_otherwise_is_a_matcher_like_any_other() -> None:
    """Called by itself, it matches."""
    assert missive.otherwise(missive.RawMessage(b"x"))


def test_what_cannot_be_called_as_it_will_be_is_refused() -> None:
    """A forgotten parameter, or handle_for without its matcher, is found at the decorator."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor()
    wrong: Any = lambda: None  # noqa: E731
    with pytest.raises(
        missive.errors.InvalidHandler, match=r"called with \(message, ctx\), and takes \(\) "
    ):
        processor.handle_for(missive.otherwise)(wrong)
    with pytest.raises(
        missive.errors.InvalidHandler, match=r"\(message\), and takes \(message, ctx\)"
    ):
        processor.handle_for(ack)  # type: ignore[arg-type]
    for register, takes in (
        (processor.before_processing, "processing_ctx"),
        (processor.after_handling, "processing_ctx, handling_ctx"),
        (processor.on_settled, "processing_ctx, handling_ctx"),
    ):
        with pytest.raises(missive.errors.InvalidHandler, match=rf"called with \({takes}\)"):
            register(wrong)
    assert processor.handlers == ()


def test_a_built_in_whose_signature_python_does_not_know_is_let_pass() -> None:
    """Its first call will tell."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor()
    for builtin in vars(builtins).values():
        if inspect.isbuiltin(builtin):
            try:
                inspect.signature(builtin)
            except ValueError:
                processor.handle_for(builtin)(ack)
    assert processor.handlers


class CallableHandler:
    def __call__(self, message: Any, ctx: Any) -> None: ...


def test_explain_tells_what_hit_and_what_raised_and_calls_no_handler() -> None:
    """It shows every matcher's answer, where matching stops at the first error."""
    processor: missive.Processor[missive.JSONMessage] = missive.Processor()

    def never(message: Any, ctx: Any) -> None:
        raise AssertionError("no handler is called")

    by_kind = missive.route_on_json("kind")
    processor.handle_for(by_kind("a"))(never)
    processor.handle_for(lambda m: "x" in m.get_json())(never)
    processor.handle_for(missive.otherwise)(never)
    a, x, rest = processor.handlers
    explained = processor.explain(missive.JSONMessage(b'{"kind": "a"}'))
    assert (explained.hits, explained.raised, explained.handler) == ((a,), (), a)
    both = processor.explain(missive.JSONMessage(b'{"kind": "a", "x": 1}'))
    assert (both.hits, both.handler) == ((a, x), None)
    none = processor.explain(missive.JSONMessage(b"{}"))
    assert (none.hits, none.handler) == ((rest,), rest)
    broken = processor.explain(missive.JSONMessage(b"nonsense"))
    assert [handler for handler, _ in broken.raised] == [a, x]
    assert (broken.hits, broken.handler) == ((), None)
    assert repr(broken) == "<Explanation: 0 hit, 2 raised>"


def test_an_async_key_function_is_refused() -> None:
    """It would give a coroutine, which is no message's key."""

    async def key(message: missive.RawMessage) -> str:
        return "a"

    processor: missive.Processor[missive.RawMessage] = missive.Processor()
    with pytest.raises(
        missive.errors.InvalidHandler, match="cannot be a key function: it is async"
    ):
        processor.handle_for(missive.route_on(key)("a"))


def test_a_key_function_need_not_be_hashable() -> None:
    """Equal ones make one family, as with other matchers."""

    @dataclass
    class Key:
        name: str

        def __call__(self, message: missive.RawMessage) -> str:
            return message.headers[self.name]

    processor: missive.Processor[missive.RawMessage] = missive.Processor()
    processor.handle_for(missive.route_on(Key("x"))("a"))(lambda m, ctx: ctx.ack())
    with pytest.raises(missive.errors.MatcherConflict, match="the key 'a'"):
        processor.handle_for(missive.route_on(Key("x"))("a"))(lambda m, ctx: ctx.nack())
    assert processor.test_client().send(b"", headers={"x": "a"}) is missive.Outcome.ACKED
