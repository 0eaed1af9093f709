"""The schema of the database: what stands where, and how an older one becomes this one.

Moments are whole microseconds since 1970 in UTC. Text that is no valid Unicode (lone surrogates)
stands as a BLOB, encoded as UTF-8 with surrogates passed. The views are for people, one for each
state.
"""

from __future__ import annotations

import sqlite3

from .rows import group_of

#: Stands in the file's header and tells our files from those of other programs: "Mdlq".
APPLICATION_ID = 0x4D646C71

#: The version of the schema that this code reads and writes; in the header as user_version.
VERSION = 4

# What is read to find, filter and count letters is kept apart from what is only shown, so that
# a million letters can be looked through without reading a million bodies and tracebacks.
_CREATE = """
CREATE TABLE letters (
    -- Rises in the order of first arrival, and is never used twice.
    position INTEGER PRIMARY KEY,
    -- The key: the message's id, or that and a digest.
    id BLOB NOT NULL UNIQUE,
    -- The message's id, where that is not the key.
    message_id BLOB,
    origin INTEGER NOT NULL,
    source TEXT,
    first_failed INTEGER NOT NULL,
    last_failed INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    -- A digest of error type, handler and reason: the letters that a summary counts together.
    kind INTEGER NOT NULL,
    -- Who handles it, and from when to when that holds.
    claim TEXT,
    claimed INTEGER,
    claim_expires INTEGER,
    reason TEXT NOT NULL,
    -- When a deferred message is handled again; NULL for a dead letter.
    due INTEGER,
    -- How many tries were made.
    attempt INTEGER NOT NULL DEFAULT 1,
    -- The number of the group: of those that failed with one error in one line of one handler.
    failed_alike INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX letters_by_kind ON letters (kind, last_failed, first_failed) WHERE due IS NULL;
-- Those that nobody has claimed, by when they are due; then the claimed ones.
CREATE INDEX letters_due ON letters (claim_expires, due) WHERE due IS NOT NULL;
CREATE INDEX letters_claimed ON letters (claim_expires)
    WHERE due IS NULL AND claim_expires IS NOT NULL;
CREATE INDEX letters_beside ON letters (message_id) WHERE message_id IS NOT NULL;

-- The highest position whose letter was the newest and was removed. AUTOINCREMENT would do the
-- same, and write one page more for each letter.
CREATE TABLE removed (newest INTEGER NOT NULL);
INSERT INTO removed VALUES (0);

-- What many letters share. Rows are only ever added.
CREATE TABLE origins (
    origin INTEGER PRIMARY KEY,
    stage TEXT NOT NULL,
    error_type TEXT,
    handler TEXT,
    message_class TEXT,
    host TEXT NOT NULL,
    version TEXT NOT NULL
);

CREATE TABLE contents (
    position INTEGER PRIMARY KEY,
    body BLOB NOT NULL,
    -- A JSON object; NULL for none.
    headers TEXT,
    traceback TEXT
);

-- The failures of a letter before its last one; number counts from 1.
CREATE TABLE history (
    position INTEGER NOT NULL,
    number INTEGER NOT NULL,
    at INTEGER NOT NULL,
    origin INTEGER NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (position, number)
) WITHOUT ROWID;
"""

#: What an inbox received.
_RECEIVED = """
CREATE TABLE received (
    -- A digest of source and message id, and one of the body, 16 bytes each.
    key BLOB PRIMARY KEY,
    -- Of its letter; NULL when that was removed.
    position INTEGER,
    -- When its letter was removed.
    done INTEGER
) WITHOUT ROWID;
CREATE INDEX received_open ON received (position) WHERE position IS NOT NULL;
CREATE INDEX received_done ON received (done) WHERE done IS NOT NULL;

CREATE TRIGGER letter_deleted AFTER DELETE ON letters BEGIN
    DELETE FROM contents WHERE position = OLD.position;
    DELETE FROM history WHERE position = OLD.position;
    UPDATE removed SET newest = OLD.position
    WHERE newest < OLD.position
        AND NOT EXISTS (SELECT 1 FROM letters WHERE position > OLD.position);
    UPDATE received
    SET position = NULL, done = CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)
    WHERE position = OLD.position;
END;
"""

#: What tells of many letters without reading them, and what people did to them.
_ACCOUNTS = """
-- Letters over time, those of a group, and those of a group over time.
CREATE INDEX letters_by_time ON letters (last_failed) WHERE due IS NULL;
CREATE INDEX letters_of_group ON letters (failed_alike);
CREATE INDEX letters_alike ON letters (failed_alike, last_failed) WHERE due IS NULL;

-- How many dead letters a group has, and when the first that was in it failed first.
CREATE TABLE alike (
    failed_alike INTEGER PRIMARY KEY,
    letters INTEGER NOT NULL,
    first_seen INTEGER NOT NULL
);
CREATE TRIGGER letter_added AFTER INSERT ON letters WHEN NEW.due IS NULL BEGIN
    INSERT INTO alike VALUES (NEW.failed_alike, 1, NEW.first_failed)
    ON CONFLICT (failed_alike) DO UPDATE
    SET letters = letters + 1, first_seen = min(first_seen, excluded.first_seen);
END;
CREATE TRIGGER letter_gone AFTER DELETE ON letters WHEN OLD.due IS NULL BEGIN
    UPDATE alike SET letters = letters - 1 WHERE failed_alike = OLD.failed_alike;
    DELETE FROM alike WHERE failed_alike = OLD.failed_alike AND letters <= 0;
END;
CREATE TRIGGER letter_changed AFTER UPDATE OF failed_alike, due ON letters
WHEN OLD.due IS NULL OR NEW.due IS NULL BEGIN
    UPDATE alike SET letters = letters - (OLD.due IS NULL) WHERE failed_alike = OLD.failed_alike;
    DELETE FROM alike WHERE failed_alike = OLD.failed_alike AND letters <= 0;
    INSERT INTO alike SELECT NEW.failed_alike, 1, NEW.first_failed WHERE NEW.due IS NULL
    ON CONFLICT (failed_alike) DO UPDATE
    SET letters = letters + 1, first_seen = min(first_seen, excluded.first_seen);
END;

-- What people did to letters, and to which: a JSON array of ids in hexadecimal.
CREATE TABLE actions (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    who TEXT NOT NULL,
    what TEXT NOT NULL,
    which TEXT NOT NULL,
    letters INTEGER NOT NULL,
    result TEXT NOT NULL,
    ids TEXT NOT NULL
);
"""

#: Fills the table ``alike`` of a database that had none.
_COUNT = """
INSERT INTO alike SELECT failed_alike, count(*), min(first_failed) FROM letters
WHERE due IS NULL GROUP BY failed_alike;
"""

#: What people look at, and tools; one for each state.
_VIEW = """
CREATE VIEW {name} AS
SELECT
    letters.position,
    CASE
        WHEN typeof(id) = 'blob' AND length(id) > 0 AND hex(id) NOT GLOB '3078*'
            AND CAST(id AS TEXT) NOT GLOB '*[^ -~]*'
            AND length(CAST(id AS TEXT)) = length(id)
        THEN CAST(id AS TEXT)
        ELSE '0x' || lower(hex(id))
    END AS id,
    strftime('%Y-%m-%dT%H:%M:%S', first_failed / 1000000, 'unixepoch')
        || printf('.%06dZ', first_failed % 1000000) AS first_failed,
    strftime('%Y-%m-%dT%H:%M:%S', last_failed / 1000000, 'unixepoch')
        || printf('.%06dZ', last_failed % 1000000) AS last_failed,
    failures,{due}
    stage,
    CAST(reason AS TEXT) AS reason,
    error_type,
    CAST(handler AS TEXT) AS handler,
    CAST(source AS TEXT) AS source,
    message_class,
    headers,
    length(body) AS size,
    CAST(body AS TEXT) AS body,
    CAST(traceback AS TEXT) AS traceback,
    host,
    version
FROM letters JOIN contents USING (position) LEFT JOIN origins USING (origin)
WHERE due IS {state}
ORDER BY letters.position;
"""
_DUE = """
    attempt,
    strftime('%Y-%m-%dT%H:%M:%S', due / 1000000, 'unixepoch')
        || printf('.%06dZ', due % 1000000) AS due,"""
_VIEWS = _VIEW.format(name="dead_letters", due="", state="NULL") + _VIEW.format(
    name="deferred_messages", due=_DUE, state="NOT NULL"
)

#: Puts the letters of a database that knew no groups into theirs.
_GROUPED = """
ALTER TABLE letters ADD COLUMN failed_alike INTEGER NOT NULL DEFAULT 0;
UPDATE letters SET failed_alike = (
    SELECT missive_group(error_type, handler, reason, traceback)
    FROM letters AS one LEFT JOIN contents ON contents.position = one.position
        LEFT JOIN origins ON origins.origin = one.origin
    WHERE one.position = letters.position
);
"""

#: What turns a version of the schema into the next, by the version that it starts from.
MIGRATIONS: dict[int, str] = {
    1: """
        ALTER TABLE letters ADD COLUMN due INTEGER;
        ALTER TABLE letters ADD COLUMN attempt INTEGER NOT NULL DEFAULT 1;
        DROP INDEX letters_by_kind;
        CREATE INDEX letters_by_kind ON letters (kind, last_failed, first_failed) WHERE due IS NULL;
        CREATE INDEX letters_due ON letters (claim_expires, due) WHERE due IS NOT NULL;
        CREATE INDEX letters_claimed ON letters (claim_expires)
            WHERE due IS NULL AND claim_expires IS NOT NULL;
        DROP VIEW dead_letters;
    """
    + _VIEWS,
    2: "DROP TRIGGER letter_deleted;" + _RECEIVED,
    3: _GROUPED + _ACCOUNTS + _COUNT,
}


#: A column of each version that the one before lacks; the newest version first.
_COLUMNS = (
    (4, "alike", "failed_alike"),
    (3, "received", "key"),
    (2, "letters", "due"),
    (1, "letters", "kind"),
)


def version_of(connection: sqlite3.Connection) -> int | None:
    """Return the version of a database whose header lost it, by its tables; None if it is not ours."""
    for version, table, column in _COLUMNS:
        found = connection.execute(
            "SELECT 1 FROM pragma_table_info(?) WHERE name = ?", (table, column)
        ).fetchone()
        if found:
            return version
    return None


def create(connection: sqlite3.Connection) -> None:
    """Make an empty database ours; within a transaction that the caller commits."""
    _run(connection, _CREATE + _RECEIVED + _VIEWS + _ACCOUNTS)
    _stamp(connection, VERSION)


def migrate(connection: sqlite3.Connection, version: int) -> None:
    """Bring a database of an older version up to date; within a transaction of the caller's."""
    connection.create_function("missive_group", 4, group_of, deterministic=True)
    for step in range(version, VERSION):
        _run(connection, MIGRATIONS[step])
    _stamp(connection, VERSION)


def _stamp(connection: sqlite3.Connection, version: int) -> None:
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {version}")


def _run(connection: sqlite3.Connection, script: str) -> None:
    """Execute statement by statement: executescript would commit before it starts."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            connection.execute(statement)
            statement = ""
