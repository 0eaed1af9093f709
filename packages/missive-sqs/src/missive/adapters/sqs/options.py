"""Options: those of the adapter that cannot work are refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from missive import ConfigurationError
from missive.polling import check_count

from .leases import LONGEST
from .outbox import BATCH

#: The longest that a poll of SQS waits, in seconds.
LONGEST_WAIT = 20
#: The most receivers: beyond this a process has no processor left for them.
MOST_RECEIVERS = 100


def check_options(
    adapter: object,
    *,
    queue_url: object,
    visibility: object,
    wait_time: object,
    batch_size: object,
    receivers: object,
    retry_after: object,
    max_deliveries: object,
    body_encoding: object,
) -> None:
    """Refuse options that cannot work.

    :raises ConfigurationError: one of them cannot.
    """
    name = type(adapter).__name__
    if not isinstance(queue_url, str):
        raise ConfigurationError(
            f"queue_url of {name} must be the URL or the name of a queue, not {queue_url!r}"
        )
    whole: list[tuple[str, object, int | None]] = [
        ("visibility", visibility, LONGEST),
        ("wait_time", wait_time, LONGEST_WAIT),
        ("batch_size", batch_size, BATCH),
        ("receivers", receivers, MOST_RECEIVERS),
    ]
    if max_deliveries is not None:
        whole.append(("max_deliveries", max_deliveries, None))
    for option, given, most in whole:
        check_count(adapter, option, given, most)
    is_number = isinstance(retry_after, (int, float)) and not isinstance(retry_after, bool)
    if not is_number or not 0 <= float(str(retry_after)) <= LONGEST:
        raise ConfigurationError(
            f"retry_after of {name} must be 0 to {LONGEST} seconds, not {retry_after!r}"
        )
    if body_encoding not in (None, "base64"):
        raise ConfigurationError(
            f"body_encoding of {name} must be 'base64' or None, not {body_encoding!r}"
        )


def check_retries(name: str, processor: Any, max_deliveries: int | None) -> None:
    """Refuse a policy whose attempts would be cut short, since each is a delivery.

    :param processor: the processor, whose handlers are known when it runs.
    :raises ConfigurationError: ``max_deliveries`` is less than the attempts.
    """
    most = most_attempts(processor)
    if max_deliveries is not None and most > max_deliveries:
        raise ConfigurationError(
            f"a Retry makes {most} attempts, each of which is a delivery, but max_deliveries of"
            f" {name} is {max_deliveries}; raise it"
        )


def most_attempts(processor: Any) -> int:
    """Return the most attempts that a policy makes by having SQS deliver the message again."""
    policies = [handler.retry or processor.retry for handler in processor.router.handlers]
    counted: Sequence[int] = [
        retry.attempts for retry in policies if retry is not None and not retry.in_order
    ]
    return max(counted, default=1)
