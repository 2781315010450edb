-- min_reader: 1
-- What waits for a person, to count it by source, and the dead events that have a body still, by the time at which they came.
CREATE INDEX inbox_counts ON inbox (group_name, source, state) WHERE state IN ('dead', 'conflict', 'quarantined');
CREATE INDEX inbox_dead ON inbox (group_name, received_at) WHERE state = 'dead' AND body IS NOT NULL;
