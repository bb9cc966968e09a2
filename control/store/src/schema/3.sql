-- Schema 3: what is added to schema 2. The audit is kept beside the log and outlives it: what was done to objects, by whom,
-- and what they were before and after. It is no part of the state: copies are not compared by it.

UPDATE about SET text = 'all tables but object, state_hash, log, change, zone_change, audit and audit_share derive from object alone; bartizan doctor --rebuild makes them anew'
WHERE what = 'listings';

-- The documents are last, so that reading the other columns does not touch their overflow pages.
CREATE TABLE audit (
    id INTEGER PRIMARY KEY,    -- revision * 2^18 + the entry's place in the change: the order in which things landed
    at INTEGER NOT NULL,       -- microseconds since 1970
    owner BLOB NOT NULL,       -- the account, or of what belongs to a user the user
    writer BLOB NOT NULL,      -- the token that did it, else the user
    user BLOB,
    token BLOB,
    zone BLOB,
    kind INTEGER NOT NULL,
    object TEXT,               -- its id, or that of what it is the only one of; none in a summary
    name TEXT,                 -- as people know it
    action INTEGER NOT NULL,   -- 0 added, 1 changed, 2 deleted
    count INTEGER NOT NULL,    -- of objects: 1, or of a summary how many
    bytes INTEGER NOT NULL,    -- what it takes, roughly
    key TEXT NOT NULL,         -- of a summary without an id
    request_id BLOB NOT NULL,
    interface TEXT NOT NULL,
    client TEXT,
    before_format INTEGER,
    after_format INTEGER,
    before TEXT,               -- without secrets, as after
    after TEXT
) STRICT;
-- Each is in the order of landing inside: the id stands behind the columns of every index.
CREATE INDEX audit_owner ON audit (owner);
-- What is in no zone.
CREATE INDEX audit_apart ON audit (owner) WHERE zone IS NULL;
CREATE INDEX audit_user ON audit (user);
CREATE INDEX audit_zone ON audit (zone);
CREATE INDEX audit_object ON audit (object);
CREATE INDEX audit_name ON audit (name, kind);

-- How much of the audit is whose, so that nobody pushes out what others did; and how many objects of large change sets got
-- an entry each in the hour: those added, and from bits 20 and 40 on those changed and those deleted.
CREATE TABLE audit_share (
    owner BLOB NOT NULL,
    writer BLOB NOT NULL,
    entries INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    hour INTEGER NOT NULL,
    large INTEGER NOT NULL,
    PRIMARY KEY (owner, writer)
) STRICT, WITHOUT ROWID;
