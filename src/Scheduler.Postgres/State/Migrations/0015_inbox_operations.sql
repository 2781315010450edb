-- min_reader: 1
-- What people and upkeep need of the inbox, and who changed what. Finished events by age, those that have a body still and those that have
-- none; an event that waits or is processed has no entry in either.
CREATE INDEX inbox_finished ON {schema}.inbox (group_name, finished_at) WHERE finished_at IS NOT NULL AND body IS NOT NULL;
CREATE INDEX inbox_bodiless ON {schema}.inbox (group_name, source, finished_at) WHERE finished_at IS NOT NULL AND body IS NULL;

-- What headers that no signature covers say about an event; of most events nothing.
CREATE TABLE {schema}.inbox_labels (
  id uuid PRIMARY KEY,
  sender_id text,
  sender_type text
);

-- One row for each call that would change something; its outcome is the answer's status, and NULL while there is none.
CREATE TABLE {schema}.audit (
  group_name text COLLATE "C" NOT NULL,
  id uuid NOT NULL,
  at timestamptz NOT NULL,
  who text NOT NULL,
  action text NOT NULL,
  target text NOT NULL,
  parameters text,
  replica text NOT NULL,
  outcome integer,
  detail text,
  PRIMARY KEY (group_name, id)
);
CREATE INDEX audit_at ON {schema}.audit (group_name, at);

-- Gives an event that was set aside the keys that its body has now, and lets it be processed. Answers whether that was done, and the event
-- in the way.
CREATE FUNCTION {schema}.receive_event(
  p_group text, p_id uuid, p_body_keyed boolean, p_event_id text, p_type text, p_dedupe_key text, p_order_key text, p_body_hash bytea,
  p_content_hash bytea, OUT changed boolean, OUT other uuid
) LANGUAGE plpgsql AS $$
BEGIN
  changed := false;
  -- The second time after somebody else stored the event in the way in between.
  FOR i IN 1..2 LOOP
    SELECT h.id INTO other FROM {schema}.inbox e
    CROSS JOIN LATERAL {schema}.event_hits(p_group, e.source, p_event_id, p_dedupe_key, CASE WHEN p_body_keyed THEN p_body_hash END) h
    WHERE e.id = p_id AND e.group_name || '' = p_group AND e.state IN ('quarantined', 'ignored') AND e.body IS NOT NULL
      AND h.id <> p_id LIMIT 1;
    IF FOUND THEN
      RETURN;
    END IF;
    BEGIN
      UPDATE {schema}.inbox AS e SET state = 'received', keyed = true, body_keyed = p_body_keyed, event_id = p_event_id,
        event_type = p_type, dedupe_key = p_dedupe_key, order_key = p_order_key, content_hash = p_content_hash,
        due_at = clock_timestamp(), counted = 0, finished_at = NULL, error = NULL, conflicts_with = NULL
      WHERE e.id = p_id AND e.group_name || '' = p_group AND e.state IN ('quarantined', 'ignored') AND e.body IS NOT NULL;
      changed := FOUND;
      RETURN;
    EXCEPTION WHEN unique_violation THEN
    END;
  END LOOP;
  RAISE EXCEPTION 'event % is in the way of itself', p_id;
END $$;
