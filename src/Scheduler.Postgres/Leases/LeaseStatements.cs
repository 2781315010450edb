namespace Scheduler.Postgres.Leases;

/// <summary>
/// The statements on leases. Each takes any number of keys and counts time by the server's clock as it was when it began. Immutable.
/// </summary>
/// <remarks>
/// Each looks first, without locks, and then writes what seems to need it as an insert that meets the row and changes it: that goes through
/// the rows in the order of their keys, so that no two statements wait for each other, judges each again as it is by then, and finds it by
/// its key whatever the planner thinks of a table that was small when it planned; so do the looks, as they are made for one key after
/// another (<c>LATERAL … OFFSET 0</c>).
/// </remarks>
internal sealed class LeaseStatements(string schema)
{
    /// <summary>
    /// Takes keys. $1 group, then lists: $2 keys (each once), $3 replicas, $4 acquisitions, $5 purposes, $6 microseconds, $7 whether to
    /// keep a place in the line, $9 whether to keep the last one also when the key is taken; $8 for how many microseconds. A key that an
    /// earlier, unanswered sending of the same acquisition has taken is its own. Only who takes, or changes the line, writes, and only a
    /// grant waits for the disk: a line that is lost in a crash is made anew by those in it. Who waits with a place that was kept a moment
    /// ago changes nothing; else each would stand in the way of the one that takes the key, at its row. Answers for each its place in the
    /// lists, the server's time, and who has the key: replica, acquisition, purpose, number and end; and for a key that is free but kept
    /// for the first in line, the end of that place, a blank, and that one's id.
    /// </summary>
    public string Acquire { get; } =
        $"""
            WITH clock AS MATERIALIZED (SELECT {schema}.now() AS now, set_config('synchronous_commit', 'off', true)),
            asked AS MATERIALIZED (
              SELECT a.*, c.now FROM clock c, unnest($2, $3, $4, $5, $6, $7, $9) WITH ORDINALITY
                AS a(key, replica, acquisition, purpose, lasts, waits, stays, n)
            ),
            seen AS MATERIALIZED (
              SELECT a.*, l.replica AS by_replica, l.acquisition AS by_acquisition, l.purpose AS for_purpose, l.number, l.until, l.line,
                CASE WHEN l.replica <> '' AND l.until > a.now
                  THEN l.replica = a.replica AND l.acquisition = a.acquisition
                    OR (l.replica = a.replica OR l.contended) AND (NOT a.waits OR {Keeps("l.line")})
                  ELSE {Keeps("l.line")} AND NOT {schema}.may_go(l.line, a.replica, a.now)
                END AS settled
              FROM asked a LEFT JOIN {ByKey(schema)} ON true
            ),
            written AS (
              INSERT INTO {schema}.leases AS l (group_name, key, replica, acquisition, purpose, number, until)
              SELECT $1, s.key, s.replica, s.acquisition, s.purpose, s.now, s.now + s.lasts FROM seen s
              WHERE s.settled IS NOT TRUE ORDER BY s.key COLLATE "C"
              ON CONFLICT (group_name, key) DO UPDATE SET (replica, acquisition, purpose, number, until, revoked, contended, line) = (
                SELECT
                  CASE WHEN f.free THEN excluded.replica ELSE l.replica END,
                  CASE WHEN f.free THEN excluded.acquisition ELSE l.acquisition END,
                  CASE WHEN f.free THEN excluded.purpose ELSE l.purpose END,
                  CASE WHEN f.free THEN greatest(excluded.number, l.number + 1) ELSE l.number END,
                  CASE WHEN f.free THEN excluded.until ELSE l.until END,
                  l.revoked AND NOT f.free,
                  CASE WHEN f.free THEN f.others <> array[]::text[]
                    ELSE l.contended OR (l.replica <> excluded.replica AND l.until > excluded.number)
                  END,
                  CASE
                    WHEN f.free AND (SELECT a.stays FROM asked a WHERE a.key = l.key)
                      THEN {schema}.line_with(f.others, excluded.replica, excluded.number + $8, excluded.number)
                    WHEN f.free THEN f.others
                    WHEN (SELECT a.waits FROM asked a WHERE a.key = l.key)
                      THEN {schema}.line_with(l.line, excluded.replica, excluded.number + $8, excluded.number)
                    ELSE l.line
                  END
                FROM (
                  SELECT
                    (l.replica = '' OR l.until <= excluded.number) AND (l.line = array[]::text[]
                      OR {schema}.may_go(l.line, excluded.replica, excluded.number)) AS free,
                    CASE WHEN l.line = array[]::text[] THEN l.line
                      ELSE {schema}.line_without(l.line, excluded.replica, excluded.number)
                    END AS others
                  OFFSET 0
                ) f
              )
              RETURNING key, replica, acquisition, purpose, number, until, line
            )
            SELECT s.n, s.now, coalesce(w.replica, s.by_replica), coalesce(w.acquisition, s.by_acquisition),
              coalesce(w.purpose, s.for_purpose), coalesce(w.number, s.number), coalesce(w.until, s.until),
              CASE WHEN coalesce(w.line, s.line) <> array[]::text[] AND (coalesce(w.replica, s.by_replica) = ''
                  OR coalesce(w.until, s.until) <= s.now)
                THEN {schema}.first_in_line(coalesce(w.line, s.line), s.now)
              END,
              (SELECT {schema}.durable() FROM written g JOIN asked a ON a.key = g.key
                WHERE a.replica = g.replica AND a.acquisition = g.acquisition LIMIT 1)
            FROM seen s LEFT JOIN written w ON w.key = s.key
            """;

    /// <summary>
    /// Ends grants. $1 group, then lists: $2 keys, $3 replicas, $4 acquisitions; $5 the channel on which the freed keys are told, each with
    /// whose turn it is: <see cref="ReleaseSignals"/>. Its commit does not wait for the disk: a crash may bring a grant back until its time
    /// is over, and whoever takes the key makes the end durable with it. Answers for each that was there its place in the lists, whether
    /// it is ended now, and whether another replica was refused meanwhile.
    /// </summary>
    public string Release { get; } =
        $"""
            WITH clock AS MATERIALIZED (SELECT {schema}.now() AS now, set_config('synchronous_commit', 'off', true)),
            held AS MATERIALIZED (
              SELECT a.n, l.*, c.now FROM clock c, unnest($2, $3, $4) WITH ORDINALITY AS a(of, by, under, n)
              CROSS JOIN {ByKey(schema, "a.of")}
              WHERE l.replica = a.by AND l.acquisition = a.under AND l.until > c.now
            ),
            freed AS (
              INSERT INTO {schema}.leases AS l (group_name, key, replica, acquisition, purpose, number, until)
              SELECT $1, h.key, h.replica, h.acquisition, '', h.number, h.now FROM held h ORDER BY h.key COLLATE "C"
              ON CONFLICT (group_name, key) DO UPDATE SET replica = '', purpose = '', until = excluded.until, revoked = false
              WHERE l.replica = excluded.replica AND l.acquisition = excluded.acquisition
              RETURNING key, contended, until AS now, line
            ),
            told AS (
              SELECT pg_notify($5, string_agg(f.key || f.turn, E'\n')) AS sent
              FROM (
                SELECT key, row_number() OVER () AS n,
                  CASE WHEN line = array[]::text[] THEN ''
                    ELSE coalesce(E'\t' || split_part({schema}.first_in_line(line, now), ' ', 2), '')
                  END AS turn
                FROM freed
              ) f GROUP BY f.n / {KeysPerSignal}
            )
            SELECT h.n, h.key IN (SELECT f.key FROM freed f), h.key IN (SELECT f.key FROM freed f WHERE f.contended),
              (SELECT count(t.sent) FROM told t)
            FROM held h
            """;

    /// <summary>
    /// Extends grants, never makes one. $1 group, then lists: $2 keys, $3 replicas, $4 acquisitions, $5 numbers, $6 microseconds. Answers
    /// for each that is there its place in the lists, whether it was revoked (and so not extended), and whether it was extended; and the
    /// server's time, as place 0.
    /// </summary>
    public string Renew { get; } =
        $"""
            WITH clock AS MATERIALIZED (SELECT {schema}.durable() AS now),
            held AS MATERIALIZED (
              SELECT a.n, l.*, c.now + a.lasts AS extended
              FROM clock c, unnest($2, $3, $4, $5, $6) WITH ORDINALITY AS a(of, by, under, num, lasts, n)
              CROSS JOIN {ByKey(schema, "a.of")}
              WHERE l.replica = a.by AND l.acquisition = a.under AND l.number = a.num AND l.until > c.now
            ),
            extended AS (
              INSERT INTO {schema}.leases AS l (group_name, key, replica, acquisition, purpose, number, until)
              SELECT $1, h.key, h.replica, h.acquisition, h.purpose, h.number, h.extended FROM held h
              WHERE NOT h.revoked ORDER BY h.key COLLATE "C"
              ON CONFLICT (group_name, key) DO UPDATE SET until = excluded.until
              WHERE l.replica = excluded.replica AND l.acquisition = excluded.acquisition AND NOT l.revoked
              RETURNING key
            )
            SELECT h.n, h.revoked, h.key IN (SELECT e.key FROM extended e), 0::bigint FROM held h
            UNION ALL SELECT 0, false, false, c.now FROM clock c
            """;

    /// <summary>Revokes a grant. $1 group, $2 key, $3 number. Answers, if anything holds the key, whether it is that grant, and the
    /// microseconds until its end.</summary>
    public string Revoke { get; } =
        $"""
            WITH clock AS MATERIALIZED (SELECT {schema}.durable() AS now),
            held AS MATERIALIZED (
              SELECT l.number = $3 AS named, l.until - c.now AS remaining FROM clock c, {schema}.leases l
              WHERE l.group_name = $1 AND l.key = $2 AND l.replica <> '' AND l.until > c.now FOR UPDATE OF l
            ),
            revoked AS (
              UPDATE {schema}.leases AS l SET revoked = true
              FROM held h WHERE l.group_name = $1 AND l.key = $2 AND h.named AND NOT l.revoked
            )
            SELECT h.named, h.remaining FROM held h
            """;

    /// <summary>Shows the grant of a key. $1 group, $2 key.</summary>
    public string Read { get; } = Show(schema, "l.key = $2");

    /// <summary>Shows grants in the order of their keys. $1 group, $2 the start of their keys, $3 the key after which they are, $4 how
    /// many. No key that begins like that is behind 128 times the largest character.</summary>
    public string List { get; } =
        Show(schema, "l.key >= $2 AND l.key <= $2 || repeat(U&'\\+10FFFF', 128) AND l.key > $3 AND starts_with(l.key, $2)")
        + " ORDER BY l.key LIMIT $4";

    /// <summary>
    /// Shows a group, which is noted at its first use. $1 group, $2 how many microseconds it stays closed if it is new; with 0 it is open
    /// to those as well who asked a moment before it was noted. Answers the store's id and for how many microseconds nothing is granted.
    /// </summary>
    public string Open { get; } =
        $"""
            WITH clock AS MATERIALIZED (SELECT {schema}.durable() AS now),
            added AS (
              INSERT INTO {schema}.groups AS g (group_name, opens_at) SELECT $1, CASE WHEN $2 > 0 THEN c.now + $2 ELSE 0 END FROM clock c
              WHERE NOT EXISTS (SELECT FROM {schema}.groups g WHERE g.group_name = $1)
              ON CONFLICT (group_name) DO UPDATE SET opens_at = g.opens_at RETURNING opens_at
            )
            SELECT s.id, coalesce((SELECT opens_at FROM added), (SELECT g.opens_at FROM {schema}.groups g WHERE g.group_name = $1)) - c.now
            FROM {schema}.store s, clock c
            """;

    /// <summary>
    /// Shows, confirms or notes which State a group's locks belong to. $1 group, $2 after how many microseconds a silent State may be
    /// replaced, $3 id to note or null, $4 label, $5 generation. Answers id, label, generation and age.
    /// </summary>
    public string Pair { get; } =
        $"""
            WITH clock AS MATERIALIZED (SELECT {schema}.durable() AS now),
            noted AS (
              UPDATE {schema}.groups AS g SET state_id = $3, state_label = $4, state_generation = greatest($5, g.state_generation),
                state_confirmed_at = c.now
              FROM clock c
              WHERE g.group_name = $1 AND $3 IS NOT NULL
                AND (g.state_id IS NULL OR g.state_id = $3 OR c.now - g.state_confirmed_at >= $2)
              RETURNING g.state_id, g.state_label, g.state_generation, 0::bigint
            )
            SELECT * FROM noted UNION ALL
            SELECT g.state_id, g.state_label, g.state_generation, greatest(c.now - g.state_confirmed_at, 0) FROM {schema}.groups g, clock c
            WHERE g.group_name = $1 AND g.state_id IS NOT NULL AND NOT EXISTS (SELECT FROM noted)
            """;

    /// <summary>
    /// Looks at some keys of a group and deletes the rows that have been idle for long. $1 group, $2 the key after which to begin, $3 how
    /// many to look at, $4 how many microseconds are long. Answers the last key that was looked at, or nothing at the end.
    /// </summary>
    public string Sweep { get; } =
        $"""
            WITH clock AS MATERIALIZED (SELECT {schema}.now() AS now, set_config('synchronous_commit', 'off', true)),
            looked AS MATERIALIZED (
              SELECT l.key, l.until FROM {schema}.leases l WHERE l.group_name = $1 AND l.key > $2 ORDER BY l.key LIMIT $3
            ),
            idle AS MATERIALIZED (
              SELECT l.key FROM {schema}.leases l, clock c WHERE l.group_name = $1 AND l.until < c.now - $4
                AND l.key IN (SELECT k.key FROM looked k, clock c WHERE k.until < c.now - $4) FOR UPDATE OF l SKIP LOCKED
            ),
            gone AS (DELETE FROM {schema}.leases l USING idle i WHERE l.group_name = $1 AND l.key = i.key)
            SELECT max(k.key) FROM looked k HAVING count(*) = $3
            """;

    /// <summary>How many keys of 512 bytes, each with a replica's id of 109, one signal can carry; PostgreSQL takes less than 8,000
    /// bytes.</summary>
    private const string KeysPerSignal = "12";

    private static string ByKey(string schema, string key = "a.key") =>
        $"LATERAL (SELECT l.* FROM {schema}.leases l WHERE l.group_name = $1 AND l.key = {key} OFFSET 0) l";

    // Whether who asks (a) has a place in a line that was kept for it not long ago: three quarters of its time are left, so that one late
    // look does not cost the place.
    private static string Keeps(string line) =>
        $"""
            EXISTS (SELECT FROM unnest({line}) AS e
              WHERE substr(e, strpos(e, ' ') + 1) = a.replica AND split_part(e, ' ', 1)::bigint > a.now + $8 * 3 / 4)
            """;

    private static string Show(string schema, string which) =>
        $"""
            SELECT l.key, l.replica, l.purpose, l.number, l.until - c.now, l.revoked
            FROM (SELECT {schema}.now() AS now OFFSET 0) c, {schema}.leases l
            WHERE l.group_name = $1 AND {which} AND l.replica <> '' AND l.until > c.now
            """;
}
