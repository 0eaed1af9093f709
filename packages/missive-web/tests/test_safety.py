"""Who may do what, and what no message and no other site can do."""

from __future__ import annotations

import random
import re
from base64 import b64encode
from typing import Any
from urllib.parse import quote

import pytest
from missive import (
    ConfigurationError,
    DeadLetterStore,
    DeadLetterStoreError,
    JSONMessage,
    MemoryDLQ,
)
from missive.web import DeadLetterApp, Role
from page_tools import Page, letter, make_processor, text_of
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.test import Client

TOKEN = "open sesame"
EVERY_PAGE = ("/", "/letters", f"/letters/{b'order-1'.hex()}", "/actions", "/nothing", "/login")


def stocked() -> MemoryDLQ:
    """Return a store with letters."""
    store = MemoryDLQ()
    store.put_many(letter(number) for number in range(3))
    return store


@pytest.mark.parametrize(
    ("environ", "status"),
    [
        ({}, 200),
        ({"REMOTE_ADDR": "::1"}, 200),
        ({"REMOTE_ADDR": ""}, 200),
        ({"REMOTE_ADDR": "192.0.2.7"}, 403),
        ({"REMOTE_ADDR": "nonsense"}, 403),
        ({"HTTP_HOST": "evil.example"}, 403),
        ({"HTTP_HOST": "localhost.evil.example:80"}, 403),
        ({"HTTP_HOST": "127.0.0.1:7600"}, 200),
        ({"HTTP_HOST": "[::1]:7600"}, 200),
        ({"HTTP_X_FORWARDED_FOR": "192.0.2.7"}, 403),
        ({"HTTP_FORWARDED": "for=192.0.2.7"}, 403),
    ],
)
def test_by_itself_the_page_answers_to_this_machine_only(
    environ: dict[str, str], status: int
) -> None:
    """A browser elsewhere, a proxy, or another site's name for this machine is refused."""
    page = Page(DeadLetterApp(stocked()), **environ)
    answer = page.get("/letters")
    assert answer.status_code == status
    assert ("order-1" in answer.text) is (status == 200)


def test_a_token_lets_people_in() -> None:
    """Who does not know it sees a form; who types it in sees the page, until they log out."""
    page = Page(DeadLetterApp(stocked(), token=TOKEN), REMOTE_ADDR="192.0.2.7")
    assert page.get("/letters?text=pen").headers["Location"] == "/login?next=/letters?text%3Dpen"
    form = page.get("/login?next=/letters?text%3Dpen").text
    token = re.search(r'name="form_token" value="(\w+)"', form)
    assert token is not None
    assert page.post("/login", token[1], token="wrong").status_code == 403
    assert "That is not the token." in page.last.text
    assert page.get("/").status_code == 303
    answer = page.post("/login", token[1], token=TOKEN, next="/letters?text=pen")
    assert answer.headers["Location"] == "/letters?text=pen"
    assert page.get("/letters").status_code == 200
    page.do("delete", id="order-1")
    assert page.app.store.actions()[0].who == "token"
    page.post("/logout")
    assert page.get("/letters").status_code == 303


@pytest.mark.parametrize("goal", ["//evil.example", "/\\evil.example", "https://evil.example", "x"])
def test_a_login_leads_to_this_page_only(goal: str) -> None:
    """No link to the login can send people elsewhere after it."""
    page = Page(DeadLetterApp(stocked(), token=TOKEN))
    token = re.search(r'name="form_token" value="(\w+)"', page.get("/login").text)
    assert token is not None
    answer = page.post("/login", token[1], token=TOKEN, next=goal)
    assert answer.headers["Location"] == "/"
    assert page.get(page.plan("delete", back=goal)).text.count("evil") == 0


def test_a_program_may_send_the_token() -> None:
    """As a bearer token, which no browser sends by itself."""
    page = Page(DeadLetterApp(stocked(), token=TOKEN))
    for given, status in ((TOKEN, 200), ("wrong", 403)):
        headers = {"Authorization": f"Bearer {given}"}
        assert page.get("/export.jsonl", headers=headers).status_code == status
    assert Page(DeadLetterApp(stocked())).get("/login").status_code == 404


def test_a_stolen_session_without_the_token_is_no_login() -> None:
    """The cookie of a login belongs to one session and one token."""
    app = DeadLetterApp(stocked(), token=TOKEN, secret=b"a secret")
    login = app.access.login_of("session")
    changed = DeadLetterApp(stocked(), token="another token", secret=b"a secret")
    for at, session, status in (
        (app, "session", 200),
        (app, "other", 303),
        (changed, "session", 303),
    ):
        page = Page(at)
        page.client.set_cookie("missive_session", session)
        page.client.set_cookie("missive_login", login)
        assert page.get("/").status_code == status


@pytest.mark.parametrize(
    ("given", "status"),
    [("ada:lovelace", 200), ("ada:wrong", 401), ("bob:lovelace", 401), ("", 401), ("bob:\0", 401)],
)
def test_passwords_let_people_in(given: str, status: int) -> None:
    """Basic authentication, and the record names the person."""
    page = Page(DeadLetterApp(stocked(), users={"ada": "lovelace"}), REMOTE_ADDR="192.0.2.7")
    headers = {"Authorization": f"Basic {b64encode(given.encode()).decode()}"} if given else {}
    answer = page.get("/", headers=headers)
    assert answer.status_code == status
    assert ("WWW-Authenticate" in answer.headers) is (status == 401)
    assert ("ada" in answer.text) is (status == 200)


def role_by_header(environ: Any) -> Role | None:
    """Return a role as a site of one's own would."""
    return {
        "viewer": Role("viewer"),
        "operator": Role("", operate=True),
        "purger": Role("purger", purge=True),
        "reader": Role("reader", bodies=True),
    }.get(environ.get("HTTP_X_WHO", ""))


BODY = f"/letters/{b'order-1'.hex()}/body"
OLD = {"do": "purge", "older": "0"}


@pytest.mark.parametrize(
    ("who", "allowed"),
    [
        ("nobody", set[str]()),
        ("viewer", {"look"}),
        ("operator", {"look", "operate"}),
        ("purger", {"look", "purge"}),
        ("reader", {"look", "bodies"}),
    ],
)
def test_roles_are_apart(who: str, allowed: set[str]) -> None:
    """To look, to operate, to purge and to see bodies are four things."""
    app = DeadLetterApp(
        stocked(), processor=make_processor(), message_cls=JSONMessage, authorize=role_by_header
    )
    page = Page(app, HTTP_X_WHO=who)
    assert (page.get("/letters").status_code == 200) is ("look" in allowed)
    shown = page.last.text
    token = page.token()
    assert (page.post("/plan", token, do="delete").status_code == 303) is ("operate" in allowed)
    assert (page.post("/plan", token, do="replay").status_code == 303) is ("operate" in allowed)
    assert (page.post("/plan", token, **OLD).status_code == 303) is ("purge" in allowed)
    assert (page.get(BODY).status_code == 200) is ("bodies" in allowed)
    for address in (f"{BODY}.bin", f"/letters/{b'order-1'.hex()}/test_letter.py", "/export.jsonl"):
        assert (page.get(address).status_code != 403) is ("bodies" in allowed)
    exported = page.post("/plan", token, do="export")
    assert (exported.status_code == 200) is ("bodies" in allowed)
    assert ('value="delete"' in shown) is ("operate" in allowed)
    assert ('value="export"' in shown) is ("bodies" in allowed)


def test_who_acts_is_on_record() -> None:
    """A role without a name takes that which the server knows."""
    app = DeadLetterApp(stocked(), authorize=role_by_header)
    for environ in ({"REMOTE_USER": "grace"}, {}):
        Page(app, HTTP_X_WHO="operator", **environ).do("delete", id="order-1")
    assert [action.who for action in app.store.actions()] == ["somebody", "grace"]


def test_one_person_does_not_carry_out_what_another_chose() -> None:
    """The letters that are removed are those that this very person was shown."""

    def authorize(environ: Any) -> Role:
        return Role(environ["HTTP_X_WHO"], operate=True)

    app = DeadLetterApp(stocked(), authorize=authorize)
    plan = Page(app, HTTP_X_WHO="ada").plan("delete")
    eve = Page(app, HTTP_X_WHO="eve")
    assert eve.post(plan).status_code == 403
    assert len(app.store) == 3


def test_read_only_changes_nothing() -> None:
    """Whatever the role, nobody changes anything, and the page says that it is read-only."""
    page = Page(DeadLetterApp(stocked(), read_only=True))
    assert "read-only" in page.get("/letters").text
    assert 'value="delete"' not in page.last.text
    for form in ({"do": "delete"}, OLD):
        assert page.post("/plan", **form).status_code == 403
        assert "This page is read-only." in page.last.text
    assert page.get(BODY).status_code == 200


@pytest.mark.parametrize("address", ["/plan", "/plan/x", "/jobs/x/stop", "/jobs/x/undo", "/logout"])
def test_no_other_site_can_send_a_form(address: str) -> None:
    """Without the token of this browser's own page nothing is done."""
    store = stocked()
    page = Page(DeadLetterApp(store))
    page.get("/letters")
    assert page.post(address, "", do="delete").status_code == 403
    assert page.post(address, "0" * 64, do="delete").status_code == 403
    stolen = Page(page.app).token()
    assert page.post(address, stolen, do="delete").status_code == 403
    for site in ("cross-site", "same-site"):
        page.environ["HTTP_SEC_FETCH_SITE"] = site
        assert page.post(address, do="delete").status_code == 403
        assert "Another site sent this form." in page.last.text
    assert (
        Client(page.app)
        .post(address, base_url="http://localhost", environ_overrides={"REMOTE_ADDR": "127.0.0.1"})
        .status_code
        == 403
    )
    assert len(store) == 3


def test_every_answer_is_safe() -> None:
    """No inline script or style, no framing, no cache, cookies for this site alone."""
    page = Page(DeadLetterApp(stocked(), processor=make_processor(), message_cls=JSONMessage))
    plan = page.plan("replay")
    page.do("replay", "dry-run")
    job = page.last.request.path
    for address in (
        *EVERY_PAGE,
        plan,
        job,
        f"{job}/progress",
        BODY,
        "/export.jsonl",
        "/%00",
        "/a/b",
    ):
        answer = page.get(address)
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert " style=" not in answer.text
        assert " onclick" not in answer.text
        assert "<style" not in answer.text
        assert re.findall(r"<script(?! src=\"/static/page.js\" defer></script>)", answer.text) == []
    fresh = Page(page.app)
    cookies = fresh.get("/").headers.getlist("Set-Cookie")
    assert len(cookies) == 1
    assert "HttpOnly" in cookies[0]
    assert "SameSite=Lax" in cookies[0]
    assert fresh.get("/static/page.css").mimetype == "text/css"
    for name in ("nothing.css", "..%2fapp.py", "page.html"):
        assert fresh.get(f"/static/{name}").status_code == 404


SCRIPT = "<script>document.title='pwned'</script>\"'><img src=x onerror=alert(1)>{{7*7}}"


def hostile_letters() -> list[Any]:
    """Return letters that would do harm if a page believed them."""
    everywhere = {
        "reason": SCRIPT,
        "source": SCRIPT,
        "handler": SCRIPT,
        "error_type": SCRIPT,
        "message_class": SCRIPT,
        "host": SCRIPT,
        "traceback": f'  File "{SCRIPT}", line 3, in {SCRIPT}\n{SCRIPT}\n',
    }
    return [
        letter(
            1, id=SCRIPT.encode(), headers={SCRIPT: SCRIPT}, raw_data=SCRIPT.encode(), **everywhere
        ),
        letter(2, id=b"utf16", raw_data=SCRIPT.encode("utf-16"), reason=SCRIPT[::-1]),
        letter(3, id=b"utf7", raw_data=b"+ADw-script+AD4-alert(1)+ADw-/script+AD4-"),
        letter(4, id=b"rtl", reason="\u202egnp.exe", handler="مرحبا", source="\u2066x"),
        letter(5, id=b"long", raw_data=b"x" * 10_000_000, reason="y" * 100_000),
        letter(6, id=b"nul", reason="a\0b", raw_data=b"\0" * 100, headers={"\0": "\0"}),
        letter(7, id=b"many", headers={f"header-{number}": "v" * 50 for number in range(10_000)}),
        letter(8, id=b"broken", raw_data=b'{"a": [1, ' * 1000),
        letter(9, id=b"surrogate", reason="\ud800\udfff", headers={"\udcff": "\udcff"}),
        letter(10, id=b"\xff\x00\n", reason="</title></head></pre>-->]]>"),
        letter(11, id=b"url", source="javascript:alert(1)", reason="javascript:alert(1)"),
    ]


def test_hostile_letters_are_shown_and_never_run(store: DeadLetterStore) -> None:
    """Scripts in every field and encoding are text, whatever page shows them, and pages stay small."""
    store.clear()
    store.put_many(hostile_letters())
    app = DeadLetterApp(store, processor=make_processor(), message_cls=JSONMessage)
    page = Page(app)
    page.do("replay", "dry-run")
    page.do("replay", "replay", id="<script>")
    keys = set(re.findall(r'href="/letters/([^"/?]*)"', page.get("/letters").text))
    assert len(keys) == len(list(store))
    addresses = ["/", "/letters", "/actions", f"/letters?text={quote(SCRIPT)}"]
    addresses += [
        f"/letters?{name}={quote(SCRIPT)}" for name in ("group", "handler", "source", "id")
    ]
    for key in keys:
        addresses.append(f"/letters/{key}")
        addresses += [f"/letters/{key}/body?as={form}" for form in ("", "json", "text", "hex")]
    for address in addresses:
        answer = page.get(address)
        assert answer.status_code == 200, address
        for harm in ("<script>doc", "<img src=x", "</pre>--", "49", "\u202e", "\0"):
            found = answer.text.replace("</pre>\n", "") if harm != "49" else ""
            assert harm not in found, (address, harm)
        assert len(answer.data) < 1_000_000, address
    assert page.get(f"/letters/{b'many'.hex()}?headers=all").text.count("header-") == 10_000


def test_a_store_that_fails_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page says what the store says, and works again when that does."""
    store = stocked()
    page = Page(DeadLetterApp(store))

    def fail(**options: Any) -> Any:
        raise DeadLetterStoreError("the disk is gone")

    monkeypatch.setattr(store, "groups", fail)
    assert page.get("/").status_code == 503
    assert "the disk is gone" in page.last.text
    monkeypatch.undo()
    assert page.get("/").status_code == 200


def test_a_fault_of_the_page_names_no_content(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that nobody expected is a page without what it says."""
    store = stocked()
    page = Page(DeadLetterApp(store))

    def fail(**options: Any) -> Any:
        raise LookupError("secret content")

    monkeypatch.setattr(store, "groups", fail)
    assert page.get("/").status_code == 500
    assert "secret content" not in page.last.text
    assert "LookupError" in page.last.text


def test_it_is_mounted_below_a_path() -> None:
    """Every link, form and cookie stays below the path that a site gives it."""

    def site(environ: Any, start_response: Any) -> Any:
        start_response("404 Not Found", [])
        return [b""]

    app = DeadLetterApp(stocked(), processor=make_processor(), message_cls=JSONMessage)
    client = Client(DispatcherMiddleware(site, {"/letters-page": app}))
    local: Any = {"base_url": "http://localhost", "environ_overrides": {"REMOTE_ADDR": "127.0.0.1"}}
    answer = client.get("/letters-page/letters", **local)
    assert answer.status_code == 200
    links = re.findall(r'(?:href|action|src)="([^"#?]*)', answer.text)
    assert all(link.startswith("/letters-page/") for link in links if link)
    token = re.search(r'name="form_token" value="(\w+)"', answer.text)
    assert token is not None
    form = {"form_token": token[1], "do": "delete", "scope": "all", "back": "/letters"}
    planned = client.post("/letters-page/plan", data=form, **local)
    assert planned.headers["Location"].startswith("/letters-page/plan/")
    assert 'href="/letters-page/letters"' in client.get(planned.headers["Location"], **local).text
    assert client.get("/letters-page/", **local).status_code == 200
    assert client.get("/letters-page", **local).status_code in (200, 303, 308)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"token": "short"}, "fewer than 8"),
        ({"token": TOKEN, "users": {"a": "b"}}, "one of token, users and authorize"),
        ({"users": {}}, "names with passwords"),
        ({"users": {"ada": ""}}, "names with passwords"),
    ],
)
def test_access_that_makes_no_sense_is_refused(options: dict[str, Any], named: str) -> None:
    """What would leave the page open by mistake is refused when it is made."""
    with pytest.raises(ConfigurationError, match=named):
        DeadLetterApp(MemoryDLQ(), **options)


def test_no_request_is_answered_by_a_fault() -> None:
    """Whatever is asked for, the answer says what was wrong with it: no 500."""
    chance = random.Random(7)
    app = DeadLetterApp(stocked(), processor=make_processor(), message_cls=JSONMessage)
    page = Page(app)
    page.do("delete", id="order-2")
    job, plan = page.last.request.path, page.plan("replay")
    token = page.token()
    paths = [*EVERY_PAGE, BODY, f"{BODY}.bin", "/export.jsonl", "/plan", plan, job]
    paths += [f"{job}/{end}" for end in ("stop", "undo", "rest", "progress")]
    paths += ["/static/page.css", "/logout", "//", "/letters/@9", "/letters/%ff", "/%2e%2e/"]
    names = ["state", "group", "handler", "age", "text", "id", "after", "before", "period", "as"]
    names += ["do", "scope", "key", "how", "rate", "older", "unit", "back", "next", "token"]
    values = [
        "",
        "dead",
        "deferred",
        "replay",
        "delete",
        "purge",
        "export",
        "all",
        "selected",
        "page",
    ]
    values += [
        "1",
        "-1",
        "9" * 30,
        "1e309",
        "nan",
        "%00",
        "\0",
        "\udcff",
        "ü" * 50,
        "🐌",
        SCRIPT,
        "@3",
    ]
    values += ["json", "hex", "before-7d", "0x", "0xzz", "../..", "canary", b"order-1".hex(), "٣"]
    kinds = ["application/x-www-form-urlencoded"] * 3
    kinds += ["multipart/form-data; boundary=x", "text/plain"]
    for _ in range(1500):
        path = chance.choice(paths)
        given = {chance.choice(names): chance.choice(values) for _ in range(chance.randrange(4))}
        method = chance.choice(["GET", "GET", "POST", "POST", "HEAD", "PUT", "DELETE", "OPTIONS"])
        encoded = "&".join(
            f"{name}={quote(value, errors='surrogateescape')}" for name, value in given.items()
        )
        answer = page.client.open(
            path if method == "POST" else f"{path}?{encoded}",
            method=method,
            base_url="http://localhost",
            environ_overrides=page.environ,
            data=f"form_token={token}&{encoded}" if method == "POST" else None,
            content_type=chance.choice(kinds) if method == "POST" else None,
        )
        assert answer.status_code < 500, (method, path, given, text_of(answer))
    app.close()


def test_a_form_that_is_too_large_is_refused() -> None:
    """Nobody fills the memory of the page."""
    page = Page(DeadLetterApp(stocked()))
    token = page.token()
    assert page.post("/plan", token, do="x" * 2_000_000).status_code == 413
