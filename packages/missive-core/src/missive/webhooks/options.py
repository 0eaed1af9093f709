"""Options: what an adapter is given, checked before anything is served."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

from ..callables import check_function
from ..errors import ConfigurationError
from ..retry import is_whole
from . import signatures
from .answers import TOKEN
from .challenges import Challenge
from .senders import Sender
from .verifying import WhyNot, as_why_not


def check_path(name: str, path: str) -> str:
    """Refuse what is not a path.

    :param name: the option that it is given as.
    :raises ConfigurationError: it cannot be the path of a request.
    """
    if not isinstance(path, str) or not path.startswith("/") or set("?#") & set(path):
        raise ConfigurationError(
            f"{name} holds {path!r}; a path begins with / and has no query, such as /webhooks"
        )
    return path


def check_health_paths(health_paths: Iterable[str] | None, path: str) -> tuple[str, ...]:
    """Refuse health paths that are not two, or could not be told apart.

    :param path: the path that takes messages.
    :raises ConfigurationError: they cannot be used.
    """
    paths = tuple(check_path("health_paths", each) for each in health_paths or ())
    if len(paths) not in (0, 2) or len({path, *paths}) != 1 + len(paths):
        raise ConfigurationError(
            f"health_paths={health_paths!r}; give two paths, for being alive and for being ready,"
            f" that differ from each other and from path={path!r}; or None"
        )
    return paths


def check_count(name: str, count: int, unit: str) -> int:
    """Refuse what is no number of things.

    :param name: the option that it is given as.
    :param unit: what it counts.
    :raises ConfigurationError: it is no whole number, or negative.
    """
    if not is_whole(count, 0):
        raise ConfigurationError(f"{name}={count!r}; give a whole number of {unit}, 0 or more")
    return count


def check_status(nack_status: int) -> int:
    """Refuse a status that does not say that a message was not taken.

    :raises ConfigurationError: it is no status of an error.
    """
    if not isinstance(nack_status, int) or not 400 <= nack_status <= 599:
        raise ConfigurationError(
            f"nack_status={nack_status!r} would not tell the sender that its message was refused;"
            " give a status from 400 to 599"
        )
    return int(nack_status)


def check_types(content_types: Iterable[str] | None) -> frozenset[str] | None:
    """Refuse what is no list of media types; return them as they are compared.

    :raises ConfigurationError: one is not valid.
    """
    if content_types is None:
        return None
    types = [content_types] if isinstance(content_types, str) else list(content_types)
    for each in types:
        if not isinstance(each, str) or each.count("/") != 1 or ";" in each:
            raise ConfigurationError(
                f"{each!r} in content_types is not a media type; give one such as application/json,"
                " without parameters"
            )
    return frozenset(each.strip().lower() for each in types)


def check_sender(sender: Any) -> Sender:
    """Refuse what is not a sender; return one that knows nothing if none is given.

    :raises ConfigurationError: it is not a sender.
    """
    if sender is None:
        return Sender("none")
    if not isinstance(sender, Sender):
        raise ConfigurationError(
            f"sender is a {type(sender).__name__}, which is not a sender; give one of"
            " missive.webhooks.senders, called with your secret: sender=senders.github(secret)"
        )
    return sender


def check_verify(verify: Any) -> WhyNot | None:
    """Refuse what could not verify, and above all what would let everything pass.

    :raises InvalidHandler: it is not callable, or async.
    :raises ConfigurationError: it makes verifiers but is not one.
    """
    if verify is None:
        return None
    if any(verify is getattr(signatures, name) for name in signatures.__all__):
        raise ConfigurationError(
            f"verify is signatures.{verify.__name__} itself, which verifies nothing; call it with"
            f" your secret: verify=signatures.{verify.__name__}(secret)"
        )
    return as_why_not(verify)


def check_id(id_header: str | None, id_from: Any) -> None:
    """Refuse two sources of a message's id, and one that cannot be.

    :raises ConfigurationError: the header is not the name of a header, or both are given.
    :raises InvalidHandler: ``id_from`` is not callable with a message, or async.
    """
    if id_header is not None and (not isinstance(id_header, str) or not TOKEN.fullmatch(id_header)):
        raise ConfigurationError(
            f"id_header={id_header!r} is not the name of a header; give one such as X-GitHub-Delivery"
        )
    if id_from is None:
        return
    check_function(id_from, "id_from", ("message",), plain=True)
    if id_header is not None:
        raise ConfigurationError(
            "id_header and id_from would both say what the id of a message is; give one of them"
        )


def check_challenges(challenge: Any) -> tuple[Challenge, ...]:
    """Refuse what cannot answer a handshake; return one or several as several.

    :raises InvalidHandler: one is not callable with a request, or async.
    """
    if challenge is None:
        return ()
    given: Any = challenge
    if callable(given) or not isinstance(given, Iterable):
        given = (given,)
    several = cast("Iterable[Any]", given)
    return tuple(check_function(each, "a challenge", ("request",), plain=True) for each in several)


def check_answer(answer: Any) -> Callable[..., Any] | None:
    """Refuse what cannot answer.

    :raises InvalidHandler: it is not callable with an outcome and a message, or async.
    """
    return (
        None
        if answer is None
        else check_function(answer, "answer", ("outcome", "message"), plain=True)
    )
