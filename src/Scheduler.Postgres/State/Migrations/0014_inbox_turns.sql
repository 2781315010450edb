-- min_reader: 1
-- Whose turn it is in an order: 1 for an event that may be taken, as far as anybody has looked; 2 for one that only a dead or contradicting
-- event holds back; NULL for one behind an event that is neither finished nor waits for a person. An event arrives with 1, a claim that
-- finds it held back says so, and what held it back gives the turn on. So an order has one entry where claims look, however long it is.
-- It only says where to look: whether an event may be taken is decided by the rows before it. The build before this one does not know it,
-- and needs not: the trigger is there for its writes as well.
ALTER TABLE {schema}.inbox ADD COLUMN turn smallint DEFAULT 1;

DROP INDEX {schema}.inbox_due;
CREATE INDEX inbox_due ON {schema}.inbox (group_name, turn, source, (coalesce(event_type, '')), due_at, number)
  WHERE state IN ('received', 'processing', 'failed');

-- With the state before the number: the first of a state is found without a look at those of the others.
DROP INDEX {schema}.inbox_order;
CREATE INDEX inbox_order ON {schema}.inbox (group_name, source, order_key, state, number)
  WHERE state IN ('received', 'processing', 'failed', 'dead', 'conflict');

-- The first event of an order in a state. By the order of all columns of the index, because another one has the numbers in order, too, and
-- with a limit the planner might look there for one that does not exist.
CREATE FUNCTION {schema}.first_of_order(p_group text, p_source text, p_order_key text, p_state text)
RETURNS TABLE (id uuid, number bigint) LANGUAGE sql STABLE AS $$
  SELECT f.id, f.number FROM (
    SELECT i.id, i.number, i.group_name, i.source, i.order_key, i.state FROM {schema}.inbox i
    WHERE (i.group_name, i.source, i.order_key, i.state, i.number) > (p_group, p_source, p_order_key, p_state, -1)
      AND i.state IN ('received', 'processing', 'failed', 'dead', 'conflict')
    ORDER BY i.group_name, i.source, i.order_key, i.state, i.number LIMIT 1) f
  WHERE f.group_name = p_group AND f.source = p_source AND f.order_key = p_order_key AND f.state = p_state
$$;

-- Gives the turn on when an event ends, waits for a person, or comes back.
-- Whoever loses its turn, or has it under 2, has an event before it that a claim found unfinished (for 2: dead or contradicting) while it
-- had that row locked. So that row changes only after the claim's commit, and its change comes here, in a statement whose snapshot is
-- newer: it sees the one that waits. Two changes of one order at the same time could each take the other's event for the one that goes
-- on, and pass over the third; the lock puts one after another, and the second looks when the first is committed. Needs READ COMMITTED.
CREATE FUNCTION {schema}.give_turn() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(hashtextextended(concat_ws(E'\n', 'scheduler-inbox-order', new.group_name, new.source, new.order_key), 0));
  UPDATE {schema}.inbox SET turn = 1
  WHERE turn IS DISTINCT FROM 1 AND id = (
    SELECT f.id FROM (VALUES ('received'), ('processing'), ('failed')) AS s (state)
    CROSS JOIN LATERAL {schema}.first_of_order(new.group_name, new.source, new.order_key, s.state) AS f
    ORDER BY f.number LIMIT 1);
  RETURN NULL;
END $$;

CREATE TRIGGER inbox_turns AFTER UPDATE OF state ON {schema}.inbox FOR EACH ROW
WHEN (new.order_key IS NOT NULL AND (
  (old.state IN ('received', 'processing', 'failed')) <> (new.state IN ('received', 'processing', 'failed'))
  OR (old.state IN ('dead', 'conflict')) <> (new.state IN ('dead', 'conflict'))))
EXECUTE FUNCTION {schema}.give_turn();

-- Takes due events of the given kinds, at most p_limit, by a look at the p_window that are due longest and have their turn; of those that
-- another event holds back it takes the turn away. When the next look may find others, the last row is all NULL. It waits for no lock: what another one has locked is being taken, or changed and looked at again.
CREATE FUNCTION {schema}.claim_events(
  p_group text, p_sources text[], p_types text[], p_go_on boolean[], p_limit integer, p_window integer, p_hold interval, p_replica text
) RETURNS SETOF {schema}.inbox LANGUAGE plpgsql AS $$
DECLARE
  v_now timestamptz := clock_timestamp();
  v_seen integer;
  v_free uuid[];
  v_held uuid[];
  v_by uuid[];
  v_turns smallint[];
  v_unfinished uuid[];
  v_waiting uuid[];
  v_moved integer := 0;
  v_none {schema}.inbox;
BEGIN
  WITH due AS MATERIALIZED (
    SELECT d.id, d.source, d.order_key, d.number, d.due_at, k.goes_on
    FROM unnest(p_sources, p_types, p_go_on) AS k (source, event_type, goes_on)
    CROSS JOIN (VALUES (1::smallint), (2::smallint)) AS t (turn)
    CROSS JOIN LATERAL (
      SELECT i.id, i.source, i.order_key, i.number, i.due_at FROM {schema}.inbox i
      WHERE i.group_name = p_group AND i.turn = t.turn AND i.source = k.source AND coalesce(i.event_type, '') = k.event_type
        AND i.state IN ('received', 'processing', 'failed') AND i.due_at <= v_now
      ORDER BY i.due_at, i.number LIMIT p_window) d
    WHERE t.turn = 1 OR k.goes_on
    ORDER BY d.due_at, d.number LIMIT p_window
  ), judged AS MATERIALIZED (
    SELECT due.*,
      -- Rather one that nobody works at, because that one is not locked.
      (SELECT f.id FROM (VALUES (1, 'received'), (2, 'failed'), (3, 'processing')) AS s (n, state)
        CROSS JOIN LATERAL {schema}.first_of_order(p_group, due.source, due.order_key, s.state) AS f
        WHERE f.number < due.number ORDER BY s.n LIMIT 1) AS behind,
      CASE WHEN NOT due.goes_on THEN (SELECT f.id FROM (VALUES ('dead'), ('conflict')) AS s (state)
        CROSS JOIN LATERAL {schema}.first_of_order(p_group, due.source, due.order_key, s.state) AS f
        WHERE f.number < due.number LIMIT 1) END AS behind_person
    FROM due
  )
  SELECT count(*), array_agg(j.id ORDER BY j.due_at, j.number) FILTER (WHERE coalesce(j.behind, j.behind_person) IS NULL),
    array_agg(j.id ORDER BY j.id) FILTER (WHERE coalesce(j.behind, j.behind_person) IS NOT NULL),
    array_agg(coalesce(j.behind, j.behind_person) ORDER BY j.id) FILTER (WHERE coalesce(j.behind, j.behind_person) IS NOT NULL),
    array_agg(CASE WHEN j.behind IS NULL THEN 2::smallint END ORDER BY j.id) FILTER (WHERE coalesce(j.behind, j.behind_person) IS NOT NULL)
  INTO v_seen, v_free, v_held, v_by, v_turns FROM judged j;

  IF v_held IS NOT NULL THEN
    -- Locked, and looked at again in the version that is locked: from now on it gives the turn on only after this is committed.
    SELECT array_agg(f.id) FILTER (WHERE f.state IN ('received', 'processing', 'failed')),
      array_agg(f.id) FILTER (WHERE f.state IN ('dead', 'conflict'))
    INTO v_unfinished, v_waiting FROM (SELECT e.id, e.state FROM {schema}.inbox e WHERE e.id = ANY (v_by) FOR SHARE SKIP LOCKED) f;
    WITH locked AS (
      SELECT i.id FROM {schema}.inbox i WHERE i.id = ANY (v_held) AND i.turn IS NOT NULL FOR NO KEY UPDATE SKIP LOCKED
    )
    UPDATE {schema}.inbox i SET turn = q.turn FROM unnest(v_held, v_by, v_turns) AS q (id, by_id, turn), locked
    WHERE i.id = q.id AND i.id = locked.id AND q.by_id = ANY (CASE WHEN q.turn IS NULL THEN v_unfinished ELSE v_waiting END)
      AND i.turn IS DISTINCT FROM q.turn;
    GET DIAGNOSTICS v_moved = ROW_COUNT;
  END IF;

  RETURN QUERY
  WITH taken AS (
    SELECT i.id FROM unnest(v_free) WITH ORDINALITY AS f (id, n) JOIN {schema}.inbox i ON i.id = f.id
    WHERE i.state IN ('received', 'processing', 'failed') AND i.due_at <= v_now
    ORDER BY f.n LIMIT p_limit FOR UPDATE OF i SKIP LOCKED
  )
  UPDATE {schema}.inbox i SET state = 'processing', attempts = i.attempts + 1, counted = i.counted + 1,
    due_at = clock_timestamp() + p_hold, replica = p_replica
  FROM taken WHERE i.id = taken.id RETURNING i.*;
  IF v_seen >= p_window AND v_moved > 0 THEN
    RETURN NEXT v_none;
  END IF;
END $$;

-- Keeps arrivals that contradict rows, each content once for each row and at most p_most for a row. Answers the ordinals of those whose
-- content is kept, with the row that keeps it. Those of one row come one after another, so that the bound holds: by a lock of their own,
-- because the row's would make claims pass it over. Over the bound nothing is written.
CREATE FUNCTION {schema}.add_conflicts(
  p_group text, p_most integer, p_firsts uuid[], p_ids uuid[], p_sources text[], p_event_ids text[], p_types text[], p_dedupe_keys text[],
  p_order_keys text[], p_body_hashes bytea[], p_content_hashes bytea[], p_received_at timestamptz[], p_bodies bytea[]
) RETURNS TABLE (n bigint, known_id uuid) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  v_first uuid;
BEGIN
  -- In one order in all replicas.
  FOR v_first IN SELECT DISTINCT f.id FROM unnest(p_firsts) AS f (id) ORDER BY f.id LOOP
    PERFORM pg_advisory_xact_lock(hashtextextended('scheduler-inbox-conflict' || v_first, 0));
  END LOOP;
  RETURN QUERY
  WITH arrived AS MATERIALIZED (
    SELECT q.* FROM unnest(p_firsts, p_ids, p_sources, p_event_ids, p_types, p_dedupe_keys, p_order_keys, p_body_hashes, p_content_hashes,
      p_received_at, p_bodies) WITH ORDINALITY AS q (first_id, id, source, event_id, event_type, dedupe_key, order_key, body_hash,
      content_hash, received_at, body, n)
  ), known AS MATERIALIZED (
    SELECT a.n, c.id FROM arrived a JOIN {schema}.inbox_conflicts c
      ON c.group_name = p_group AND c.first_id = a.first_id AND c.content_hash = a.content_hash
  ), fresh AS (
    SELECT DISTINCT ON (a.first_id, a.content_hash) a.* FROM arrived a WHERE NOT EXISTS (SELECT FROM known k WHERE k.n = a.n)
    ORDER BY a.first_id, a.content_hash, a.n
  ), counted AS (
    SELECT f.*, row_number() OVER (PARTITION BY f.first_id ORDER BY f.n)
      + (SELECT count(*) FROM {schema}.inbox_conflicts c WHERE c.group_name = p_group AND c.first_id = f.first_id) AS place
    FROM fresh f
  ), noted AS (
    INSERT INTO {schema}.inbox_conflicts (group_name, first_id, content_hash, id)
    SELECT p_group, c.first_id, c.content_hash, c.id FROM counted c WHERE c.place <= p_most ORDER BY c.first_id, c.content_hash
    ON CONFLICT DO NOTHING RETURNING first_id, content_hash, id
  ), numbered AS (
    SELECT nextval('{schema}.inbox_numbers') AS number, o.* FROM (
      SELECT f.* FROM fresh f JOIN noted t ON t.id = f.id ORDER BY f.n) o
  ), kept AS (
    INSERT INTO {schema}.inbox (number, group_name, id, source, state, keyed, body_keyed, event_id, event_type, dedupe_key, order_key,
      body_hash, content_hash, received_at, conflicts_with, body_bytes, body)
    SELECT m.number, p_group, m.id, m.source, 'conflict', false, false, m.event_id, m.event_type, m.dedupe_key, m.order_key, m.body_hash,
      m.content_hash, m.received_at, m.first_id, length(m.body), m.body FROM numbered m
  )
  SELECT k.n, k.id FROM known k
  UNION ALL SELECT a.n, t.id FROM arrived a JOIN noted t ON t.first_id = a.first_id AND t.content_hash = a.content_hash;
END $$;
