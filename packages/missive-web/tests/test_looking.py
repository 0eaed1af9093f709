"""What the page shows."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from missive import (
    Adapter,
    ConfigurationError,
    DeadLetterStore,
    JSONMessage,
    MemoryDLQ,
    TestAdapter,
)
from missive.web import DeadLetterApp
from missive.web.chart import draw, spark, times_of
from missive.web.shown import relative, shown, size
from page_tools import HOUR, Page, letter, make_processor, text_of


def test_the_overview_counts_and_groups(page: Page, store: DeadLetterStore) -> None:
    """Numbers, a chart, and the groups, the most frequent first."""
    due = datetime.now(timezone.utc) - HOUR
    store.defer([letter(9, state="deferred", due=due, id=b"later")])
    shown = text_of(page.get("/"))
    assert "6 dead 1 deferred 1 due now 0 in flight" in shown
    assert shown.index("order # of pen failed") < shown.index("order # of ink failed")
    assert "shop.reserve shop.py:13" in shown
    assert "6 letters failed" in shown


@pytest.mark.parametrize("period", ["hour", "day", "week"])
def test_the_overview_has_periods(page: Page, period: str) -> None:
    """Failures are drawn over an hour, a day and a week."""
    assert f"failed in the last {period}" in page.get(f"/?period={period}").text


def test_an_empty_store_says_what_to_do() -> None:
    """Where there is nothing, the page says what would be there."""
    page = Page(DeadLetterApp(MemoryDLQ()))
    assert "No dead letters." in page.get("/").text
    assert "No dead letters." in page.get("/letters").text
    assert "No deferred messages." in page.get("/letters?state=deferred").text
    assert "Nobody has done anything yet." in page.get("/actions").text


def ids(page: Page, address: str) -> list[str]:
    """Return the ids that a list shows, in its order."""
    found = re.findall(r'href="/letters/[0-9a-f]+"><bdi>([^<]*)', page.get(address).text)
    assert page.last.status_code == 200
    return found


def test_lists_are_filtered_by_the_address(page: Page, store: DeadLetterStore) -> None:
    """Each filter narrows the list; what matches nothing says so."""
    store.put(letter(7, "quill", handler="shop.other", source="web", headers={"Colour": "blue"}))
    group = next(one for one in store.groups() if one.letters == 2).kind.digits()
    assert ids(page, "/letters")[:2] == ["order-7", "order-5"]
    assert ids(page, f"/letters?group={group}") == ["order-5", "order-4"]
    assert ids(page, "/letters?handler=shop.other") == ["order-7"]
    assert ids(page, "/letters?source=web") == ["order-7"]
    assert ids(page, "/letters?text=BLUE") == ["order-7"]
    assert ids(page, "/letters?text=4+of+ink") == ["order-4"]
    assert ids(page, "/letters?id=order-4") == ["order-4"]
    assert len(ids(page, "/letters?id=order-")) == 7
    assert len(ids(page, "/letters?age=24h")) == 7
    assert ids(page, "/letters?age=before-24h") == []
    assert "No letter matches." in page.last.text
    assert "Clear the filters" in page.last.text


def test_lists_have_pages(store: DeadLetterStore, page: Page) -> None:
    """Fifty letters make a page, and the address of the next goes on after them."""
    store.put_many(letter(number) for number in range(10, 110))
    seen: list[str] = []
    address = "/letters"
    while address:
        seen += ids(page, address)
        found = re.search(r'rel="next" href="([^"]*)"', page.last.text)
        address = found[1].replace("&amp;", "&") if found else ""
    assert len(seen) == len(set(seen)) == 106
    assert seen[0] == "order-109"


def test_a_search_goes_on_where_it_stopped(
    page: Page, store: DeadLetterStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A text is searched for in so many letters at once, and the reader may search on."""
    monkeypatch.setattr("missive.web.query.SEARCHED_AT_ONCE", 3)
    assert ids(page, "/letters?text=0+of+pen") == []
    assert "3 letters searched so far." in page.last.text
    found = re.search(r'rel="next" href="([^"]*)">Search on', page.last.text)
    assert found is not None
    assert ids(page, found[1].replace("&amp;", "&")) == ["order-0"]


def test_a_letter_is_shown_whole(page: Page) -> None:
    """Reason, attempts, traceback, headers, envelope, and what would happen now; no body."""
    answer = page.get(f"/letters/{b'order-4'.hex()}")
    shown = text_of(answer)
    for part in (
        "order 4 of ink failed",
        "It would go to page_tools.make_processor.<locals>.reserve",
        "content-type application/json",
        "Source orders",
        'File "/srv/shop.py", line 40, in reserve',
    ):
        assert part in shown
    assert "ink&#34;" not in answer.text
    assert '"number"' not in shown


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"event": "refund"}', "No handler matches it."),
        (b'{"event": []}', "No handler matches it."),
        (b"not JSON", "A matcher raises an error, so it would fail:"),
    ],
)
def test_what_would_happen_now(page: Page, store: DeadLetterStore, body: bytes, said: str) -> None:
    """The page asks the processor's matchers, and calls no handler."""
    store.put(letter(9, raw_data=body))
    assert said in text_of(page.get(f"/letters/{b'order-9'.hex()}"))


def test_several_handlers_and_broken_classes(store: DeadLetterStore) -> None:
    """A message that several handlers match, or that cannot be built, is told apart."""
    processor = make_processor()
    processor.handle_for(lambda message: True)(lambda message, ctx: None)
    page = Page(DeadLetterApp(store, processor=processor, message_cls=JSONMessage))
    assert "Several handlers match it" in text_of(page.get(f"/letters/{b'order-1'.hex()}"))

    def broken(body: bytes) -> Any:
        raise SystemExit(3)

    page = Page(DeadLetterApp(store, processor=processor, message_cls=broken))
    assert "It cannot be decoded: SystemExit" in text_of(page.get(f"/letters/{b'order-1'.hex()}"))


def test_without_a_processor_the_page_says_how_to_get_it(store: DeadLetterStore) -> None:
    """Letters are shown, and how to name the processor that replays them."""
    page = Page(DeadLetterApp(store))
    for address in ("/", "/letters", f"/letters/{b'order-1'.hex()}"):
        shown = page.get(address).text
        assert "no-processor" in shown
        assert 'value="replay"' not in shown
    assert "missive dlq serve" in page.get("/").text
    assert page.get(f"/letters/{b'order-1'.hex()}/test_letter.py").status_code == 404


def test_a_body_is_shown_when_asked_for(page: Page, store: DeadLetterStore) -> None:
    """As JSON, text or hexadecimal, as it suits it or as asked for; or downloaded."""
    address = f"/letters/{b'order-4'.hex()}/body"
    assert '"item": "ink",' in text_of(page.get(address))
    assert "7b 22 65" in text_of(page.get(f"{address}?as=hex"))
    assert '{"event": "order"' in text_of(page.get(f"{address}?as=text"))
    download = page.get(f"{address}.bin")
    assert download.data == store.letter(b"order-4").raw_data
    assert download.mimetype == "application/octet-stream"
    assert 'filename="body.bin"' in download.headers["Content-Disposition"]
    assert page.get(f"{address}?as=soup").status_code == 400


@pytest.mark.parametrize(
    ("body", "form", "note"),
    [
        (b"", "", ""),
        (b"plain", "json", "It is not JSON."),
        (b"\xff\x00", "text", "It is not UTF-8"),
        (b"\xff\x00", "", "ff 00"),
        (b"a\x00b", "", "61 00 62"),
        (b"x" * 100_000, "", "Only the beginning is shown"),
        (b"[" * 5000, "json", "It is not JSON."),
        (b" " * 1_000_001, "json", "It is too long to be read as JSON."),
        (b"x" * 100_000, "hex", "Only the beginning is shown"),
    ],
)
def test_bodies_of_every_kind(
    page: Page, store: DeadLetterStore, body: bytes, form: str, note: str
) -> None:
    """A body that cannot be shown as asked says so, and a long one is cut."""
    store.put(letter(9, raw_data=body))
    answer = page.get(f"/letters/{b'order-9'.hex()}/body?as={form}")
    assert answer.status_code == 200
    assert note in text_of(answer)
    assert len(answer.data) < 400_000


def test_a_letter_that_is_gone_says_who_did_it(page: Page) -> None:
    """Where another person deleted a letter, its page says who and when."""
    page.do("delete", id="order-4")
    answer = page.get(f"/letters/{b'order-4'.hex()}")
    assert answer.status_code == 404
    assert "local , delete" in text_of(answer)
    for nonsense in ("zz", "@7000", "@x", "@"):
        assert page.get(f"/letters/{nonsense}").status_code == 404


def test_an_id_that_no_address_can_have(page: Page, store: DeadLetterStore) -> None:
    """A letter with an empty or very long id is found by its position."""
    for id in (b"", b"x" * 60_000):
        store.put(letter(9, id=id, message_id=id))
    found = re.findall(r'href="(/letters/@\d+)"', page.get("/letters").text)
    assert len(found) == 2
    for address in found:
        assert page.get(address).status_code == 200


def test_the_processor_needs_a_class_of_messages() -> None:
    """A processor alone does not say what its messages are; an adapter does."""
    processor = make_processor()
    with pytest.raises(ConfigurationError, match="message_cls"):
        DeadLetterApp(MemoryDLQ(), processor=processor)
    adapter: Adapter[Any] = TestAdapter(processor, JSONMessage)
    app = DeadLetterApp(MemoryDLQ(), processor=adapter)
    assert app.target is not None
    assert app.target.message_cls is JSONMessage
    with pytest.raises(ConfigurationError, match="a dict"):
        DeadLetterApp({})  # type: ignore[arg-type]


NOW = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("span", "text"),
    [
        (timedelta(seconds=1), "just now"),
        (timedelta(seconds=30), "30 s ago"),
        (timedelta(minutes=5), "5 min ago"),
        (timedelta(hours=5), "5 h ago"),
        (timedelta(days=5), "5 d ago"),
        (timedelta(days=500), "2024-10-17"),
        (timedelta(hours=-5), "in 5 h"),
    ],
)
def test_times_are_relative(span: timedelta, text: str) -> None:
    """Times are said as people say them."""
    assert relative(NOW - span, NOW) == text


def test_what_a_browser_would_not_show_is_written_out() -> None:
    """Controls, marks of direction and surrogates are seen; all else is left alone."""
    assert shown("a\x00\u202eb\ud800\u200b") == r"a\x00\u202eb\ud800\u200b"
    assert shown("مرحبا\n\tünïcode 👩‍💻") == "مرحبا\n\tünïcode 👩‍💻"
    assert shown(None) is None
    assert [size(length) for length in (1, 999, 1500, 2_500_000)] == [
        "1 byte",
        "999 bytes",
        "1.5 kB",
        "2.5 MB",
    ]


def test_a_chart_draws_what_there_is() -> None:
    """Each count is a bar within the drawing, and words say the sum and the peak."""
    times = times_of("day", NOW)
    counts = [0] * (len(times) - 1)
    counts[3], counts[7] = 5, 10
    chart = draw(counts, times, "day")
    assert len(chart.bars) == 48
    assert all(0 <= bar.y <= bar.y + bar.height <= chart.height for bar in chart.bars)
    assert "15 letters failed in the last" in chart.words
    assert "UTC, with 10" in chart.words
    assert times[-1] > NOW >= times[-2]
    assert draw([0] * 60, times_of("hour", NOW), "hour").words == (
        "0 letters failed in the last hour"
    )


@pytest.mark.parametrize(
    ("counts", "trend"),
    [
        ([0] * 4, "none"),
        ([1, 1, 9, 9], "rising"),
        ([9, 9, 1, 1], "falling"),
        ([5, 5, 5, 5], "steady"),
    ],
)
def test_a_trend_is_said_in_a_word(counts: list[int], trend: str) -> None:
    """The little chart says whether it is more than before."""
    assert spark(counts, "day").words.endswith(trend)
