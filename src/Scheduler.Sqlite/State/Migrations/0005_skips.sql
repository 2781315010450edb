-- min_reader: 1
-- How often a replica skipped a job in a minute; written once, when the minute is over.
CREATE TABLE run_skips (
  group_name TEXT NOT NULL,
  minute INTEGER NOT NULL,
  job TEXT NOT NULL,
  replica TEXT NOT NULL,
  reason TEXT NOT NULL,
  count INTEGER NOT NULL,
  PRIMARY KEY (group_name, minute, job, replica, reason)
) WITHOUT ROWID;
CREATE INDEX run_skips_of_job ON run_skips (group_name, job, minute, replica, reason);
