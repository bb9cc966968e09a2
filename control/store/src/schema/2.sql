-- Schema 2. All numbers that are unsigned elsewhere are stored bit by bit as signed ones.

-- What a stranger with the sqlite3 shell should know about this file.
CREATE TABLE about (
    what TEXT PRIMARY KEY,
    text TEXT NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO about VALUES
    ('hash', 'object.hash = first 16 bytes of SHA-256(length of key, key, rev, format, json), numbers in big-endian, the length 32 and others 64 bits; state_hash.hash = their sum modulo 2^128'),
    ('ops', 'format 1, see control/store/src/change.rs'),
    ('listings', 'all tables but object, state_hash, log, change and zone_change derive from object alone; bartizan doctor --rebuild makes them anew');

-- The state: objects in force.
CREATE TABLE object (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE, -- scope, kind and id: see control/store/src/key.rs
    kind INTEGER NOT NULL,
    rev INTEGER NOT NULL,    -- the last put
    format INTEGER NOT NULL,
    hash BLOB NOT NULL,      -- what it adds to those of its kind and its zone
    json TEXT NOT NULL
) STRICT;
-- Streams a kind in the order of the rows on disk.
CREATE INDEX object_kind ON object (kind);

-- Sums over the objects, by which copies are compared: `kind/<kind>` and `zone/<id>`. One without objects has no row.
CREATE TABLE state_hash (
    part TEXT PRIMARY KEY,
    hash BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- The one row that says which log the state comes from, and how far. Not taken from the log itself, so that a damaged log
-- hides neither.
CREATE TABLE log (
    epoch INTEGER NOT NULL,  -- another one each time that a log begins
    head INTEGER NOT NULL
) STRICT;
INSERT INTO log VALUES (random(), 0);

-- The changes of the log. `ops` is last, so that reading the other columns does not touch its overflow pages.
CREATE TABLE change (
    rev INTEGER PRIMARY KEY,
    request_id BLOB NOT NULL UNIQUE,
    at INTEGER NOT NULL,     -- microseconds since 1970
    actor TEXT NOT NULL,
    interface TEXT NOT NULL, -- what it was asked through
    client TEXT,             -- the address that it was asked from
    bytes INTEGER NOT NULL,  -- of all operations up to here, since the log began
    ops BLOB NOT NULL
) STRICT;

-- The last revision that changed anything of a zone: its serial comes from there. Unlike a listing it also counts what
-- is gone by now, so that a serial never goes back.
CREATE TABLE zone_change (
    zone BLOB PRIMARY KEY,
    rev INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
