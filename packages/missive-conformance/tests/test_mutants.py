"""The kit is itself proved: it catches every mutant, and every check catches one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from missive_mutants import table
from missive_mutants.proof import KINDS, Job, Proof, check_ids, mutants_of, shortest_proof

MINIMUM = {"adapters": 25, "dlqs": 15}
CHOSEN = {kind: shortest_proof(mutants_of(kind)) for kind in KINDS}
#: How long one mutant may take, in seconds: it shares the machine with all others.
PATIENCE = 150.0


@pytest.fixture(scope="module")
def proof(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proof]:
    """Have each mutant judged by the checks that are chosen for it."""
    jobs: list[Job] = [(kind, name, ids) for kind in KINDS for name, ids in CHOSEN[kind].items()]
    proof = Proof(jobs, tmp_path_factory.mktemp("mutants"))
    yield proof
    proof.close()


@pytest.mark.parametrize(("name", "ids"), [pair for kind in KINDS for pair in CHOSEN[kind].items()])
def test_a_mutant_is_caught(name: str, ids: list[str], proof: Proof) -> None:
    """A mutant fails every check that is chosen to catch it."""
    outcomes = proof.outcomes(name, ids, PATIENCE)
    assert outcomes == dict.fromkeys(ids, "failed")


@pytest.mark.parametrize("kind", KINDS)
def test_every_check_has_a_mutant(kind: str) -> None:
    """Every check of a suite is the one that must catch some mutant."""
    mutants = mutants_of(kind)
    declared = {check for mutant in mutants.values() for check in mutant.caught_by}
    chosen = {check for ids in CHOSEN[kind].values() for check in ids}
    assert declared == set(check_ids(mutants))
    assert chosen == set(check_ids(mutants, stress=False))
    assert all(CHOSEN[kind].values())


@pytest.mark.parametrize("kind", KINDS)
def test_there_are_mutants_enough(kind: str) -> None:
    """There are no fewer mutants than the kit promises."""
    assert len(mutants_of(kind)) >= MINIMUM[kind]


def test_the_table_is_of_today() -> None:
    """The published table has the mutants and checks of today, and agrees with what must be."""
    found = table.read_found()
    declared = {name: mutant for kind in KINDS for name, mutant in mutants_of(kind).items()}
    assert set(found) == set(declared)
    missing = {
        name: set(mutant.caught_by) - set(found[name])
        for name, mutant in declared.items()
        if not set(mutant.caught_by) <= set(found[name])
    }
    assert not missing
    assert table.TABLE.read_text(encoding="utf-8") == table.render(found)


@pytest.mark.soak
def test_the_whole_table(tmp_path: Path) -> None:
    """Every mutant, judged by every check, is caught by all that must catch it; writes the table."""
    jobs: list[Job] = [
        (kind, name, check_ids(mutants_of(kind), stress=False))
        for kind in KINDS
        for name in mutants_of(kind)
    ]
    for kind, name, ids in jobs:
        ids += set(mutants_of(kind)[name].caught_by) - set(ids)
    proof = Proof(jobs, tmp_path)
    found: dict[str, list[str]] = {}
    for _, name, ids in jobs:
        outcomes = proof.outcomes(name, ids, 3600.0)
        found[name] = [check for check in ids if outcomes[check] == "failed"]
    proof.close()
    table.FOUND.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    table.TABLE.write_text(table.render(found), encoding="utf-8")
    for kind in KINDS:
        for name, mutant in mutants_of(kind).items():
            assert set(mutant.caught_by) <= set(found[name]), name
