SELECT key, replica, acquisition, number, purpose, boot, ends_at, revoked, contended
FROM leases
WHERE grp = $group AND key = $key;
