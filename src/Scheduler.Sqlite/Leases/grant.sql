INSERT OR REPLACE INTO leases (grp, key, replica, acquisition, number, purpose, boot, ends_at)
VALUES ($group, $key, $replica, $acquisition, $number, $purpose, $boot, $ends_at);
