"""Options: what an adapter is given, checked before anything is served."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from missive import ConfigurationError
from missive.hooks import check_function

from . import signatures
from .signatures import Verifier

#: The characters of a header's name, RFC 9110, section 5.1.
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


def check_path(name: str, path: str) -> str:
    """Refuse what is no path.

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
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        raise ConfigurationError(f"{name}={count!r}; give a whole number of {unit}, 0 or more")
    return count


def check_status(nack_status: int) -> int:
    """Refuse a status that does not say that a message was not taken.

    :raises ConfigurationError: it is no status of an error.
    """
    if not isinstance(nack_status, int) or not 400 <= nack_status <= 599:
        raise ConfigurationError(
            f"nack_status={nack_status!r} would not tell a sender that its message was not taken;"
            " give a status from 400 to 599"
        )
    return int(nack_status)


def check_types(content_types: Iterable[str] | None) -> frozenset[str] | None:
    """Refuse what is no list of media types; give them as they are compared.

    :raises ConfigurationError: one is none.
    """
    if content_types is None:
        return None
    types = [content_types] if isinstance(content_types, str) else list(content_types)
    for each in types:
        if not isinstance(each, str) or each.count("/") != 1 or ";" in each:
            raise ConfigurationError(
                f"{each!r} in content_types is no media type; give such as application/json,"
                " without parameters"
            )
    return frozenset(each.strip().lower() for each in types)


def check_verify(verify: Any) -> Verifier | None:
    """Refuse what could not verify, and above all what would let everything pass.

    :raises InvalidHandler: it is not callable, or async.
    :raises ConfigurationError: it makes verifiers and is none.
    """
    if verify is None:
        return None
    if any(verify is getattr(signatures, name) for name in signatures.__all__):
        raise ConfigurationError(
            f"verify is signatures.{verify.__name__} itself, which verifies nothing; call it with"
            f" your secret: verify=signatures.{verify.__name__}(secret)"
        )
    check_function(verify, "verify", ("raw_body", "headers"))
    verifier: Verifier = verify
    return verifier


def environ_key(header: str | None) -> str | None:
    """Give the name that a header has in the environment of a request.

    :raises ConfigurationError: it is no name of a header.
    """
    if header is None:
        return None
    if not isinstance(header, str) or not _TOKEN.fullmatch(header):
        raise ConfigurationError(
            f"id_header={header!r} is no name of a header; give such as X-GitHub-Delivery"
        )
    return "HTTP_" + header.upper().replace("-", "_")
