-- min_reader: 1
-- Whose turn it is in an order: 1 for an event that may be taken, as far as anybody has looked; 2 for one that only a dead or contradicting
-- event holds back; NULL for one behind an event that is neither finished nor waits for a person. An event arrives with 1, a claim that
-- finds it held back says so, and what held it back gives the turn on. So an order has one entry where claims look, however long it is.
-- It only says where to look: whether an event may be taken is decided by the rows before it. The build before this one does not know it,
-- and needs not: the trigger is there for its writes as well, and the indexes that its statements name keep their names.
ALTER TABLE inbox ADD COLUMN turn INTEGER DEFAULT 1;

DROP INDEX inbox_due;
CREATE INDEX inbox_due ON inbox (group_name, turn, source, coalesce(event_type, ''), due_at, number)
  WHERE state IN ('received', 'processing', 'failed');

-- With the state before the number: the first of a state is found without a look at those of the others.
DROP INDEX inbox_order;
CREATE INDEX inbox_order ON inbox (group_name, source, order_key, state, number)
  WHERE state IN ('received', 'processing', 'failed', 'dead', 'conflict');

-- Gives the turn on when an event ends, waits for a person, or comes back.
CREATE TRIGGER inbox_turns AFTER UPDATE OF state ON inbox
WHEN new.order_key IS NOT NULL AND (
  (old.state IN ('received', 'processing', 'failed')) <> (new.state IN ('received', 'processing', 'failed'))
  OR (old.state IN ('dead', 'conflict')) <> (new.state IN ('dead', 'conflict')))
BEGIN
  UPDATE inbox SET turn = 1 WHERE turn IS NOT 1 AND number = (
    SELECT min(first) FROM (
      SELECT min(number) AS first FROM inbox WHERE group_name = new.group_name AND source = new.source AND order_key = new.order_key
        AND state = 'received' AND state IN ('received', 'processing', 'failed', 'dead', 'conflict')
      UNION ALL SELECT min(number) FROM inbox WHERE group_name = new.group_name AND source = new.source AND order_key = new.order_key
        AND state = 'processing' AND state IN ('received', 'processing', 'failed', 'dead', 'conflict')
      UNION ALL SELECT min(number) FROM inbox WHERE group_name = new.group_name AND source = new.source AND order_key = new.order_key
        AND state = 'failed' AND state IN ('received', 'processing', 'failed', 'dead', 'conflict')));
END;
