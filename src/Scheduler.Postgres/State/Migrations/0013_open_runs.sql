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

-- Claims the next attempt of a run. Answers JSON with answer = claimed | recorded | closed (run is the row), stale (newest), fenced
-- (held_by), other_key (held_by: the run's own key), unknown.
CREATE OR REPLACE FUNCTION {schema}.claim_run(
  p_group text, p_id uuid, p_lock_key text, p_token bigint, p_replica text, p_now timestamptz, p_leave boolean, p_max_crashes integer
) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  v_fence record;
  v_run {schema}.runs;
  v_key text;
  v_crashed boolean;
  v_crashes integer;
  v_error text;
BEGIN
  PERFORM {schema}.durable();
  -- A run's key never changes, so it may be read in front of the fence; a wrong key must raise none.
  SELECT r.lock_key INTO v_key FROM {schema}.runs r WHERE r.id = p_id AND r.group_name || '' = p_group AND r.lock_key <> p_lock_key;
  IF FOUND THEN
    RETURN {schema}.answer('other_key', NULL, v_key, NULL);
  END IF;
  v_fence := {schema}.raise_fence(p_group, p_lock_key, p_lock_key, p_token);
  IF NOT v_fence.raised THEN
    RETURN {schema}.answer(CASE WHEN v_fence.held_by IS NULL THEN 'stale' ELSE 'fenced' END, v_fence.newest, v_fence.held_by, NULL);
  END IF;
  SELECT r.* INTO v_run FROM {schema}.runs r WHERE r.id = p_id AND r.group_name || '' = p_group FOR UPDATE;
  IF NOT FOUND THEN
    RETURN {schema}.answer('unknown', NULL, NULL, NULL);
  END IF;
  IF v_run.state = 'running' AND v_run.token = p_token AND v_run.replica = p_replica THEN
    RETURN {schema}.answer('claimed', NULL, NULL, v_run);
  END IF;
  IF NOT (CASE v_run.state
    WHEN 'waiting' THEN coalesce(v_run.next_attempt_at <= p_now, true)
    WHEN 'interrupted' THEN true
    WHEN 'orphaned' THEN true
    WHEN 'running' THEN v_run.token < p_token
    ELSE false
  END) THEN
    RETURN {schema}.answer('recorded', NULL, NULL, v_run);
  END IF;
  -- Unless the holder said itself, before it was gone, that it lost its lease or was stopping.
  v_crashed := v_run.state = 'running'
    AND NOT EXISTS (SELECT FROM {schema}.run_events e
      WHERE e.group_name = p_group AND e.run_id = p_id AND e.attempt = v_run.attempt AND e.kind = 'lost')
    AND NOT EXISTS (SELECT FROM {schema}.members m WHERE m.group_name = p_group AND m.id = v_run.replica AND m.status = 'stopping');
  v_crashes := v_run.crashes + CASE WHEN v_crashed THEN 1 ELSE 0 END;
  IF v_crashed AND p_leave THEN
    v_error := format('Attempt %s ended with its replica ''%s'', and the job is set to be left then (OnCrash.Leave).',
      v_run.attempt, v_run.replica);
  ELSIF v_crashed AND v_crashes > p_max_crashes THEN
    v_error := format('Attempt %s ended with its replica ''%s'': crash %s, and %s are allowed (MaxCrashes).',
      v_run.attempt, v_run.replica, v_crashes, p_max_crashes);
  END IF;
  IF v_error IS NOT NULL THEN
    UPDATE {schema}.runs AS r SET state = 'dead', crashes = v_crashes, finished_at = p_now, next_attempt_at = NULL, error = v_error
    WHERE r.id = p_id AND r.group_name || '' = p_group RETURNING r.* INTO v_run;
    DELETE FROM {schema}.open_runs o WHERE o.group_name = p_group AND o.run_id = p_id;
    RETURN {schema}.answer('closed', NULL, NULL, v_run);
  END IF;
  IF v_run.attempt > 0 THEN
    INSERT INTO {schema}.run_attempts (group_name, run_id, attempt, token, replica, started_at, ended_at, outcome)
    VALUES (p_group, p_id, v_run.attempt, v_run.token, v_run.replica, v_run.started_at, v_run.finished_at, v_run.outcome);
  END IF;
  UPDATE {schema}.runs AS r SET state = 'running', attempt = r.attempt + 1, crashes = v_crashes, token = p_token, replica = p_replica,
    started_at = p_now, outcome = NULL, finished_at = NULL, next_attempt_at = NULL, error = NULL
  WHERE r.id = p_id AND r.group_name || '' = p_group RETURNING r.* INTO v_run;
  RETURN {schema}.answer('claimed', NULL, NULL, v_run);
END $$;
