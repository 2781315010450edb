CREATE TABLE meta (
  name TEXT NOT NULL PRIMARY KEY,
  value TEXT NOT NULL
) WITHOUT ROWID;

-- One counter for all keys: it grows for each of them, outlives every grant, and needs no row per key that would have to be pruned.
CREATE TABLE numbers (
  id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
  last INTEGER NOT NULL
);

INSERT INTO numbers (id, last) VALUES (1, 0);

-- A row is a grant; it counts while boot is this boot, ends_at (nanoseconds of the boot clock) lies ahead, and its replica lives.
CREATE TABLE leases (
  grp TEXT NOT NULL,
  key TEXT NOT NULL,
  replica TEXT NOT NULL,
  acquisition INTEGER NOT NULL,
  number INTEGER NOT NULL,
  purpose TEXT NOT NULL,
  boot TEXT NOT NULL,
  ends_at INTEGER NOT NULL,
  revoked INTEGER NOT NULL DEFAULT 0,
  contended INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (grp, key)
) WITHOUT ROWID;

PRAGMA application_id = 1396919371;
PRAGMA user_version = 1;
