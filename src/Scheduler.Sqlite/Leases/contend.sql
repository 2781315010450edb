UPDATE leases SET contended = 1 WHERE grp = $group AND key = $key;
