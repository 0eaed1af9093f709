"""What can be done on the page."""

from __future__ import annotations

import json
import threading
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from missive import (
    DeadLetterStore,
    DeadLetterStoreError,
    JSONMessage,
    MemoryDLQ,
    Processor,
    otherwise,
)
from missive.web import DeadLetterApp
from missive.web.jobs import Job
from page_tools import DEADLINE, HOUR, Page, letter, make_processor, text_of, wait_until


def test_a_dry_run_says_where_letters_would_go(page: Page, store: DeadLetterStore) -> None:
    """No handler is called, nothing is changed, and what would fail is named."""
    store.put(letter(9, raw_data=b'{"event": "refund"}'))
    said = page.do("replay", "dry-run")
    assert "6 would go to page_tools.make_processor.<locals>.reserve" in said
    assert "1 would find no handler" in said
    assert "order-9 would find no handler" in said
    assert len(store) == 7
    assert store.actions() == []
    assert "Continue to replay" in said


def test_a_replay_removes_what_is_acked(page: Page, store: DeadLetterStore) -> None:
    """Acked letters leave the store, the others stay with one failure more; it is on record."""
    store.put(letter(9, raw_data=b'{"event": "nack"}'))
    said = page.do("replay", "replay")
    assert "4 acked" in said
    assert "2 failed again" in said
    assert "1 nacked" in said
    assert "order-4 failed again in page_tools.make_processor.<locals>.reserve: OutOfStock" in said
    assert sorted(store) == [b"order-4", b"order-5", b"order-9"]
    assert store.letter(b"order-4").failures == 2
    ended, began = store.actions()
    assert (began.who, began.what, began.letters, began.result) == ("local", "replay", 7, "began")
    assert ended.result == "4 acked, 2 failed again, 1 nacked"
    assert set(ended.ids) == {b"order-%d" % number for number in (0, 1, 2, 3, 4, 5, 9)}
    assert "4 acked, 2 failed again" in text_of(page.get("/actions"))


def test_a_canary_tries_one_of_each_group(page: Page, store: DeadLetterStore) -> None:
    """The other letters of the groups that passed can then be replayed, and no others."""
    said = page.do("replay", "canary")
    assert "1 acked 1 failed again" in said
    assert sorted(store) == [b"order-%d" % number for number in (1, 2, 3, 4, 5)]
    assert store.letter(b"order-5").failures == 1
    job = page.last.request.path
    plan = page.post(f"{job}/rest").headers["Location"]
    assert "the groups that passed" in page.get(plan).text
    said = page.wait(page.post(plan, how="replay").headers["Location"])
    assert "3 acked" in said
    assert sorted(store) == [b"order-4", b"order-5"]


def test_a_selection_is_what_is_replayed(page: Page, store: DeadLetterStore) -> None:
    """Ticked letters, or those of the page, and no others."""
    said = page.do("replay", "replay", scope="selected", key=[b"order-1".hex(), b"order-3".hex()])
    assert "2 acked" in said
    assert sorted(store) == [b"order-%d" % number for number in (0, 2, 4, 5)]
    said = page.do("replay", "replay", scope="page", shown=[b"order-0".hex()])
    assert "1 acked" in said
    assert page.post("/plan", do="replay", scope="selected").status_code == 400
    assert "No letter is selected" in page.last.text


def test_one_selected_letter_is_one_letter(page: Page) -> None:
    """What was selected is said in the singular where it is one."""
    said = text_of(page.get(page.plan("delete", scope="selected", key=[b"order-1".hex()])))
    assert "Delete 1 letter? 1 selected dead letter. " in said


def test_a_group_or_filter_is_what_is_replayed(page: Page, store: DeadLetterStore) -> None:
    """The filters of the list choose the letters of an action, the text included."""
    group = next(one for one in store.groups() if one.letters == 4).kind.digits()
    plan = page.plan("replay", group=group, text="1 of pen")
    assert "Replay 1 letter?" in text_of(page.get(plan))
    said = page.wait(page.post(plan, how="replay").headers["Location"])
    assert "1 acked" in said
    assert b"order-1" not in store


def test_only_what_was_shown_is_touched(page: Page, store: DeadLetterStore) -> None:
    """What arrives or fails again between the question and the answer is left alone."""
    plan = page.plan("delete")
    assert "Delete 6 letters?" in text_of(page.get(plan))
    store.put(letter(10))
    store.put(letter(0))
    said = page.wait(page.post(plan).headers["Location"])
    assert "5 deleted" in said
    assert "1 changed or left the store meanwhile" in said
    assert sorted(store) == [b"order-0", b"order-10"]


def test_what_another_person_did_meanwhile_is_said(page: Page, store: DeadLetterStore) -> None:
    """Two people choose the same letters: the second is told that nothing was left to do."""
    first, second = page.plan("delete"), page.plan("delete")
    assert "6 deleted" in page.wait(page.post(first).headers["Location"])
    said = page.wait(page.post(second).headers["Location"])
    assert "6 changed or left the store meanwhile" in said
    assert "No letters are left to act on" in page.get(page.plan("delete")).text


def test_a_plan_is_carried_out_once(page: Page, store: DeadLetterStore) -> None:
    """Sending the same form again shows what became of it; so does going back."""
    plan = page.plan("delete", id="order-4")
    job = page.post(plan).headers["Location"]
    page.wait(job)
    store.put(letter(4, "ink"))
    assert page.post(plan).headers["Location"] == job
    assert page.get(plan).headers["Location"] == job
    assert b"order-4" in store
    assert page.post("/plan/nonsense").status_code == 409
    assert page.get("/plan/nonsense").status_code == 404


def test_a_deletion_can_be_undone(page: Page, store: DeadLetterStore) -> None:
    """Letters come back as they were; one whose message failed again since stays as it is."""
    before = {one.id: one._replace(position=None) for one in store.letters()}
    assert "6 deleted Undo for another" in page.do("delete")
    job = page.last.request.path
    assert len(store) == 0
    store.put(letter(2, raw_data=b"it failed again"))
    said = page.wait(page.post(f"{job}/undo").headers["Location"])
    assert "5 brought back 1 back already, by another failure" in said
    assert store.letter(b"order-2").raw_data == b"it failed again"
    after = {one.id: one._replace(position=None) for one in store.letters()}
    assert {id: one for id, one in after.items() if id != b"order-2"} == {
        id: one for id, one in before.items() if id != b"order-2"
    }
    assert page.post(f"{job}/undo").status_code == 409
    assert [one.what for one in store.actions()] == ["undo", "delete"]


def test_a_job_that_ends_while_its_page_is_made_is_shown_as_running(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page is about one moment, so it asks again and finds what can be done then."""
    page.do("delete")
    job = page.last.request.path
    found = page.app.jobs.get(job.rpartition("/")[2])
    assert found is not None
    found.over.clear()

    def end_meanwhile() -> float:
        assert found is not None
        found.over.set()
        return 0.0

    monkeypatch.setattr(found, "undo_left", end_meanwhile)
    assert "data-over" not in page.get(f"{job}/progress").text
    monkeypatch.undo()
    assert "data-over" in page.get(f"{job}/progress").text


def test_after_a_minute_it_is_too_late(
    page: Page, store: DeadLetterStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deleted letters are let go of, and the page says so."""
    page.do("delete")
    job = page.last.request.path
    monkeypatch.setattr("missive.web.jobs.UNDO_SECONDS", 0.0)
    assert "Undo" not in text_of(page.get(job))
    assert page.post(f"{job}/undo").status_code == 409
    found = page.app.jobs.get(job.rpartition("/")[2])
    assert found is not None
    assert found.removed == []


@pytest.mark.parametrize("limit", ["UNDOABLE", "UNDOABLE_BYTES"])
def test_too_many_to_be_undone(
    page: Page, store: DeadLetterStore, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    """Where letters are too many or too large to be kept, the page says so before."""
    monkeypatch.setattr(f"missive.web.plans.{limit}", 5)
    plan = page.plan("delete")
    assert "This cannot be undone" in page.get(plan).text
    said = page.wait(page.post(plan).headers["Location"])
    assert "6 deleted" in said
    assert "Undo" not in said


def test_a_letter_in_flight_is_not_deleted(page: Page, store: DeadLetterStore) -> None:
    """A letter that a replay has just now stays: brought back later, it would be handled twice."""
    claimed = store.claim(b"order-1")
    assert claimed is not None
    said = page.do("delete")
    assert "5 deleted" in said
    assert "1 left alone: claimed elsewhere" in said
    assert store.remove(claimed[0])


def test_old_letters_are_purged(page: Page, store: DeadLetterStore) -> None:
    """Those whose last failure is longer ago, for good."""
    old = datetime.now(timezone.utc) - timedelta(days=40)
    store.put(letter(20, first_failed=old, last_failed=old))
    plan = page.plan("purge", older="30", unit="days")
    assert "Purge 1 letter?" in text_of(page.get(plan))
    assert "1 purged" in page.wait(page.post(plan).headers["Location"])
    assert store.actions()[0].ids == (b"order-20",)
    assert len(store) == 6
    for older in ("", "x", "-1", "1.5", "٣", "9999999"):
        assert page.post("/plan", do="purge", older=older).status_code == 400
    assert "999,999" not in text_of(page.get(page.plan("purge", older="999999", unit="weeks")))


def test_deferred_messages_are_retried_or_given_up(page: Page, store: DeadLetterStore) -> None:
    """Retried now they are due; given up they are dead letters."""
    due = datetime.now(timezone.utc) + HOUR
    store.defer([letter(n, id=b"later-%d" % n, state="deferred", due=due) for n in range(3)])
    assert "later-2" in page.get("/letters?state=deferred").text
    said = page.do("retry", state="deferred", scope="selected", key=b"later-0".hex())
    assert "1 due now" in said
    assert store.counts().due == 1
    assert "3 given up" in page.do("give-up", state="deferred")
    assert store.counts().deferred == 0
    assert len(store) == 9


def test_a_replay_keeps_to_its_rate_and_can_be_stopped(store: DeadLetterStore) -> None:
    """At a low rate few letters are handled, and a stop ends it at once."""
    handled = threading.Event()
    processor: Processor[JSONMessage] = Processor()

    @processor.handle_for(otherwise)
    def handle(message: JSONMessage, ctx: Any) -> None:
        handled.set()
        ctx.ack()

    with DeadLetterApp(store, processor=processor, message_cls=JSONMessage) as app:
        page = Page(app)
        plan = page.plan("replay")
        assert page.post(plan, how="replay", rate="soup").status_code == 400
        job = page.post(plan, how="replay", rate="0.001").headers["Location"]
        assert handled.wait(DEADLINE)
        name = job.rpartition("/")[2]
        found = app.jobs.get(name)
        assert found is not None
        wait_until(lambda: found.done == 1)
        assert "1 of 6" in text_of(page.get(f"{job}/progress"))
        assert "Replay of all dead letters by local" in page.get("/").text
        assert page.post(f"{job}/stop").status_code == 303
        assert "Stopped. 16 % 1 acked" in page.wait(job)
        assert len(store) == 5


def test_one_replay_at_a_time(store: DeadLetterStore) -> None:
    """Handlers may not expect two: the second person is told who replays what."""
    begun, go_on = threading.Event(), threading.Event()
    processor: Processor[JSONMessage] = Processor()

    @processor.handle_for(otherwise)
    def handle(message: JSONMessage, ctx: Any) -> None:
        begun.set()
        assert go_on.wait(DEADLINE)
        ctx.ack()

    with DeadLetterApp(store, processor=processor, message_cls=JSONMessage) as app:
        first, second = Page(app), Page(app)
        job = first.post(first.plan("replay"), how="replay").headers["Location"]
        assert begun.wait(DEADLINE)
        plan = second.plan("replay")
        assert second.post(plan, how="replay").status_code == 409
        assert "local is replaying all dead letters" in second.last.text
        go_on.set()
        first.wait(job)
        said = second.wait(second.post(plan, how="replay").headers["Location"])
        assert "6 left alone" in said or "There was nothing to do" in said
    assert len(store) == 0


def test_a_handler_that_ends_the_program_ends_the_job_alone(store: DeadLetterStore) -> None:
    """The page goes on, says what happened without content, and the letter stays."""
    processor: Processor[JSONMessage] = Processor()

    @processor.before_processing
    def connect(ctx: Any) -> None:
        raise LookupError("secret content")

    @processor.handle_for(otherwise)
    def handle(message: JSONMessage, ctx: Any) -> None:
        ctx.ack()

    with DeadLetterApp(store, processor=processor, message_cls=JSONMessage) as app:
        page = Page(app)
        said = page.do("replay", "replay")
        assert "It ended early." in said
        assert "LookupError at" in said
        assert "secret content" not in page.last.text
    assert len(store) == 6


def test_letters_are_exported(page: Page, store: DeadLetterStore) -> None:
    """As JSON Lines: all that match, or the selected ones; and one as a test."""
    lines = page.get("/export.jsonl?text=ink").text.splitlines()
    assert sorted(json.loads(line)["id"] for line in lines) == ["order-4", "order-5"]
    page.post("/plan", do="export", scope="selected", key=b"order-1".hex())
    assert [json.loads(line)["id"] for line in page.last.text.splitlines()] == ["order-1"]
    assert page.last.headers["Content-Disposition"] == 'attachment; filename="letters.jsonl"'
    page.post("/plan", do="export", scope="all", text="ink")
    assert len(page.last.text.splitlines()) == 2


def test_a_letter_is_exported_as_a_test(
    store: DeadLetterStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It imports the processor from where it has a name, and sends the very message."""
    import sys
    import types

    module = types.ModuleType("paper_shop")
    source = (
        "import missive\n"
        "processor = missive.Processor()\n"
        "@processor.handle_for(missive.otherwise)\n"
        "def handle(message, ctx):\n"
        "    ctx.ack()\n"
    )
    exec(source, module.__dict__)
    monkeypatch.setitem(sys.modules, "paper_shop", module)
    page = Page(DeadLetterApp(store, processor=module.processor, message_cls=JSONMessage))
    address = f"/letters/{b'order-1'.hex()}"
    assert "As a test" in page.get(address).text
    written = page.get(f"{address}/test_letter.py").text
    assert "import paper_shop" in written
    scope: dict[str, Any] = {}
    exec(written, scope)
    scope["test_letter_order_1_is_acked"](monkeypatch)


def test_a_test_needs_a_name_for_the_processor(page: Page) -> None:
    """A processor that is made in a function has none, so the page offers no test."""
    address = f"/letters/{b'order-1'.hex()}"
    assert "As a test" not in page.get(address).text
    assert page.get(f"{address}/test_letter.py").status_code == 404


def test_a_job_that_is_not_known_here(page: Page) -> None:
    """Of another process, or from before a restart: the page says where to look."""
    assert page.get("/jobs/nonsense").status_code == 404
    assert "See Actions" in page.last.text
    assert page.post("/jobs/nonsense/stop").status_code == 404
    job = page.do("delete", id="order-1") and page.last.request.path
    assert page.post(f"{job}/rest").status_code == 404


def test_what_cannot_be_recorded_is_not_begun() -> None:
    """A replay whose beginning cannot be put on record does not begin."""

    class Full(MemoryDLQ):
        def record(self, action: Any) -> None:
            raise DeadLetterStoreError("the disk is full")

    store = Full()
    store.put(letter(1))
    with DeadLetterApp(store, processor=make_processor(), message_cls=JSONMessage) as app:
        said = Page(app).do("replay", "replay")
    assert "It ended early." in said
    assert "the disk is full" in said
    assert len(store) == 1


def test_jobs_and_plans_are_forgotten_in_time(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a page runs, it keeps so many of them and no more."""
    monkeypatch.setattr("missive.web.jobs.KEPT", 3)
    monkeypatch.setattr("missive.web.plans.KEPT", 3)
    plans = [page.plan("delete", id="nothing") for _ in range(6)]
    assert [page.get(plan).status_code for plan in plans] == [404] * 3 + [200] * 3
    for _ in range(6):
        job = Job("delete", "none", "local", 0, "/")
        page.app.jobs.start(job, lambda job: None)
        assert job.over.wait(DEADLINE)
    assert len(page.app.jobs._jobs) <= 5
    monkeypatch.setattr("missive.web.plans.PATIENCE", -1.0)
    fresh = page.plan("delete", id="nothing")
    page.plan("delete", id="nothing")
    assert page.get(fresh).status_code == 404
