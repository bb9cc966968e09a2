-- Schema 2. All numbers that are unsigned elsewhere (checksums) are stored bit by bit as signed ones.

-- What a stranger with the sqlite3 shell should know about this file.
CREATE TABLE about (
    what TEXT PRIMARY KEY,
    text TEXT NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO about VALUES
    ('checksum', 'change.checksum = first 8 bytes of SHA-256(previous checksum, rev, SHA-256(at, length of actor, actor, request_id, ops)), numbers in big-endian, lengths 32 and others 64 bits'),
    ('ops', 'format 1, see control/store/src/change.rs'),
    ('listings', 'all tables but object, change, log_begin and zone_change derive from object alone; bartizan doctor --rebuild makes them anew');

-- The state: objects in force.
CREATE TABLE object (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE, -- scope, kind and id: see control/store/src/key.rs
    kind INTEGER NOT NULL,
    rev INTEGER NOT NULL,    -- the last put
    format INTEGER NOT NULL,
    json TEXT NOT NULL
) STRICT;
-- Streams a kind in the order of the rows on disk.
CREATE INDEX object_kind ON object (kind);

-- Where the log begins: behind this revision. Written when it begins anew; the end of a log without a change.
CREATE TABLE log_begin (
    rev INTEGER NOT NULL,
    checksum INTEGER NOT NULL
) STRICT;

-- The log. `ops` is last, so that reading the other columns does not touch its overflow pages.
CREATE TABLE change (
    rev INTEGER PRIMARY KEY,
    request_id BLOB NOT NULL UNIQUE,
    at INTEGER NOT NULL,     -- microseconds since 1970
    actor TEXT NOT NULL,
    checksum INTEGER NOT NULL,
    bytes INTEGER NOT NULL,  -- of all operations up to here, since the log began
    ops BLOB NOT NULL
) STRICT;

-- The last revision that changed anything of a zone: its serial comes from there. Unlike a listing it also counts what
-- is gone by now, so that a serial never goes back.
CREATE TABLE zone_change (
    zone BLOB PRIMARY KEY,
    rev INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
