"""The dead letter page in a real browser."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from missive import JSONMessage, Processor, otherwise
from missive.dlq.sqlite import SQLiteDLQ

pytest.importorskip("selenium")
pytest.importorskip("axe_core_python")

from browser import DEADLINE, Browser
from page_tools import letter
from test_safety import hostile_letters

Opens = Callable[..., Browser]


def test_a_failure_is_found_understood_and_replayed(open_page: Opens, store: SQLiteDLQ) -> None:
    """From the overview to an empty group, by clicks; nothing on the way shuts anybody out."""
    page = open_page(store)
    faults: dict[str, list[str]] = {}
    page.go("/")
    faults["overview"] = page.faults()
    page.click_on(".groups a")
    page.wait_for("All that match")
    faults["list"] = page.faults()
    page.click_on(".list .id a")
    page.wait_for("It would go to page_tools.make_processor.<locals>.reserve")
    faults["letter"] = page.faults()
    page.click("Show")
    page.wait_for('"item": "pen"')
    faults["body"] = page.faults()
    page.driver.back()
    page.driver.back()
    page.choose("all")
    page.click("Replay…")
    page.wait_for("Replay 40 letters?")
    faults["plan"] = page.faults()
    page.click("Dry run")
    assert "40 would go to" in page.wait_for("Done.")
    page.click("Continue to replay…")
    page.click("Try one of each group")
    assert "1 acked" in page.wait_for("Done.")
    faults["canary"] = page.faults()
    page.click("Replay the groups that passed…")
    page.click("Replay 39")
    assert "39 acked" in page.wait_for("Done.")
    page.click("Back to the letters")
    page.wait_for("No letter matches.")
    page.go("/actions")
    assert "39 acked" in page.read()
    faults["actions"] = page.faults()
    assert len(store) == 6
    assert {name: found for name, found in faults.items() if found} == {}
    assert page.complaints() == []


def test_a_deletion_is_undone_and_old_letters_are_purged(
    open_page: Opens, store: SQLiteDLQ
) -> None:
    """Ticked letters go and come back; a purge asks first; an unwanted one is cancelled."""
    page = open_page(store)
    page.go("/letters?text=ink")
    assert not page.find("button[value=delete]").is_enabled()  # nothing is ticked
    assert "Tick the letters that you mean." in page.read()
    for tick in page.driver.find_elements("css selector", ".tick input[type=checkbox]")[:2]:
        tick.click()
    page.click("Delete…")
    page.wait_for("Delete 2 letters? 2 selected dead letters")
    page.click("Delete 2")
    assert "2 deleted" in page.wait_for("Done.")
    assert len(store) == 44
    page.click("Undo")
    page.wait_for("2 brought back")
    assert len(store) == 46
    page.go("/")
    page.click_on("summary")
    page.find("#older").clear()
    page.find("#older").send_keys("0")
    page.click("Purge…")
    page.wait_for("Purge 46 letters?")
    page.click("Cancel")
    page.wait_for("Failures by error")
    assert len(store) == 46
    assert page.complaints() == []


def test_progress_comes_by_itself_and_a_replay_is_stopped(
    open_page: Opens, store: SQLiteDLQ
) -> None:
    """The page counts on without being loaded again, and ends what is stopped; so does a reload."""
    handled, go_on = threading.Semaphore(0), threading.Semaphore(0)
    processor: Processor[JSONMessage] = Processor()

    @processor.handle_for(otherwise)
    def handle(message: JSONMessage, ctx: Any) -> None:
        handled.release()
        assert go_on.acquire(timeout=DEADLINE)
        ctx.ack()

    page = open_page(store, processor=processor)
    page.go("/letters")
    page.choose("all")
    page.click("Replay…")
    page.click("Replay 46")
    page.wait_for("0 of 46")
    page.driver.execute_script("window.stayed = true")
    for number in range(3):
        assert handled.acquire(timeout=DEADLINE)
        page.wait_for(f"{number} of 46")
        go_on.release()
    assert handled.acquire(timeout=DEADLINE)
    page.wait_for("3 of 46")
    assert page.driver.execute_script("return window.stayed") is True
    assert page.faults() == []
    page.driver.refresh()
    page.wait_for("3 of 46")
    page.click("Stop")
    page.wait_for("stopping")
    go_on.release()
    assert "4 acked" in page.wait_for("Stopped.")
    page.driver.back()
    assert len(store) == 42
    assert page.complaints() == []


def test_two_people_at_once(open_page: Opens, store: SQLiteDLQ) -> None:
    """What one did meanwhile, the other is told; the same form sent twice acts once."""
    page = open_page(store)
    page.go("/letters?text=pen")
    page.choose("all")
    page.click("Delete…")
    page.wait_for("Delete 40 letters?")
    plan = page.driver.current_url.removeprefix(page.address)
    page.go("/letters")  # the other person
    page.choose("all")
    page.click("Replay…")
    page.click("Replay 46")
    page.wait_for("40 acked")
    page.go(plan)
    page.wait_for("Delete 40 letters?")
    page.click("Delete 40")
    assert "40 changed or left the store meanwhile" in page.wait_for("Done.")
    store.put(letter(1))
    page.driver.back()
    if "Delete 40 letters?" in page.read():  # the browser kept the page; another would ask for it
        page.click("Delete 40")
    page.wait_for("40 changed or left the store meanwhile")
    assert len(store) == 7


def test_without_javascript(open_page: Opens, store: SQLiteDLQ) -> None:
    """Everything works; the page of a replay loads itself again until that is done."""
    page = open_page(store)
    page.set_scripts(enabled=False)
    try:
        page.go("/letters")
        page.choose("all")
        page.click("Replay…")
        page.click("Replay 46")
        page.wait_for("40 acked")
        page.click("Back to the letters")
        page.click_on(".tick input[type=checkbox]")
        page.click("Delete…")
        page.click("Delete 1")
        page.click("Undo")
        page.wait_for("1 brought back")
    finally:
        page.set_scripts(enabled=True)
    assert len(store) == 6


def test_with_a_keyboard_alone(open_page: Opens, store: SQLiteDLQ) -> None:
    """The first key leads past the links at the top, and a letter is deleted without a mouse."""
    page = open_page(store)
    page.go("/letters?id=order-7")
    page.press("TAB")
    assert page.focused == "Skip to the content"
    page.press("ENTER")
    for _ in range(60):
        if page.driver.switch_to.active_element.get_attribute("name") == "key":
            break
        page.press("TAB")
    page.press("SPACE")
    page.find("button[value=delete]").send_keys("\n")
    page.wait_for("Delete 1 letter?")
    page.find(".confirm button").send_keys("\n")
    assert "1 deleted" in page.wait_for("Done.")
    assert b"order-7" not in store


@pytest.mark.parametrize(("scheme", "width"), [("dark", 1200), ("light", 390)])
def test_dark_and_on_a_phone(open_page: Opens, store: SQLiteDLQ, scheme: str, width: int) -> None:
    """Every page can be read in the dark and on a phone, without scrolling sideways."""
    page = open_page(store)
    page.set_scheme(scheme)
    page.set_screen(width, 844)
    found: dict[str, list[str]] = {}
    key = b"order-7".hex()
    for path in (
        "/",
        "/letters",
        f"/letters/{key}",
        f"/letters/{key}/body",
        "/actions",
        "/nothing",
    ):
        page.go(path)
        found[path] = page.faults() + (["too wide"] if page.is_too_wide() else [])
    page.go("/letters")
    page.choose("page")
    page.click("Replay…")
    found["plan"] = page.faults() + (["too wide"] if page.is_too_wide() else [])
    assert {path: faults for path, faults in found.items() if faults} == {}


def test_a_token_is_typed_in(open_page: Opens, store: SQLiteDLQ) -> None:
    """A link of a colleague asks for the token, and then leads on to where it led."""
    page = open_page(store, token="open sesame")
    page.go("/letters?text=ink")
    page.wait_for("Log in")
    assert page.faults() == []
    page.find("#token").send_keys("open sesame\n")
    page.wait_for("of ink failed")
    assert page.driver.current_url == f"{page.address}/letters?text=ink"


def test_hostile_letters_do_nothing(open_page: Opens, store: SQLiteDLQ) -> None:
    """No script of a letter runs, whatever page shows it, and the browser has nothing to report."""
    store.clear()
    store.put_many(hostile_letters())
    page = open_page(store)
    page.go("/letters")
    links = [
        link.get_attribute("href").removeprefix(page.address)
        for link in page.driver.find_elements("css selector", ".list .id a")
    ]
    assert len(links) == len(list(store))
    paths = ["/", "/letters", *links]
    paths += [f"{link}/body?as={form}" for link in links for form in ("text", "hex")]
    for path in paths:
        page.go(path)
        assert page.driver.title.endswith("· Dead letters"), path
        assert page.driver.find_elements("css selector", "main img, main iframe, main script") == []
    page.go("/letters")
    page.choose("all")
    page.click("Replay…")
    page.click("Dry run")
    page.wait_for("Done.")
    assert page.complaints() == []


def test_the_letters_of_another_are_not_shown_twice(open_page: Opens, store: SQLiteDLQ) -> None:
    """While programs write, pages of a list neither repeat nor leave out a letter."""
    page = open_page(store)
    store.put_many(letter(number) for number in range(100, 160))
    page.go("/letters")
    seen = [link.text for link in page.driver.find_elements("css selector", ".list .id a")]
    store.put_many(letter(number) for number in range(200, 260))
    page.click("Older")
    page.wait_for("Newest")
    seen += [link.text for link in page.driver.find_elements("css selector", ".list .id a")]
    assert len(seen) == len(set(seen)) == 100
