SELECT count(*) FROM leases WHERE replica = $replica AND boot = $boot AND ends_at > $now;
