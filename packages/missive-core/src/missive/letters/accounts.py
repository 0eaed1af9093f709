"""Accounts: what a store tells about its letters together, and about what was done to them."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from ..errors import ConfigurationError
from .actions import MAX_ACTION_IDS, Action
from .filters import LetterFilters, check_filters
from .groups import Group, group_letters
from .letter import LetterState
from .mapping import LetterMapping

if TYPE_CHECKING:
    from typing_extensions import Unpack

#: How many actions a store keeps that keeps them in memory.
_KEPT = 10_000
_lock = threading.Lock()


class LetterAccounts(LetterMapping):
    """Groups, counts over time, and the record of actions.

    What is here follows from the letters. A store that can count without reading them overrides
    :meth:`groups` and :meth:`tally`; one that outlives its process overrides :meth:`record` and
    :meth:`actions`.
    """

    _actions: deque[Action] | None = None

    def groups(
        self, *, limit: int | None = None, state: LetterState | None = "dead"
    ) -> list[Group]:
        """Group the letters by error type, handler and raising line, the most frequent first.

        :param limit: only this many groups.
        :param state: the letters to group; None groups those of both states.
        """
        return group_letters(self.letters(state=state), limit)

    def tally(self, times: Sequence[datetime], **filters: Unpack[LetterFilters]) -> list[int]:
        """Count the letters whose last failure is between each two consecutive times.

        :param times: at least two, aware and rising; a letter that failed at one of them is counted
            after it, as by ``since`` and ``until``.
        :param filters: only those that match, as in :meth:`letters`; without since and until.
        :returns: one count less than there are times.
        :raises ConfigurationError: times or filters make no sense.
        """
        check_tally(times, filters)
        counts = [0] * (len(times) - 1)
        bounded: LetterFilters = {**filters, "since": times[0], "until": times[-1]}
        for letter in self.letters(**bounded):
            counts[bisect_right(times, letter.last_failed) - 1] += 1
        return counts

    def record(self, action: Action) -> None:
        """Record what somebody did, as durably as letters are kept.

        Of more than MAX_ACTION_IDS ids the first are kept. Here an action ends with the process.

        :raises DeadLetterStoreError: it was not recorded.
        """
        with _lock:
            if self._actions is None:
                self._actions = deque(maxlen=_KEPT)
            newest = (self._actions[-1].number or 0) if self._actions else 0
            self._actions.append(
                action._replace(ids=action.ids[:MAX_ACTION_IDS], number=newest + 1)
            )

    def actions(self, *, limit: int = 100, before: int | None = None) -> list[Action]:
        """Return what was recorded, the newest first.

        :param limit: at most this many.
        :param before: only actions with a lower ``number``.
        """
        with _lock:
            newest_first = reversed(self._actions or ())
            found = [one for one in newest_first if before is None or (one.number or 0) < before]
        return found[: max(limit, 0)]


def check_tally(times: Sequence[datetime], filters: LetterFilters) -> None:
    """Refuse what cannot be counted by.

    :raises ConfigurationError: there are fewer than two times, one has no time zone or is before
        the one ahead of it, or a filter makes no sense.
    """
    check_filters({**filters, "since": None, "until": None})
    if filters.get("since") is not None or filters.get("until") is not None:
        raise ConfigurationError("tally() takes its bounds from the times; omit since and until")
    if len(times) < 2 or any(time.tzinfo is None for time in times):
        raise ConfigurationError("tally() needs two times or more, each with a time zone")
    if list(times) != sorted(times):
        raise ConfigurationError("the times of tally() must rise")
