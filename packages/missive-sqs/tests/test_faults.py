"""What SQS can answer that no server of ours produces, by a client that answers as told."""

from __future__ import annotations

import logging
import threading
from typing import Any

import missive
import pytest
from botocore import exceptions
from missive.adapters.sqs import SQSAdapter, SQSRefused, session
from missive.adapters.sqs.discretion import THREADS, keep_bodies_out_of_logs
from patience import DEADLINE, eventually
from recorder import Recorder
from running import Running
from sqs_fake import FIFO_URL, URL, FakeClient, client_error, failing, received


@pytest.fixture(autouse=True)
def no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave polls of the fake client to themselves at the end of a run."""
    monkeypatch.setattr(session, "POLLS_END", 0.0)


def adapter_of(
    client: FakeClient, recorder: Recorder, url: str = URL, **options: Any
) -> SQSAdapter[Any]:
    """Build an adapter on a fake client."""
    return SQSAdapter(missive.RawMessage, recorder.processor, url, client=client, **options)


def test_entries_that_failed_are_deleted_again() -> None:
    """What a DeleteMessageBatch lists as failed is sent again, and nothing else is."""
    client, recorder = FakeClient(*map(received, range(3))), Recorder()
    client.will("delete_message_batch", failing("1", sender=False))
    with Running(adapter_of(client, recorder)):
        recorder.wait_for(3)
        eventually(lambda: len(client.deleted()) == 4, "the failed entry was not sent again")
    failed = client.called("delete_message_batch")[0]["Entries"][1]["ReceiptHandle"]
    assert client.deleted().count(failed) == 2
    assert len(set(client.deleted())) == 3
    client.end()


def test_an_entry_whose_receipt_handle_is_too_old_is_given_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A deletion that SQS refuses for good is logged, with the id alone, and not repeated."""
    client, recorder = FakeClient(received(0, body="secret")), Recorder()
    client.will("delete_message_batch", failing("0", sender=True, code="ReceiptHandleIsInvalid"))
    with Running(adapter_of(client, recorder)):
        eventually(lambda: "ReceiptHandleIsInvalid" in caplog.text, "nothing was logged")
        client.bring(received(1))
        eventually(lambda: len(client.deleted()) == 2, "the run did not go on")
    assert client.deleted() == ["receipt-0-1", "receipt-1-1"]
    assert "secret" not in caplog.text
    client.end()


def test_deletions_survive_a_lost_connection() -> None:
    """A deletion whose call failed is sent again when SQS can be reached."""
    client, recorder = FakeClient(received(0)), Recorder()
    lost = exceptions.EndpointConnectionError(endpoint_url="https://sqs")
    client.will("delete_message_batch", lost, lost)
    adapter = adapter_of(client, recorder)
    with Running(adapter):
        eventually(lambda: len(client.deleted()) == 3, "the deletion was not sent again")
        eventually(adapter.ready.is_set, "it did not become ready")
        assert adapter.status().reconnections >= 1
    assert len(recorder.messages) == 1
    client.end()


@pytest.mark.parametrize("code", ["ThrottlingException", "RequestThrottled", "OverLimit"])
def test_throttling_slows_the_polls_and_loses_no_connection(
    code: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Where SQS throttles, polls pause and go on; one line says so, and nothing is given back."""
    client, recorder = FakeClient(received(0)), Recorder()
    client.will("receive_message", client_error(code), client_error(code))
    adapter = adapter_of(client, recorder)
    with Running(adapter):
        recorder.wait_for(1)
        eventually(lambda: client.deleted(), "the message was not deleted")
        assert adapter.status().reconnections == 0
    assert caplog.text.count("asks for fewer calls") == 1
    assert not client.visibilities()
    client.end()


def test_throttled_deletions_are_sent_again() -> None:
    """A deletion that was throttled is sent again, and loses no connection."""
    client, recorder = FakeClient(received(0)), Recorder()
    client.will("delete_message_batch", client_error("Throttling"))
    adapter = adapter_of(client, recorder)
    with Running(adapter):
        eventually(lambda: len(client.deleted()) == 2, "the deletion was not sent again")
        assert adapter.status().reconnections == 0
    client.end()


@pytest.mark.parametrize(
    "error",
    [
        client_error("ExpiredToken", 403),
        client_error("AWS.SimpleQueueService.NonExistentQueue"),
        client_error("RequestTimeTooSkewed", 403),
        client_error("SignatureDoesNotMatch", 403, "Signature expired: 1 is now earlier than 2"),
        client_error("InternalError", 500),
        client_error("", 502),
        exceptions.ReadTimeoutError(endpoint_url="https://sqs"),
        ConnectionResetError(),
    ],
    ids=repr,
)
def test_what_passes_is_waited_for(error: Exception) -> None:
    """Errors that may pass make a running adapter not ready, until SQS answers again."""
    client, recorder = FakeClient(), Recorder()
    away, back = threading.Event(), threading.Event()

    def still_away(arguments: Any) -> Any:
        away.set()
        if back.is_set():
            return None
        raise error

    client.will("receive_message", error)
    client.will("get_queue_attributes", lambda arguments: None, *[still_away] * 50)
    adapter = adapter_of(client, recorder)
    with Running(adapter, wait=False):  # ready may be over before anybody looks
        assert away.wait(DEADLINE)
        assert not adapter.ready.is_set()
        back.set()
        client.bring(received(0))
        recorder.wait_for(1)
        assert adapter.ready.is_set()
    client.end()


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (client_error("AccessDenied", 403, "no identity-based policy"), "grant"),
        (client_error("AWS.SimpleQueueService.NonExistentQueue"), "create the queue"),
        (client_error("InvalidClientTokenId", 403), "access key"),
        (client_error("ExpiredToken", 403), "renew"),
        (client_error("KmsAccessDenied"), "kms:Decrypt"),
        (client_error("UnknownThing", 418), "UnknownThing"),
        (exceptions.NoCredentialsError(), "AWS_ACCESS_KEY_ID"),
        (exceptions.NoRegionError(), "region="),
        (exceptions.ProfileNotFound(profile="p"), "AWS_PROFILE"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_what_lasts_ends_the_run_with_one_line(error: Exception, says: str) -> None:
    """What no new attempt mends ends run() with SQSRefused, whose text has the remedy."""
    client, recorder = FakeClient(), Recorder()
    client.will("get_queue_attributes", error)
    running = Running(adapter_of(client, recorder), wait=False)
    with running:
        refused = running.fails()
    assert isinstance(refused, SQSRefused)
    assert says in str(refused)
    assert len(str(refused).splitlines()[0]) > 40
    client.end()


def test_a_permission_that_is_taken_away_ends_the_run() -> None:
    """A deletion that is denied ends the run, which would otherwise repeat every message."""
    client, recorder = FakeClient(received(0)), Recorder()
    client.will("delete_message_batch", client_error("AccessDenied", 403))
    running = Running(adapter_of(client, recorder))
    with running:
        assert isinstance(running.fails(), SQSRefused)
    client.end()


def test_several_polls_are_under_way() -> None:
    """With receivers=8 eight polls wait for messages at once."""
    client, recorder = FakeClient(), Recorder()
    with Running(adapter_of(client, recorder, receivers=8)):
        eventually(lambda: client.polls == 8, "there were not eight polls")
        client.bring(received(0))
        recorder.wait_for(1)
    client.end()


def test_a_poll_begins_when_one_ends() -> None:
    """Polls that bring nothing are followed by others, and never by more than there may be."""
    client, recorder = FakeClient(), Recorder()
    with Running(adapter_of(client, recorder, receivers=2)):
        for number in range(2, 12):
            eventually(lambda count=number: client.polls == count, "no poll followed")  # type: ignore[misc]
            client.bring()
    client.end()


def test_what_comes_twice_is_handled_once() -> None:
    """A message that is delivered again while it is in flight here is deleted by the new handle."""
    client, gate, inside = FakeClient(received(0)), threading.Event(), threading.Event()

    def act(message: Any, ctx: Any) -> None:
        inside.set()
        assert gate.wait(DEADLINE)
        ctx.ack()

    recorder = Recorder(act)
    with Running(adapter_of(client, recorder, workers=2)):
        assert inside.wait(DEADLINE)
        client.bring(received(0, count=2))
        eventually(lambda: not client.messages, "the second delivery was not polled")
        client.bring(received(1))
        eventually(lambda: len(recorder.messages) == 2, "the next message did not come")
        gate.set()
        eventually(lambda: len(client.deleted()) >= 2, "the messages were not deleted")
    assert sorted(set(client.deleted())) == ["receipt-0-2", "receipt-1-1"]
    assert recorder.bodies.count(b"body 0") == 1
    client.end()


def test_a_suspect_is_handled_alone() -> None:
    """A message that was received very often waits until all others are settled, and deleted."""
    client = FakeClient(received(0, count=9), *map(received, range(1, 4)))
    in_flight: list[int] = []

    def act(message: Any, ctx: Any) -> None:
        in_flight.append(adapter.status().in_flight)
        if message.delivery_count == 9:
            alone.append(set(client.deleted()))
        ctx.ack()

    alone: list[set[str]] = []
    recorder = Recorder(act)
    adapter = adapter_of(client, recorder, workers=4)
    with Running(adapter):
        recorder.wait_for(4)
    first = recorder.messages[0].delivery_count == 9
    assert alone == [set() if first else {f"receipt-{number}-1" for number in range(1, 4)}]
    client.end()


def test_a_message_behind_a_nacked_one_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a FIFO queue what is behind a nacked message in its group is given back, unhandled."""
    messages = [received(number, group="g") for number in range(3)]
    client, recorder = FakeClient(*messages), Recorder(lambda message, ctx: ctx.nack(delay=90))
    with Running(adapter_of(client, recorder, FIFO_URL)):
        eventually(lambda: len(client.visibilities()) == 3, "they were not given back")
    assert sorted(client.visibilities()) == [
        ("receipt-0-1", 90),
        ("receipt-1-1", 0),
        ("receipt-2-1", 0),
    ]
    assert recorder.bodies == [b"body 0"]
    client.end()


def test_a_pointer_to_s3_is_a_dead_letter_with_the_remedy() -> None:
    """A message of an extended client is not handled; its letter says why, and what to do."""
    body = '["software.amazon.payloadoffloading.PayloadS3Pointer", {"s3BucketName": "b"}]'
    client, recorder = FakeClient(received(0, body=body)), Recorder()
    letters = missive.MemoryDLQ()
    recorder.processor.set_dlq(letters)
    with Running(adapter_of(client, recorder)):
        eventually(lambda: client.deleted(), "the message was not deleted")
    (letter,) = letters.letters()
    assert (letter.stage, "S3" in letter.reason) == ("decoding", True)
    assert not recorder.messages
    client.end()


@pytest.mark.parametrize(("body", "raw"), [("AAH/", b"\x00\x01\xff"), ("not base64", None)])
def test_bodies_in_base64_are_decoded(body: str, raw: bytes | None) -> None:
    """With body_encoding="base64" bytes of any kind arrive; what is not base64 is a letter."""
    client, recorder = FakeClient(received(0, body=body)), Recorder()
    letters = missive.MemoryDLQ()
    recorder.processor.set_dlq(letters)
    with Running(adapter_of(client, recorder, body_encoding="base64")):
        eventually(lambda: client.deleted(), "the message was not deleted")
    assert recorder.bodies == ([] if raw is None else [raw])
    assert len(letters) == (raw is None)
    client.end()


def test_what_comes_after_the_end_is_given_back() -> None:
    """A poll that outlives the run gives back what it brings."""
    client, recorder = FakeClient(), Recorder()
    with Running(adapter_of(client, recorder)):
        eventually(lambda: client.polls == 1, "there was no poll")
    client.bring(received(7))
    eventually(lambda: client.visibilities() == [("receipt-7-1", 0)], "it was not given back")
    assert not recorder.messages


def test_a_redrive_policy_that_is_too_quick_is_named(caplog: pytest.LogCaptureFixture) -> None:
    """A queue whose redrive policy cuts the attempts of a Retry short is warned of."""
    client, recorder = FakeClient(), Recorder()
    client.will(
        "get_queue_attributes",
        lambda arguments: {"Attributes": {"RedrivePolicy": '{"maxReceiveCount": "3"}'}},
    )
    recorder.processor.retry = missive.Retry(attempts=5)
    with Running(adapter_of(client, recorder)):
        pass
    assert "maxReceiveCount" in caplog.text
    client.end()


def test_more_attempts_than_deliveries_are_refused() -> None:
    """A Retry with more attempts than max_deliveries is refused when the run begins."""
    client, recorder = FakeClient(), Recorder()
    recorder.processor.retry = missive.Retry(attempts=5)
    running = Running(adapter_of(client, recorder, max_deliveries=3), wait=False)
    with running:
        assert isinstance(running.fails(), missive.ConfigurationError)
    client.end()


def test_bodies_of_polls_stay_out_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """botocore logs the answers to other calls at DEBUG, and not those to polls."""
    keep_bodies_out_of_logs()
    parsers = logging.getLogger("botocore.parsers")

    def log() -> None:
        parsers.debug("Response body:\n%s", threading.current_thread().name)

    with caplog.at_level(logging.DEBUG):
        for name in (THREADS, "another"):
            thread = threading.Thread(target=log, name=name)
            thread.start()
            thread.join(DEADLINE)
    assert "another" in caplog.text
    assert THREADS not in caplog.text
