-- min_reader: 1
-- A claim judged all that it looked at, sixteen more than it had room for, each by three looks into an order: a millisecond for a few
-- events. Now it locks and judges one after another and stops when it has what it has room for; what another one has locked it passes by.

-- Takes due events of the given kinds, at most p_limit, by a look at the p_window that are due longest and have their turn; of those that
-- another event holds back it takes the turn away. When the next look may find others, the last row is all NULL. It waits for no lock:
-- what another one has locked is being taken, or changed and looked at again. Without sorts: while the server knows nothing of the table
-- yet, it would rather read all that is unfinished in another order and sort it than read what is due as it stands.
CREATE OR REPLACE FUNCTION {schema}.claim_events(
  p_group text, p_sources text[], p_types text[], p_go_on boolean[], p_limit integer, p_window integer, p_hold interval, p_replica text
) RETURNS SETOF {schema}.inbox LANGUAGE plpgsql SET enable_sort = off AS $$
DECLARE
  v_now timestamptz := clock_timestamp();
  v_due record;
  v_seen integer := 0;
  v_by uuid;
  v_waits boolean;
  v_free uuid[] := '{}';
  v_moved boolean := false;
  v_none {schema}.inbox;
BEGIN
  FOR v_due IN
    SELECT d.id, d.source, d.order_key, d.number, d.turn, k.goes_on
    FROM unnest(p_sources, p_types, p_go_on) AS k (source, event_type, goes_on)
    CROSS JOIN (VALUES (1::smallint), (2::smallint)) AS t (turn)
    CROSS JOIN LATERAL (
      SELECT i.id, i.source, i.order_key, i.number, i.due_at, i.turn FROM {schema}.inbox i
      WHERE i.group_name = p_group AND i.turn = t.turn AND i.source = k.source AND coalesce(i.event_type, '') = k.event_type
        AND i.state IN ('received', 'processing', 'failed') AND i.due_at <= v_now
      ORDER BY i.due_at, i.number LIMIT p_window) d
    WHERE t.turn = 1 OR k.goes_on
    ORDER BY d.due_at, d.number LIMIT p_window
  LOOP
    EXIT WHEN cardinality(v_free) = p_limit;
    v_seen := v_seen + 1;
    -- Each statement sees what is committed by now: it is judged after it is locked.
    PERFORM FROM {schema}.inbox i WHERE i.id = v_due.id AND i.turn IS NOT NULL AND i.state IN ('received', 'processing', 'failed')
      AND i.due_at <= v_now FOR NO KEY UPDATE SKIP LOCKED;
    CONTINUE WHEN NOT FOUND;
    v_waits := false;
    -- Rather one that nobody works at, because that one is not locked.
    SELECT f.id INTO v_by FROM (VALUES (1, 'received'), (2, 'failed'), (3, 'processing')) AS s (n, state)
    CROSS JOIN LATERAL {schema}.first_of_order(p_group, v_due.source, v_due.order_key, s.state) AS f
    WHERE f.number < v_due.number ORDER BY s.n LIMIT 1;
    IF v_by IS NULL AND NOT v_due.goes_on THEN
      SELECT f.id INTO v_by FROM (VALUES ('dead'), ('conflict')) AS s (state)
      CROSS JOIN LATERAL {schema}.first_of_order(p_group, v_due.source, v_due.order_key, s.state) AS f
      WHERE f.number < v_due.number LIMIT 1;
      v_waits := v_by IS NOT NULL;
    END IF;
    IF v_by IS NULL THEN
      v_free := v_free || v_due.id;
      CONTINUE;
    END IF;
    CONTINUE WHEN v_waits AND v_due.turn = 2;
    -- Locked, and looked at again in the version that is locked: from now on it gives the turn on only after this is committed.
    PERFORM FROM {schema}.inbox e WHERE e.id = v_by
      AND ((v_waits AND e.state IN ('dead', 'conflict')) OR (NOT v_waits AND e.state IN ('received', 'processing', 'failed')))
      FOR SHARE SKIP LOCKED;
    IF FOUND THEN
      UPDATE {schema}.inbox i SET turn = CASE WHEN v_waits THEN 2 END WHERE i.id = v_due.id;
      v_moved := true;
    END IF;
  END LOOP;

  RETURN QUERY UPDATE {schema}.inbox i SET state = 'processing', attempts = i.attempts + 1, counted = i.counted + 1,
    due_at = clock_timestamp() + p_hold, replica = p_replica
  WHERE i.id = ANY (v_free) RETURNING i.*;
  IF v_seen >= p_window AND v_moved THEN
    RETURN NEXT v_none;
  END IF;
END $$;
