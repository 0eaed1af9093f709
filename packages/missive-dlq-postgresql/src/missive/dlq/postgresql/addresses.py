"""Addresses: the URLs and connection strings that name a database, and its table."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import psycopg
from missive import ConfigurationError
from missive.polling import read_options
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from .schema import Names

#: What of a URL's query is the store's; all else is PostgreSQL's.
_OPTIONS = {
    "table": str,
    "schema": str,
    "busy_timeout": float,
    "max_traceback": int,
}
#: The longest name of a table that leaves room for those of its indexes.
_LONGEST_NAME = 50
_NAME = re.compile("[A-Za-z_][A-Za-z0-9_]*")


def split_url(url: str) -> tuple[str, dict[str, Any]]:
    """Return the connection string in a URL, and the options of the store.

    :raises ConfigurationError: an option cannot be read.
    """
    base, _, query = url.partition("?")
    given = parse_qsl(query, keep_blank_values=True)
    ours = urlencode([(name, value) for name, value in given if name in _OPTIONS])
    # libpq takes no plus for a space.
    theirs = [(name, value) for name, value in given if name not in _OPTIONS]
    options = read_options(f"postgresql:?{ours}", _OPTIONS)
    return f"{base}?{urlencode(theirs, quote_via=quote)}" if theirs else base, options


def names_of(table: str, schema: str | None) -> Names:
    """Return the names of a store's tables.

    :raises ConfigurationError: they are no plain names.
    """
    for what, name in (("table", table), ("schema", schema)):
        if name is not None and (not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME):
            raise ConfigurationError(
                f"{what}={name!r} of PostgreSQLDLQ is not a plain name; give letters, digits and"
                f" underscores, at most {_LONGEST_NAME} of them"
            )
    return Names(schema, table)


def complete(conninfo: str, seconds: float) -> str:
    """Return a connection string with the settings that outages need, where it has none of its own.

    :param seconds: how long an outage is waited out.
    :raises ConfigurationError: PostgreSQL's library cannot read it.
    """
    given = _parsed(conninfo)
    settings: dict[str, Any] = {
        "fallback_application_name": "missive",
        "client_encoding": "utf8",
        "connect_timeout": max(5, min(10, int(seconds))),
        # A peer that went away without a word is noticed.
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": max(5_000, int(min(seconds, 600) * 1000)),
    }
    if "," in str(given.get("host") or given.get("hostaddr") or ""):
        settings["target_session_attrs"] = "read-write"  # a failover leads to the other server
    missing = {name: value for name, value in settings.items() if name not in given}
    return make_conninfo(conninfo, **missing)


def shown(conninfo: str, names: Names) -> str:
    """Return the name of a store as people see it: without a password."""
    given = _parsed(conninfo)
    host = given.get("host") or given.get("hostaddr") or ""
    port = f":{given['port']}" if given.get("port") else ""
    return f"postgresql://{host}{port}/{given.get('dbname') or ''} (table {names})"


def _parsed(conninfo: str) -> dict[str, Any]:
    try:
        return dict(conninfo_to_dict(conninfo))
    except psycopg.Error:  # whose text may show a password
        raise ConfigurationError(
            "the connection string of PostgreSQLDLQ cannot be read; give one like"
            " postgresql://user@host/database or host=… dbname=…, and percent-encode what is not a"
            " plain letter"
        ) from None
