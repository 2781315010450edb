-- min_reader: 1
-- Which replica has which definitions of triggers: a replica has a set, and replicas with equal configuration have the same one. Of a build
-- that does not know it nothing stands here.
CREATE TABLE schedule_sets (
  group_name TEXT NOT NULL,
  job TEXT NOT NULL,
  trigger_name TEXT NOT NULL,
  set_id TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  PRIMARY KEY (group_name, job, trigger_name, set_id)
) WITHOUT ROWID;

CREATE TABLE schedule_holders (
  group_name TEXT NOT NULL,
  replica TEXT NOT NULL,
  set_id TEXT NOT NULL,
  held_at INTEGER NOT NULL,
  PRIMARY KEY (group_name, replica)
) WITHOUT ROWID;
