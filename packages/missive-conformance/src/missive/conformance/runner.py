"""The runner: judges a suite without pytest, for programs and for the kit's own proof."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .contract import BrokerMissing, Check, ContractBroken, checks_in, wanted_by
from .harness import unmet
from .styles import PLAIN


@dataclass(frozen=True)
class Result:
    """How one check went.

    :ivar outcome: ``"passed"``, ``"failed"`` or ``"skipped"``.
    :ivar detail: what was seen, or what is missing.
    """

    check: Check
    outcome: str
    detail: str = ""


def judge(
    suite: Any,
    *,
    profiles: Collection[str] = ("quick",),
    ids: Collection[str] | None = None,
) -> Iterator[Result]:
    """Run the checks of a suite one by one, and give their results as they come.

    :param suite: a subclass of ``AdapterConformance`` or ``DLQConformance``.
    :param profiles: the profiles to run.
    :param ids: run only these checks, whatever their profile.
    :raises BrokerMissing: the harness found no server.
    """
    wanted = wanted_by(profiles)
    try:
        for name, point in checks_in(suite):
            if point.id in ids if ids is not None else point.profile in wanted:
                yield _judge_one(suite, name, point)
    finally:
        suite.harness.close_all()


def skips_of(suite: Any) -> dict[str, str]:
    """Say what a suite skips, in whatever profile, because of what the class under test denies.

    :returns: the reasons, by the ids of the checks. Keep it, and compare: a capability that was
        given up, or a harness that offers less, shows as a longer list.
    """
    reasons = {point.id: _unmet(suite, point) for _, point in checks_in(suite)}
    return {check_id: reason for check_id, reason in reasons.items() if reason is not None}


def _unmet(suite: Any, point: Check) -> str | None:
    return unmet(point.needs, suite.harness, getattr(suite, "handlers", PLAIN))


def _judge_one(suite: Any, name: str, point: Check) -> Result:
    reason = _unmet(suite, point)
    if reason is not None:
        return Result(point, "skipped", reason)
    # What a broken adapter left running may still write while its folder is removed.
    with tempfile.TemporaryDirectory(prefix="missive-", ignore_cleanup_errors=True) as folder:
        try:
            with suite.open_lab(Path(folder)) as lab:
                getattr(suite(), name)(lab)
        except BrokerMissing:
            raise
        except ContractBroken as broken:
            return Result(point, "failed", broken.seen)
        except Exception as error:
            return Result(point, "failed", f"{type(error).__name__} was raised")
    return Result(point, "passed")
