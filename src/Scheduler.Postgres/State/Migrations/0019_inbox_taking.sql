-- min_reader: 1
-- A replica that has places free claimed what it had stored a moment before: a look at what is due, and each row written a second time
-- with its entries in six indexes. Now it says for which rows it has places, and they are stored as taken, where nothing of their order is
-- unfinished by then. What another one stores at the same time is not seen, as it is not by a claim: events that are in flight together
-- have any order, and the lock of the order keeps one from the other.

-- Stores arrivals as the function of that name without p_takers does; who is to take one says so, for how long, and whether its order goes
-- on behind what waits for a person. The caller names one event of an order at most. Answers the ids of those that are stored; and of those
-- that are taken ids, numbers and until when.
CREATE FUNCTION {schema}.add_events(
  p_group text, p_ids uuid[], p_sources text[], p_states text[], p_body_keyed boolean[], p_event_ids text[], p_types text[],
  p_dedupe_keys text[], p_order_keys text[], p_body_hashes bytea[], p_content_hashes bytea[], p_received_at timestamptz[],
  p_errors text[], p_bodies bytea[], p_takers text[], p_holds_ms bigint[], p_go_on boolean[],
  OUT o_stored uuid[], OUT o_taken uuid[], OUT o_numbers bigint[], OUT o_until timestamptz[]
) LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
BEGIN
  WITH arrived AS MATERIALIZED (
    SELECT nextval('{schema}.inbox_numbers') AS number, q.*, q.taker IS NOT NULL AND NOT EXISTS (
        SELECT FROM {schema}.inbox i WHERE i.group_name = p_group AND i.source = q.source AND i.order_key = q.order_key
          AND i.state IN ('received', 'processing', 'failed', 'dead', 'conflict')
          AND (NOT q.goes_on OR i.state IN ('received', 'processing', 'failed'))
      ) AS is_taken
    FROM unnest(
      p_ids, p_sources, p_states, p_body_keyed, p_event_ids, p_types, p_dedupe_keys, p_order_keys, p_body_hashes, p_content_hashes,
      p_received_at, p_errors, p_bodies, p_takers, p_holds_ms, p_go_on
    ) AS q (id, source, state, body_keyed, event_id, event_type, dedupe_key, order_key, body_hash, content_hash, received_at, error, body,
      taker, hold_ms, goes_on)
  ), stored AS (
    INSERT INTO {schema}.inbox (number, group_name, id, source, state, keyed, body_keyed, event_id, event_type, dedupe_key, order_key,
      body_hash, content_hash, received_at, attempts, counted, replica, due_at, finished_at, error, body_bytes, body)
    SELECT a.number, p_group, a.id, a.source, CASE WHEN a.is_taken THEN 'processing' ELSE a.state END, true, a.body_keyed, a.event_id,
      a.event_type, a.dedupe_key, a.order_key, a.body_hash, a.content_hash, a.received_at, a.is_taken::integer, a.is_taken::integer,
      CASE WHEN a.is_taken THEN a.taker END,
      CASE WHEN a.is_taken THEN clock_timestamp() + a.hold_ms * interval '1 millisecond' WHEN a.state = 'received' THEN clock_timestamp() END,
      CASE WHEN a.state = 'ignored' THEN clock_timestamp() END, a.error, length(a.body), a.body
    FROM arrived a
    ORDER BY a.source, a.dedupe_key, CASE WHEN a.dedupe_key IS NULL THEN a.body_hash END, a.number
    ON CONFLICT (group_name, source, dedupe_key) WHERE keyed AND dedupe_key IS NOT NULL DO NOTHING RETURNING id, number, replica, due_at
  )
  SELECT coalesce(array_agg(id), '{}'), coalesce(array_agg(id) FILTER (WHERE replica IS NOT NULL), '{}'),
    coalesce(array_agg(number) FILTER (WHERE replica IS NOT NULL), '{}'), coalesce(array_agg(due_at) FILTER (WHERE replica IS NOT NULL), '{}')
  INTO o_stored, o_taken, o_numbers, o_until FROM stored;
EXCEPTION WHEN unique_violation THEN
  o_stored := {schema}.add_events_by_all_keys(p_group, p_ids, p_sources, p_states, p_body_keyed, p_event_ids, p_types, p_dedupe_keys,
    p_order_keys, p_body_hashes, p_content_hashes, p_received_at, p_errors, p_bodies);
  o_taken := '{}';
  o_numbers := '{}';
  o_until := '{}';
END $$;

-- A plan of its own for each call's arrays never looked dearer than one for all, so each call was planned anew: half of what one takes
-- that stores or takes a few events. Nothing in them depends on the values: each row is found by its key, and what is due in the order of
-- its index.
ALTER FUNCTION {schema}.claim_events(text, text[], text[], boolean[], integer, integer, interval, text)
  SET plan_cache_mode = force_generic_plan;
ALTER FUNCTION {schema}.add_events(
  text, uuid[], text[], text[], boolean[], text[], text[], text[], text[], bytea[], bytea[], timestamptz[], text[], bytea[]
) SET plan_cache_mode = force_generic_plan;
ALTER FUNCTION {schema}.add_events_by_all_keys(
  text, uuid[], text[], text[], boolean[], text[], text[], text[], text[], bytea[], bytea[], timestamptz[], text[], bytea[]
) SET plan_cache_mode = force_generic_plan;
