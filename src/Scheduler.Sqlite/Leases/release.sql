DELETE FROM leases WHERE grp = $group AND key = $key;
