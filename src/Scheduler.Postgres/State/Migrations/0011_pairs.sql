-- min_reader: 1
-- Which State this is, which lock store each group is paired with, and of which one each replica may hold leases. The column of a replica
-- whose build does not know it is null.
CREATE TABLE {schema}.state_identity (
  one integer PRIMARY KEY CHECK (one = 1),
  id text COLLATE "C" NOT NULL
);

INSERT INTO {schema}.state_identity (one, id) VALUES (1, replace(gen_random_uuid()::text, '-', ''));

ALTER TABLE {schema}.lock_store ADD COLUMN generation integer NOT NULL DEFAULT 0 CHECK (generation BETWEEN 0 AND 1023);

ALTER TABLE {schema}.members ADD COLUMN lock_store text COLLATE "C";

-- Pairs a group with a lock store: the first one, the same one again, or another one while no other replica's heartbeat of the last p_quiet
-- names a different store. Answers the generation and the store that was replaced, or the replicas in the way, the latest first.
CREATE FUNCTION {schema}.pair(
  p_group text, p_store text, p_replica text, p_quiet interval, p_least integer, p_kept boolean,
  OUT generation integer, OUT former text, OUT taken_store text, OUT taken_names text[], OUT taken_age interval
) LANGUAGE plpgsql AS $$
DECLARE
  v_id text;
  v_now timestamptz;
BEGIN
  -- Two first replicas with different stores: the second waits here, and then sees the first one's row.
  LOCK TABLE {schema}.lock_store IN SHARE ROW EXCLUSIVE MODE;
  SELECT l.id, l.generation INTO v_id, generation FROM {schema}.lock_store l WHERE l.group_name = p_group;
  v_now := clock_timestamp();
  IF v_id IS DISTINCT FROM p_store THEN
    SELECT (array_agg(m.lock_store ORDER BY m.beat_at DESC))[1], array_agg(m.name ORDER BY m.beat_at DESC), min(v_now - m.beat_at)
    INTO taken_store, taken_names, taken_age FROM {schema}.members m
    WHERE m.group_name = p_group AND m.id <> p_replica AND m.lock_store <> p_store AND m.beat_at > v_now - p_quiet;
    IF taken_store IS NOT NULL THEN
      RETURN;
    END IF;
    former := v_id;
  END IF;
  generation := greatest(coalesce(generation, 0), p_least);
  IF NOT p_kept THEN
    former := NULL;
    RETURN;
  END IF;
  IF former IS NOT NULL THEN
    generation := generation + 1;
  END IF;
  INSERT INTO {schema}.lock_store AS l (group_name, id, first_use, generation) VALUES (p_group, p_store, v_now, generation)
  ON CONFLICT (group_name) DO UPDATE SET id = excluded.id, generation = excluded.generation,
    first_use = CASE WHEN l.id = excluded.id THEN l.first_use ELSE excluded.first_use END
  WHERE (l.id, l.generation) <> (excluded.id, excluded.generation);
END $$;
