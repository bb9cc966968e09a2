-- What listings have beside the tables and indexes that the kinds declare (control/store/src/query). All of it derives from
-- objects alone: a file with other listings than these gets these when it is opened, and damaged ones are made anew.

CREATE TABLE record_tag (
    zone BLOB NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    id INTEGER NOT NULL,
    PRIMARY KEY (zone, name, value, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX record_tag_id ON record_tag (id);

-- Which load balancers and applications lead to a pool.
CREATE TABLE pool_use (
    pool TEXT NOT NULL,
    id INTEGER NOT NULL,
    PRIMARY KEY (pool, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX pool_use_id ON pool_use (id);

-- Totals of zones, so that a page of a zone of a million records does not count them.
CREATE TABLE record_count (
    zone BLOB PRIMARY KEY,
    count INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The same of certificates that were issued to clients, by how they are.
CREATE TABLE client_certificate_count (
    zone TEXT NOT NULL,
    status TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (zone, status)
) STRICT, WITHOUT ROWID;

-- Which records have which three letters in a row in one of their texts, for searches. A single record costs more here
-- than in all other indexes together, so that records wait in record_unread until there are many or nothing else is to
-- do; a search looks at those too. Each hit is checked against the record itself, so that old entries do no harm.
CREATE VIRTUAL TABLE record_text USING fts5(
    text, content = '', contentless_delete = 1, detail = 'none', tokenize = 'trigram case_sensitive 1'
);
CREATE TABLE record_unread (
    id INTEGER PRIMARY KEY
) STRICT;

-- What goes with a new record is put down by the program (control/store/src/query/records.rs): for a statement with triggers
-- the engine first copies each page that it touches, all those of the indexes, and that for each record of an import.
CREATE TRIGGER record_changed AFTER UPDATE ON record BEGIN
    INSERT INTO record_unread VALUES (new.id) ON CONFLICT DO NOTHING;
END;
CREATE TRIGGER record_removed AFTER DELETE ON record BEGIN
    UPDATE record_count SET count = count - 1 WHERE zone = old.zone;
    DELETE FROM record_count WHERE zone = old.zone AND count = 0;
    INSERT INTO record_unread VALUES (old.id) ON CONFLICT DO NOTHING;
END;
CREATE TRIGGER record_tagged_anew AFTER UPDATE ON record WHEN old.tags IS NOT new.tags BEGIN
    DELETE FROM record_tag WHERE id = new.id;
    INSERT INTO record_tag SELECT new.zone, value ->> 0, value ->> 1, new.id FROM json_each(new.tags);
END;
CREATE TRIGGER record_untagged AFTER DELETE ON record WHEN old.tags IS NOT NULL BEGIN
    DELETE FROM record_tag WHERE id = old.id;
END;

CREATE TRIGGER pool_user_changed AFTER UPDATE ON pool_user WHEN old.pools IS NOT new.pools BEGIN
    DELETE FROM pool_use WHERE id = new.id;
    INSERT INTO pool_use SELECT value, new.id FROM json_each(new.pools);
END;
CREATE TRIGGER pool_user_removed AFTER DELETE ON pool_user WHEN old.pools IS NOT NULL BEGIN
    DELETE FROM pool_use WHERE id = old.id;
END;

CREATE TRIGGER client_certificate_changed AFTER UPDATE ON client_certificate WHEN old.status <> new.status BEGIN
    UPDATE client_certificate_count SET count = count - 1 WHERE zone = old.zone AND status = old.status;
    INSERT INTO client_certificate_count VALUES (new.zone, new.status, 1) ON CONFLICT DO UPDATE SET count = count + 1;
    DELETE FROM client_certificate_count WHERE zone = old.zone AND status = old.status AND count = 0;
END;
CREATE TRIGGER client_certificate_removed AFTER DELETE ON client_certificate BEGIN
    UPDATE client_certificate_count SET count = count - 1 WHERE zone = old.zone AND status = old.status;
    DELETE FROM client_certificate_count WHERE zone = old.zone AND status = old.status AND count = 0;
END;

-- What the query planner is to believe: that a zone may be large, and that a name, a content, a comment, a tag or the
-- value of a rule is shared by few. Without it, it reads a whole zone in the order asked for rather than sort the three records of a name.
-- Numbers: rows, then rows with the same first column, first two columns, and so on.
ANALYZE sqlite_schema; -- makes the table and measures nothing
DELETE FROM sqlite_stat1;
INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
    ('record', 'record_owner', '1000000 500000 3 1'),
    ('record', 'record_type', '1000000 500000 50000 1'),
    ('record', 'record_content', '1000000 500000 10 1'),
    ('record', 'record_ttl', '1000000 500000 50000 1'),
    ('record', 'record_proxied', '1000000 500000 200000 1'),
    ('record', 'record_comment', '100000 50000 20'),
    ('record_tag', 'record_tag', '100000 50000 1000 20 1'),
    ('record_tag', 'record_tag_id', '100000 2'),
    ('client_certificate', 'client_certificate_issued', '1000000 500000 1'),
    ('client_certificate', 'client_certificate_status', '1000000 500000 250000 1'),
    ('client_certificate', 'client_certificate_name', '1000000 500000 2 1'),
    ('access_rule', 'access_rule_target', '1000000 500000 200000 1 1'),
    ('access_rule', 'access_rule_value', '1000000 500000 2 1'),
    ('access_rule', 'access_rule_mode', '1000000 500000 200000 1');
