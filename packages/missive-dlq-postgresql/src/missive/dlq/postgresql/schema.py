"""The schema: what stands where, and how an older version becomes this one.

A row of the table of letters is a dead letter or a deferred message. Characters of a text that
PostgreSQL cannot hold (NUL and lone surrogates) stand as U+001A and four hexadecimal digits.
"""

from __future__ import annotations

from typing import NamedTuple

#: The version of the schema that this code reads and writes.
VERSION = 1


class Names(NamedTuple):
    """The quoted names of a store's tables.

    :ivar schema: the schema that they are in; None for the first of the search path.
    :ivar table: the name of the table of letters, without its schema.
    """

    schema: str | None
    table: str

    @property
    def letters(self) -> str:
        """The table of letters."""
        return self._qualified("")

    @property
    def version(self) -> str:
        """The table that says which version of the schema this is."""
        return self._qualified("_version")

    @property
    def received(self) -> str:
        """The table of what an inbox received."""
        return self._qualified("_received")

    @property
    def actions(self) -> str:
        """The table of what people did to letters."""
        return self._qualified("_actions")

    @property
    def deleted(self) -> str:
        """The function that notes what of an inbox is done."""
        return self._qualified("_deleted")

    def index_name(self, suffix: str) -> str:
        """Return the name of an index; it is in the schema of its table."""
        return f'"{self.table}_{suffix}"'

    def _qualified(self, suffix: str) -> str:
        name = f'"{self.table}{suffix}"'
        return name if self.schema is None else f'"{self.schema}".{name}'

    def __str__(self) -> str:
        return self.table if self.schema is None else f"{self.schema}.{self.table}"


# One row holds all of a letter: PostgreSQL keeps what is long (bodies, tracebacks) out of line, so
# that a million letters can be looked through without reading a million of those.
_CREATE = """
CREATE TABLE {letters} (
    -- Rises in the order of first arrival, and is never used twice.
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- The key: the message's id, or that and a digest.
    id bytea NOT NULL,
    -- All of an id of more than 1024 bytes, of which the key has the beginning and a digest.
    whole_id bytea,
    -- The message's id, where that is not the key.
    message_id bytea,
    source text,
    message_class text,
    stage text NOT NULL,
    error_type text,
    handler text,
    reason text NOT NULL,
    first_failed timestamptz NOT NULL,
    last_failed timestamptz NOT NULL,
    failures bigint NOT NULL DEFAULT 1,
    -- A digest of error type, handler and reason: the letters that a summary counts together.
    kind bigint NOT NULL,
    -- The number of the group: of those that failed with one error in one line of one handler.
    alike bigint NOT NULL,
    -- When a deferred message is handled again; NULL for a dead letter.
    due timestamptz,
    -- How many tries were made.
    attempt bigint NOT NULL DEFAULT 1,
    -- Who handles it, and until when.
    claim text,
    claim_expires timestamptz,
    -- The machine that it failed on last, and the version of missive-core there.
    host text NOT NULL DEFAULT '',
    version text NOT NULL DEFAULT '',
    -- An object; NULL for none.
    headers json,
    -- Lists of time, stage, reason, error type and handler, the oldest failure first; NULL for one.
    history json,
    traceback text,
    body bytea NOT NULL
);
CREATE UNIQUE INDEX {index_id} ON {letters} (id);
CREATE INDEX {index_alike} ON {letters} (alike, kind, last_failed, first_failed, position)
    WHERE due IS NULL;
CREATE INDEX {index_time} ON {letters} (last_failed) WHERE due IS NULL;
-- Those that nobody has claimed, by when they are due; and the claimed, by when that ends.
CREATE INDEX {index_due} ON {letters} (due) WHERE due IS NOT NULL AND claim_expires IS NULL;
CREATE INDEX {index_claimed} ON {letters} (claim_expires) WHERE claim_expires IS NOT NULL;

-- What an inbox received.
CREATE TABLE {received} (
    -- A digest of source and message id, and one of the body, 16 bytes each.
    key bytea PRIMARY KEY,
    -- Of its letter; NULL when that was removed.
    position bigint,
    -- When its letter was removed.
    done timestamptz
);
CREATE INDEX {index_open} ON {received} (position) WHERE position IS NOT NULL;
CREATE INDEX {index_done} ON {received} (done) WHERE done IS NOT NULL;
CREATE FUNCTION {deleted}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE {received} SET position = NULL, done = clock_timestamp()
    WHERE position IN (SELECT position FROM removed);
    RETURN NULL;
END
$$;
CREATE TRIGGER deleted AFTER DELETE ON {letters} REFERENCING OLD TABLE AS removed
    FOR EACH STATEMENT EXECUTE FUNCTION {deleted}();

-- What people did to letters, and to which.
CREATE TABLE {actions} (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL,
    who text NOT NULL,
    what text NOT NULL,
    which text NOT NULL,
    letters bigint NOT NULL,
    result text NOT NULL,
    ids bytea[] NOT NULL
);

CREATE TABLE {version} (version integer NOT NULL);
"""

_INDEXES = ("id", "alike", "time", "due", "claimed", "open", "done")

#: What turns a version of the schema into the next, by the version that it starts from.
MIGRATIONS: dict[int, str] = {}


def creation(names: Names) -> str:
    """Return the script that makes the tables of a new store."""
    return _filled(_CREATE, names) + f"INSERT INTO {names.version} VALUES ({VERSION});"


def migration(names: Names, version: int) -> str:
    """Return the script that brings a store of an older version up to date."""
    steps = [_filled(MIGRATIONS[step], names) for step in range(version, VERSION)]
    return "".join([*steps, f"UPDATE {names.version} SET version = {VERSION};"])


def _filled(script: str, names: Names) -> str:
    return script.format(
        letters=names.letters,
        received=names.received,
        actions=names.actions,
        deleted=names.deleted,
        version=names.version,
        **{f"index_{suffix}": names.index_name(suffix) for suffix in _INDEXES},
    )
