"""Access: who may see the page, and what each of them may do."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from ipaddress import ip_address
from typing import Any

from missive import ConfigurationError
from werkzeug.exceptions import Forbidden, Unauthorized
from werkzeug.wrappers import Request, Response

#: The cookies: who the browser is, and that it knows the token.
SESSION, LOGIN = "missive_session", "missive_login"
#: How long a login holds, in seconds.
LOGIN_AGE = 12 * 3600
#: The names of this machine that a browser on it may use.
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True)
class Role:
    """What a person may do on the page. Every role may see reasons, headers and tracebacks.

    :param user: the person's name, for the record of actions.
    :param operate: replay letters, delete them, retry deferred messages now or give them up.
    :param purge: remove letters by age, which cannot be undone.
    :param bodies: see, download and export the bodies of messages.
    """

    user: str = ""
    operate: bool = False
    purge: bool = False
    bodies: bool = False

    @classmethod
    def everything(cls, user: str = "") -> Role:
        """Return the role of a person who may do everything."""
        return cls(user, operate=True, purge=True, bodies=True)


class LoginNeeded(Exception):
    """The browser has to show the token first."""


class Access:
    """Decides who may see the page.

    :param token: what a person has to know, typed into a form or sent as a bearer token.
    :param users: the passwords of basic authentication, by name.
    :param authorize: returns the role of a request's WSGI environment; None refuses it.
    :param role: the role of those whom a token, a password or the loopback address lets in.
    :param secret: signs cookies and forms; processes that serve one page share it.
    :param read_only: nobody may change anything.
    :raises ConfigurationError: these cannot work together.
    """

    def __init__(
        self,
        *,
        token: str | None,
        users: Mapping[str, str] | None,
        authorize: Callable[[Any], Role | None] | None,
        role: Role,
        secret: bytes | None,
        read_only: bool,
    ) -> None:
        if sum(given is not None for given in (token, users, authorize)) > 1:
            raise ConfigurationError("give DeadLetterApp one of token, users and authorize")
        if token is not None and len(token) < 8:
            raise ConfigurationError("the token of DeadLetterApp has fewer than 8 characters")
        if users is not None and (not users or not all(users.values())):
            raise ConfigurationError("users of DeadLetterApp are names with passwords")
        self._token = token
        self._users = users
        self._authorize = authorize
        self._role = role
        self._secret = secret or secrets.token_bytes(32)
        self._read_only = read_only

    @property
    def is_open(self) -> bool:
        """Whether everybody at this machine may see the page."""
        return self._token is None and self._users is None and self._authorize is None

    @property
    def has_login(self) -> bool:
        """Whether people log in with a token."""
        return self._token is not None

    def role_of(self, request: Request) -> Role:
        """Return what the sender of a request may do.

        :raises LoginNeeded: the token has to be typed in first.
        :raises HTTPException: the sender may do nothing.
        """
        if self._authorize is not None:
            role = self._authorize(request.environ)
            if role is None:
                raise Forbidden("You may not see this page.")
            if not role.user:
                role = replace(role, user=request.environ.get("REMOTE_USER") or "somebody")
        elif self._users is not None:
            role = replace(self._role, user=self._name_of(request))
        elif self._token is not None:
            self._check_token(request)
            role = replace(self._role, user=self._role.user or "token")
        else:
            _check_loopback(request)
            role = replace(self._role, user=self._role.user or "local")
        return replace(role, operate=False, purge=False) if self._read_only else role

    def _name_of(self, request: Request) -> str:
        given = request.authorization
        if given is not None and given.type == "basic":
            name, password = given.username or "", given.password or ""
            known = (self._users or {}).get(name)
            # Compared in any case, so that time does not tell which names there are.
            if _equal(password, known if known is not None else "\0") and known is not None:
                return name
        challenge: Any = {"WWW-Authenticate": 'Basic realm="Dead letters", charset="UTF-8"'}
        raise Unauthorized(
            "Give your name and password.",
            response=Response("Give your name and password.", 401, challenge),
        )

    def _check_token(self, request: Request) -> None:
        given = request.authorization
        if given is not None and given.type == "bearer":
            if not self.knows_token(given.token or ""):
                raise Forbidden("That is not the token.")
            return
        session = request.cookies.get(SESSION, "")
        if not session or not _equal(request.cookies.get(LOGIN, ""), self.login_of(session)):
            raise LoginNeeded

    def knows_token(self, given: str) -> bool:
        """Return whether a text is the token."""
        return self._token is not None and _equal(given, self._token)

    def login_of(self, session: str) -> str:
        """Return the cookie of a browser that knows the token."""
        return self._sign("login", session, self._token or "")

    def form_token(self, session: str) -> str:
        """Return what a form of a browser must carry, so that no other site can send it."""
        return self._sign("form", session)

    def check_form(self, request: Request) -> None:
        """Refuse a form that another site made the browser send.

        :raises Forbidden: it is one.
        """
        site = request.headers.get("Sec-Fetch-Site", "same-origin")
        session = request.cookies.get(SESSION, "")
        given = request.form.get("form_token", "")
        if site not in ("same-origin", "none"):
            raise Forbidden("Another site sent this form. Nothing was done.")
        if not session or not _equal(given, self.form_token(session)):
            raise Forbidden(
                "This form is out of date: the page was restarted, or the browser keeps no"
                " cookies. Nothing was done; go back, reload the page, and try again."
            )

    def _sign(self, *parts: str) -> str:
        text = "\0".join(parts).encode("utf-8", "surrogatepass")
        return hmac.new(self._secret, text, sha256).hexdigest()


def _equal(one: str, other: str) -> bool:
    return hmac.compare_digest(
        one.encode("utf-8", "surrogatepass"), other.encode("utf-8", "surrogatepass")
    )


def _check_loopback(request: Request) -> None:
    """Refuse a request that does not come from a browser on this machine.

    The name that the browser used is looked at too: a site elsewhere can have its own name stand
    for this machine's address, and would then read the page.

    :raises HTTPException: it does not.
    """
    host = request.environ.get("HTTP_HOST", "")
    name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
    sender = request.environ.get("REMOTE_ADDR", "")
    forwarded = "HTTP_X_FORWARDED_FOR" in request.environ or "HTTP_FORWARDED" in request.environ
    if name.lower() not in _LOOPBACK or not _is_loopback(sender) or forwarded:
        raise Forbidden(
            "Nobody has to log in here, so this page answers only to a browser on the same machine,"
            " at http://localhost. To serve it to others, give DeadLetterApp a token, users or"
            " authorize."
        )


def _is_loopback(address: str) -> bool:
    if not address:  # of a Unix socket
        return True
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False


def new_session() -> str:
    """Return the value of a new session cookie."""
    return secrets.token_urlsafe(24)
