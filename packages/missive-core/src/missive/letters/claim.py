"""Claims: the right to handle a letter for a while."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from typing import NamedTuple

from ..errors import ConfigurationError
from .letter import host_name

#: How long a claim may hold without being renewed, in seconds: thirty days.
MAX_LEASE = 30 * 86_400


class Claim(NamedTuple):
    """The right to handle one letter until it expires.

    :ivar token: tells this claim from every other.
    :ivar failures: how often the letter had failed when it was claimed; a letter that failed again
        since is not removed by this claim.
    :ivar expires: when the right ends, in UTC.
    :ivar owner: who holds it, for people: a process and its machine; empty where that is unknown.
    """

    id: bytes
    token: str
    failures: int
    expires: datetime
    owner: str = ""


def check_lease(lease: float) -> timedelta:
    """Return a lease as a span of time, or refuse one that no claim should have.

    :param lease: in seconds.
    :raises ConfigurationError: it is negative, or longer than MAX_LEASE.
    """
    if not 0 <= lease <= MAX_LEASE:
        raise ConfigurationError(
            f"a lease must be 0 to {MAX_LEASE} s, not {lease!r}; renew a claim to hold it for longer"
        )
    return timedelta(seconds=lease)


def this_process() -> str:
    """Return the name of this process as the owner of a claim."""
    return f"process {os.getpid()} on {host_name()}"
