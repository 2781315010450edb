-- min_reader: 1
-- The events that senders delivered. The keys of a row with keyed = 1 are its own; a conflict has the keys of the row that it contradicts.
-- due_at is in milliseconds of the wall clock of the one host; while an event is processed, it says when others may take it.
CREATE TABLE inbox (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  group_name TEXT NOT NULL,
  id TEXT NOT NULL,
  source TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('received', 'processing', 'failed', 'done', 'ignored', 'dead', 'conflict', 'quarantined')),
  keyed INTEGER NOT NULL,
  body_keyed INTEGER NOT NULL,
  event_id TEXT,
  event_type TEXT,
  dedupe_key TEXT,
  order_key TEXT,
  body_hash BLOB NOT NULL,
  content_hash BLOB NOT NULL,
  received_at INTEGER NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0,
  counted INTEGER NOT NULL DEFAULT 0,
  due_at INTEGER,
  replica TEXT,
  finished_at INTEGER,
  error TEXT,
  conflicts_with TEXT,
  body_bytes INTEGER NOT NULL,
  body BLOB
);

CREATE UNIQUE INDEX inbox_id ON inbox (group_name, id);
CREATE UNIQUE INDEX inbox_dedupe ON inbox (group_name, source, dedupe_key) WHERE keyed = 1 AND dedupe_key IS NOT NULL;
CREATE UNIQUE INDEX inbox_event ON inbox (group_name, source, event_id) WHERE keyed = 1 AND event_id IS NOT NULL;
CREATE UNIQUE INDEX inbox_body ON inbox (group_name, source, body_hash) WHERE body_keyed = 1;

CREATE INDEX inbox_due ON inbox (group_name, due_at, number) WHERE state IN ('received', 'processing', 'failed');
CREATE INDEX inbox_order ON inbox (group_name, source, order_key, number)
  WHERE state IN ('received', 'processing', 'failed', 'dead', 'conflict');
CREATE INDEX inbox_people ON inbox (group_name, state, number) WHERE state IN ('failed', 'dead', 'conflict', 'quarantined');

-- The contents that contradict a row, each once; the row of the first of each.
CREATE TABLE inbox_conflicts (
  group_name TEXT NOT NULL,
  first_id TEXT NOT NULL,
  content_hash BLOB NOT NULL,
  id TEXT NOT NULL,
  PRIMARY KEY (group_name, first_id, content_hash)
) WITHOUT ROWID;
