-- min_reader: 1
-- {schema} stands for the quoted name of the schema. Times are of the replicas' wall clocks, cut to milliseconds by the writer, except
-- where a column says that it is the server's. Names compare by bytes (COLLATE "C"), so that no update of the system's collations can
-- break an index.
CREATE TABLE {schema}.runs (
  group_name text COLLATE "C" NOT NULL,
  id uuid NOT NULL,
  job text COLLATE "C" NOT NULL,
  trigger_name text COLLATE "C" NOT NULL,
  kind text COLLATE "C" NOT NULL CHECK (kind IN ('scheduled', 'manual')),
  scheduled_at timestamptz NOT NULL,
  lock_key text COLLATE "C" NOT NULL,
  data text,
  state text COLLATE "C" NOT NULL,
  -- The newest attempt; those before it stand in run_attempts, so that a run without a second attempt is one row.
  attempt integer NOT NULL,
  token bigint NOT NULL DEFAULT 0,
  replica text COLLATE "C",
  started_at timestamptz,
  outcome text COLLATE "C",
  finished_at timestamptz,
  error text,
  failures integer NOT NULL DEFAULT 0,
  crashes integer NOT NULL DEFAULT 0,
  next_attempt_at timestamptz,
  request_key text COLLATE "C",
  -- The id first: a condition on the group alone would fit every index. While the table is small they all cost the same, and a session that
  -- has chosen a wrong one then reads the whole group for each completion until the table is analyzed. So what looks for a run by its id
  -- compares the group by an expression.
  PRIMARY KEY (id, group_name)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.02);
CREATE UNIQUE INDEX runs_occurrence ON {schema}.runs (group_name, job, trigger_name, scheduled_at) WHERE kind = 'scheduled';
CREATE UNIQUE INDEX runs_request ON {schema}.runs (group_name, job, request_key) WHERE request_key IS NOT NULL;
CREATE INDEX runs_open ON {schema}.runs (group_name, scheduled_at, id)
  WHERE state IN ('waiting', 'running', 'interrupted', 'orphaned');
CREATE INDEX runs_newest ON {schema}.runs (group_name, scheduled_at, id);
CREATE INDEX runs_of_job ON {schema}.runs (group_name, job, scheduled_at, id);
CREATE INDEX runs_ended ON {schema}.runs (group_name, job, trigger_name, finished_at)
  WHERE kind = 'scheduled' AND finished_at IS NOT NULL;

CREATE TABLE {schema}.run_attempts (
  group_name text COLLATE "C" NOT NULL,
  run_id uuid NOT NULL,
  attempt integer NOT NULL,
  token bigint NOT NULL,
  replica text COLLATE "C" NOT NULL,
  started_at timestamptz NOT NULL,
  ended_at timestamptz,
  outcome text COLLATE "C",
  PRIMARY KEY (group_name, run_id, attempt),
  FOREIGN KEY (group_name, run_id) REFERENCES {schema}.runs (group_name, id) ON DELETE CASCADE
);

CREATE TABLE {schema}.schedules (
  group_name text COLLATE "C" NOT NULL,
  job text COLLATE "C" NOT NULL,
  trigger_name text COLLATE "C" NOT NULL,
  fingerprint text COLLATE "C" NOT NULL,
  since timestamptz NOT NULL,
  settled_until timestamptz NOT NULL,
  -- Tells which is newer when two were first seen in the same millisecond.
  seq bigint GENERATED ALWAYS AS IDENTITY,
  PRIMARY KEY (group_name, job, trigger_name, fingerprint)
);

CREATE TABLE {schema}.members (
  group_name text COLLATE "C" NOT NULL,
  id text COLLATE "C" NOT NULL,
  name text NOT NULL,
  started_at timestamptz NOT NULL,
  wall_clock timestamptz NOT NULL,
  boot_clock_ms bigint NOT NULL,
  operations_url text,
  jobs text[] NOT NULL,
  status text NOT NULL,
  -- The server's clock.
  beat_at timestamptz NOT NULL,
  PRIMARY KEY (group_name, id)
);

CREATE TABLE {schema}.lock_store (
  group_name text COLLATE "C" PRIMARY KEY,
  id text COLLATE "C" NOT NULL,
  first_use timestamptz NOT NULL
);

CREATE TABLE {schema}.fences (
  group_name text COLLATE "C" NOT NULL,
  resource text COLLATE "C" NOT NULL,
  lock_key text COLLATE "C" NOT NULL,
  token bigint NOT NULL,
  -- The server's clock.
  raised_at timestamptz NOT NULL,
  PRIMARY KEY (group_name, resource)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);

-- Makes the transaction wait for the disk at its commit although the server, the database or the role says otherwise: a commit that may
-- be forgotten would let an occurrence run twice. remote_apply waits for more and stays.
CREATE FUNCTION {schema}.durable() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF current_setting('synchronous_commit') NOT IN ('on', 'remote_apply') THEN
    PERFORM set_config('synchronous_commit', 'on', true);
  END IF;
END $$;

-- Raises a fence, or says what refused: the newest token, and the lock key when it is another one. An equal token passes.
CREATE FUNCTION {schema}.raise_fence(
  p_group text, p_resource text, p_lock_key text, p_token bigint, OUT raised boolean, OUT newest bigint, OUT held_by text
) LANGUAGE plpgsql AS $$
BEGIN
  LOOP
    -- Most fences are there already, and this is the cheaper way to raise one.
    UPDATE {schema}.fences AS f SET token = p_token, raised_at = clock_timestamp()
    WHERE f.group_name = p_group AND f.resource = p_resource AND f.token <= p_token AND f.lock_key = p_lock_key;
    raised := FOUND;
    EXIT WHEN raised;
    INSERT INTO {schema}.fences (group_name, resource, lock_key, token, raised_at)
    VALUES (p_group, p_resource, p_lock_key, p_token, clock_timestamp()) ON CONFLICT (group_name, resource) DO NOTHING;
    raised := FOUND;
    EXIT WHEN raised;
    SELECT f.token, nullif(f.lock_key, p_lock_key) INTO newest, held_by
    FROM {schema}.fences f WHERE f.group_name = p_group AND f.resource = p_resource;
    -- Another one may have made it, or pruned it, in between; one that refuses still does.
    EXIT WHEN FOUND AND (held_by IS NOT NULL OR newest > p_token);
  END LOOP;
END $$;

-- What a claim answers when it is not new: one value, because a row of many columns costs more to plan than the whole claim.
CREATE FUNCTION {schema}.answer(p_answer text, p_newest bigint, p_held_by text, p_run {schema}.runs) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
  SELECT json_build_object('answer', p_answer, 'newest', p_newest, 'held_by', p_held_by, 'run', p_run)::text
$$;

-- Claims an occurrence. Answers NULL when it is the caller's now, its first attempt exactly as asked for; else JSON with answer = claimed |
-- recorded (run is the row), stale (newest), fenced (held_by).
CREATE FUNCTION {schema}.claim_occurrence(
  p_group text, p_id uuid, p_job text, p_trigger text, p_scheduled_at timestamptz, p_lock_key text, p_token bigint, p_replica text,
  p_now timestamptz, p_data text
) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  v_fence record;
  v_run {schema}.runs;
BEGIN
  -- As durable() and raise_fence(), written out: this is what every fire calls, and a call within costs as much as the rest of it.
  IF current_setting('synchronous_commit') NOT IN ('on', 'remote_apply') THEN
    PERFORM set_config('synchronous_commit', 'on', true);
  END IF;
  -- First of all: what follows is then read behind the fence.
  UPDATE {schema}.fences AS f SET token = p_token, raised_at = clock_timestamp()
  WHERE f.group_name = p_group AND f.resource = p_lock_key AND f.token <= p_token AND f.lock_key = p_lock_key;
  IF NOT FOUND THEN
    v_fence := {schema}.raise_fence(p_group, p_lock_key, p_lock_key, p_token);
    IF NOT v_fence.raised THEN
      RETURN {schema}.answer(CASE WHEN v_fence.held_by IS NULL THEN 'stale' ELSE 'fenced' END, v_fence.newest, v_fence.held_by, NULL);
    END IF;
  END IF;
  LOOP
    INSERT INTO {schema}.runs (group_name, id, job, trigger_name, kind, scheduled_at, lock_key, data, state, attempt, token, replica,
      started_at)
    VALUES (p_group, p_id, p_job, p_trigger, 'scheduled', p_scheduled_at, p_lock_key, p_data, 'running', 1, p_token, p_replica, p_now)
    ON CONFLICT (group_name, job, trigger_name, scheduled_at) WHERE kind = 'scheduled' DO NOTHING;
    IF FOUND THEN
      RETURN NULL;
    END IF;
    SELECT r.* INTO v_run FROM {schema}.runs r
    WHERE r.group_name = p_group AND r.job = p_job AND r.trigger_name = p_trigger AND r.scheduled_at = p_scheduled_at
      AND r.kind = 'scheduled';
    -- Not found: pruned in between.
    IF FOUND THEN
      -- A claim whose answer was lost is asked for again.
      RETURN {schema}.answer(
        CASE WHEN v_run.state = 'running' AND v_run.token = p_token AND v_run.replica = p_replica THEN 'claimed' ELSE 'recorded' END,
        NULL, NULL, v_run);
    END IF;
  END LOOP;
END $$;

-- Claims the next attempt of a run. Answers JSON with answer = claimed | recorded | closed (run is the row), stale (newest), fenced
-- (held_by), other_key (held_by: the run's own key), unknown.
CREATE FUNCTION {schema}.claim_run(
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
CREATE FUNCTION {schema}.complete_run(
  p_group text, p_id uuid, p_attempt integer, p_token bigint, p_outcome text, p_state text, p_failures integer, p_started timestamptz,
  p_now timestamptz, p_next timestamptz, p_error text
) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  IF current_setting('synchronous_commit') NOT IN ('on', 'remote_apply') THEN
    PERFORM set_config('synchronous_commit', 'on', true);
  END IF;
  -- The second expression keeps the planner from the index of open runs.
  UPDATE {schema}.runs AS r SET state = p_state, failures = r.failures + p_failures, outcome = p_outcome,
    started_at = coalesce(p_started, r.started_at), finished_at = p_now, next_attempt_at = p_next, error = p_error
  WHERE r.id = p_id AND r.group_name || '' = p_group AND r.attempt = p_attempt AND r.token = p_token AND r.state || '' = 'running';
  IF FOUND THEN
    RETURN true;
  END IF;
  RETURN EXISTS (SELECT FROM {schema}.runs r
      WHERE r.id = p_id AND r.group_name || '' = p_group AND r.attempt = p_attempt AND r.token = p_token AND r.outcome = p_outcome)
    OR EXISTS (SELECT FROM {schema}.run_attempts a
      WHERE a.group_name = p_group AND a.run_id = p_id AND a.attempt = p_attempt AND a.token = p_token AND a.outcome = p_outcome);
END $$;
