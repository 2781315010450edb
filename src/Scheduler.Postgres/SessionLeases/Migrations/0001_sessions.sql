-- min_reader: 1
-- {schema} stands for the quoted name of the schema. Times are microseconds since 1970 by the server's wall clock. Names compare by bytes
-- (COLLATE "C"), so that no update of the system's collations can break an index.
CREATE TABLE {schema}.store (
  id text NOT NULL
);

INSERT INTO {schema}.store (id) VALUES (replace(gen_random_uuid()::text, '-', ''));

CREATE TABLE {schema}.groups (
  group_name text COLLATE "C" NOT NULL PRIMARY KEY,
  opens_at bigint NOT NULL,
  state_id text,
  state_label text,
  state_generation integer,
  state_confirmed_at bigint
);

-- One for all keys: it grows for each of them and needs no row per key. Each new session lifts it (begin_session), because the newest
-- numbers may be lost in a crash, which ends all sessions.
CREATE SEQUENCE {schema}.numbers CACHE 1;

-- What a held lock is for. The lock itself is the advisory lock of the same number; a note without it means nothing, so nothing is lost with
-- these rows in a crash. Each change stays within its page: no index but that of the number.
CREATE UNLOGGED TABLE {schema}.notes (
  word bigint NOT NULL PRIMARY KEY,
  group_name text COLLATE "C" NOT NULL,
  key text COLLATE "C" NOT NULL,
  -- The advisory lock that the holder's session keeps as long as it lives.
  session bigint NOT NULL,
  replica text COLLATE "C" NOT NULL,
  acquisition bigint NOT NULL,
  purpose text COLLATE "C" NOT NULL,
  number bigint NOT NULL,
  until bigint NOT NULL,
  lasts bigint NOT NULL,
  revoked boolean NOT NULL DEFAULT false,
  -- Whether another replica was refused while this grant held the key.
  contended boolean NOT NULL DEFAULT false
) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);

CREATE FUNCTION {schema}.now() RETURNS bigint LANGUAGE sql VOLATILE AS $$
  SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
$$;

-- Makes the commit wait for the disk, whatever the server's setting, and tells the time.
CREATE FUNCTION {schema}.durable() RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  IF current_setting('synchronous_commit') NOT IN ('on', 'remote_apply') THEN
    PERFORM set_config('synchronous_commit', 'on', true);
  END IF;
  RETURN (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;
END $$;

-- Whether the session that keeps this lock has ended. Not to be asked by that session itself.
CREATE FUNCTION {schema}.is_over(p_session bigint) RETURNS boolean LANGUAGE sql VOLATILE AS $$
  SELECT pg_try_advisory_xact_lock_shared(p_session)
$$;

-- Marks this session as living, and lifts the numbers above all that an earlier life of the server may have given and forgotten: a million
-- is more than one gives before the next commit reaches the disk.
CREATE FUNCTION {schema}.begin_session(p_session bigint) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  PERFORM {schema}.durable();
  IF NOT pg_try_advisory_lock(p_session) THEN
    RAISE EXCEPTION 'the session lock % is taken', p_session;
  END IF;
  PERFORM pg_advisory_xact_lock(hashtextextended('scheduler-session-locks-numbers:{schema}', 0));
  PERFORM setval('{schema}.numbers', greatest((SELECT last_value FROM {schema}.numbers) + 1000000, {schema}.now()));
END $$;
