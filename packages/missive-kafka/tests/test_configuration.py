"""What cannot work is refused when the adapter is built, and what Kafka says is told apart."""

from __future__ import annotations

from typing import Any

import missive
import pytest
from confluent_kafka import KafkaError
from missive.adapters.kafka import KafkaAdapter, KafkaRefused
from missive.adapters.kafka.errors import is_lasting
from missive.adapters.kafka.settings import QuietLog, member_settings, without_secrets
from missive.urls import adapter_from_url


def build(*arguments: Any, **options: Any) -> KafkaAdapter[Any]:
    """Build an adapter."""
    return KafkaAdapter(missive.RawMessage, missive.Processor(), *arguments, **options)


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ([[], "g"], {}),
        ([[""], "g"], {}),
        ([["a/b"], "g"], {}),
        ([["x" * 250], "g"], {}),
        ([["^"], "g"], {}),
        ([[7], "g"], {}),
        (["t", ""], {}),
        (["t", None], {}),
        (["t", "g"], {"bootstrap": ""}),
        (["t", "g"], {"ordering": "topic"}),
        (["t", "g"], {"start": "middle"}),
        (["t", "g"], {"retry_after": -1}),
        (["t", "g"], {"retry_after": float("nan")}),
        (["t", "g"], {"commit_interval": "soon"}),
        (["t", "g"], {"max_deliveries": 0}),
        (["t", "g"], {"max_gap": True}),
        (["t", "g"], {"commit_every": 1.5}),
        (["t", "g"], {"config": ["a"]}),
        (["t", "g"], {"config": {"max.poll.interval.ms": "long"}}),
    ],
)
def test_what_cannot_work_is_refused(arguments: list[Any], options: dict[str, Any]) -> None:
    """The constructor refuses options and names that cannot work."""
    with pytest.raises(missive.ConfigurationError):
        build(*arguments, **options)


@pytest.mark.parametrize(
    "setting",
    [
        "enable.auto.commit",
        "enable.auto.offset.store",
        "auto.commit.interval.ms",
        "offset.store.method",
        "default.topic.config",
        "enabled_events",
        "group.id",
        "bootstrap.servers",
        "on_commit",
    ],
)
def test_settings_that_break_the_contract_are_refused(setting: str) -> None:
    """What would commit behind the adapter's back is refused, with what to do instead."""
    with pytest.raises(missive.ConfigurationError, match=f"{setting}': .+"):
        build("t", "g", config={setting: "true"})


def test_urls_are_read() -> None:
    """Brokers, options, settings of librdkafka's and credentials come from the URL."""
    url = (
        "kafka://us%65r:p%2Fw@one:9092,two:9093/?topics=a,%5Eb&group=g&ordering=partition"
        "&max_gap=7&workers=2&session.timeout.ms=9000"
    )
    adapter: Any = adapter_from_url(url, missive.RawMessage, missive.Processor())
    assert isinstance(adapter, KafkaAdapter)
    assert (adapter.topics, adapter.group) == (("a", "^b"), "g")
    assert (adapter.bootstrap, adapter.workers) == ("one:9092,two:9093", 2)
    assert adapter.config["sasl.username"] == "user"
    assert adapter.config["sasl.password"] == "p/w"
    assert adapter.config["session.timeout.ms"] == "9000"
    assert "p/w" not in repr(adapter)


@pytest.mark.parametrize(
    "url",
    [
        "kafka://localhost/?topics=a",
        "kafka://localhost/?group=g",
        "kafka://localhost/path?topics=a&group=g",
        "kafka://localhost/?topics=a&group=g&unknown=1",
        "kafka://user:pa#ss@localhost/?topics=a&group=g",
    ],
)
def test_a_url_that_cannot_work_is_refused(url: str) -> None:
    """What a URL lacks or has too much is said, and no password is."""
    with pytest.raises(missive.ConfigurationError) as caught:
        adapter_from_url(url, missive.RawMessage, missive.Processor())
    assert "ss@" not in str(caught.value)


def test_librdkafka_is_told_what_the_contract_needs() -> None:
    """Nothing is committed by itself; transactions are read when they are committed."""
    settings = member_settings("b", "g", build("t", "g").config)
    assert settings["enable.auto.commit"] is False
    assert settings["enable.auto.offset.store"] is False
    assert settings["isolation.level"] == "read_committed"
    assert settings["partition.assignment.strategy"] == "cooperative-sticky"
    assert settings["auto.offset.reset"] == "earliest"  # a committed offset that is gone
    assert settings["fetch.queue.backoff.ms"] == 20  # a second, librdkafka's own, is a stall
    newer = member_settings("b", "g", {"group.protocol": "consumer"})
    assert "partition.assignment.strategy" not in newer


def test_what_librdkafka_does_not_take_is_said_without_secrets() -> None:
    """A setting that does not exist ends run; the value of a secret is in no error."""
    with pytest.raises(missive.ConfigurationError, match=r"no\.such\.setting"):
        build("t", "g", config={"no.such.setting": 1}).run()
    assert "hush" not in without_secrets("bad value hush", {"sasl.password": "hush"})
    assert "hush" not in without_secrets(
        "beginning at: hush", {"sasl.oauthbearer.config": "a=1 hush"}
    )
    assert without_secrets("bad value 7", {"x": "7", "sasl.password": ""}) == "bad value 7"


def test_what_kafka_refuses_is_said_without_secrets() -> None:
    """librdkafka may quote a setting when it cannot log in; the error does not."""
    adapter = build("t", "g", config={"sasl.oauthbearer.config": "principal=ada hush"})
    said = KafkaError(KafkaError._AUTHENTICATION, "Unrecognized sasl.oauthbearer.config: hush")
    refused = str(KafkaRefused(adapter, said))
    assert "hush" not in refused
    assert "sasl.oauthbearer.config" in refused


def test_what_librdkafka_logs_are_details(caplog: pytest.LogCaptureFixture) -> None:
    """Its lines are logged for those who debug."""
    with caplog.at_level("DEBUG"):
        QuietLog().log(40, "%s lost", "x")
    assert [(r.levelname, r.getMessage()) for r in caplog.records] == [("DEBUG", "x lost")]


@pytest.mark.parametrize(
    "code",
    [
        KafkaError._AUTHENTICATION,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.INCONSISTENT_GROUP_PROTOCOL,
        KafkaError._UNSUPPORTED_FEATURE,
        KafkaError.FENCED_INSTANCE_ID,
    ],
)
def test_what_lasts_is_refused_with_a_remedy(code: int) -> None:
    """An answer that no new attempt mends has its code and what to do, in one line."""
    error = KafkaError(code)
    assert is_lasting(error)
    refused = KafkaRefused(build("t", "g"), error, "the topic 't'")
    assert refused.code == code
    assert "\n" not in str(refused)
    assert "see the error code" not in str(refused)


@pytest.mark.parametrize(
    "error",
    [
        KafkaError(KafkaError._TRANSPORT),
        KafkaError(KafkaError.ILLEGAL_GENERATION),
        KafkaError(KafkaError.COORDINATOR_NOT_AVAILABLE),
        KafkaError(KafkaError._AUTHENTICATION, "handshake failed: Broker transport failure"),
    ],
)
def test_what_may_pass_is_tried_again(error: KafkaError) -> None:
    """A lost connection and a rebalance are no reason to end."""
    assert not is_lasting(error)
