"""Pages: what can be looked at."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from importlib.resources import files
from itertools import islice
from typing import TYPE_CHECKING, Any

from missive import DeadLetter, format_id
from missive.letters import Group, to_record, utc_now
from werkzeug.exceptions import BadRequest, Forbidden, NotFound
from werkzeug.wrappers import Response

from . import chart
from .bodies import FORMS, show_body
from .jobs import time_left
from .query import AGES, Query, find_letter, key_of, read_page, read_position
from .reference import test_of
from .replaying import explain
from .shown import plural

if TYPE_CHECKING:
    from .app import Visit

#: How many groups an overview has, letters a list, actions a page of them.
GROUPS, LETTERS, ACTIONS = 50, 50, 50
#: How much of a letter is shown: characters of a text, headers, failures.
MAX_TEXT, MAX_HEADERS, MAX_FAILURES = 65_536, 200, 50
_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


def overview(visit: Visit) -> Response:
    """Show how many letters there are, when they failed, and of which errors."""
    period = visit.request.args.get("period", "day")
    if period not in chart.PERIODS:
        raise BadRequest("The period is hour, day or week.")
    store, now = visit.app.store, utc_now()
    times = chart.times_of(period, now)
    groups = store.groups(limit=GROUPS + 1)
    few = chart.times_of(period, now, chart.SPARKS)
    rows = [
        (group, chart.spark(store.tally(few, group=group.kind.digits()), period))
        for group in groups[:GROUPS]
    ]
    return visit.page(
        "overview.html",
        counts=store.counts(),
        chart=chart.draw(store.tally(times), times, period),
        period=period,
        periods=chart.PERIODS,
        rows=rows,
        more=len(groups) > GROUPS,
    )


def letters(visit: Visit) -> Response:
    """List letters, the newest first."""
    args = visit.request.args
    query = Query.read(args)
    after = read_position(args.get("after"))
    if args.get("after") and after is None:
        raise BadRequest("The position after which a page begins is a number.")
    page = read_page(visit.app.store, query, after, LETTERS)
    store = visit.app.store
    groups = store.groups(limit=GROUPS, state=query.state)
    numbers = {group.kind.digits(): group.number for group in groups}
    return visit.page(
        "letters.html",
        query=query,
        page=page,
        after=after,
        groups=groups,
        shown_group=_group_of(groups, query.group),
        words=query.words(numbers),
        handlers=sorted({group.kind.handler for group in groups if group.kind.handler}),
        errors=sorted({group.kind.error_type for group in groups if group.kind.error_type}),
        ages=AGES,
        counts=store.counts(),
        key_of=key_of,
        format_id=format_id,
        reason=first_line,
    )


def first_line(letter: DeadLetter) -> str:
    """Return the reason of a letter for a list: its first line, not too long."""
    return letter.reason[:400].partition("\n")[0][:200]


def _group_of(groups: list[Group], digits: str) -> Group | None:
    return next((group for group in groups if group.kind.digits() == digits), None)


def letter(visit: Visit, key: str) -> Response:
    """Show one letter whole, but for its body."""
    store = visit.app.store
    try:
        found = find_letter(store, key)
    except NotFound:
        return visit.page("gone.html", 404, key=key, actions=_about(visit, key))
    target = visit.app.target
    every = "headers" in visit.request.args
    headers = list(islice(found.headers.items(), None if every else MAX_HEADERS))
    return visit.page(
        "letter.html",
        letter=found,
        key=key,
        id=format_id(found.id),
        message_id=format_id(found.message_id),
        claim=store.claim_of(found.id),
        headers=headers,
        more_headers=len(found.headers) - len(headers),
        history=list(found.history)[-MAX_FAILURES:],
        reason=found.reason[:MAX_TEXT],
        traceback=(found.traceback or "")[-MAX_TEXT:],
        explained=explain(target, found) if target is not None else None,
        can_test=target is not None and test_of(target, found) is not None,
        forms=FORMS,
        maximum=MAX_TEXT,
    )


def _about(visit: Visit, key: str) -> list[Any]:
    """Return the latest actions on a letter that is not there any more."""
    try:
        id = bytes.fromhex(key)
    except ValueError:
        return []
    return [action for action in visit.app.store.actions(limit=ACTIONS) if id in action.ids][:5]


def body(visit: Visit, key: str) -> Response:
    """Show the body of a letter, as far as a page can."""
    _need_bodies(visit)
    found = find_letter(visit.app.store, key)
    form = visit.request.args.get("as", "")
    if form and form not in FORMS:
        raise BadRequest("A body is shown as json, text or hex.")
    return visit.page(
        "body.html",
        letter=found,
        key=key,
        id=format_id(found.id),
        body=show_body(found.raw_data, form),
        forms=FORMS,
    )


def download(visit: Visit, key: str) -> Response:
    """Send the bytes of a body as a file."""
    _need_bodies(visit)
    found = find_letter(visit.app.store, key)
    return send_file(found.raw_data, "application/octet-stream", "body.bin")


def test(visit: Visit, key: str) -> Response:
    """Send a test that handles the very message of a letter."""
    _need_bodies(visit)
    found = find_letter(visit.app.store, key)
    target = visit.app.target
    source = test_of(target, found) if target is not None else None
    if source is None:
        raise NotFound("The page does not know how a test could import the processor.")
    return send_file(source.encode(), "text/x-python; charset=utf-8", "test_letter.py")


def export(visit: Visit) -> Response:
    """Send letters as JSON Lines, which ``missive dlq import`` reads back."""
    _need_bodies(visit)
    query = Query.read(visit.request.args)
    store = visit.app.store
    found = (one for one in store.letters(**query.filters) if query.finds(one))
    return send_file(json_lines(found), "application/x-ndjson", "letters.jsonl")


def json_lines(found: Iterator[DeadLetter]) -> Iterator[bytes]:
    """Return letters as lines of JSON."""
    for one in found:
        yield json.dumps(to_record(one), separators=(",", ":")).encode() + b"\n"


def send_file(content: bytes | Iterator[bytes], kind: str, name: str) -> Response:
    """Return a file to download, which a browser never shows as a page."""
    headers = {
        "Content-Disposition": f'attachment; filename="{name}"',
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
    return Response(content, 200, headers, content_type=kind)


def _need_bodies(visit: Visit) -> None:
    if not visit.role.bodies:
        raise Forbidden("You may not see the bodies of messages.")


def plan(visit: Visit, name: str) -> Response:
    """Show what is about to be done, and ask."""
    found = visit.app.plans.get(name)
    if found is None:
        job = visit.app.plans.job_of(name)
        if job is not None:
            return visit.redirect(visit.url("job", name=job))
        raise NotFound("This has expired, or the page was restarted. Choose the letters again.")
    return visit.page(
        "plan.html",
        name=name,
        plan=found,
        count=len(found.choice),
        sample=found.sample(visit.app.store, 5),
        key_of=key_of,
        format_id=format_id,
        reason=first_line,
        started=visit.app.started,
    )


def job(visit: Visit, name: str) -> Response:
    """Show how far something is."""
    return _job(visit, name, "job.html")


def progress(visit: Visit, name: str) -> Response:
    """Return the part of that page which changes."""
    return _job(visit, name, "progress.html")


def _job(visit: Visit, name: str, template: str) -> Response:
    found = visit.app.jobs.get(name)
    if found is None:
        raise NotFound(
            "The page was restarted, or another process serves it. See Actions for what was done."
        )
    # First: what is left over of a job that ends while the page is made would be missing.
    is_running = found.is_running
    left = time_left(found)
    return visit.page(
        template,
        job=found,
        is_running=is_running,
        left=plural(int(left.total_seconds()) + 1, "second") if left is not None else "",
        undo_left=int(found.undo_left()),
        rest=len(found.rest) if found.rest is not None else 0,
    )


def actions(visit: Visit) -> Response:
    """Show who did what."""
    before = read_position(visit.request.args.get("before"))
    found = visit.app.store.actions(limit=ACTIONS + 1, before=before)
    return visit.page(
        "actions.html",
        actions=found[:ACTIONS],
        more=found[ACTIONS - 1].number if len(found) > ACTIONS else None,
        format_id=format_id,
    )


def login(visit: Visit) -> Response:
    """Ask for the token."""
    if not visit.app.access.has_login:
        raise NotFound
    return visit.page("login.html", next=visit.request.args.get("next", ""), error="")


def static(visit: Visit, name: str) -> Response:
    """Send the style sheet, the script or the icon."""
    kind = _TYPES.get(name.rpartition(".")[2])
    found = files("missive.web") / "static" / name
    if kind is None or "/" in name or "\\" in name or not found.is_file():
        raise NotFound
    return Response(
        found.read_bytes(), 200, {"Cache-Control": "private, max-age=300"}, content_type=kind
    )


View = Callable[..., Response]
#: The pages: the address of each, and what makes it.
GETS: dict[str, tuple[str, View]] = {
    "overview": ("/", overview),
    "letters": ("/letters", letters),
    "letter": ("/letters/<key>", letter),
    "body": ("/letters/<key>/body", body),
    "download": ("/letters/<key>/body.bin", download),
    "test": ("/letters/<key>/test_letter.py", test),
    "export": ("/export.jsonl", export),
    "plan": ("/plan/<name>", plan),
    "job": ("/jobs/<name>", job),
    "progress": ("/jobs/<name>/progress", progress),
    "actions": ("/actions", actions),
    "login": ("/login", login),
    "static": ("/static/<name>", static),
}
