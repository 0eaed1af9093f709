"""Letters that move between SQLite and PostgreSQL by the missive command."""

from __future__ import annotations

from datetime import timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from missive import DeadLetter, DeadLetterStore, RawMessage, dlq_from_url
from missive.cli.command import missive as command
from missive.cli.options import Settings
from missive.letters import Failure, received_letter
from postgresql_server import PostgreSQLServer

texts = st.text(st.characters(exclude_categories=()), max_size=20)
moments = st.datetimes(timezones=st.just(timezone.utc))
stages = st.sampled_from(["decoding", "matching", "handling", "settling"])
maybe = st.none() | texts
ids = st.binary(max_size=20) | st.binary(min_size=1020, max_size=1030)
failures = st.builds(Failure, moments, stages, texts, maybe, maybe)


def fields(state: str) -> dict[str, Any]:
    """Return the strategies of a letter's fields."""
    return {
        "id": ids,
        "raw_data": st.binary(max_size=50) | st.text(max_size=20).map(str.encode),
        "reason": texts,
        "stage": stages,
        "first_failed": moments,
        "last_failed": moments,
        "message_id": ids,
        "headers": st.dictionaries(texts, texts, max_size=3),
        "source": maybe,
        "message_class": maybe,
        "error_type": maybe,
        "traceback": maybe,
        "handler": maybe,
        "failures": st.integers(0, 10**12),
        "history": st.lists(failures, max_size=3).map(tuple),
        "host": texts,
        "version": texts,
        "state": st.just(state),
        "due": st.none() if state == "dead" else moments,
        "attempt": st.integers(0, 10**12),
    }


letters = st.one_of(
    st.builds(DeadLetter, **fields("dead")), st.builds(DeadLetter, **fields("deferred"))
)


def move(source: str, target: str, file: Path) -> None:
    """Export all letters of a store to a file, and import them into another."""
    for args in (
        ["dlq", "export", source, "--state", "all", "--output", str(file)],
        ["dlq", "import", target, str(file)],
    ):
        command.main(args=args, standalone_mode=False, obj=Settings())


def contents(store: DeadLetterStore) -> list[DeadLetter]:
    """Return the letters of a store; positions are each store's own."""
    return [letter._replace(position=None) for letter in store.letters(state=None)]


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_nothing_is_lost_between_stores(
    server: PostgreSQLServer, database: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Any letters, exported from SQLite and imported into PostgreSQL and back, are what they were."""
    there = server.url(database)

    @settings(max_examples=25, suppress_health_check=list(HealthCheck))
    @given(st.lists(letters, max_size=5, unique_by=lambda letter: letter.id))
    def moved(given_letters: list[DeadLetter]) -> None:
        folder = tmp_path_factory.mktemp("moving")
        here, back = (f"sqlite:///{folder}/{name}.db" for name in ("here", "back"))
        with dlq_from_url(here) as store:
            store.restore_many([*given_letters, received_letter(RawMessage(b"received"))])
            expected = contents(store)
        with dlq_from_url(there) as store:
            store.clear()
            store.give_up()
            store.clear()
        move(here, there, folder / "letters.jsonl")
        with dlq_from_url(there) as store:
            assert contents(store) == expected
        move(there, back, folder / "again.jsonl")
        with dlq_from_url(back) as store:
            assert contents(store) == expected

    moved()


def test_migrate(
    server: PostgreSQLServer, database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """``dlq migrate`` makes the table, and may be run again; other commands make none."""
    url = server.url(database).replace("postgresql:///", "postgresql://:secret@/")
    for _ in range(2):
        command.main(args=["dlq", "migrate", url], standalone_mode=False, obj=Settings())
    shown = capsys.readouterr().err
    assert "up to date" in shown
    assert "secret" not in shown
    assert server.execute("SELECT version FROM missive_letters_version", database) == [(1,)]
    command.main(args=["dlq", "migrate", "--json", url], standalone_mode=False, obj=Settings())
    assert capsys.readouterr().out.replace(" ", "").strip() == '{"dead":0,"deferred":0}'
