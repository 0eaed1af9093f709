"""The report: what a run found out, as a file, as a summary, and as a table for documentation."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from missive import Capabilities

from .__about__ import __version__
from .styles import PLAIN

#: How a cell of the capability matrix shows what is simply there or not.
YES, NO = "yes", "no"
#: A check that takes longer is named in the summary, in seconds.
SLOW = 5.0


class Report:
    """The results of a run, by class under test and check.

    ``subjects`` goes from the name of a class to its kind, its capabilities and its checks; it is
    what ``conformance.json`` holds.
    """

    def __init__(self, profiles: Iterable[str]) -> None:
        self.profiles = sorted(profiles)
        self.subjects: dict[str, dict[str, Any]] = {}
        #: What the ledgers of fault runs said, one line each.
        self.accounts: list[str] = []

    def add(
        self, found: Mapping[str, Any], outcome: str, detail: str, seconds: float = 0.0
    ) -> None:
        """Add the result of one check.

        :param found: what :func:`describe_check` gave.
        :param seconds: how long it took.
        """
        subject = self.subjects.setdefault(
            found["subject"],
            {"kind": found["kind"], "capabilities": found["capabilities"], "checks": {}},
        )
        checks = subject["checks"]
        former = checks.get(found["id"])
        if former is not None and former["outcome"] == "failed":
            return  # a failed test's teardown does not mend it
        checks[found["id"]] = {
            "outcome": outcome,
            "detail": detail,
            "asks": found["asks"],
            "since": found["since"],
            "seconds": round(seconds, 1),
        }

    def slow(self, subject: str) -> list[str]:
        """Name the checks of one class that took long, the slowest first."""
        rows: dict[str, dict[str, Any]] = self.subjects[subject]["checks"]
        found = [(row["seconds"], check_id) for check_id, row in rows.items()]
        return [
            f"{check_id} {seconds:g} s"
            for seconds, check_id in sorted(found, reverse=True)
            if seconds > SLOW
        ]

    def counts(self, subject: str) -> Counter[str]:
        """Count the outcomes of one class."""
        return Counter(row["outcome"] for row in self.subjects[subject]["checks"].values())

    def skipped(self, subject: str) -> dict[str, str]:
        """Return what was skipped for one class, by id, with the reasons."""
        return {
            check_id: row["detail"]
            for check_id, row in sorted(self.subjects[subject]["checks"].items(), key=_in_number)
            if row["outcome"] == "skipped"
        }

    def summary(self) -> Iterator[str]:
        """Return the lines of the closing summary."""
        for name in sorted(self.subjects):
            counts = self.counts(name)
            told = ", ".join(f"{counts[outcome]} {outcome}" for outcome in sorted(counts))
            yield f"{name}: {told}"
            reasons: dict[str, list[str]] = {}
            for check_id, reason in self.skipped(name).items():
                reasons.setdefault(reason, []).append(check_id)
            for reason, ids in sorted(reasons.items()):
                yield f"  skipped, because {reason}: {', '.join(ids)}"
            if slow := self.slow(name):
                yield f"  slow: {', '.join(slow)}"
        yield from self.accounts

    def as_json(self) -> dict[str, Any]:
        """Return the whole report as JSON can hold it."""
        return {
            "kit": __version__,
            "profiles": self.profiles,
            "subjects": dict(sorted(self.subjects.items())),
            "accounts": self.accounts,
        }

    def write(self, path: Path) -> None:
        """Write ``conformance.json``."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.as_json(), indent=2) + "\n", encoding="utf-8")


def _in_number(check: tuple[str, Any]) -> tuple[str, int]:
    """Return the sort key of a check: D20 before D100."""
    check_id = check[0]
    return check_id[0], int(check_id[1:])


def describe_check(suite: Any, point: Any, style: str | None = None) -> dict[str, Any]:
    """Say which check of which class a test is, in a form that crosses processes.

    :param style: how the handlers are written; what the suite says unless given.
    """
    subject: type = suite.subject()
    style = style or getattr(suite, "handlers", PLAIN)
    capabilities = getattr(subject, "capabilities", None)
    known = asdict(capabilities) if isinstance(capabilities, Capabilities) else None
    return {
        "subject": subject.__name__ if style == PLAIN else f"{subject.__name__}, {style}",
        "kind": "adapter" if known is not None else "dlq",
        "capabilities": known,
        "id": point.id,
        "asks": point.sentence,
        "since": point.since,
    }


def unrecorded_skips(report: Report, recorded: Mapping[str, Iterable[str]]) -> list[str]:
    """Name the skips that nobody has agreed to: the gate for continuous integration.

    :param recorded: for each class under test, the ids that may be skipped.
    :returns: one line for each class that skips more than was recorded.
    """
    lines: list[str] = []
    for name in sorted(report.subjects):
        agreed = set(recorded.get(name, ()))
        more = [
            f"{check_id} ({reason})"
            for check_id, reason in report.skipped(name).items()
            if check_id not in agreed
        ]
        if more:
            told = ", ".join(more)
            lines.append(f"{name} skips {len(more)} more than recorded: {told}")
    return lines


def capability_matrix(classes: Mapping[str, Capabilities | Mapping[str, Any]]) -> str:
    """Return the table of what each adapter promises, in Markdown.

    :param classes: the capabilities of each adapter, by the name that heads its column.
    """
    columns = {
        name: given if isinstance(given, Mapping) else asdict(given)
        for name, given in classes.items()
    }
    lines = [
        "| | " + " | ".join(columns) + " |",
        "| --- |" + " --- |" * len(columns),
    ]
    for field in fields(Capabilities):
        cells = [_cell(column[field.name]) for column in columns.values()]
        lines.append(f"| `{field.name}` | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def matrix_of_report(path: Path) -> str:
    """Return the capability matrix of the adapters in a ``conformance.json``, in Markdown."""
    subjects = json.loads(path.read_text(encoding="utf-8"))["subjects"]
    return capability_matrix(
        {
            name: subject["capabilities"]
            for name, subject in subjects.items()
            if subject["kind"] == "adapter"
        }
    )


def _cell(value: object) -> str:
    if value is True:
        return YES
    if value is False or value is None:
        return NO
    return f"{value:,}" if isinstance(value, int) else str(value)
