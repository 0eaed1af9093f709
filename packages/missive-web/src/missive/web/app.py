"""The application: takes requests, lets the right people in, and sends pages safely."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from missive import Adapter, ConfigurationError, DeadLetterStore, MissiveError, Processor
from missive.letters import utc_now
from werkzeug.exceptions import HTTPException, InternalServerError, MethodNotAllowed
from werkzeug.routing import Map, RequestRedirect, Rule
from werkzeug.wrappers import Request, Response

from . import serving
from .access import LOGIN, LOGIN_AGE, SESSION, Access, LoginNeeded, Role, new_session
from .acting import POSTS
from .jobs import Job, Jobs
from .pages import GETS
from .plans import Plans
from .replaying import Target
from .shown import make_environment

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

logger = logging.getLogger("missive.web.app")

#: The largest form that is read, in bytes, and how many fields it may have.
_MAX_FORM, _MAX_FIELDS = 1_000_000, 5000
#: The headers of every answer. Nothing of another site is loaded, nothing runs that is not in the
#: one script, no other site may frame a page, and no cache keeps it.
SAFE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
        " connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
    "X-Robots-Tag": "noindex, nofollow",
}


class Visit(NamedTuple):
    """One request, with what answering it needs.

    :ivar role: what the person may do.
    :ivar session: the browser's session.
    :ivar url: returns the address of a view, by its name and what it takes.
    """

    app: DeadLetterApp
    request: Request
    role: Role
    session: str
    url: Callable[..., str]

    def page(self, template: str, status: int = 200, **values: Any) -> Response:
        """Return a page made of a template."""
        return self.app.page(self, template, status, **values)

    def redirect(self, address: str) -> Response:
        """Return the answer to a form: the page to look at next."""
        return Response("", 303, {"Location": address})


class DeadLetterApp:
    """The dead letter page, as a WSGI application.

    Serve it alone, or mount it in a site of your own. Without ``token``, ``users`` and
    ``authorize``, it answers only to a browser on the same machine.

    Serve it from one process, with any number of threads, since only that process knows the actions
    that are running. If the process dies, no letter is lost.

    :param store: the store to look at. It stays open when the page is closed.
    :param processor: replays letters: a processor, or an adapter that has one. Without it, the page
        can show and remove letters, and says how to enable replay.
    :param message_cls: makes a message of a letter's bytes; an adapter brings its own.
    :param token: the token that people need, at least 8 characters: typed into a form, or sent as
        ``Authorization: Bearer …``.
    :param users: the passwords of basic authentication, by name. Serve it over HTTPS then.
    :param authorize: takes the WSGI environment of a request, and returns the role of its sender;
        None refuses the request.
    :param role: what people may do who come by a token, a password or the loopback address; by
        default everything.
    :param read_only: nobody may change anything.
    :param secret: signs cookies and forms. By default it is random, so a restart ends logins.
    :param title: the title at the top of each page.
    :raises ConfigurationError: an argument cannot work.
    """

    def __init__(
        self,
        store: DeadLetterStore,
        *,
        processor: Processor[Any] | Adapter[Any] | None = None,
        message_cls: Callable[[bytes], Any] | None = None,
        token: str | None = None,
        users: Mapping[str, str] | None = None,
        authorize: Callable[[Any], Role | None] | None = None,
        role: Role | None = None,
        read_only: bool = False,
        secret: bytes | None = None,
        title: str = "Dead letters",
    ) -> None:
        given: object = store
        if not isinstance(given, DeadLetterStore):
            raise ConfigurationError(
                f"DeadLetterApp cannot show a {type(given).__name__}; give a DeadLetterStore, such as"
                " missive.MemoryDLQ or SQLiteDLQ"
            )
        self.store = store
        self.target = Target.of(processor, message_cls)
        self.title = title
        self.read_only = read_only
        self.access = Access(
            token=token,
            users=users,
            authorize=authorize,
            role=role or Role.everything(),
            secret=secret,
            read_only=read_only,
        )
        #: When the processor's code was loaded, or soon after.
        self.started = utc_now()
        self.jobs = Jobs(store)
        self.plans = Plans()
        self._templates = make_environment()
        self._map = Map(
            [Rule(rule, endpoint=name, methods=["GET"]) for name, (rule, _) in GETS.items()]
            + [Rule(rule, endpoint=name, methods=["POST"]) for name, (rule, _) in POSTS.items()]
        )

    def run(
        self,
        host: str = "127.0.0.1",
        port: int = 7600,
        *,
        on_ready: Callable[[str], None] | None = None,
    ) -> None:
        """Serve the page until the process is asked to end, then end what is being done.

        For some people at once. For a site, mount the application in a server of your own.

        :param host: the address to listen on; another than loopback needs a login.
        :param port: the port; 0 takes a free one.
        :param on_ready: called with the page's address when it can be looked at.
        :raises ConfigurationError: it may not, or cannot, be served there.
        """
        serving.run(self, host, port, on_ready)

    def close(self) -> None:
        """Stop what is being done, after the letter in flight."""
        self.jobs.close()

    def __enter__(self) -> DeadLetterApp:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request, as WSGI has it."""
        request = Request(environ)
        request.max_content_length = request.max_form_memory_size = _MAX_FORM
        request.max_form_parts = _MAX_FIELDS
        response = self._respond(request)
        for name, value in SAFE_HEADERS.items():
            response.headers.setdefault(name, value)
        return response(environ, start_response)

    def _respond(self, request: Request) -> Response:
        session = request.cookies.get(SESSION, "")
        fresh = "" if session else new_session()
        try:
            response = self._answer(request, session or fresh)
        except HTTPException as error:
            response = error.get_response(request.environ)  # the page of an error could not be made
        if fresh and response.mimetype == "text/html":
            self._set_cookie(request, response, SESSION, fresh)
        return response

    def _answer(self, request: Request, session: str) -> Response:
        adapter = self._map.bind_to_environ(request.environ)

        def url(view: str, /, **values: Any) -> str:
            return adapter.build(view, values)

        visit = Visit(self, request, Role(), session, url)
        try:
            name, values = adapter.match()
            view = GETS.get(name) or POSTS[name]
            if name in ("static", "login", "enter"):
                return view[1](visit, **values)
            visit = visit._replace(role=self.access.role_of(request))
            if name in POSTS:
                self.access.check_form(request)
            return view[1](visit, **values)
        except LoginNeeded:
            return visit.redirect(url("login", next=_own(request.full_path)))
        except RequestRedirect as error:
            return visit.redirect(urlsplit(error.new_url).path)
        except HTTPException as error:
            return self._error(visit, error)
        except MissiveError as error:
            logger.error("%s %s: %s", request.method, request.path, error)
            unavailable = InternalServerError(f"The store says: {error}")
            unavailable.code = 503
            return self._error(visit, unavailable)
        except Exception as error:
            logger.exception("%s %s failed", request.method, request.path)
            return self._error(
                visit, InternalServerError(f"This is a fault: {type(error).__name__}.")
            )

    def _error(self, visit: Visit, error: HTTPException) -> Response:
        if error.response is not None:
            return error.get_response(visit.request.environ)
        response = visit.page(
            "error.html", error.code or 500, name=error.name, text=error.description or ""
        )
        if isinstance(error, MethodNotAllowed) and error.valid_methods:
            response.headers["Allow"] = ", ".join(error.valid_methods)
        return response

    def page(self, visit: Visit, template: str, status: int, **values: Any) -> Response:
        """Return a page made of a template."""
        html = self._templates.get_template(template).render(
            title=self.title,
            url=visit.url,
            role=visit.role,
            read_only=self.read_only,
            has_login=self.access.has_login,
            target=self.target,
            form_token=self.access.form_token(visit.session),
            running=self._running(visit),
            now=utc_now(),
            here=_own(visit.request.full_path),
            **values,
        )
        return Response(html.encode("utf-8", "replace"), status, mimetype="text/html")

    def _running(self, visit: Visit) -> list[Job]:
        """Return what is being done, but for what the page is about."""
        jobs = self.jobs.running() if visit.role.user else []
        return [job for job in jobs if not visit.request.path.endswith(f"/jobs/{job.name}")]

    def log_in(self, visit: Visit, response: Response) -> None:
        """Let a browser in that showed the token."""
        login = self.access.login_of(visit.session)
        self._set_cookie(visit.request, response, LOGIN, login, LOGIN_AGE)
        self._set_cookie(visit.request, response, SESSION, visit.session)

    def log_out(self, visit: Visit, response: Response) -> None:
        """Let a browser in no more."""
        for name in (LOGIN, SESSION):
            response.delete_cookie(name, path=visit.request.root_path or "/")

    def _set_cookie(
        self, request: Request, response: Response, name: str, value: str, age: int | None = None
    ) -> None:
        response.set_cookie(
            name,
            value,
            max_age=age,
            path=request.root_path or "/",
            secure=request.is_secure,
            httponly=True,
            samesite="Lax",
        )


def _own(address: str) -> str:
    """Return an address of this page, without what an empty query leaves at its end."""
    return address.rstrip("?")
