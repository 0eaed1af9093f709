"""Discretion: what boto3 would log of the content of messages."""

from __future__ import annotations

import logging

#: The names of the threads that poll begin so.
THREADS = "missive-sqs-receiver"


class _WithoutBodies(logging.Filter):
    """Drops the bodies of answers to polls, which botocore logs at DEBUG."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record may be logged."""
        of_poll = str(record.threadName).startswith(THREADS)
        return not (of_poll and str(record.msg).startswith("Response body"))


_FILTER = _WithoutBodies()


def keep_bodies_out_of_logs() -> None:
    """Keep the answers to polls out of botocore's log; those to other calls stay in it."""
    logging.getLogger("botocore.parsers").addFilter(_FILTER)
