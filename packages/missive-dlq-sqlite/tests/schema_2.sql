-- The schema of version 2, as it knew deferred messages and no inbox.
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
    attempt INTEGER NOT NULL DEFAULT 1
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

CREATE TRIGGER letter_deleted AFTER DELETE ON letters BEGIN
    DELETE FROM contents WHERE position = OLD.position;
    DELETE FROM history WHERE position = OLD.position;
    UPDATE removed SET newest = OLD.position
    WHERE newest < OLD.position
        AND NOT EXISTS (SELECT 1 FROM letters WHERE position > OLD.position);
END;

CREATE VIEW dead_letters AS
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
    failures,
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
WHERE due IS NULL
ORDER BY letters.position;

CREATE VIEW deferred_messages AS
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
    failures,
    attempt,
    strftime('%Y-%m-%dT%H:%M:%S', due / 1000000, 'unixepoch')
        || printf('.%06dZ', due % 1000000) AS due,
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
WHERE due IS NOT NULL
ORDER BY letters.position;
PRAGMA application_id = 1298426993;
PRAGMA user_version = 2;
