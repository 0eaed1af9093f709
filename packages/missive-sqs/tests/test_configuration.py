"""What cannot work is refused when the adapter is built."""

from __future__ import annotations

from typing import Any

import missive
import pytest
from missive.adapters.sqs import SQSAdapter, SQSRefused
from missive.urls import adapter_from_url as load_adapter
from recorder import Recorder
from running import Running
from sqs_fake import URL, FakeClient


def build(queue: Any = URL, **options: Any) -> SQSAdapter[Any]:
    """Build an adapter."""
    return SQSAdapter(missive.RawMessage, missive.Processor(), queue, **options)


@pytest.mark.parametrize(
    ("queue", "options"),
    [
        ("", {}),
        (7, {}),
        ("no spaces", {}),
        ("x" * 81, {}),
        ("https://", {}),
        ("ftp://host/1/orders", {}),
        (URL, {"visibility": 0}),
        (URL, {"visibility": 43201}),
        (URL, {"visibility": 1.5}),
        (URL, {"wait_time": 0}),
        (URL, {"wait_time": 21}),
        (URL, {"batch_size": 11}),
        (URL, {"receivers": 0}),
        (URL, {"receivers": 101}),
        (URL, {"retry_after": -1}),
        (URL, {"retry_after": float("nan")}),
        (URL, {"retry_after": "soon"}),
        (URL, {"max_deliveries": 0}),
        (URL, {"body_encoding": "gzip"}),
        (URL, {"client": object()}),
        (URL, {"client": FakeClient(), "region": "eu-west-1"}),
        (URL, {"client": FakeClient(), "receivers": 30}),
    ],
)
def test_what_cannot_work_is_refused(queue: Any, options: dict[str, Any]) -> None:
    """The constructor refuses options, names and clients that cannot work."""
    with pytest.raises(missive.ConfigurationError):
        build(queue, **options)


def test_a_client_that_gives_up_before_a_poll_ends_is_refused() -> None:
    """A read timeout below the length of a poll would lose messages."""
    client = FakeClient()
    client.meta.config.read_timeout = 20
    with pytest.raises(missive.ConfigurationError, match="read_timeout"):
        build(client=client)
    assert build(client=client, wait_time=10).wait_time == 10


@pytest.mark.parametrize(
    ("url", "name", "region", "endpoint"),
    [
        ("sqs://orders?region=eu-west-1", "orders", "eu-west-1", None),
        ("sqs://Orders.fifo", "Orders.fifo", None, None),
        ("sqs://sqs.us-east-2.amazonaws.com/1/orders", "orders", "us-east-2", None),
        (
            "sqs://orders?endpoint=http%3A%2F%2F127.0.0.1%3A5000",
            "orders",
            None,
            "http://127.0.0.1:5000",
        ),
        ("sqs://vpce-1.sqs.eu-west-1.vpce.amazonaws.com/1/orders", "orders", None, "https"),
    ],
)
def test_urls_are_read(url: str, name: str, region: str | None, endpoint: str | None) -> None:
    """A URL names the queue by name or by address; the region of an address is known."""
    adapter: Any = load_adapter(url, missive.RawMessage, missive.Processor())
    assert isinstance(adapter, SQSAdapter)
    queue = adapter._queue
    assert (queue.name, queue._region) == (name, region)
    assert (queue._endpoint or "").startswith(endpoint or "")
    assert (queue._endpoint is None) is (endpoint is None)


@pytest.mark.parametrize(
    "url",
    [
        "sqs:",
        "sqs://?region=x",
        "sqs://key:secret@orders",
        "sqs://orders?color=red",
        "sqs://o?receivers=x",
    ],
)
def test_a_url_that_cannot_be_read_is_refused(url: str) -> None:
    """A URL without a queue, with credentials or with unknown options is refused."""
    with pytest.raises(missive.ConfigurationError) as caught:
        load_adapter(url, missive.RawMessage, missive.Processor())
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        (["AWS_DEFAULT_REGION"], "region"),
        (["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"], "credentials"),
    ],
)
def test_what_boto3_lacks_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch, variables: list[str], says: str
) -> None:
    """Without a region or credentials run() ends with SQSRefused before anything is asked."""
    for name in variables:
        monkeypatch.delenv(name)
    recorder = Recorder()
    adapter = SQSAdapter(missive.RawMessage, recorder.processor, "orders")
    running = Running(adapter, wait=False)
    with running:
        error = running.fails()
    assert isinstance(error, SQSRefused)
    assert says in str(error)
