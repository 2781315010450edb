-- min_reader: 1
-- What a look at the open runs asks for: those that run; of those that wait or are interrupted, and of the orphaned ones, the first under
-- each key by the time since which it is due. And the runs of a job that were asked for.
CREATE INDEX runs_running ON runs (group_name, scheduled_at, id) WHERE state = 'running';
CREATE INDEX runs_queue ON runs (group_name, state = 'orphaned', coalesce(next_attempt_at, scheduled_at), id)
  WHERE state IN ('waiting', 'interrupted', 'orphaned');
CREATE INDEX runs_queue_of_key ON runs (group_name, lock_key, state = 'orphaned', coalesce(next_attempt_at, scheduled_at), id)
  WHERE state IN ('waiting', 'interrupted', 'orphaned');
CREATE INDEX runs_requested ON runs (group_name, job)
  WHERE kind = 'manual' AND state IN ('waiting', 'running', 'interrupted', 'orphaned');

-- What the request of a run with a key said; null of a build that did not keep it.
ALTER TABLE runs ADD COLUMN request_data TEXT;
