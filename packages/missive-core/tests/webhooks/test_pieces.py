"""The pieces that adapters of webhooks are made of, one by one."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from missive import Capabilities, JSONMessage, MemoryDLQ, Message, Processor, RawMessage
from missive.letters import received_letter
from missive.webhooks import Answer, answers, challenges, inbox, inbox_writer, senders
from missive.webhooks.serving import TO_END, length_of
from webhook_suite.bare import BareAdapter, BareClient, BareDelivery

DEADLINE = 30.0


@pytest.mark.parametrize(
    ("declared", "transfer", "protocol", "terminated", "expected"),
    [
        ("5", None, "HTTP/1.1", False, 5),
        ("", None, "HTTP/1.1", False, 0),
        ("", None, "HTTP/2", False, answers.LENGTH_REQUIRED),
        ("", None, "HTTP/1.1", True, TO_END),
        ("", "Chunked", "HTTP/1.1", False, answers.LENGTH_REQUIRED),
        ("", "chunked", "HTTP/1.1", True, TO_END),
    ],
)
def test_how_long_a_body_is(
    declared: str, transfer: str | None, protocol: str, terminated: bool, expected: object
) -> None:
    """Its length is the one declared, or else what the server says of its end."""
    assert length_of(declared, transfer, protocol, terminated, 10) == expected


def test_names() -> None:
    """Answers, senders and deliveries say what they are, and show no content."""
    assert repr(Answer.json(200, {"card": 4111})) == "<Answer 200 OK, 14 bytes>"
    assert Answer(299, [], b"").line == "299 Unknown"
    assert repr(senders.stripe("secret")) == "<Sender Stripe>"
    delivery = BareDelivery(b"4111")
    assert delivery.name == "a message without an id"
    for message_id in ("evt_1", b"evt_1"):
        delivery.message_id = message_id
        assert delivery.name == "evt_1"


@pytest.mark.parametrize("message", [RawMessage(b"{"), JSONMessage(b"{"), JSONMessage(b"[]")])
def test_an_id_that_cannot_be_read(message: Message) -> None:
    """A body that is no JSON object has no id."""
    id_from = senders.stripe("secret").id_from
    assert id_from is not None
    assert id_from(message) is None


def test_senders_of_standard_webhooks() -> None:
    """Their id is in a header."""
    assert senders.standard_webhooks(b"key").id_header == "webhook-id"


def test_other_options_requests(client: BareClient) -> None:
    """An OPTIONS request that asks for no permission is no handshake, and neither is a GET."""
    assert client.request("OPTIONS", "/").status == 405
    assert client.get("/").status == 405


@pytest.fixture
def client() -> BareClient:
    """A client of an adapter that answers CloudEvents' handshakes."""
    challenge = challenges.cloudevents(["example.com"])
    return BareClient(BareAdapter(RawMessage, Processor(), challenge=challenge))


def test_probes(client: BareClient) -> None:
    """Probes are answered by the process, and by the state of a DLQ that can say it."""
    assert client.get("/healthz").status == 200
    assert client.post(b"", "/healthz").status == 405
    assert client.get("/readyz").status == 200
    client.app.processor.set_dlq(MemoryDLQ())
    assert client.get("/readyz").status == 200


def test_an_inbox_promises_more() -> None:
    """What an adapter promises depends on whether it has an inbox."""
    processor: Processor[RawMessage] = Processor()
    promised: list[Capabilities] = [
        BareAdapter(RawMessage, processor, inbox=inbox).capabilities for inbox in (False, True)
    ]
    assert [each.delivery for each in promised] == ["request-reply", "at-least-once"]


def test_more_than_one_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is more than a transaction takes is written in several."""
    monkeypatch.setattr(inbox_writer, "AT_ONCE", 2)
    store = MemoryDLQ()
    writer = inbox_writer.InboxWriter(store, timedelta(days=3))
    futures = [writer.put(received_letter(RawMessage(b"%d" % number))) for number in range(5)]
    writer.start()
    assert {future.result(DEADLINE).value for future in futures} == {"new"}
    writer.close()


def test_closed_between_two_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    """An inbox that is closed while it waits for its next try does not begin again."""
    monkeypatch.setattr(inbox, "PAUSE", DEADLINE)
    processor: Processor[RawMessage] = Processor()
    processor.set_dlq(MemoryDLQ())
    tries: list[int] = []
    failed = threading.Event()
    monkeypatch.setattr(inbox.logger, "error", lambda *args: failed.set())

    @processor.before_processing
    def before(ctx: object) -> None:
        tries.append(1)
        raise RuntimeError

    pump = inbox.InboxPump(RawMessage, processor, 1, 30.0)
    pump.start()
    assert failed.wait(DEADLINE)
    pump.close()
    assert tries == [1]
