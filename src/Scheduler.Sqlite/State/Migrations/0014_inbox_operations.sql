-- min_reader: 1
-- What people and upkeep need of the inbox, and who changed what. Finished events by age, those that have a body still and those that have
-- none; an event that waits or is processed has no entry in either.
CREATE INDEX inbox_finished ON inbox (group_name, finished_at) WHERE finished_at IS NOT NULL AND body IS NOT NULL;
CREATE INDEX inbox_bodiless ON inbox (group_name, source, finished_at) WHERE finished_at IS NOT NULL AND body IS NULL;

-- What headers that no signature covers say about an event; of most events nothing.
CREATE TABLE inbox_labels (
  group_name TEXT NOT NULL,
  id TEXT NOT NULL,
  sender_id TEXT,
  sender_type TEXT,
  PRIMARY KEY (group_name, id)
) WITHOUT ROWID;

-- One row for each call that would change something; its outcome is the answer's status, and NULL while there is none.
CREATE TABLE audit (
  group_name TEXT NOT NULL,
  id TEXT NOT NULL,
  at INTEGER NOT NULL,
  who TEXT NOT NULL,
  action TEXT NOT NULL,
  target TEXT NOT NULL,
  parameters TEXT,
  replica TEXT NOT NULL,
  outcome INTEGER,
  detail TEXT,
  PRIMARY KEY (group_name, id)
) WITHOUT ROWID;
CREATE INDEX audit_at ON audit (group_name, at);
