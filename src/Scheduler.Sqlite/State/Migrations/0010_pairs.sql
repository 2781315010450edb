-- min_reader: 1
-- Which State this is, which lock store each group is paired with, and of which one each replica may hold leases. The column of a replica
-- whose build does not know it is null.
CREATE TABLE state_identity (
  one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
  id TEXT NOT NULL
);

INSERT INTO state_identity (one, id) VALUES (1, lower(hex(randomblob(16))));

ALTER TABLE lock_store ADD COLUMN generation INTEGER NOT NULL DEFAULT 0 CHECK (generation BETWEEN 0 AND 1023);

ALTER TABLE members ADD COLUMN lock_store TEXT;
