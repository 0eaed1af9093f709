"""The page on PostgreSQL, and two pages of one store at once."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from missive import DeadLetterStore, JSONMessage, Processor, otherwise
from missive.dlq.sqlite import SQLiteDLQ
from missive.web import DeadLetterApp

sys.path.insert(
    0, str(Path(__file__).resolve().parents[2] / "packages/missive-dlq-postgresql/tests")
)

from page_tools import Page, letter, make_processor
from test_safety import hostile_letters

postgresql = pytest.importorskip("postgresql_fixtures")
#: As fixtures of these tests.
server, database, open_postgresql = postgresql.server, postgresql.database, postgresql.store

Opens = Callable[[], DeadLetterStore]


@pytest.fixture(params=["sqlite", "postgresql"])
def opens(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opens]:
    """What opens one and the same store, again and again."""
    if request.param == "postgresql":
        yield request.getfixturevalue("open_postgresql")
        return
    with SQLiteDLQ(tmp_path / "letters.db", synchronous="OFF") as kept:
        yield lambda: SQLiteDLQ(kept.path, synchronous="OFF")


def test_every_action_works_on_postgresql(open_postgresql: Callable[..., Any]) -> None:
    """Letters are found, tried, replayed, deleted, brought back and purged; it is on record."""
    store = open_postgresql()
    store.put_many(letter(number, "pen" if number < 4 else "ink") for number in range(6))
    with DeadLetterApp(store, processor=make_processor(), message_cls=JSONMessage) as app:
        page = Page(app)
        assert "6</b> dead" in page.get("/").text
        assert "6 would go to" in page.do("replay", "dry-run")
        assert "1 acked" in page.do("replay", "canary")
        assert "3 acked" in page.do("replay", "replay", text="pen")
        assert "2 deleted" in page.do("delete")
        job = page.last.request.path
        assert "2 brought back" in page.wait(page.post(f"{job}/undo").headers["Location"])
        assert "2 purged" in page.do("purge", older="0", unit="days")
        assert "2 purged" in page.get("/actions").text
    assert len(store) == 0


def test_hostile_letters_on_postgresql(open_postgresql: Callable[..., Any]) -> None:
    """Whatever letters hold, and whatever is asked for, no page is a fault."""
    store = open_postgresql()
    store.put_many(hostile_letters())
    page = Page(DeadLetterApp(store, processor=make_processor(), message_cls=JSONMessage))
    addresses = ["/", "/letters", "/letters?group=9", "/letters?group=x", "/letters?text=%00"]
    addresses += ["/letters?handler=%00", "/letters?source=%ff", "/letters?id=%00", "/letters/@3"]
    addresses += [f"/letters/{one.id.hex()}" for one in store.letters()]
    for address in addresses:
        assert page.get(address).status_code in (200, 400, 404), address


def test_two_pages_replay_one_store(opens: Opens) -> None:
    """While letters arrive, each is handled by one of two pages, once."""
    handled: Counter[bytes] = Counter()
    lock = threading.Lock()

    def serve() -> tuple[DeadLetterApp, Page]:
        processor: Processor[JSONMessage] = Processor()

        @processor.handle_for(otherwise)
        def handle(message: JSONMessage, ctx: Any) -> None:
            with lock:
                handled[message.message_id] += 1
            ctx.ack()

        app = DeadLetterApp(opens(), processor=processor, message_cls=JSONMessage)
        return app, Page(app)

    store = opens()
    store.put_many(letter(number) for number in range(300))
    pages = [serve() for _ in range(2)]
    plans = [page.plan("replay") for _, page in pages]
    jobs = [
        page.post(plan, how="replay").headers["Location"]
        for (_, page), plan in zip(pages, plans, strict=True)
    ]
    for number in range(300, 320):
        store.put(letter(number))
    for (app, page), job in zip(pages, jobs, strict=True):
        assert "Done." in page.wait(job)
        app.close()
    assert handled == Counter({b"order-%d" % number: 1 for number in range(300)})
    assert len(store) == 20
    for app, _ in pages:
        app.store.close()
