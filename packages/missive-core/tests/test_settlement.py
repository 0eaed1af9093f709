"""The settlement table, row by row, and as properties over everything that can go wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import missive
import pytest
from hypothesis import given
from hypothesis import strategies as st
from missive import Capabilities, Outcome

DEAD_LETTERED, ACKED, NACKED = Outcome.DEAD_LETTERED, Outcome.ACKED, Outcome.NACKED


class RecordingAdapter(missive.Adapter[missive.RawMessage]):
    """Notes what it is told, in order, in a log that the DLQ writes to as well."""

    def __init__(self, processor: missive.Processor[Any], nack: Any, log: list[str]) -> None:
        super().__init__(processor)
        self.capabilities = Capabilities(nack=nack)  # type: ignore[misc]
        self.log = log
        self.ack_fails = False

    def ack(self, message: missive.RawMessage) -> None:
        if self.ack_fails:
            raise ConnectionError("ack lost")
        self.log.append("ack")

    def nack(self, message: missive.RawMessage) -> None:
        if self.ack_fails:
            raise ConnectionError("nack lost")
        self.log.append("nack")


class LoggingDLQ(dict[bytes, tuple[Any, str]]):
    """A plain dict that notes each write, and may refuse."""

    def __init__(self, log: list[str], fails: bool) -> None:
        super().__init__()
        self.log = log
        self.fails = fails

    def __setitem__(self, key: bytes, value: tuple[Any, str]) -> None:
        if self.fails:
            raise OSError("disk full")
        self.log.append("write")
        super().__setitem__(key, value)


class HandlerFailed(Exception):
    pass


class HookFailed(Exception):
    pass


class MatcherFailed(Exception):
    pass


def ack(ctx: Any) -> None:
    ctx.ack()


def nack(ctx: Any) -> None:
    ctx.nack()


def forget(ctx: Any) -> None:
    pass


def fail(ctx: Any) -> None:
    raise HandlerFailed("handler broke")


def ack_and_fail(ctx: Any) -> None:
    ctx.ack()
    raise HandlerFailed("handler broke")


def ack_twice(ctx: Any) -> None:
    ctx.ack()
    ctx.processing_ctx.ack(ctx.message)


def nack_twice(ctx: Any) -> None:
    ctx.nack()
    ctx.processing_ctx.nack(ctx.message)


def change_mind(ctx: Any) -> None:
    ctx.ack()
    ctx.nack()


ACTIONS: dict[str, Callable[[Any], None]] = {
    action.__name__: action
    for action in (ack, nack, forget, fail, ack_and_fail, ack_twice, nack_twice, change_mind)
}


@dataclass
class Scene:
    """One delivery, and everything that is set up around it."""

    action: str = "ack"
    matching: str = "one"  # none, one, two, raises
    builds: bool = True
    hook: str = "none"  # none, before, around-in, around-out, after; which one raises
    hook_decides: str = "nothing"  # an after-hook that acks or nacks where nobody has
    dlq: str = "none"  # none, dict, broken
    transport: str = "redeliver"
    ack_fails: bool = False
    prebuilt: bool = False  # handle(message), as test clients do, instead of deliver(bytes)
    log: list[str] = field(default_factory=list)

    def run(self) -> tuple[Outcome | None, Exception | None, LoggingDLQ | None]:
        processor: missive.Processor[missive.RawMessage] = missive.Processor()
        matchers = {"none": 0, "one": 1, "two": 2, "raises": 1}[self.matching]
        for _ in range(matchers):
            processor.handle_for(lambda m: True)(lambda m, ctx: ACTIONS[self.action](ctx))
        if self.matching == "raises":
            processor.handle_for(self._broken_matcher)(lambda m, ctx: ctx.ack())
        self._add_hooks(processor)
        dlq = None if self.dlq == "none" else LoggingDLQ(self.log, self.dlq == "broken")
        processor.set_dlq(dlq)
        adapter = RecordingAdapter(processor, self.transport, self.log)
        adapter.ack_fails = self.ack_fails
        with processor.context(self._build, adapter) as ctx:
            try:
                if self.prebuilt and self.builds:
                    message = missive.RawMessage(b"payload")
                    message.put_in(missive.Envelope(message_id=b"id"))
                    return ctx.handle(message), None, dlq
                return deliver(ctx, b"payload", message_id=b"id"), None, dlq
            except Exception as error:
                return None, error, dlq

    def _build(self, raw_data: bytes) -> missive.RawMessage:
        if not self.builds:
            raise UnicodeError("no text")
        return missive.RawMessage(raw_data)

    @staticmethod
    def _broken_matcher(message: missive.RawMessage) -> bool:
        raise MatcherFailed("matcher broke")

    def _add_hooks(self, processor: missive.Processor[missive.RawMessage]) -> None:
        def broken(*contexts: object) -> None:
            raise HookFailed("hook broke")

        if self.hook == "before":
            processor.before_handling(broken)
        elif self.hook == "after":
            processor.after_handling(broken)
        elif self.hook.startswith("around"):

            @processor.around_handling
            def around(processing_ctx: Any, handling_ctx: Any) -> Any:
                if self.hook == "around-in":
                    broken()
                yield
                broken()

        if self.hook_decides != "nothing":

            @processor.after_handling
            def decide(processing_ctx: Any, handling_ctx: Any) -> None:
                if handling_ctx.decision is None:
                    ACTIONS[self.hook_decides](handling_ctx)

    def expected(self) -> tuple[str, str]:
        """Return what the table says: what happened, and the reason of the dead letter."""
        if not self.builds:
            return "failed", "no text"
        if self.matching == "raises":
            return "failed", "matcher broke"
        if self.matching == "none":
            return "failed", "no matching handlers"
        if self.matching == "two":
            return "failed", "multiple matching handlers"
        if self.hook in ("before", "around-in"):
            return "failed", "hook broke"
        if self.action in ("fail", "ack_and_fail"):
            return "failed", "handler broke"
        if self.action == "change_mind":
            return "failed", "already decided"
        if self.hook in ("around-out", "after"):
            return "failed", "hook broke"
        decided = {"ack": ACKED, "ack_twice": ACKED, "nack": NACKED, "nack_twice": NACKED}
        decision = decided.get(self.action) or decided.get(self.hook_decides)
        if decision is None:
            return "failed", "handler did not settle the message"
        if decision is NACKED and self.transport == "drop-refused":
            return "failed", "nacked; the transport cannot redeliver"
        return ("ack" if decision is ACKED else "nack"), ""


scenes = st.builds(
    Scene,
    action=st.sampled_from(sorted(ACTIONS)),
    matching=st.sampled_from(["none", "one", "one", "one", "two", "raises"]),
    builds=st.sampled_from([True, True, True, False]),
    hook=st.sampled_from(["none", "none", "before", "around-in", "around-out", "after"]),
    hook_decides=st.sampled_from(["nothing", "ack", "nack"]),
    dlq=st.sampled_from(["none", "dict", "dict", "broken"]),
    transport=st.sampled_from(["redeliver", "drop-refused", "error-response"]),
    ack_fails=st.booleans(),
    prebuilt=st.booleans(),
)


@given(scenes)
def test_every_delivery_settles_exactly_once_and_as_the_table_says(scene: Scene) -> None:
    """Whatever fails, a delivery is acked, nacked or dead-lettered as the table says, or raised."""
    outcome, error, dlq = scene.run()
    what, reason = scene.expected()
    if what == "failed" and scene.dlq == "dict":
        log = ["write"] if scene.ack_fails else ["write", "ack"]
        assert dlq is not None
        assert reason in dlq[b"id"][1]
    elif what == "failed":
        log = []
    else:
        log = [] if scene.ack_fails else [what]
    assert scene.log == log
    settled = not scene.ack_fails and (what != "failed" or scene.dlq == "dict")
    if settled:
        assert error is None
        assert outcome is {"ack": ACKED, "nack": NACKED, "failed": DEAD_LETTERED}[what]
    else:
        assert outcome is None
        assert error is not None
        assert "payload" not in str(error)
        if what == "failed" and scene.dlq == "broken":
            assert isinstance(error, missive.DeadLetterWriteFailed)
        elif scene.ack_fails and (what != "failed" or scene.dlq == "dict"):
            assert isinstance(error, missive.SettlementFailed)


@given(st.lists(scenes, min_size=2, max_size=6), st.booleans())
def test_a_batch_writes_all_letters_before_any_ack_and_settles_each_message_once(
    batch: list[Scene], broken: bool
) -> None:
    """One message that cannot be settled keeps no other of its batch from being settled."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor()
    log: list[str] = []

    class Batch(RecordingAdapter):
        def ack(self, message: missive.RawMessage) -> None:
            log.append(f"ack {message.message_id.decode()}")

        def nack(self, message: missive.RawMessage) -> None:
            log.append(f"nack {message.message_id.decode()}")

    class BatchDLQ(dict[bytes, tuple[Any, str]]):
        def __setitem__(self, key: bytes, value: tuple[Any, str]) -> None:
            if broken and key == b"0":
                raise OSError("disk full")
            log.append(f"write {key.decode()}")
            super().__setitem__(key, value)

    dlq = BatchDLQ()
    processor.set_dlq(dlq)
    actions = [ACTIONS[scene.action] for scene in batch]
    processor.handle_for(lambda m: True)(lambda m, ctx: actions[int(m.message_id)](ctx))
    with processor.context(missive.RawMessage, Batch(processor, "redeliver", log)) as ctx:
        contexts = [
            ctx.process(missive.Delivery(b"payload", message_id=str(n))) for n in range(len(batch))
        ]
        assert log == []  # process writes nothing
        decisions = [context.outcome for context in contexts]
        if broken and decisions[0] is DEAD_LETTERED:
            with pytest.raises(missive.DeadLetterWriteFailed) as caught:
                ctx.settle(contexts)
            assert caught.value.message.message_id == b"0"
        else:
            assert ctx.settle(contexts) == decisions
    dead = [str(n) for n, d in enumerate(decisions) if d is DEAD_LETTERED]
    lost = "0" if broken and "0" in dead else None
    expected = [f"write {n}" for n in dead if n != lost]
    for n, decision in enumerate(decisions):
        if str(n) != lost:
            expected.append(f"{'nack' if decision is NACKED else 'ack'} {n}")
    assert log == expected


def deliver(ctx: missive.ProcessingContext[Any], raw_data: bytes, **envelope: Any) -> Any:
    (outcome,) = ctx.settle([ctx.process(missive.Delivery(raw_data, **envelope))])
    return outcome


def settle_one(processor: missive.Processor[Any], raw_data: bytes = b"x", **envelope: Any) -> Any:
    return processor.test_client().send(raw_data, **envelope)


def test_without_a_dlq_each_row_raises_its_own_error() -> None:
    """Nothing that cannot be settled passes in silence where there is no DLQ."""
    rows: dict[type[Exception], Scene] = {
        missive.errors.NoMatchingHandler: Scene(matching="none"),
        missive.errors.MultipleMatchingHandlers: Scene(matching="two"),
        MatcherFailed: Scene(matching="raises"),
        UnicodeError: Scene(builds=False),
        HandlerFailed: Scene(action="ack_and_fail"),
        missive.errors.NotSettled: Scene(action="forget"),
        missive.errors.ConflictingDecision: Scene(action="change_mind"),
        missive.errors.NackUnsupported: Scene(action="nack", transport="drop-refused"),
    }
    for kind, scene in rows.items():
        _, error, _ = scene.run()
        assert type(error) is kind
        assert scene.log == []


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("hooked", [False, True])
def test_an_interrupt_is_never_dead_lettered(kind: type[BaseException], hooked: bool) -> None:
    """KeyboardInterrupt and SystemExit propagate, and the message stays unsettled."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor()
    seen: list[Any] = []

    @processor.handle_for(lambda m: True)
    def handler(message: Any, ctx: Any) -> None:
        ctx.ack()
        raise kind

    if hooked:
        processor.after_handling(lambda pctx, hctx: seen.append(hctx.error))
    dlq: dict[bytes, Any] = {}
    processor.set_dlq(dlq)
    client = processor.test_client()
    with pytest.raises(kind):
        client.send(b"x")
    assert (client.acked, client.nacked, dlq) == ([], [], {})
    assert seen == [None] * hooked  # after-hooks run, and are shown only what can be handled


def test_a_failed_dlq_write_is_chained_to_what_the_dlq_raised_and_to_what_the_message_failed_by(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """DeadLetterWriteFailed names both causes, and the message is not acked."""
    scene = Scene(action="fail", dlq="broken")
    _, error, _ = scene.run()
    assert isinstance(error, missive.DeadLetterWriteFailed)
    assert isinstance(error.__cause__, OSError)
    assert isinstance(error.__cause__.__context__, HandlerFailed)
    assert isinstance(error.failure, HandlerFailed)
    assert [record.levelname for record in caplog.records] == ["CRITICAL"]


def test_the_chain_of_a_failed_write_keeps_the_causes_that_the_dlq_gave() -> None:
    """What the message failed by comes behind them."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor()

    class Deep(dict[bytes, Any]):
        def __setitem__(self, key: bytes, value: Any) -> None:
            try:
                raise OSError("disk full")
            except OSError as error:
                raise LookupError("no store") from error

    processor.set_dlq(Deep())
    with pytest.raises(missive.DeadLetterWriteFailed) as caught:
        settle_one(processor)
    assert isinstance(caught.value.__cause__, LookupError)
    assert isinstance(caught.value.__cause__.__cause__, OSError)
    assert isinstance(
        caught.value.__cause__.__cause__.__context__, missive.errors.NoMatchingHandler
    )


def test_a_dlq_that_raises_the_very_error_of_the_handler_makes_no_circle() -> None:
    """The chain of causes stays finite, whatever the DLQ raises."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor()
    broken = HandlerFailed("once")

    @processor.handle_for(lambda m: True)
    def handler(message: Any, ctx: Any) -> None:
        raise broken

    class Spiteful(dict[bytes, Any]):
        def __setitem__(self, key: bytes, value: Any) -> None:
            raise broken

    processor.set_dlq(Spiteful())
    with pytest.raises(missive.DeadLetterWriteFailed) as caught:
        settle_one(processor)
    assert caught.value.__cause__ is broken
    assert broken.__context__ is not broken


def test_an_error_without_text_gives_its_type_as_the_reason() -> None:
    """A reason is never empty, not even for an error whose text cannot be had."""

    class Unspeakable(Exception):
        def __str__(self) -> str:
            raise ValueError("no words")

    for error, reason in ((KeyError(), "KeyError"), (Unspeakable(), "Unspeakable")):
        processor: missive.Processor[missive.RawMessage] = missive.Processor()

        @processor.handle_for(lambda m: True)
        def handler(message: Any, ctx: Any, error: Exception = error) -> None:
            raise error

        dlq: dict[bytes, tuple[Any, str]] = {}
        processor.set_dlq(dlq)
        assert settle_one(processor, message_id=b"1") is DEAD_LETTERED
        assert dlq[b"1"][1] == reason


def test_a_dlq_that_is_taken_away_before_settling_leaves_the_message_unsettled() -> None:
    """A dead letter that has no DLQ to go to any more is raised, never acked."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor()
    processor.set_dlq({})
    adapter = RecordingAdapter(processor, "redeliver", [])
    with processor.context(missive.RawMessage, adapter) as ctx:
        context = ctx.process(missive.Delivery(b"x"))
        processor.set_dlq(None)
        with pytest.raises(missive.errors.NoMatchingHandler):
            ctx.settle([context])
    assert adapter.log == []


def test_of_several_errors_in_a_batch_the_first_is_raised_and_the_others_are_noted() -> None:
    """A batch raises once; no error of it is lost."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor()
    processor.handle_for(lambda m: m.raw_data == b"ok")(lambda m, ctx: ctx.ack())
    adapter = RecordingAdapter(processor, "redeliver", [])
    adapter.ack_fails = True
    with processor.context(missive.RawMessage, adapter) as ctx:
        contexts = [ctx.process(missive.Delivery(raw)) for raw in (b"ok", b"a", b"b")]
        with pytest.raises(missive.errors.NoMatchingHandler) as caught:
            ctx.settle(contexts)
    assert caught.value.message is contexts[1].message
    notes = getattr(caught.value, "__notes__", [])
    assert ["NoMatchingHandler" in notes[0], "SettlementFailed" in notes[1]] == [True, True]


def test_a_message_that_cannot_be_settled_keeps_no_other_from_it() -> None:
    """An adapter settles a batch one by one, raises the first failure and notes the others on it."""

    class Choosy(RecordingAdapter):
        def ack(self, message: missive.RawMessage) -> None:
            if message.raw_data in (b"1", b"3"):
                raise ConnectionError("ack lost")
            self.log.append(message.raw_data.decode())

    processor: missive.Processor[missive.RawMessage] = missive.Processor()
    processor.handle_for(missive.otherwise)(lambda message, ctx: ctx.ack())
    adapter = Choosy(processor, "redeliver", [])
    with processor.context(missive.RawMessage, adapter) as ctx:
        contexts = [ctx.process(missive.Delivery(raw)) for raw in (b"1", b"2", b"3", b"4")]
        with pytest.raises(missive.SettlementFailed) as caught:
            adapter.settle(contexts)
    assert adapter.log == ["2", "4"]
    assert caught.value.message is contexts[0].message
    assert [context.outcome for context in contexts] == [None, ACKED, None, ACKED]
    (note,) = getattr(caught.value, "__notes__", [])
    assert note.startswith("then also: SettlementFailed at ")


@pytest.mark.parametrize("prebuilt", [True, False])
@pytest.mark.parametrize("action", ["ack", "nack"])
def test_an_ack_or_nack_that_the_transport_does_not_take_is_raised(
    prebuilt: bool, action: str
) -> None:
    """With the transport's own error as its cause."""
    scene = Scene(action=action, prebuilt=prebuilt, ack_fails=True)
    _, error, _ = scene.run()
    assert isinstance(error, missive.SettlementFailed)
    assert isinstance(error.__cause__, ConnectionError)
    assert error.call == action


def test_an_ack_that_is_not_taken_names_the_message_whichever_way_it_came() -> None:
    """SettlementFailed is chained to what the adapter raised."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor()
    processor.handle_for(lambda message: True)(lambda message, ctx: ctx.ack())
    adapter = RecordingAdapter(processor, "redeliver", [])
    adapter.ack_fails = True
    with processor.context(missive.RawMessage, adapter) as ctx:
        for send in (
            lambda: ctx.handle(missive.RawMessage(b"x")),
            lambda: deliver(ctx, b"x"),
            lambda: ctx.settle([ctx.process(missive.Delivery(b"x"))]),
        ):
            with pytest.raises(missive.SettlementFailed, match="ack") as caught:
                send()
            assert isinstance(caught.value.__cause__, ConnectionError)


def test_reject_dead_letters_without_handling() -> None:
    """An adapter can have bytes kept whose message is not to be handled."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor()
    processor.handle_for(lambda m: True)(lambda m, ctx: ctx.ack())
    dlq: dict[bytes, tuple[Any, str]] = {}
    adapter = RecordingAdapter(processor, "redeliver", [])
    with processor.context(missive.RawMessage, adapter) as ctx:
        with pytest.raises(missive.errors.MessageRejected, match="too often"):
            deliver(ctx, b"x", message_id=b"1", rejection=("too often", "handling"))
        processor.set_dlq(dlq)
        outcome = deliver(ctx, b"x", message_id=b"1", rejection=("too often", "handling"))
    assert outcome is DEAD_LETTERED
    assert dlq[b"1"][1] == "too often"
    assert adapter.log == ["ack"]


def test_process_judges_bytes_that_cannot_be_built() -> None:
    """The half that writes nothing has a context on them too."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor()
    processor.set_dlq({})
    scene = Scene(builds=False)
    with processor.context(scene._build, RecordingAdapter(processor, "redeliver", [])) as ctx:
        context = ctx.process(missive.Delivery(b"x", message_id=b"1"))
    assert context.letter is not None
    assert (context.letter.stage, context.letter.id) == ("decoding", b"1")


def test_on_settled_sees_every_delivery() -> None:
    """Acked, nacked, dead-lettered, undecodable and unsettled deliveries are all reported."""
    processor: missive.Processor[missive.JSONMessage] = missive.Processor()
    by_kind = missive.route_on_json("kind")
    processor.handle_for(by_kind("ack"))(lambda m, ctx: ctx.ack())
    processor.handle_for(by_kind("nack"))(lambda m, ctx: ctx.nack())
    seen: list[missive.HandlingContext[missive.JSONMessage]] = []
    processor.on_settled(lambda ctx, settled: seen.append(settled))
    client = processor.test_client(missive.JSONMessage)
    with pytest.raises(missive.errors.NoMatchingHandler):
        client.send(b'{"kind": "odd"}')
    processor.set_dlq({})
    for raw in (b'{"kind": "ack"}', b'{"kind": "nack"}', b"nonsense"):
        client.send(raw)
    assert [(s.outcome, type(s.error).__name__) for s in seen] == [
        (None, "NoMatchingHandler"),
        (ACKED, "NoneType"),
        (NACKED, "NoneType"),
        (DEAD_LETTERED, "DecodingError"),
    ]
    assert seen[1].handler is not None
    assert seen[3].handler is None
    assert all(s.seconds > 0 for s in seen)
    assert "unsettled, NoMatchingHandler" in repr(seen[0])
    assert "HandlingContext acked" in repr(seen[1])


def test_what_on_settled_raises_is_logged_and_changes_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A broken metric is no reason to lose or keep a message."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor()
    processor.handle_for(lambda m: True)(lambda m, ctx: ctx.ack())

    @processor.on_settled
    def broken(ctx: Any, settled: Any) -> None:
        raise HookFailed("secret payload")

    assert settle_one(processor) is ACKED
    (record,) = [r for r in caplog.records if r.levelname == "ERROR"]
    assert "HookFailed" in record.getMessage()
    assert "secret" not in record.getMessage()


def test_a_context_tells_what_is_to_be_done_without_content() -> None:
    """The repr of a context names the decision, and no payload."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor()
    adapter = RecordingAdapter(processor, "redeliver", [])
    with processor.context(missive.RawMessage, adapter) as ctx:
        context = ctx.process(missive.Delivery(b"payload"))
    assert "unsettled, NoMatchingHandler" in repr(context)
    processor.set_dlq({})
    with processor.context(missive.RawMessage, adapter) as ctx:
        context = ctx.process(missive.Delivery(b"payload"))
    assert "dead-lettered" in repr(context)
    assert "payload" not in repr(context)
    assert repr(ACKED) == "Outcome.ACKED"


def test_the_log_of_a_dead_letter_names_type_and_place_but_no_text(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An exception's text may hold payload, so it is logged at DEBUG only."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor()

    @processor.handle_for(lambda m: True)
    def handler(message: Any, ctx: Any) -> None:
        raise HandlerFailed(f"cannot do {message.raw_data!r}")

    processor.set_dlq({})
    with caplog.at_level("INFO"):
        settle_one(processor, b"card 4242", message_id=b"m-1")
    (record,) = caplog.records
    line = record.getMessage()
    assert "4242" not in line
    assert "4242" not in str(record.exc_info)
    for part in ("m-1", "handling", "HandlerFailed", "test_settlement.py:", "handler"):
        assert part in line


def test_what_the_transport_did_not_take_is_seen_as_unsettled() -> None:
    """The hook is told that the message itself did not fail."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor()
    processor.handle_for(missive.otherwise)(lambda m, ctx: ctx.ack())
    seen: list[missive.HandlingContext[missive.RawMessage]] = []
    processor.on_settled(lambda ctx, settled: seen.append(settled))

    class Deaf(missive.TestAdapter[missive.RawMessage]):
        def ack(self, message: missive.RawMessage) -> None:
            raise ConnectionError

    with pytest.raises(missive.SettlementFailed):
        Deaf(processor).send(b"x", message_id=b"one")
    (settled,) = seen
    assert (settled.outcome, settled.error) == (None, None)
    assert repr(settled) == "<HandlingContext acked: <RawMessage one, 1 bytes>>"


def test_headers_that_cannot_be_read_cost_no_dead_letter(caplog: pytest.LogCaptureFixture) -> None:
    """The bytes are kept without them, and the log says so."""

    class Garbled(missive.Delivery):
        def read_headers(self) -> Any:
            raise UnicodeError("sesame")

    processor: missive.Processor[missive.RawMessage] = missive.Processor()
    processor.set_dlq(store := missive.MemoryDLQ())
    client = processor.test_client()
    with processor.context(missive.RawMessage, client) as ctx:
        ctx.settle([ctx.process(Garbled(b"x", b"one"))])
    letter = store.letter(b"one")
    assert (letter.raw_data, dict(letter.headers)) == (b"x", {})
    assert "one has headers that cannot be read (UnicodeError)" in caplog.text
    assert "sesame" not in caplog.text


def test_the_error_of_a_message_class_keeps_its_context() -> None:
    """However the message is built, its dead letter's traceback shows what led to the error."""

    class Broken(missive.Message):
        def __init__(self, raw_data: bytes) -> None:
            try:
                {}["first"]
            except KeyError:
                raise LookupError("then")  # noqa: B904

    processor: missive.Processor[Broken] = missive.Processor()
    processor.set_dlq({})
    with processor.context(Broken, processor.test_client()) as ctx:
        context = ctx.process(missive.Delivery(b"x"))
    assert context.letter is not None
    assert "KeyError: 'first'" in (context.letter.traceback or "")


def test_a_retry_that_lost_its_place_to_wait_becomes_a_dead_letter() -> None:
    """The store was exchanged during the run for a dict, which defers nothing."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor(retry=missive.Retry())
    processor.handle_for(missive.otherwise)(lambda m, ctx: {}["key"])
    processor.set_dlq(missive.MemoryDLQ())
    adapter = RecordingAdapter(processor, "redeliver", log := [])
    with processor.context(missive.RawMessage, adapter) as ctx:
        processor.set_dlq(dlq := {})
        assert ctx.handle(missive.RawMessage(b"x")) is DEAD_LETTERED
    assert len(dlq) == 1
    assert log == ["ack"]


def test_a_delayed_nack_whose_store_was_taken_away_is_left_unsettled() -> None:
    """The transport is told nothing, for nobody keeps the message."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor()
    processor.handle_for(missive.otherwise)(lambda m, ctx: ctx.nack(delay=5.0))
    processor.set_dlq(missive.MemoryDLQ())
    adapter = RecordingAdapter(processor, "redeliver", log := [])
    with processor.context(missive.RawMessage, adapter) as ctx:
        context = ctx.process(missive.Delivery(b"x", b"1"))
        assert context.outcome is Outcome.DEFERRED
        processor.set_dlq(None)
        assert ctx.settle((context,)) == [None]
    assert log == []


def test_a_retry_is_left_to_a_sender_that_gets_an_error_response() -> None:
    """It has the message and tries again, so nothing waits here."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor(retry=missive.Retry())
    processor.handle_for(missive.otherwise)(lambda m, ctx: {}["key"])
    adapter = RecordingAdapter(processor, "error-response", log := [])
    with processor.context(missive.RawMessage, adapter) as ctx:
        assert ctx.handle(missive.RawMessage(b"x")) is NACKED
    assert log == ["nack"]
