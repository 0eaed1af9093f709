"""What cannot work is refused when an adapter is built, and what NATS says is told apart."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import missive
import pytest
from missive.adapters.nats import (
    NATSAdapter,
    NATSRefused,
    NATSSubjectAdapter,
    NATSUnavailable,
)
from missive.adapters.nats.errors import APIRefused, ServerSaid, raise_lasting
from missive.adapters.nats.servers import read_servers
from nats import errors


def build(stream: Any = "S", consumer: Any = "c", **options: Any) -> NATSAdapter[Any]:
    """Build an adapter."""
    return NATSAdapter(missive.RawMessage, missive.Processor(), stream, consumer, **options)


def build_for_subjects(subjects: Any, **options: Any) -> NATSSubjectAdapter[Any]:
    """Build an adapter of plain subjects."""
    return NATSSubjectAdapter(missive.RawMessage, missive.Processor(), subjects, **options)


@pytest.mark.parametrize(
    "options",
    [
        {"stream": ""},
        {"stream": "a.b"},
        {"stream": 7},
        {"consumer": "a b"},
        {"consumer": ">"},
        {"domain": "a.b"},
        {"filter_subjects": ["a..b"]},
        {"filter_subjects": ["a b"]},
        {"filter_subjects": [7]},
        {"batch_size": 0},
        {"batch_size": True},
        {"max_deliveries": 0},
        {"retry_after": 0},
        {"retry_after": float("nan")},
        {"retry_after": "30"},
        {"heartbeat": 0},
        {"heartbeat": "5"},
        {"inbox_prefix": "a.>"},
        {"inbox_prefix": 7},
        {"tls": True},
        {"credentials": "/not/there"},
        {"nkey": "/not/there"},
        {"servers": []},
        {"servers": 7},
        {"servers": "http://localhost"},
        {"servers": "localhost:4222"},
        {"servers": "nats://localhost:port"},
        {"servers": "nats://localhost:4222/path"},
        {"servers": ["nats://one", "tls://two"]},
        {"servers": ["nats://a:b@one", "nats://c:d@two"]},
    ],
)
def test_what_cannot_work_is_refused(options: dict[str, Any]) -> None:
    """The constructor refuses options, names and addresses that cannot work."""
    with pytest.raises(missive.ConfigurationError):
        build(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"subjects": []},
        {"subjects": ""},
        {"subjects": ["a..b"]},
        {"subjects": "a", "queue": "a b"},
        {"subjects": "a", "pending": 0},
    ],
)
def test_subjects_that_cannot_work_are_refused(options: dict[str, Any]) -> None:
    """The adapter of plain subjects refuses its own options likewise."""
    with pytest.raises(missive.ConfigurationError):
        build_for_subjects(**options)


def test_an_address_that_cannot_be_read_shows_no_password() -> None:
    """A password is in no error about its address, and in no repr."""
    with pytest.raises(missive.ConfigurationError) as caught:
        build(servers="nats://user:pa/ss#wo1d@host:4222")
    assert "wo1d" not in str(caught.value)
    assert "wo1d" not in repr(read_servers("nats://user:wo1d@host"))


def test_addresses_are_read() -> None:
    """Users, passwords, tokens, ports and several hosts come from the address."""
    read = read_servers("nats://us%65r:p%2Fw@one,two:4333")
    assert (read.user, read.password, read.encrypted) == ("user", "p/w", False)
    assert read.urls == ("nats://one:4222", "nats://two:4333")
    assert read_servers("nats://one:4222,nats://two:4333").urls == read.urls
    read = read_servers(["tls://token@[::1]:4333/", "tls://token@two"])
    assert (read.user, read.password, read.encrypted) == ("token", None, True)
    assert read.urls == ("tls://[::1]:4333", "tls://two:4222")
    assert read_servers("nats://").urls == ("nats://localhost:4222",)


@pytest.mark.parametrize("scheme", ["nats", "tls"])
def test_the_schemes_lead_here(scheme: str) -> None:
    """An adapter is built from a URL with its stream, consumer and options in the query."""
    url = (
        f"{scheme}://a:b@localhost/?stream=S&consumer=c&filter_subjects=a,b&batch_size=7"
        "&create=true&workers=2&heartbeat=1&domain=hub&retry_after=2&max_deliveries=9"
    )
    adapter: Any = missive.adapter_from_url(url, missive.RawMessage, missive.Processor())
    assert (adapter.stream, adapter.consumer, adapter.create) == ("S", "c", True)
    assert (adapter.filter_subjects, adapter.batch_size) == (("a", "b"), 7)
    assert (adapter.workers, adapter.retry_after, adapter.max_deliveries) == (2, 2.0, 9)
    assert (adapter.servers.encrypted, adapter.servers.heartbeat) == (scheme == "tls", 1.0)
    for lacks in ("stream=S", "consumer=c"):
        with pytest.raises(missive.ConfigurationError, match="lacks"):
            missive.adapter_from_url(
                f"{scheme}://localhost/?{lacks}", missive.RawMessage, missive.Processor()
            )


@pytest.mark.parametrize("scheme", ["nats", "tls"])
def test_the_schemes_of_subjects_lead_here(scheme: str) -> None:
    """An adapter of plain subjects is built from a URL."""
    url = f"{scheme}+subjects://localhost/?subjects=a.*,b&queue=q&pending=7"
    adapter: Any = missive.adapter_from_url(url, missive.RawMessage, missive.Processor())
    assert (adapter.subjects, adapter.queue, adapter.pending) == (("a.*", "b"), "q", 7)
    assert adapter.servers.encrypted == (scheme == "tls")
    with pytest.raises(missive.ConfigurationError, match="subjects"):
        missive.adapter_from_url(
            f"{scheme}+subjects://localhost", missive.RawMessage, missive.Processor()
        )


def test_certificate_files_of_a_url_are_read_when_it_is_built(tmp_path: Path) -> None:
    """A certificate authority that is not there is refused; the system's are the default."""
    url = f"tls://localhost/?stream=S&consumer=c&cafile={tmp_path}/none"
    with pytest.raises(missive.ConfigurationError, match="certificate file"):
        NATSAdapter.from_url(url, missive.RawMessage, missive.Processor())


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (APIRefused(404, 10014, "consumer not found"), 10014),
        (APIRefused(404, 10059, "stream not found"), 10059),
        (APIRefused(503, 10039, "jetstream not enabled for account"), 10039),
        (APIRefused(400, 10012, "consumer config is not valid"), 10012),
        (errors.AuthorizationError(), 0),
        (errors.Error("nats: 'Authorization Violation'"), 0),
        (errors.Error('nats: permissions violation for publish to "$js.ack"'), 0),
        (errors.SecureConnWantedError(), 0),
        (ssl.SSLCertVerificationError("no"), 0),
        (ssl.SSLError(1, "[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] no"), 0),
    ],
)
def test_what_lasts_is_refused(error: Exception, code: int) -> None:
    """An answer that no new attempt mends ends the run, with its code."""
    if type(error) is ssl.SSLError:
        error.reason = "TLSV13_ALERT_CERTIFICATE_REQUIRED"
    with pytest.raises(NATSRefused) as caught:
        raise_lasting(error, build(), waits=False)
    assert caught.value.code == code


@pytest.mark.parametrize(
    "error",
    [
        APIRefused(404, 10014, "consumer not found"),
        APIRefused(404, 10059, "stream not found"),
        APIRefused(503, 10008, "JetStream system temporarily unavailable"),
        ServerSaid("Consumer Deleted"),
        errors.Error("nats: maximum connections exceeded"),
        errors.Error("nats: user authentication expired"),
        errors.StaleConnectionError(),
        errors.TimeoutError(),
        ConnectionRefusedError(),
    ],
)
def test_what_may_pass_is_tried_again(error: Exception) -> None:
    """A lost connection, and what may be made again, are no reason to end."""
    with pytest.raises(NATSUnavailable):
        raise_lasting(error, build(), waits=True)
