SELECT last FROM numbers WHERE id = 1;
