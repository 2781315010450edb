-- min_reader: 1
-- A build that does not know it goes on firing what is paused.
CREATE TABLE job_pauses (
  group_name TEXT NOT NULL,
  job TEXT NOT NULL,
  since INTEGER NOT NULL,
  until INTEGER,
  PRIMARY KEY (group_name, job, since)
) WITHOUT ROWID;
CREATE UNIQUE INDEX job_pauses_lasting ON job_pauses (group_name, job) WHERE until IS NULL;
