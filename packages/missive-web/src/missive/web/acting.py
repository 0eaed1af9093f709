"""Acting: what can be done, by forms."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import TYPE_CHECKING

from missive import DeadLetter
from werkzeug.exceptions import BadRequest, Conflict, Forbidden, NotFound
from werkzeug.wrappers import Response

from . import removing
from .jobs import Job
from .pages import json_lines, send_file
from .plans import ACTIONS, Plan, can_be_undone
from .query import Query, choose, find_letter, letters_of
from .replaying import Replaying
from .shown import plural

if TYPE_CHECKING:
    from .app import Visit

#: The units of the age that letters are purged by.
_UNITS = {"hours": 1, "days": 24, "weeks": 168}
#: The highest rate of a replay, in letters a second.
_MAX_RATE = 100_000.0


def make_plan(visit: Visit) -> Response:
    """Choose letters, and go and ask whether the action is meant."""
    form = visit.request.form
    what = form.get("do", "")
    if what == "export":
        return _export(visit)
    allowed = ACTIONS.get(what)
    if allowed is None:
        raise BadRequest("There is no such action.")
    _need(visit, allowed)
    query, ids, which = _meant(visit)
    if ids is None:
        choice, ids = choose(visit.app.store, query)
    else:
        choice = visit.app.store.choose(ids, state=query.state)
    back = _back(visit)
    undoable = what == "delete" and can_be_undone(visit.app.store, choice, ids)
    plan = Plan(what, which, choice, ids, visit.role.user, back, undoable)
    return visit.redirect(visit.url("plan", name=visit.app.plans.add(plan)))


def _meant(visit: Visit) -> tuple[Query, list[bytes] | None, str]:
    """Return which letters a form is about: a query, or ids; and that in words."""
    form = visit.request.form
    query = Query.read(form)
    if form.get("do") == "purge":
        query = query._replace(until=_before(form.get("older", ""), form.get("unit", "days")))
    groups = visit.app.store.groups(limit=1000, state=query.state)
    words = query.words({group.kind.digits(): group.number for group in groups})
    if form.get("scope", "all") == "all" or form.get("do") == "purge":
        return query, None, words
    keys = form.getlist("key" if form["scope"] == "selected" else "shown")
    if not keys:
        raise BadRequest("No letter is selected. Go back and tick some, or choose the whole page.")
    ids: list[bytes] = []
    for key in dict.fromkeys(keys):
        try:
            ids.append(find_letter(visit.app.store, key).id)
        except NotFound:
            continue  # somebody was quicker, which the count shows
    kind = "selected dead letter" if query.state == "dead" else "selected deferred message"
    return query, ids, plural(len(keys), kind)


def _before(older: str, unit: str) -> datetime:
    """Return the time before which letters are purged."""
    if unit not in _UNITS or not older.isascii() or not older.isdecimal() or len(older) > 6:
        raise BadRequest("Say how old the letters are: a whole number of hours, days or weeks.")
    now = datetime.now(timezone.utc)
    span = timedelta(hours=int(older) * _UNITS[unit])
    return now - min(span, now - datetime.min.replace(tzinfo=timezone.utc))


def _back(visit: Visit) -> str:
    """Return the page of ours that a form was on."""
    given = visit.request.form.get("back", "")
    own = given.startswith("/") and not given.startswith(("//", "/\\"))
    root = visit.request.root_path
    return f"{root}{given}" if own and given.isprintable() else visit.url("overview")


def _export(visit: Visit) -> Response:
    if not visit.role.bodies:
        raise Forbidden("You may not see the bodies of messages.")
    query, ids, _ = _meant(visit)
    store = visit.app.store
    found: Iterator[DeadLetter]
    if ids is None:
        found = (one for one in store.letters(**query.filters) if query.finds(one))
    else:
        found = letters_of(store, store.choose(ids, state=query.state), ids)
    return send_file(json_lines(found), "application/x-ndjson", "letters.jsonl")


def carry_out(visit: Visit, name: str) -> Response:
    """Do what was planned."""
    plan = visit.app.plans.get(name)
    if plan is None:
        return _was_done(visit, name)
    _need(visit, ACTIONS[plan.what])
    if plan.who != visit.role.user:
        raise Forbidden(f"{plan.who} chose these letters. Choose them yourself.")
    how = visit.request.form.get("how", plan.what)
    work, what = _work_of(visit, plan, how)
    job = Job(what, plan.which, visit.role.user, len(plan.choice), plan.back)
    plans, is_dry = visit.app.plans, how == "dry-run"
    if is_dry:
        job.plan = name
    elif plans.take(name) is None:
        return _was_done(visit, name)
    started = visit.app.jobs.start(job, work, alone=plan.what == "replay")
    if started is not job:
        plans.put_back(name, plan)
        raise Conflict(
            f"{started.who} is replaying {started.which}. Wait until that ends, or stop it."
        )
    if not is_dry:
        plans.became(name, job.name)
    return visit.redirect(visit.url("job", name=job.name))


def _was_done(visit: Visit, name: str) -> Response:
    job = visit.app.plans.job_of(name)
    if job is None:
        raise Conflict("This was already done, or it has expired. Nothing was changed.")
    return visit.redirect(visit.url("job", name=job))


def _work_of(visit: Visit, plan: Plan, how: str) -> tuple[Callable[[Job], None], str]:
    """Return what does it, and a word for it."""
    store = visit.app.store
    others: dict[str, Callable[..., None]] = {
        "delete": removing.delete,
        "purge": removing.purge,
        "retry": removing.retry_now,
        "give-up": removing.give_up,
    }
    if plan.what in others:
        return partial(others[plan.what], store, plan), plan.what
    target = visit.app.target
    if target is None:
        raise Conflict("This page has no processor, so it cannot replay letters.")
    replaying = Replaying(store, target, plan, _rate(visit))
    ways: dict[str, Callable[[Job], None]] = {
        "dry-run": replaying.dry_run,
        "canary": replaying.canary,
        "replay": replaying.replay,
    }
    if how not in ways:
        raise BadRequest("Replay letters by dry-run, canary or replay.")
    return ways[how], how


def _rate(visit: Visit) -> float | None:
    text = visit.request.form.get("rate", "").strip()
    if not text:
        return None
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate <= _MAX_RATE:
        raise BadRequest("The rate is a number of letters a second, more than 0.")
    return rate


def stop(visit: Visit, name: str) -> Response:
    """Stop something after the letter in flight."""
    _need(visit, "operate")
    _job(visit, name).stop()
    return visit.redirect(visit.url("job", name=name))


def undo(visit: Visit, name: str) -> Response:
    """Bring deleted letters back."""
    _need(visit, "operate")
    deleted = _job(visit, name)
    if deleted.undo_left() <= 0:
        raise Conflict("It is too late to undo this, or it was undone already.")
    letters, deleted.removed = deleted.removed, []
    job = Job("undo", deleted.which, visit.role.user, len(letters), deleted.back)
    visit.app.jobs.start(job, partial(removing.undo, visit.app.store, letters))
    return visit.redirect(visit.url("job", name=job.name))


def replay_rest(visit: Visit, name: str) -> Response:
    """Plan to replay the groups whose one letter was acked."""
    _need(visit, "operate")
    tried = _job(visit, name)
    if tried.rest is None:
        raise NotFound
    which = f"{tried.which}, the groups that passed"
    plan = Plan("replay", which, tried.rest, tried.rest_ids, visit.role.user, tried.back)
    return visit.redirect(visit.url("plan", name=visit.app.plans.add(plan)))


def enter(visit: Visit) -> Response:
    """Let a browser in whose user knows the token."""
    app, form = visit.app, visit.request.form
    app.access.check_form(visit.request)
    if not app.access.knows_token(form.get("token", "")):
        error = "That is not the token."
        return visit.page("login.html", 403, next=form.get("next", ""), error=error)
    goal = form.get("next", "")
    own = goal.startswith("/") and not goal.startswith(("//", "/\\")) and goal.isprintable()
    response = visit.redirect(f"{visit.request.root_path}{goal}" if own else visit.url("overview"))
    app.log_in(visit, response)
    return response


def leave(visit: Visit) -> Response:
    """Forget that a browser knows the token."""
    response = visit.redirect(visit.url("login"))
    visit.app.log_out(visit, response)
    return response


def _job(visit: Visit, name: str) -> Job:
    found = visit.app.jobs.get(name)
    if found is None:
        raise NotFound("The page was restarted. See Actions for what was done.")
    return found


def _need(visit: Visit, permission: str) -> None:
    if getattr(visit.role, permission):
        return
    if visit.app.read_only:
        raise Forbidden("This page is read-only.")
    raise Forbidden("You may look at letters, but not do this.")


View = Callable[..., Response]
#: The forms: the address of each, and what is done.
POSTS: dict[str, tuple[str, View]] = {
    "make_plan": ("/plan", make_plan),
    "carry_out": ("/plan/<name>", carry_out),
    "stop": ("/jobs/<name>/stop", stop),
    "undo": ("/jobs/<name>/undo", undo),
    "replay_rest": ("/jobs/<name>/rest", replay_rest),
    "enter": ("/login", enter),
    "leave": ("/logout", leave),
}
