-- min_reader: 1
-- A build that does not know it goes on firing what is paused. Times are of the server's clock.
CREATE TABLE {schema}.job_pauses (
  group_name text COLLATE "C" NOT NULL,
  job text COLLATE "C" NOT NULL,
  since timestamptz NOT NULL,
  until timestamptz,
  PRIMARY KEY (group_name, job, since)
);
CREATE UNIQUE INDEX job_pauses_lasting ON {schema}.job_pauses (group_name, job) WHERE until IS NULL;
