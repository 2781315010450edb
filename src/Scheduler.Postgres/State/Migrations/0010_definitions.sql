-- min_reader: 1
-- Which replica has which definitions of triggers: a replica has a set, and replicas with equal configuration have the same one. Of a build
-- that does not know it nothing stands here.
CREATE TABLE {schema}.schedule_sets (
  group_name text COLLATE "C" NOT NULL,
  job text COLLATE "C" NOT NULL,
  trigger_name text COLLATE "C" NOT NULL,
  set_id text COLLATE "C" NOT NULL,
  fingerprint text COLLATE "C" NOT NULL,
  PRIMARY KEY (group_name, job, trigger_name, set_id)
);

CREATE TABLE {schema}.schedule_holders (
  group_name text COLLATE "C" NOT NULL,
  replica text COLLATE "C" NOT NULL,
  set_id text COLLATE "C" NOT NULL,
  held_at timestamptz NOT NULL,
  PRIMARY KEY (group_name, replica)
);
