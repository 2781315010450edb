-- min_reader: 1
-- The same functions in a language whose statements the server keeps: one in SQL is read and planned again by each statement that calls it,
-- which took longer than all else of passing a lock on.
CREATE OR REPLACE FUNCTION {schema}.first_in_line(p_line text[], p_now bigint) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  e text;
BEGIN
  FOREACH e IN ARRAY p_line LOOP
    IF split_part(e, ' ', 1)::bigint > p_now THEN
      RETURN e;
    END IF;
  END LOOP;
  RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION {schema}.may_go(p_line text[], p_replica text, p_now bigint) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  first text := {schema}.first_in_line(p_line, p_now);
BEGIN
  RETURN first IS NULL OR substr(first, strpos(first, ' ') + 1) = p_replica;
END $$;

CREATE OR REPLACE FUNCTION {schema}.line_without(p_line text[], p_replica text, p_now bigint) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  e text;
  others text[] := '{}';
BEGIN
  FOREACH e IN ARRAY p_line LOOP
    IF split_part(e, ' ', 1)::bigint > p_now AND substr(e, strpos(e, ' ') + 1) <> p_replica THEN
      others := others || e;
    END IF;
  END LOOP;
  RETURN others;
END $$;

CREATE OR REPLACE FUNCTION {schema}.line_with(p_line text[], p_replica text, p_until bigint, p_now bigint) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  e text;
  line text[] := '{}';
  is_in boolean := false;
BEGIN
  FOREACH e IN ARRAY p_line LOOP
    IF split_part(e, ' ', 1)::bigint > p_now THEN
      IF substr(e, strpos(e, ' ') + 1) = p_replica THEN
        line := line || (p_until || ' ' || p_replica);
        is_in := true;
      ELSE
        line := line || e;
      END IF;
    END IF;
  END LOOP;
  RETURN CASE WHEN is_in THEN line ELSE line || (p_until || ' ' || p_replica) END;
END $$;
