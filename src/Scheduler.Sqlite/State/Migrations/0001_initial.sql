-- min_reader: 1
CREATE TABLE runs (
  group_name TEXT NOT NULL,
  id TEXT NOT NULL,
  job TEXT NOT NULL,
  trigger_name TEXT NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('scheduled', 'manual')),
  scheduled_at INTEGER NOT NULL,
  lock_key TEXT NOT NULL,
  data TEXT,
  state TEXT NOT NULL,
  attempt INTEGER NOT NULL,
  failures INTEGER NOT NULL DEFAULT 0,
  crashes INTEGER NOT NULL DEFAULT 0,
  token INTEGER NOT NULL DEFAULT 0,
  replica TEXT,
  started_at INTEGER,
  finished_at INTEGER,
  next_attempt_at INTEGER,
  error TEXT,
  request_key TEXT,
  created_at INTEGER NOT NULL,
  PRIMARY KEY (group_name, id)
);
CREATE UNIQUE INDEX runs_occurrence ON runs (group_name, job, trigger_name, scheduled_at) WHERE kind = 'scheduled';
CREATE UNIQUE INDEX runs_request ON runs (group_name, job, request_key) WHERE request_key IS NOT NULL;
CREATE INDEX runs_open ON runs (group_name, scheduled_at, id) WHERE state IN ('waiting', 'running', 'interrupted', 'orphaned');
CREATE INDEX runs_newest ON runs (group_name, scheduled_at, id);
CREATE INDEX runs_of_job ON runs (group_name, job, scheduled_at, id);
CREATE INDEX runs_finished ON runs (group_name, finished_at, id);
CREATE INDEX runs_ended ON runs (group_name, job, trigger_name, finished_at) WHERE kind = 'scheduled' AND finished_at IS NOT NULL;

CREATE TABLE run_attempts (
  group_name TEXT NOT NULL,
  run_id TEXT NOT NULL,
  attempt INTEGER NOT NULL,
  token INTEGER NOT NULL,
  replica TEXT NOT NULL,
  started_at INTEGER NOT NULL,
  ended_at INTEGER,
  outcome TEXT,
  PRIMARY KEY (group_name, run_id, attempt),
  FOREIGN KEY (group_name, run_id) REFERENCES runs (group_name, id) ON DELETE CASCADE
) WITHOUT ROWID;

CREATE TABLE schedules (
  group_name TEXT NOT NULL,
  job TEXT NOT NULL,
  trigger_name TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  since INTEGER NOT NULL,
  settled_until INTEGER NOT NULL,
  PRIMARY KEY (group_name, job, trigger_name, fingerprint)
);

CREATE TABLE members (
  group_name TEXT NOT NULL,
  id TEXT NOT NULL,
  name TEXT NOT NULL,
  started_at INTEGER NOT NULL,
  wall_clock INTEGER NOT NULL,
  boot_clock INTEGER NOT NULL,
  operations_url TEXT,
  jobs TEXT NOT NULL,
  status TEXT NOT NULL,
  boot_id TEXT NOT NULL,
  beat_at INTEGER NOT NULL,
  PRIMARY KEY (group_name, id)
) WITHOUT ROWID;

CREATE TABLE lock_store (
  group_name TEXT NOT NULL PRIMARY KEY,
  id TEXT NOT NULL,
  first_use INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS fences (
  group_name TEXT NOT NULL,
  resource TEXT NOT NULL,
  lock_key TEXT NOT NULL,
  token INTEGER NOT NULL,
  raised_at INTEGER NOT NULL,
  PRIMARY KEY (group_name, resource)
) WITHOUT ROWID;
