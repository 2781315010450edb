DELETE FROM leases WHERE boot <> $boot OR ends_at <= $now;
