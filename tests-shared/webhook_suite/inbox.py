"""The inbox: messages are stored before they are answered, and handled afterwards, once."""

from __future__ import annotations

import logging
import threading
from datetime import timedelta
from types import SimpleNamespace

import pytest
from missive import (
    ConfigurationError,
    DeadLetterStoreError,
    DeferredAdapter,
    DrainTimeout,
    JSONMessage,
    MemoryDLQ,
    Processor,
    RawMessage,
    Retry,
    otherwise,
)
from missive.letters import received_letter
from missive.webhooks import inbox as own_inbox
from missive.webhooks import inbox_writer, senders, signatures

from webhook_suite import make_adapter

DEADLINE = 30.0
STORED = (202, {"result": "deferred"})


class Handled:
    """A processor with a store, and what it handled.

    :ivar bodies: of the messages that were handled.
    :ivar release: lets handlers go on; set, unless a test clears it.
    """

    def __init__(self, store=None, **options):
        self.bodies: list[bytes] = []
        self.messages: list[RawMessage] = []
        self.release = threading.Event()
        self.release.set()
        self.fails: set[bytes] = set()
        self._changed = threading.Condition()
        self.processor: Processor = Processor(**options)
        self.store = MemoryDLQ() if store is None else store
        self.processor.set_dlq(self.store)
        self.processor.handle_for(otherwise)(self.handle)
        self.processor.on_settled(self.settled)
        self.begun: list[bytes] = []
        self.outcomes: list[str] = []

    def handle(self, message, ctx):
        with self._changed:
            self.begun.append(message.raw_data)
            self._changed.notify_all()
        assert self.release.wait(DEADLINE)
        if message.raw_data in self.fails:
            raise RuntimeError("card 4111")
        self.messages.append(message)
        self.bodies.append(message.raw_data)
        ctx.ack()

    def settled(self, processing, ctx):
        with self._changed:
            self.outcomes.append(ctx.outcome.value)
            self._changed.notify_all()

    def wait(self, count):
        """Wait until so many messages were settled."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.outcomes) >= count, DEADLINE)

    def wait_begun(self, count):
        """Wait until so many messages were begun."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.begun) >= count, DEADLINE)


@pytest.fixture
def handled():
    """A processor with a store, and what it handled."""
    return Handled()


@pytest.fixture
def inbox_of(client_of):
    """Make a client of an adapter with an inbox."""
    adapters = []

    def make(handled, **options):
        given = {"inbox": True, "id_header": "webhook-id", **options}
        adapters.append(
            make_adapter(given.pop("message_cls", RawMessage), handled.processor, **given)
        )
        return client_of(adapters[-1])

    yield make
    for adapter in adapters:
        adapter.close()


def post(client, body, id=None):
    """POST a message with an id; return status and body of the answer."""
    answer = client.post(body, headers={} if id is None else {"webhook-id": id})
    return answer.status, answer.json


def test_stored_and_handled(inbox_of, handled):
    """A message is answered 202 when it is stored, and handled with its id, source and headers."""
    client = inbox_of(handled)
    assert post(client, b"one", "1") == STORED
    handled.wait(1)
    (message,) = handled.messages
    assert (message.message_id, message.source) == (b"1", "/")
    assert message.headers["Webhook-Id"] == "1"
    assert handled.outcomes == ["acked"]
    assert handled.store.counts() == (0, 0, 0, 0)
    assert client.app.ready.is_set()


def test_answered_while_the_handler_runs(inbox_of, handled):
    """No sender waits for a handler."""
    handled.release.clear()
    client = inbox_of(handled)
    assert [post(client, b"%d" % number, str(number)) for number in range(20)] == [STORED] * 20
    handled.release.set()
    handled.wait(20)
    assert sorted(handled.bodies) == sorted(b"%d" % number for number in range(20))


def test_sent_again(inbox_of, handled, caplog):
    """A message that is sent again while it is stored, in flight, done or dead is not handled again."""
    caplog.set_level(logging.INFO)
    handled.release.clear()
    handled.fails.add(b"dead")
    client = inbox_of(handled)
    bodies = [b"one", b"two", b"dead"]
    for _ in range(2):
        assert [post(client, body, body.decode()) for body in bodies] == [STORED] * 3
    handled.release.set()
    handled.wait(3)
    assert [post(client, body, body.decode()) for body in bodies] == [STORED] * 3
    assert sorted(handled.begun) == sorted(bodies)
    assert handled.store.counts().dead == 1
    assert caplog.text.count("was received before") == 6
    assert "card 4111" not in caplog.text


def test_another_body(inbox_of, handled, caplog):
    """The same id with another body is handled too, with one warning however often it is sent."""
    client = inbox_of(handled)
    for body in (b"one", b"other", b"other", b"one"):
        assert post(client, body, "1") == STORED
    handled.wait(2)
    assert sorted(handled.bodies) == [b"one", b"other"]
    assert {message.message_id for message in handled.messages} == {b"1"}
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert [record.getMessage() for record in warnings] == [
        "1 on / came with another body than before; both are kept and handled"
    ]


def test_without_an_id(inbox_of, handled):
    """Without the sender's id each message is another one."""
    client = inbox_of(handled)
    assert [post(client, b"same") for _ in range(2)] == [STORED] * 2
    handled.wait(2)
    assert handled.bodies == [b"same", b"same"]


def test_an_id_in_the_body(inbox_of):
    """The id may be what id_from reads from the message."""
    handled = Handled()
    client = inbox_of(
        handled, message_cls=JSONMessage, id_header=None, id_from=lambda m: m.get_json()["id"]
    )
    assert [post(client, b'{"id": "evt_1"}') for _ in range(2)] == [STORED] * 2
    handled.wait(1)
    assert [message.message_id for message in handled.messages] == [b"evt_1"]


def test_only_what_is_signed_is_stored(inbox_of, handled):
    """What is refused is not stored: unsigned, too long, no message at all."""
    client = inbox_of(handled, verify=signatures.github("secret"), max_content_length=10)
    assert post(client, b"forged", "1")[0] == 401
    assert post(client, b"x" * 11, "2")[0] == 413
    assert client.get("/").status == 405
    assert handled.store.counts() == (0, 0, 0, 0)


def test_the_senders_own_answer(inbox_of, handled):
    """A sender that expects another answer gets it, without waiting for the handler."""
    handled.release.clear()
    taken = senders.twilio("secret").answer
    client = inbox_of(handled, answer=taken)
    answer = client.post(b"Body=Hello", headers={"webhook-id": "1"})
    assert (answer.status, answer.body) == (200, b"<Response/>")
    handled.release.set()
    handled.wait(1)


class Failing(MemoryDLQ):
    """A store that cannot be written while it fails, or takes no message of a certain kind."""

    error: Exception | None = None
    poison = b"poison"

    def check(self):
        if self.error is not None:
            raise self.error

    def receive(self, letters):
        letters = list(letters)
        self.check()
        if any(letter.raw_data == self.poison for letter in letters):
            raise OverflowError("card 4111")
        return super().receive(letters)


@pytest.mark.parametrize(("retry_after", "told"), [(None, "5"), (60, "60")])
def test_the_store_is_down(inbox_of, retry_after, told, caplog):
    """While the store is down senders are answered 503 and when to try again; one line is logged."""
    store = Failing()
    handled = Handled(store)
    client = inbox_of(handled, retry_after=retry_after)
    assert post(client, b"one", "1") == STORED
    handled.wait(1)
    store.error = DeadLetterStoreError("card 4111")
    for number in (2, 3):
        answer = client.post(b"two", headers={"webhook-id": str(number)})
        assert (answer.status, answer.json) == (503, {"error": "unavailable"})
        assert answer.headers["Retry-After"] == told
    assert client.get("/readyz").status == 503
    assert not client.app.ready.is_set()
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1
    assert "messages cannot be stored" in errors[0].getMessage()
    assert "card 4111" not in caplog.text
    store.error = None
    assert post(client, b"two", "2") == STORED
    assert client.app.ready.is_set()
    handled.wait(2)
    assert handled.bodies == [b"one", b"two"]


def test_a_message_that_cannot_be_stored(client_of):
    """One that the store cannot take keeps no other from being stored in the same transaction."""
    store = Failing()
    writer = inbox_writer.InboxWriter(store, timedelta(days=3))
    letters = [received_letter(RawMessage(body)) for body in (b"one", b"poison", b"two")]
    futures = [writer.put(letter) for letter in letters]
    writer.start()
    writer.close()
    assert [future.exception(DEADLINE) is None for future in futures] == [True, False, True]
    assert store.counts().deferred == 2


def test_what_is_done_is_remembered_for_a_while(monkeypatch):
    """Records of what was done longer ago than remember are pruned, all of them, however many."""
    monkeypatch.setattr(inbox_writer, "PRUNE_AT_ONCE", 2)
    store = MemoryDLQ()
    letters = [received_letter(RawMessage(b"%d" % number)) for number in range(5)]
    store.receive(letters)
    for claim, _ in store.claim_due(5):
        store.remove(claim)
    pruned = threading.Event()
    forget_done, counts = store.forget_done, []

    def forget(before, limit):
        counts.append(forget_done(before + timedelta(days=1), limit=limit))
        if counts[-1] < 2:
            pruned.set()
        return counts[-1]

    store.forget_done = forget
    writer = inbox_writer.InboxWriter(store, timedelta(microseconds=1))
    writer.start()
    assert pruned.wait(DEADLINE)
    writer.close()
    assert counts == [2, 2, 1]


def test_pruning_that_fails(caplog):
    """Pruning that fails is logged, and messages are stored all the same."""
    store = MemoryDLQ()
    failed = threading.Event()

    def forget(before, limit):
        failed.set()
        raise DeadLetterStoreError("card 4111")

    store.forget_done = forget
    writer = inbox_writer.InboxWriter(store, timedelta(days=3))
    writer.start()
    assert failed.wait(DEADLINE)
    assert writer.put(received_letter(RawMessage(b"one"))).result(DEADLINE).value == "new"
    writer.close()
    assert "cannot be pruned" in caplog.text
    assert "card 4111" not in caplog.text


def test_it_survives_a_restart(inbox_of):
    """What was stored before is handled when the inbox opens; what was done is known."""
    first = Handled()
    client = inbox_of(first, inbox_workers=0)
    assert [post(client, b"one", "1"), post(client, b"two", "2")] == [STORED] * 2
    client.app.close()
    second = Handled(first.store)
    client = inbox_of(second)
    client.app.open()
    second.wait(2)
    assert sorted(second.bodies) == [b"one", b"two"]
    assert post(client, b"one", "1") == STORED
    assert post(client, b"three", "3") == STORED
    second.wait(3)
    assert second.bodies[2:] == [b"three"]


def test_readiness_opens_the_inbox(inbox_of):
    """A probe for readiness begins the handling of what is stored."""
    first = Handled()
    client = inbox_of(first, inbox_workers=0)
    assert post(client, b"one", "1") == STORED
    second = Handled(first.store)
    assert inbox_of(second).get("/readyz").status == 200
    second.wait(1)


def test_another_process_handles(inbox_of, handled):
    """With no workers here, a DeferredAdapter elsewhere handles what is stored."""
    client = inbox_of(handled, inbox_workers=0)
    assert post(client, b"one", "1") == STORED
    assert handled.store.counts().due == 1
    elsewhere = DeferredAdapter(RawMessage, handled.processor)
    elsewhere.look()  # which changes nothing before it runs
    thread = threading.Thread(target=elsewhere.run)
    thread.start()
    handled.wait(1)
    elsewhere.stop()
    thread.join(DEADLINE)
    assert post(client, b"one", "1") == STORED
    assert handled.bodies == [b"one"]


def test_retries(inbox_of):
    """A message whose handler fails waits in the store for its next attempt; it is known meanwhile."""
    handled = Handled(retry=Retry(attempts=3, delay=0.001, jitter=0.0))
    handled.fails.add(b"one")
    client = inbox_of(handled)
    assert post(client, b"one", "1") == STORED
    handled.wait(3)
    assert handled.outcomes == ["deferred", "deferred", "dead-lettered"]
    (letter,) = handled.store.letters()
    assert (letter.failures, letter.attempt) == (3, 3)
    assert post(client, b"one", "1") == STORED
    assert handled.begun == [b"one"] * 3


def test_batch_handlers(inbox_of):
    """Messages of an inbox may be handled in batches, since nobody waits for an answer."""
    processor: Processor[RawMessage] = Processor()
    processor.set_dlq(MemoryDLQ())
    done, sizes = threading.Event(), []

    @processor.handle_batch_for(otherwise, size=3, wait=DEADLINE)
    def handle(messages, ctx):
        sizes.append(len(messages))
        ctx.ack_rest()
        done.set()

    client = inbox_of(SimpleNamespace(processor=processor))
    for number in range(3):
        assert post(client, b"%d" % number, str(number)) == STORED
    assert done.wait(DEADLINE)
    assert sizes == [3]


def test_a_message_class_that_fails(inbox_of):
    """A body that its class cannot take is stored, and becomes a dead letter."""

    class Picky(RawMessage):
        def __init__(self, raw_data):
            if raw_data == b"bad":
                raise ValueError("card 4111")
            super().__init__(raw_data)

    handled = Handled()
    client = inbox_of(handled, message_cls=Picky)
    assert post(client, b"bad", "1") == STORED
    handled.wait(1)
    assert handled.outcomes == ["dead-lettered"]
    assert [letter.stage for letter in handled.store.letters()] == ["decoding"]


@pytest.mark.parametrize("dlq", [None, {}])
def test_a_store_that_cannot_be_an_inbox(client_of, dlq):
    """A DLQ that cannot take each message once is refused, at the latest by the first message."""
    processor: Processor[RawMessage] = Processor()
    adapter = make_adapter(RawMessage, processor, inbox=True)
    if dlq is not None:
        processor.set_dlq(dlq)
        with pytest.raises(ConfigurationError, match="SQLiteDLQ"):
            make_adapter(RawMessage, processor, inbox=True)
    assert client_of(adapter).post(b"one").status == 500
    adapter.close()


def test_hooks_that_fail_are_tried_again(inbox_of, handled, monkeypatch, caplog):
    """While a before-hook fails, messages are stored all the same, and handled afterwards."""
    monkeypatch.setattr(own_inbox, "PAUSE", 0.001)
    tries = []

    @handled.processor.before_processing
    def before(ctx):
        tries.append(1)
        if len(tries) < 3:
            raise RuntimeError("card 4111")

    client = inbox_of(handled)
    assert post(client, b"one", "1") == STORED
    handled.wait(1)
    assert len(tries) == 3
    assert caplog.text.count("the inbox stopped handling") == 2
    assert "card 4111" not in caplog.text


def test_the_end_waits_for_handlers(client_of, handled):
    """At the end, messages in flight finish; those that have not begun stay in the store."""
    handled.release.clear()
    adapter = make_adapter(RawMessage, handled.processor, inbox=True)
    client = client_of(adapter)
    assert client.post(b"one").status == 202
    handled.wait_begun(1)
    closing = threading.Thread(target=adapter.close)
    closing.start()
    handled.release.set()
    closing.join(DEADLINE)
    assert not closing.is_alive()
    assert handled.bodies == [b"one"]


def test_the_drain_deadline_of_an_inbox(client_of, handled, monkeypatch):
    """A handler that does not end in time is reported; its message is handled again later."""
    monkeypatch.setattr(own_inbox, "GRACE", 0.01)
    handled.release.clear()
    adapter = make_adapter(RawMessage, handled.processor, inbox=True, drain_timeout=0.01)
    assert client_of(adapter).post(b"one").status == 202
    handled.wait_begun(1)
    with pytest.raises(DrainTimeout):
        adapter.close()
    assert handled.store.counts().deferred == 1
    handled.release.set()
    handled.wait(1)


def test_an_after_hook_that_fails(client_of, handled):
    """What an after-hook raises is raised at the end."""

    @handled.processor.after_processing
    def after(ctx):
        raise LookupError

    adapter = make_adapter(RawMessage, handled.processor, inbox=True)
    assert client_of(adapter).post(b"one").status == 202
    handled.wait(1)
    with pytest.raises(LookupError):
        adapter.close()
