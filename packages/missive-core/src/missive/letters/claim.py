"""Claims: the right to handle a letter for a while, and its delivery meanwhile."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from ..delivery import Delivery
from ..errors import ConfigurationError
from .letter import DeadLetter, host_name

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


class ClaimedDelivery(Delivery):
    """A claimed letter on its way to its handler.

    :param settler: settles it, in the store that it came from.

    :ivar letter: its record, as it stood when it was claimed.
    :ivar claim: the right to handle it.
    """

    def __init__(self, letter: DeadLetter, claim: Claim, settler: Any) -> None:
        # Failures are counted, but neither nacks nor the replays that a crash ended: so there is no
        # delivery count.
        id = letter.message_id or letter.id
        super().__init__(letter.raw_data, id, letter.headers, letter.source, None, letter)
        self.letter = letter
        self.claim = claim
        self.settler = settler
        if letter.state == "deferred":
            self.attempt = letter.attempt + 1

    def continued(self, letter: DeadLetter) -> DeadLetter:
        """Return the letter of another failure as one of the letter that is handled.

        :param letter: the record of the failure, whatever the handler did to the message.
        """
        id, raw_data, source = self.letter.id, self.letter.raw_data, self.letter.source
        message_id = self.letter.message_id
        return letter._replace(id=id, raw_data=raw_data, source=source, message_id=message_id)


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
