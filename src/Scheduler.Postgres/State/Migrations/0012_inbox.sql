-- min_reader: 1
-- The events that senders delivered. The keys of a row with keyed are its own; a conflict has the keys of the row that it contradicts. While
-- an event is processed, due_at says when others may take it.
CREATE SEQUENCE {schema}.inbox_numbers AS bigint;

CREATE TABLE {schema}.inbox (
  number bigint NOT NULL,
  group_name text COLLATE "C" NOT NULL,
  id uuid PRIMARY KEY,
  source text COLLATE "C" NOT NULL,
  state text COLLATE "C" NOT NULL CHECK
    (state IN ('received', 'processing', 'failed', 'done', 'ignored', 'dead', 'conflict', 'quarantined')),
  keyed boolean NOT NULL,
  body_keyed boolean NOT NULL,
  event_id text COLLATE "C",
  event_type text COLLATE "C",
  dedupe_key text COLLATE "C",
  order_key text COLLATE "C",
  body_hash bytea NOT NULL,
  content_hash bytea NOT NULL,
  received_at timestamptz NOT NULL,
  attempts integer NOT NULL DEFAULT 0,
  counted integer NOT NULL DEFAULT 0,
  due_at timestamptz,
  replica text COLLATE "C",
  finished_at timestamptz,
  error text,
  conflicts_with uuid,
  body_bytes integer NOT NULL,
  body bytea
) WITH (fillfactor = 90);
-- Senders' JSON is small and read once; compressing it costs more than it saves.
ALTER TABLE {schema}.inbox ALTER COLUMN body SET STORAGE EXTERNAL;

CREATE UNIQUE INDEX inbox_dedupe ON {schema}.inbox (group_name, source, dedupe_key) WHERE keyed AND dedupe_key IS NOT NULL;
CREATE UNIQUE INDEX inbox_event ON {schema}.inbox (group_name, source, event_id) WHERE keyed AND event_id IS NOT NULL;
CREATE UNIQUE INDEX inbox_body ON {schema}.inbox (group_name, source, body_hash) WHERE body_keyed;

CREATE INDEX inbox_number ON {schema}.inbox (group_name, number);
CREATE INDEX inbox_due ON {schema}.inbox (group_name, due_at, number) WHERE state IN ('received', 'processing', 'failed');
CREATE INDEX inbox_order ON {schema}.inbox (group_name, source, order_key, number)
  WHERE state IN ('received', 'processing', 'failed', 'dead', 'conflict');
CREATE INDEX inbox_people ON {schema}.inbox (group_name, state, number) WHERE state IN ('failed', 'dead', 'conflict', 'quarantined');

-- The contents that contradict a row, each once; the row of the first of each.
CREATE TABLE {schema}.inbox_conflicts (
  group_name text COLLATE "C" NOT NULL,
  first_id uuid NOT NULL,
  content_hash bytea NOT NULL,
  id uuid NOT NULL,
  PRIMARY KEY (group_name, first_id, content_hash)
);

-- Stores arrivals with one statement, in the order of their keys, so that no two batches wait for each other more often than they must; the
-- numbers are in the order in which they came. Answers the ordinals of those that are stored. The others met a committed row, or one
-- before them in this batch.
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
    ON CONFLICT DO NOTHING RETURNING id
  )
  SELECT array_agg(id) INTO v_stored FROM stored;
  RETURN coalesce(v_stored, '{}');
END $$;

-- The rows that share a key with an arrival, each by its own index.
CREATE FUNCTION {schema}.event_hits(p_group text, p_source text, p_event_id text, p_dedupe_key text, p_body_hash bytea)
RETURNS TABLE (id uuid, state text, body_hash bytea, content_hash bytea) LANGUAGE sql STABLE AS $$
  SELECT i.id, i.state, i.body_hash, i.content_hash FROM {schema}.inbox i
  WHERE i.group_name = p_group AND i.source = p_source AND i.dedupe_key = p_dedupe_key AND i.keyed AND i.dedupe_key IS NOT NULL
  UNION SELECT i.id, i.state, i.body_hash, i.content_hash FROM {schema}.inbox i
  WHERE i.group_name = p_group AND i.source = p_source AND i.event_id = p_event_id AND i.keyed AND i.event_id IS NOT NULL
  UNION SELECT i.id, i.state, i.body_hash, i.content_hash FROM {schema}.inbox i
  WHERE i.group_name = p_group AND i.source = p_source AND i.body_hash = p_body_hash AND i.body_keyed
  ORDER BY 1
$$;

-- Keeps an arrival that contradicts a row, once for each content and at most p_most for each row. Answers the row of the same content
-- that is there already.
CREATE FUNCTION {schema}.add_conflict(
  p_group text, p_first uuid, p_most integer, p_id uuid, p_source text, p_event_id text, p_type text, p_dedupe_key text, p_order_key text,
  p_body_hash bytea, p_content_hash bytea, p_received_at timestamptz, p_body bytea
) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
  v_known uuid;
BEGIN
  SELECT c.id INTO v_known FROM {schema}.inbox_conflicts c
  WHERE c.group_name = p_group AND c.first_id = p_first AND c.content_hash = p_content_hash;
  IF FOUND THEN
    RETURN v_known;
  END IF;
  -- One after another for one row, so that the bound holds.
  PERFORM FROM {schema}.inbox i WHERE i.id = p_first FOR UPDATE;
  IF (SELECT count(*) FROM {schema}.inbox_conflicts c WHERE c.group_name = p_group AND c.first_id = p_first) >= p_most THEN
    RETURN NULL;
  END IF;
  INSERT INTO {schema}.inbox_conflicts (group_name, first_id, content_hash, id) VALUES (p_group, p_first, p_content_hash, p_id)
  ON CONFLICT DO NOTHING;
  IF NOT FOUND THEN
    RETURN (SELECT c.id FROM {schema}.inbox_conflicts c
      WHERE c.group_name = p_group AND c.first_id = p_first AND c.content_hash = p_content_hash);
  END IF;
  INSERT INTO {schema}.inbox (number, group_name, id, source, state, keyed, body_keyed, event_id, event_type, dedupe_key, order_key,
    body_hash, content_hash, received_at, conflicts_with, body_bytes, body)
  VALUES (nextval('{schema}.inbox_numbers'), p_group, p_id, p_source, 'conflict', false, false, p_event_id, p_type, p_dedupe_key,
    p_order_key, p_body_hash, p_content_hash, p_received_at, p_first, length(p_body), p_body);
  RETURN NULL;
END $$;
