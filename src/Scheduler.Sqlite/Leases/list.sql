-- UTF-8 has no byte 255, so this range is exactly the keys with the prefix, whatever characters are in it.
SELECT key, replica, acquisition, number, purpose, boot, ends_at, revoked, contended
FROM leases
WHERE grp = $group AND key >= $prefix AND key < $prefix || x'ff' AND key > $after
ORDER BY key;
