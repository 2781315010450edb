-- min_reader: 1
-- Lists of what is rare in a long history. None of them gets an entry from a run that succeeds.
CREATE INDEX runs_unsuccessful ON runs (group_name, state, scheduled_at, id) WHERE state IN ('failed', 'dead', 'overlapped');
CREATE INDEX runs_unsuccessful_of_job ON runs (group_name, job, state, scheduled_at, id) WHERE state IN ('failed', 'dead', 'overlapped');
CREATE INDEX runs_manual ON runs (group_name, scheduled_at, id) WHERE kind = 'manual';

-- What happened to runs beyond what their attempts tell; at most one of a kind for an attempt.
CREATE TABLE run_events (
  group_name TEXT NOT NULL,
  run_id TEXT NOT NULL,
  attempt INTEGER NOT NULL,
  kind TEXT NOT NULL,
  at INTEGER NOT NULL,
  token INTEGER NOT NULL,
  replica TEXT NOT NULL,
  detail TEXT,
  PRIMARY KEY (group_name, run_id, attempt, kind),
  FOREIGN KEY (group_name, run_id) REFERENCES runs (group_name, id) ON DELETE CASCADE
) WITHOUT ROWID;
