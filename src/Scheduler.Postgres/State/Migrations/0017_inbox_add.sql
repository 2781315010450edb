-- min_reader: 1
-- Before each row add_events looked for its own id, its event id, its dedupe key and, where that is one, its body, each in an index: a
-- fifth of what an insert costs. Nearly all that is known is known by its dedupe key, so that is looked for alone. What has only another key that
-- is known (or its own id: the answer to the first try of this call was lost) shows when the entry is made, and then all are looked for.
ALTER FUNCTION {schema}.add_events(
  text, uuid[], text[], text[], boolean[], text[], text[], text[], text[], bytea[], bytea[], timestamptz[], text[], bytea[]
) RENAME TO add_events_by_all_keys;

CREATE FUNCTION {schema}.add_events(
  p_group text, p_ids uuid[], p_sources text[], p_states text[], p_body_keyed boolean[], p_event_ids text[], p_types text[],
  p_dedupe_keys text[], p_order_keys text[], p_body_hashes bytea[], p_content_hashes bytea[], p_received_at timestamptz[],
  p_errors text[], p_bodies bytea[]
) RETURNS uuid[] LANGUAGE plpgsql AS $$
DECLARE
  v_stored uuid[];
BEGIN
  WITH arrived AS MATERIALIZED (
    SELECT nextval('{schema}.inbox_numbers') AS number, q.* FROM unnest(
      p_ids, p_sources, p_states, p_body_keyed, p_event_ids, p_types, p_dedupe_keys, p_order_keys, p_body_hashes, p_content_hashes,
      p_received_at, p_errors, p_bodies
    ) AS q (id, source, state, body_keyed, event_id, event_type, dedupe_key, order_key, body_hash, content_hash, received_at, error, body)
  ), stored AS (
    INSERT INTO {schema}.inbox (number, group_name, id, source, state, keyed, body_keyed, event_id, event_type, dedupe_key, order_key,
      body_hash, content_hash, received_at, due_at, finished_at, error, body_bytes, body)
    SELECT a.number, p_group, a.id, a.source, a.state, true, a.body_keyed, a.event_id, a.event_type, a.dedupe_key, a.order_key, a.body_hash,
      a.content_hash, a.received_at, CASE WHEN a.state = 'received' THEN clock_timestamp() END,
      CASE WHEN a.state = 'ignored' THEN clock_timestamp() END, a.error, length(a.body), a.body
    FROM arrived a
    ORDER BY a.source, a.dedupe_key, CASE WHEN a.dedupe_key IS NULL THEN a.body_hash END, a.number
    ON CONFLICT (group_name, source, dedupe_key) WHERE keyed AND dedupe_key IS NOT NULL DO NOTHING RETURNING id
  )
  SELECT array_agg(id) INTO v_stored FROM stored;
  RETURN coalesce(v_stored, '{}');
EXCEPTION WHEN unique_violation THEN
  RETURN {schema}.add_events_by_all_keys(p_group, p_ids, p_sources, p_states, p_body_keyed, p_event_ids, p_types, p_dedupe_keys,
    p_order_keys, p_body_hashes, p_content_hashes, p_received_at, p_errors, p_bodies);
END $$;
