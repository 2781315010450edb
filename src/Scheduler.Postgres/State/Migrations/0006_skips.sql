-- min_reader: 1
-- How often a replica skipped a job in a minute; written once, when the minute is over.
CREATE TABLE {schema}.run_skips (
  group_name text COLLATE "C" NOT NULL,
  minute timestamptz NOT NULL,
  job text COLLATE "C" NOT NULL,
  replica text COLLATE "C" NOT NULL,
  reason text COLLATE "C" NOT NULL,
  count integer NOT NULL,
  PRIMARY KEY (group_name, minute, job, replica, reason)
);
CREATE INDEX run_skips_of_job ON {schema}.run_skips (group_name, job, minute, replica, reason);
