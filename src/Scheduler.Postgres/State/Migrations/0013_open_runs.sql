-- min_reader: 1
-- What a look at the open runs asks for: those that run; of those that wait or are interrupted, and of the orphaned ones, the first under
-- each key by the time since which it is due. And the runs of a job that were asked for. No index of runs may contain what a completion
-- writes (0002), so it stands in open_runs, kept by triggers, because the build before knows nothing of it.
--
-- What is written meanwhile waits, so that nothing is written between what is copied and what keeps the copy.
LOCK TABLE {schema}.runs IN SHARE ROW EXCLUSIVE MODE;

ALTER TABLE {schema}.open_runs
  ADD COLUMN kind text COLLATE "C" NOT NULL DEFAULT 'running' CHECK (kind IN ('running', 'claimable', 'orphaned')),
  ADD COLUMN due_at timestamptz,
  ADD COLUMN lock_key text COLLATE "C",
  -- The job of a run that was asked for.
  ADD COLUMN requested text COLLATE "C";

CREATE FUNCTION {schema}.open_kind(p_state text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE WHEN p_state IN ('running', 'orphaned') THEN p_state ELSE 'claimable' END
$$;

DELETE FROM {schema}.open_runs o WHERE NOT EXISTS (
  SELECT FROM {schema}.runs r
  WHERE r.id = o.run_id AND r.group_name = o.group_name AND r.state IN ('waiting', 'running', 'interrupted', 'orphaned'));
UPDATE {schema}.open_runs AS o SET kind = {schema}.open_kind(r.state), due_at = coalesce(r.next_attempt_at, r.scheduled_at),
  lock_key = r.lock_key, requested = CASE r.kind WHEN 'manual' THEN r.job END
FROM {schema}.runs r WHERE r.id = o.run_id AND r.group_name = o.group_name;

-- The group as an expression, as 0001 says at the primary key of runs: each list fits one index and no other.
CREATE INDEX open_runs_running ON {schema}.open_runs ((group_name || ''), run_id) WHERE kind = 'running';
CREATE INDEX open_runs_queue ON {schema}.open_runs (kind, (group_name || ''), due_at, run_id) WHERE kind <> 'running';
CREATE INDEX open_runs_queue_of_key ON {schema}.open_runs (lock_key, kind, (group_name || ''), due_at, run_id) WHERE kind <> 'running';
CREATE INDEX open_runs_requested ON {schema}.open_runs ((group_name || ''), requested) WHERE requested IS NOT NULL;

CREATE OR REPLACE FUNCTION {schema}.add_open_runs() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO {schema}.open_runs (group_name, run_id, kind, due_at, lock_key, requested)
  SELECT n.group_name, n.id, {schema}.open_kind(n.state), coalesce(n.next_attempt_at, n.scheduled_at), n.lock_key,
    CASE n.kind WHEN 'manual' THEN n.job END
  FROM new_runs n WHERE n.state IN ('waiting', 'running', 'interrupted', 'orphaned');
  RETURN NULL;
END $$;

-- What ends by a completion or a claim goes from open_runs there, with one statement for a group of them.
CREATE FUNCTION {schema}.keep_open_run() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.state IN ('waiting', 'running', 'interrupted', 'orphaned') THEN
    INSERT INTO {schema}.open_runs AS o (group_name, run_id, kind, due_at, lock_key, requested)
    VALUES (NEW.group_name, NEW.id, {schema}.open_kind(NEW.state), coalesce(NEW.next_attempt_at, NEW.scheduled_at), NEW.lock_key,
      CASE NEW.kind WHEN 'manual' THEN NEW.job END)
    ON CONFLICT (group_name, run_id) DO UPDATE
    SET kind = excluded.kind, due_at = excluded.due_at, lock_key = excluded.lock_key, requested = excluded.requested;
  ELSE
    DELETE FROM {schema}.open_runs o WHERE o.group_name = NEW.group_name AND o.run_id = NEW.id;
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER runs_open_from_now AFTER UPDATE ON {schema}.runs FOR EACH ROW
WHEN ((NEW.state, NEW.next_attempt_at) IS DISTINCT FROM (OLD.state, OLD.next_attempt_at)
  AND (NEW.state IN ('waiting', 'running', 'interrupted', 'orphaned') OR OLD.state IN ('waiting', 'interrupted', 'orphaned')))
EXECUTE FUNCTION {schema}.keep_open_run();

-- By hand, before it is over: the next one under its key would wait for it.
CREATE FUNCTION {schema}.forget_open_run() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  DELETE FROM {schema}.open_runs o WHERE o.group_name = OLD.group_name AND o.run_id = OLD.id;
  RETURN NULL;
END $$;
CREATE TRIGGER runs_open_gone AFTER DELETE ON {schema}.runs FOR EACH ROW
WHEN (OLD.state IN ('waiting', 'interrupted', 'orphaned')) EXECUTE FUNCTION {schema}.forget_open_run();

-- What the request of a run with a key said; null of a build that did not keep it.
ALTER TABLE {schema}.runs ADD COLUMN request_data text;
