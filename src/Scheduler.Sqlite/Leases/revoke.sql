UPDATE leases SET revoked = 1 WHERE grp = $group AND key = $key;
