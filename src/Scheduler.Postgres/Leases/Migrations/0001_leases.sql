-- min_reader: 1
-- {schema} stands for the quoted name of the schema. Times are microseconds since 1970 by the server's wall clock, as the numbers of grants
-- are. Names compare by bytes (COLLATE "C"), so that no update of the system's collations can break an index.
CREATE TABLE {schema}.store (
  id text NOT NULL
);

INSERT INTO {schema}.store (id) VALUES (replace(gen_random_uuid()::text, '-', ''));

CREATE TABLE {schema}.groups (
  group_name text COLLATE "C" NOT NULL PRIMARY KEY,
  -- Before that nothing is granted: holders from before the schema was made may still act.
  opens_at bigint NOT NULL,
  state_id text,
  state_label text,
  state_generation integer,
  state_confirmed_at bigint
);

-- A row outlives its grant by a week, so that the numbers of its key grow even when the server's clock is set back. No index but that of the
-- key: every change of a row then stays within its page.
CREATE TABLE {schema}.leases (
  group_name text COLLATE "C" NOT NULL,
  key text COLLATE "C" NOT NULL,
  -- Empty: free.
  replica text COLLATE "C" NOT NULL,
  acquisition bigint NOT NULL,
  purpose text COLLATE "C" NOT NULL,
  number bigint NOT NULL,
  until bigint NOT NULL,
  revoked boolean NOT NULL DEFAULT false,
  -- Whether another replica was refused while this grant held the key.
  contended boolean NOT NULL DEFAULT false,
  -- The replicas that wait, the first in front: until when their place is kept, a blank, their id.
  line text[] COLLATE "C" NOT NULL DEFAULT '{}',
  PRIMARY KEY (group_name, key)
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

-- The first entry of a line whose place is still kept, or nothing.
CREATE FUNCTION {schema}.first_in_line(p_line text[], p_now bigint) RETURNS text LANGUAGE sql IMMUTABLE AS $$
  SELECT e FROM unnest(p_line) WITH ORDINALITY AS l(e, n) WHERE split_part(e, ' ', 1)::bigint > p_now ORDER BY n LIMIT 1
$$;

-- Whether nobody else is first.
CREATE FUNCTION {schema}.may_go(p_line text[], p_replica text, p_now bigint) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
  SELECT coalesce((SELECT substr(f, strpos(f, ' ') + 1) FROM {schema}.first_in_line(p_line, p_now) AS f), p_replica) = p_replica
$$;

-- A line without those whose place is not kept any more, and without one replica.
CREATE FUNCTION {schema}.line_without(p_line text[], p_replica text, p_now bigint) RETURNS text[] LANGUAGE sql IMMUTABLE AS $$
  SELECT coalesce(array_agg(e ORDER BY n), '{}') FROM unnest(p_line) WITH ORDINALITY AS l(e, n)
  WHERE split_part(e, ' ', 1)::bigint > p_now AND substr(e, strpos(e, ' ') + 1) <> p_replica
$$;

-- A line in which a replica keeps its place, or has the last one.
CREATE FUNCTION {schema}.line_with(p_line text[], p_replica text, p_until bigint, p_now bigint) RETURNS text[]
LANGUAGE sql IMMUTABLE AS $$
  SELECT coalesce(array_agg(CASE WHEN own THEN p_until || ' ' || p_replica ELSE e END ORDER BY n), '{}')
    || CASE WHEN coalesce(bool_or(own), false) THEN '{}'::text[] ELSE ARRAY[p_until || ' ' || p_replica] END
  FROM (
    SELECT e, n, substr(e, strpos(e, ' ') + 1) = p_replica AS own FROM unnest(p_line) WITH ORDINALITY AS l(e, n)
    WHERE split_part(e, ' ', 1)::bigint > p_now
  ) AS kept
$$;
