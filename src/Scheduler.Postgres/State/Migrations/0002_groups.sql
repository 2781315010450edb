-- min_reader: 1
-- Groups of calls as a few statements, and completions that touch no index: no index of runs may contain what a completion writes, so that
-- the row stays where it is (a HOT update). What open runs and long attempts had an index for has a table.
--
-- Replicas of the build before go on meanwhile, also in the middle of a function's former body. What they write waits here, so that nothing
-- is written between what is copied and what keeps the copy.
LOCK TABLE {schema}.runs IN ACCESS EXCLUSIVE MODE;

-- The runs that are waiting, running, interrupted or orphaned: in and out with the state, in the same transaction. A former body that ends
-- a run leaves its row here; readers look at the state as well, and pruning takes such rows away.
CREATE TABLE {schema}.open_runs (
  group_name text COLLATE "C" NOT NULL,
  run_id uuid NOT NULL,
  PRIMARY KEY (group_name, run_id)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_analyze_scale_factor = 0.1);

INSERT INTO {schema}.open_runs (group_name, run_id)
SELECT group_name, id FROM {schema}.runs WHERE state IN ('waiting', 'running', 'interrupted', 'orphaned');

-- By a trigger, because the build before knows nothing of it.
CREATE FUNCTION {schema}.add_open_runs() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO {schema}.open_runs (group_name, run_id)
  SELECT n.group_name, n.id FROM new_runs n WHERE n.state IN ('waiting', 'running', 'interrupted', 'orphaned');
  RETURN NULL;
END $$;
CREATE TRIGGER runs_opened AFTER INSERT ON {schema}.runs REFERENCING NEW TABLE AS new_runs
FOR EACH STATEMENT EXECUTE FUNCTION {schema}.add_open_runs();

-- The attempts that lasted long enough to overlap with later occurrences of their trigger: no trigger is due more often than once a second.
CREATE TABLE {schema}.long_attempts (
  group_name text COLLATE "C" NOT NULL,
  job text COLLATE "C" NOT NULL,
  trigger_name text COLLATE "C" NOT NULL,
  ended_at timestamptz NOT NULL,
  run_id uuid NOT NULL,
  PRIMARY KEY (group_name, job, trigger_name, ended_at, run_id)
);

INSERT INTO {schema}.long_attempts (group_name, job, trigger_name, ended_at, run_id)
SELECT group_name, job, trigger_name, finished_at, id FROM {schema}.runs
WHERE finished_at - started_at >= interval '1 second' ON CONFLICT DO NOTHING;

DROP INDEX {schema}.runs_open;
DROP INDEX {schema}.runs_ended;
ALTER TABLE {schema}.runs SET (fillfactor = 70);

-- Claims occurrences, each by itself, with as many statements as one of them needs. Answers NULL when all are the callers' now, else an
-- array with what claim_occurrence() says of each.
--
-- Here and in complete_runs() rows are found in a LATERAL query with OFFSET, each by its key. A plain join may be planned, while the tables
-- are small, as one that reads all of them, and sessions keep that plan while they grow.
CREATE FUNCTION {schema}.claim_occurrences(
  p_group text, p_ids uuid[], p_jobs text[], p_triggers text[], p_scheduled_at timestamptz[], p_lock_keys text[], p_tokens bigint[],
  p_replicas text[], p_nows timestamptz[], p_data text[]
) RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE
  v_raised integer;
  v_new integer;
BEGIN
  IF current_setting('synchronous_commit') NOT IN ('on', 'remote_apply') THEN
    PERFORM set_config('synchronous_commit', 'on', true);
  END IF;
  -- First of all, as in claim_occurrence(). Sorted, so that no two groups wait for each other; a second claim of a key in a group is left
  -- to the statement below.
  INSERT INTO {schema}.fences AS f (group_name, resource, lock_key, token, raised_at)
  SELECT DISTINCT ON (q.lock_key COLLATE "C") p_group, q.lock_key, q.lock_key, q.token, clock_timestamp()
  FROM unnest(p_lock_keys, p_tokens) AS q (lock_key, token) ORDER BY q.lock_key COLLATE "C", q.token
  ON CONFLICT (group_name, resource) DO UPDATE SET token = excluded.token, raised_at = excluded.raised_at
  WHERE f.token <= excluded.token AND f.lock_key = excluded.lock_key;
  GET DIAGNOSTICS v_raised = ROW_COUNT;
  IF v_raised < cardinality(p_ids) THEN
    RETURN (SELECT array_agg({schema}.claim_occurrence(p_group, q.id, q.job, q.trigger_name, q.scheduled_at, q.lock_key, q.token, q.replica,
      q.now, q.data) ORDER BY q.n)
    FROM unnest(p_ids, p_jobs, p_triggers, p_scheduled_at, p_lock_keys, p_tokens, p_replicas, p_nows, p_data)
      WITH ORDINALITY AS q (id, job, trigger_name, scheduled_at, lock_key, token, replica, now, data, n));
  END IF;
  INSERT INTO {schema}.runs (group_name, id, job, trigger_name, kind, scheduled_at, lock_key, data, state, attempt, token, replica,
    started_at)
  SELECT p_group, q.id, q.job, q.trigger_name, 'scheduled', q.scheduled_at, q.lock_key, q.data, 'running', 1, q.token, q.replica, q.now
  FROM unnest(p_ids, p_jobs, p_triggers, p_scheduled_at, p_lock_keys, p_tokens, p_replicas, p_nows, p_data)
    AS q (id, job, trigger_name, scheduled_at, lock_key, token, replica, now, data)
  ON CONFLICT (group_name, job, trigger_name, scheduled_at) WHERE kind = 'scheduled' DO NOTHING;
  GET DIAGNOSTICS v_new = ROW_COUNT;
  IF v_new = cardinality(p_ids) THEN
    RETURN NULL;
  END IF;
  RETURN (SELECT array_agg(
      CASE
        WHEN r.id = q.id THEN NULL
        -- Pruned in between.
        WHEN r.id IS NULL THEN {schema}.claim_occurrence(p_group, q.id, q.job, q.trigger_name, q.scheduled_at, q.lock_key, q.token,
          q.replica, q.now, q.data)
        ELSE {schema}.answer(
          CASE WHEN r.state = 'running' AND r.token = q.token AND r.replica = q.replica THEN 'claimed' ELSE 'recorded' END, NULL, NULL, r.row)
      END ORDER BY q.n)
    FROM unnest(p_ids, p_jobs, p_triggers, p_scheduled_at, p_lock_keys, p_tokens, p_replicas, p_nows, p_data)
      WITH ORDINALITY AS q (id, job, trigger_name, scheduled_at, lock_key, token, replica, now, data, n)
    LEFT JOIN LATERAL (SELECT f AS row, f.* FROM {schema}.runs f WHERE f.group_name = p_group AND f.job = q.job
      AND f.trigger_name = q.trigger_name AND f.scheduled_at = q.scheduled_at AND f.kind = 'scheduled' OFFSET 0) r ON true);
END $$;

-- Claims the next attempt of a run. Answers JSON with answer = claimed | recorded | closed (run is the row), stale (newest), fenced
-- (held_by), other_key (held_by: the run's own key), unknown.
CREATE OR REPLACE FUNCTION {schema}.claim_run(
  p_group text, p_id uuid, p_lock_key text, p_token bigint, p_replica text, p_now timestamptz, p_leave boolean, p_max_crashes integer
) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  v_fence record;
  v_run {schema}.runs;
  v_key text;
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
  v_crashes := v_run.crashes + CASE WHEN v_run.state = 'running' THEN 1 ELSE 0 END;
  IF v_run.state = 'running' AND p_leave THEN
    v_error := format('Attempt %s ended with its replica ''%s'', and the job is set to be left then (OnCrash.Leave).',
      v_run.attempt, v_run.replica);
  ELSIF v_run.state = 'running' AND v_crashes > p_max_crashes THEN
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

-- Ends the newest attempt of a running run; whether it counts, now or by an earlier call whose answer was lost.
CREATE OR REPLACE FUNCTION {schema}.complete_run(
  p_group text, p_id uuid, p_attempt integer, p_token bigint, p_outcome text, p_state text, p_failures integer, p_started timestamptz,
  p_now timestamptz, p_next timestamptz, p_error text
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
  v_run record;
BEGIN
  IF current_setting('synchronous_commit') NOT IN ('on', 'remote_apply') THEN
    PERFORM set_config('synchronous_commit', 'on', true);
  END IF;
  UPDATE {schema}.runs AS r SET state = p_state, failures = r.failures + p_failures, outcome = p_outcome,
    started_at = coalesce(p_started, r.started_at), finished_at = p_now, next_attempt_at = p_next, error = p_error
  WHERE r.id = p_id AND r.group_name || '' = p_group AND r.attempt = p_attempt AND r.token = p_token AND r.state = 'running'
  RETURNING r.job, r.trigger_name, r.finished_at - r.started_at AS took INTO v_run;
  IF FOUND THEN
    IF v_run.took >= interval '1 second' THEN
      INSERT INTO {schema}.long_attempts (group_name, job, trigger_name, ended_at, run_id)
      VALUES (p_group, v_run.job, v_run.trigger_name, p_now, p_id) ON CONFLICT DO NOTHING;
    END IF;
    IF p_state NOT IN ('waiting', 'interrupted') THEN
      DELETE FROM {schema}.open_runs o WHERE o.group_name = p_group AND o.run_id = p_id;
    END IF;
    RETURN true;
  END IF;
  RETURN EXISTS (SELECT FROM {schema}.runs r
      WHERE r.id = p_id AND r.group_name || '' = p_group AND r.attempt = p_attempt AND r.token = p_token AND r.outcome = p_outcome)
    OR EXISTS (SELECT FROM {schema}.run_attempts a
      WHERE a.group_name = p_group AND a.run_id = p_id AND a.attempt = p_attempt AND a.token = p_token AND a.outcome = p_outcome);
END $$;

-- Ends attempts, each by itself, with as many statements as one of them needs. Answers NULL when all count, else an array with what
-- complete_run() says of each.
CREATE FUNCTION {schema}.complete_runs(
  p_group text, p_ids uuid[], p_attempts integer[], p_tokens bigint[], p_outcomes text[], p_states text[], p_failures integer[],
  p_started timestamptz[], p_nows timestamptz[], p_nexts timestamptz[], p_errors text[]
) RETURNS boolean[] LANGUAGE plpgsql AS $$
DECLARE
  v_ended integer;
BEGIN
  IF current_setting('synchronous_commit') NOT IN ('on', 'remote_apply') THEN
    PERFORM set_config('synchronous_commit', 'on', true);
  END IF;
  UPDATE {schema}.runs AS r SET state = q.state, failures = r.failures + q.failures, outcome = q.outcome,
    started_at = coalesce(q.started, r.started_at), finished_at = q.now, next_attempt_at = q.next, error = q.error
  FROM unnest(p_ids, p_attempts, p_tokens, p_outcomes, p_states, p_failures, p_started, p_nows, p_nexts, p_errors)
      AS q (id, attempt, token, outcome, state, failures, started, now, next, error)
    CROSS JOIN LATERAL (
      SELECT f.ctid AS place FROM {schema}.runs f WHERE f.id = q.id AND f.group_name || '' = p_group OFFSET 0) AS found
  WHERE r.ctid = found.place AND r.attempt = q.attempt AND r.token = q.token AND r.state = 'running';
  GET DIAGNOSTICS v_ended = ROW_COUNT;
  IF EXISTS (SELECT FROM unnest(p_started, p_nows) AS q (started, now) WHERE (q.now - q.started < interval '1 second') IS NOT TRUE) THEN
    INSERT INTO {schema}.long_attempts (group_name, job, trigger_name, ended_at, run_id)
    SELECT p_group, f.job, f.trigger_name, f.finished_at, q.id
    FROM unnest(p_ids) AS q (id)
      CROSS JOIN LATERAL (
        SELECT r.job, r.trigger_name, r.finished_at FROM {schema}.runs r WHERE r.id = q.id AND r.group_name || '' = p_group
          AND r.finished_at - r.started_at >= interval '1 second' OFFSET 0) AS f
    ON CONFLICT DO NOTHING;
  END IF;
  -- Also of those that counted before.
  DELETE FROM {schema}.open_runs AS o
  USING unnest(p_ids) AS q (id)
    CROSS JOIN LATERAL (
      SELECT f.ctid AS place FROM {schema}.open_runs f WHERE f.group_name = p_group AND f.run_id = q.id AND NOT EXISTS (
        SELECT FROM {schema}.runs r WHERE r.id = q.id AND r.group_name || '' = p_group
          AND r.state IN ('waiting', 'running', 'interrupted', 'orphaned')) OFFSET 0) AS found
  WHERE o.ctid = found.place;
  IF v_ended = cardinality(p_ids) THEN
    RETURN NULL;
  END IF;
  RETURN (SELECT array_agg({schema}.complete_run(p_group, q.id, q.attempt, q.token, q.outcome, q.state, q.failures, q.started, q.now,
    q.next, q.error) ORDER BY q.n)
  FROM unnest(p_ids, p_attempts, p_tokens, p_outcomes, p_states, p_failures, p_started, p_nows, p_nexts, p_errors)
    WITH ORDINALITY AS q (id, attempt, token, outcome, state, failures, started, now, next, error, n));
END $$;
