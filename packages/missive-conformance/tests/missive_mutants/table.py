"""The table of which check caught which mutant; written anew by the soak test."""

from __future__ import annotations

import json
from pathlib import Path

from .proof import KINDS, check_ids, mutants_of

HERE = Path(__file__).resolve().parents[1]
#: What the last whole run found: the ids of the checks that failed, by mutant.
FOUND = HERE / "caught.json"
TABLE = HERE.parent / "MUTANTS.md"

TITLES = {"adapters": "Broken adapters", "dlqs": "Broken dead letter stores"}


def read_found() -> dict[str, list[str]]:
    """Return what the last whole run found."""
    found: dict[str, list[str]] = json.loads(FOUND.read_text(encoding="utf-8"))
    return found


def render(found: dict[str, list[str]]) -> str:
    """Return the table in Markdown."""
    lines = [
        "# Which check caught which mutant",
        "",
        "The kit is proved by classes that are broken on purpose, one mistake each. Every mutant must",
        "be caught by a check at least, and every check must catch a mutant. This table is generated:",
        "`python -m pytest packages/missive-conformance -m soak -k table` writes it anew.",
    ]
    for kind in KINDS:
        mutants = mutants_of(kind)
        lines += ["", f"## {TITLES[kind]} ({len(mutants)})", "", "| Mutant | Mistake | Caught by |"]
        lines.append("| --- | --- | --- |")
        for name, mutant in mutants.items():
            ids = ", ".join(found.get(name, ()))
            lines.append(f"| `{name}` | {mutant.what} | {ids} |")
        lines += ["", "| Check | Catches |", "| --- | --- |"]
        for check_id in check_ids(mutants):
            names = [f"`{name}`" for name in mutants if check_id in found.get(name, ())]
            lines.append(f"| {check_id} | {', '.join(names)} |")
    return "\n".join(lines) + "\n"
