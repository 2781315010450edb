DELETE FROM leases WHERE replica = $replica;
