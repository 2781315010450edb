-- min_reader: 1
-- Lists of what is rare in a long history. The state of a run changes with its completion, so no index of runs may contain it (0002); what
-- did not succeed has a table. It is kept by triggers, because the build before knows nothing of it, and none of them does anything for a
-- run that succeeds.
--
-- What is written meanwhile waits, so that nothing is written between what is copied and what keeps the copy.
LOCK TABLE {schema}.runs IN SHARE ROW EXCLUSIVE MODE;

CREATE TABLE {schema}.unsuccessful_runs (
  group_name text COLLATE "C" NOT NULL,
  state text COLLATE "C" NOT NULL CHECK (state IN ('failed', 'dead', 'overlapped')),
  scheduled_at timestamptz NOT NULL,
  run_id uuid NOT NULL,
  job text COLLATE "C" NOT NULL,
  PRIMARY KEY (group_name, state, scheduled_at, run_id)
);
CREATE INDEX unsuccessful_runs_of_job ON {schema}.unsuccessful_runs (group_name, job, state, scheduled_at, run_id);

INSERT INTO {schema}.unsuccessful_runs (group_name, state, scheduled_at, run_id, job)
SELECT group_name, state, scheduled_at, id, job FROM {schema}.runs WHERE state IN ('failed', 'dead', 'overlapped');

CREATE FUNCTION {schema}.keep_unsuccessful_run() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'UPDATE' THEN
    DELETE FROM {schema}.unsuccessful_runs u
    WHERE u.group_name = OLD.group_name AND u.state = OLD.state AND u.scheduled_at = OLD.scheduled_at AND u.run_id = OLD.id;
  END IF;
  INSERT INTO {schema}.unsuccessful_runs (group_name, state, scheduled_at, run_id, job)
  SELECT NEW.group_name, NEW.state, NEW.scheduled_at, NEW.id, NEW.job WHERE NEW.state IN ('failed', 'dead', 'overlapped')
  ON CONFLICT DO NOTHING;
  RETURN NULL;
END $$;
CREATE TRIGGER runs_unsuccessful_from_now AFTER UPDATE ON {schema}.runs FOR EACH ROW
WHEN (NEW.state <> OLD.state AND (NEW.state IN ('failed', 'dead', 'overlapped') OR OLD.state IN ('failed', 'dead', 'overlapped')))
EXECUTE FUNCTION {schema}.keep_unsuccessful_run();
CREATE TRIGGER runs_unsuccessful_at_once AFTER INSERT ON {schema}.runs FOR EACH ROW
WHEN (NEW.state IN ('failed', 'dead', 'overlapped')) EXECUTE FUNCTION {schema}.keep_unsuccessful_run();

-- What happened to runs beyond what their attempts tell; at most one of a kind for an attempt.
CREATE TABLE {schema}.run_events (
  group_name text COLLATE "C" NOT NULL,
  run_id uuid NOT NULL,
  attempt integer NOT NULL,
  kind text COLLATE "C" NOT NULL,
  at timestamptz NOT NULL,
  token bigint NOT NULL,
  replica text COLLATE "C" NOT NULL,
  detail text,
  PRIMARY KEY (group_name, run_id, attempt, kind)
);

-- What belongs to runs goes with them, with one statement for all of them. LATERAL and OFFSET as in claim_occurrences().
CREATE FUNCTION {schema}.forget_runs() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  DELETE FROM {schema}.unsuccessful_runs AS u
  USING gone AS g
    CROSS JOIN LATERAL (
      SELECT f.ctid AS place FROM {schema}.unsuccessful_runs f
      WHERE f.group_name = g.group_name AND f.state = g.state AND f.scheduled_at = g.scheduled_at AND f.run_id = g.id OFFSET 0) AS found
  WHERE u.ctid = found.place AND g.state IN ('failed', 'dead', 'overlapped');
  DELETE FROM {schema}.run_events AS e
  USING gone AS g
    CROSS JOIN LATERAL (
      SELECT f.ctid AS place FROM {schema}.run_events f WHERE f.group_name = g.group_name AND f.run_id = g.id OFFSET 0) AS found
  WHERE e.ctid = found.place;
  RETURN NULL;
END $$;
CREATE TRIGGER runs_gone AFTER DELETE ON {schema}.runs REFERENCING OLD TABLE AS gone
FOR EACH STATEMENT EXECUTE FUNCTION {schema}.forget_runs();

-- What was asked for: a completion changes none of these.
CREATE INDEX runs_manual ON {schema}.runs (group_name, scheduled_at, id) WHERE kind = 'manual';
