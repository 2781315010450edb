-- min_reader: 1
-- Lists of what is rare in a long history. None of them gets an entry from a run that succeeds.
CREATE INDEX runs_unsuccessful ON runs (group_name, state, scheduled_at, id) WHERE state IN ('failed', 'dead', 'overlapped');
CREATE INDEX runs_unsuccessful_of_job ON runs (group_name, job, state, scheduled_at, id) WHERE state IN ('failed', 'dead', 'overlapped');
CREATE INDEX runs_manual ON runs (group_name, scheduled_at, id) WHERE kind = 'manual';
