UPDATE leases SET ends_at = $ends_at WHERE grp = $group AND key = $key;
