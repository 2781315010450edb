UPDATE numbers SET last = $last WHERE id = 1;
