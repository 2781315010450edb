namespace Scheduler.Postgres.SessionLeases;

/// <summary>The statements on session locks. Each takes any number of keys, by the numbers of their advisory locks. Immutable.</summary>
internal sealed class SessionStatements(string schema)
{
    /// <summary>Locks. $1 numbers, each once and none held by this session. Answers for each the number of the grant, or 0.</summary>
    public string Take { get; } =
        $"SELECT ARRAY(SELECT CASE WHEN pg_try_advisory_lock(w) THEN nextval('{schema}.numbers') ELSE 0 END FROM unnest($1) AS w)";

    /// <summary>The same of one number: what comes alone costs the server an eighth of a cycle less than a list of one.</summary>
    public string TakeOne { get; } = $"SELECT CASE WHEN pg_try_advisory_lock($1) THEN nextval('{schema}.numbers') ELSE 0 END";

    /// <summary>Unlocks, then locks. $1 numbers to unlock, $2 signals, $3 their channel, $4 what listeners hold, $5 numbers to lock,
    /// $6 whether this session listens. Signals go only where somebody does. Answers as last what <see cref="Take"/> answers.</summary>
    public string EndAndTake { get; } =
        $"""
            SELECT ARRAY(SELECT pg_advisory_unlock(w) FROM unnest($1) AS w),
              CASE WHEN $6 OR NOT pg_try_advisory_xact_lock($4) THEN (SELECT count(pg_notify($3, t)) FROM unnest($2) AS t) END,
              ARRAY(SELECT CASE WHEN pg_try_advisory_lock(w) THEN nextval('{schema}.numbers') ELSE 0 END FROM unnest($5) AS w)
            """;

    /// <summary>Unlocks one. $1 number, $2 signal, $3 its channel, $4 what listeners hold, $5 whether this session listens.</summary>
    public string EndOne { get; } =
        "SELECT pg_advisory_unlock($1), CASE WHEN $5 OR NOT pg_try_advisory_xact_lock($4) THEN pg_notify($3, $2) END";

    /// <summary>Deletes the notes of grants that end. $1 numbers of locks, $2 numbers of grants, $3 the session. Answers for each that was
    /// there whether another replica was refused meanwhile.</summary>
    public string Forget { get; } =
        $"""
            DELETE FROM {schema}.notes n USING unnest($1, $2) AS a(word, number)
            WHERE n.word = a.word AND n.number = a.number AND n.session = $3 RETURNING n.word, n.contended
            """;

    /// <summary>
    /// Shows who has locks that were refused, and notes that another replica was. $1 numbers, $2 the replica that asks, $3 its session.
    /// Answers for each that has a note of a living session its place in the list and the note.
    /// </summary>
    public string Look { get; } =
        $"""
            WITH asked AS MATERIALIZED (SELECT a.word, a.n FROM unnest($1) WITH ORDINALITY AS a(word, n)),
            marked AS (
              UPDATE {schema}.notes AS m SET contended = true WHERE m.word IN (
                SELECT n.word FROM {schema}.notes n WHERE n.word = ANY($1) AND NOT n.contended AND n.replica <> $2 FOR UPDATE SKIP LOCKED
              )
            )
            SELECT a.n, n.group_name, n.key, n.session, n.replica, n.purpose, n.number, n.until, n.until - {schema}.now(), n.lasts,
              n.revoked
            FROM asked a JOIN {schema}.notes n ON n.word = a.word
            WHERE n.session <> $3 AND NOT {schema}.is_over(n.session)
            """;

    /// <summary>Notes grants. $1 group, $2 the session, then lists: $3 numbers of locks, $4 keys, $5 replicas, $6 acquisitions,
    /// $7 purposes, $8 numbers of grants, $9 microseconds that are left, $10 microseconds of the whole lease.</summary>
    public string Note { get; } =
        $"""
            INSERT INTO {schema}.notes AS n (word, group_name, key, session, replica, acquisition, purpose, number, until, lasts)
            SELECT a.word, $1, a.key, $2, a.replica, a.acquisition, a.purpose, a.number, {schema}.now() + a.remaining, a.lasts
            FROM unnest($3, $4, $5, $6, $7, $8, $9, $10) AS a(word, key, replica, acquisition, purpose, number, remaining, lasts)
            ON CONFLICT (word) DO UPDATE SET
              (group_name, key, session, replica, acquisition, purpose, number, until, lasts, revoked, contended)
              = (excluded.group_name, excluded.key, excluded.session, excluded.replica, excluded.acquisition, excluded.purpose,
                excluded.number, excluded.until, excluded.lasts, false, false)
            """;

    /// <summary>
    /// Moves the ends of grants. $1 the session, then lists: $2 numbers of locks, $3 numbers of grants, $4 microseconds. Answers the
    /// places of those without a note, and of those that are revoked (and not moved).
    /// </summary>
    public string Renew { get; } =
        $"""
            WITH clock AS MATERIALIZED (SELECT {schema}.now() AS now),
            asked AS MATERIALIZED (SELECT a.* FROM unnest($2, $3, $4) WITH ORDINALITY AS a(word, number, lasts, n)),
            held AS MATERIALIZED (
              SELECT a.n, n.word, n.revoked, a.lasts FROM asked a JOIN {schema}.notes n ON n.word = a.word
              WHERE n.number = a.number AND n.session = $1 ORDER BY n.word FOR UPDATE OF n
            ),
            moved AS (
              UPDATE {schema}.notes AS n SET until = c.now + h.lasts, lasts = h.lasts FROM held h, clock c
              WHERE n.word = h.word AND NOT h.revoked
            )
            SELECT ARRAY(SELECT a.n FROM asked a WHERE NOT EXISTS (SELECT FROM held h WHERE h.n = a.n)),
              ARRAY(SELECT h.n FROM held h WHERE h.revoked)
            """;

    /// <summary>Which of some sessions have ended. $1 their numbers.</summary>
    public string Ended { get; } = $"SELECT ARRAY(SELECT s FROM unnest($1) AS s WHERE {schema}.is_over(s))";

    /// <summary>Begins to listen: from now on those who unlock send signals. $1 what listeners hold.</summary>
    public string Listen { get; } = "SELECT pg_advisory_lock_shared($1)";

    /// <summary>Deletes what sessions have left that have ended.</summary>
    public string Sweep { get; } =
        $"""
            WITH left_over AS MATERIALIZED (
              SELECT s.session FROM (SELECT DISTINCT n.session FROM {schema}.notes n) s WHERE {schema}.is_over(s.session)
            )
            DELETE FROM {schema}.notes n USING left_over l WHERE n.session = l.session
            """;

    /// <summary>Shows the grant of a key. $1 number. Answers whether it is locked, whether the note of a living session
    /// is there, and the note.</summary>
    public string Read { get; } =
        $"""
            SELECT NOT pg_try_advisory_xact_lock_shared($1), n.word IS NOT NULL, n.group_name, n.key, n.session, n.replica, n.purpose,
              n.number, n.until, n.until - {schema}.now(), n.lasts, n.revoked
            FROM (SELECT) one LEFT JOIN {schema}.notes n ON n.word = $1 AND NOT {schema}.is_over(n.session)
            """;

    /// <summary>Shows grants in the order of their keys. $1 group, $2 the start of their keys, $3 the key after which they are, $4 how
    /// many.</summary>
    public string List { get; } =
        $"""
            WITH living AS MATERIALIZED (
              SELECT s.session FROM (SELECT DISTINCT n.session FROM {schema}.notes n WHERE n.group_name = $1) s
              WHERE NOT {schema}.is_over(s.session)
            )
            SELECT n.key, n.replica, n.purpose, n.number, n.until - {schema}.now(), n.revoked
            FROM {schema}.notes n JOIN living l ON l.session = n.session
            WHERE n.group_name = $1 AND n.key > $3 AND starts_with(n.key, $2) AND n.until > {schema}.now()
            ORDER BY n.key LIMIT $4
            """;

    /// <summary>Whether a lock of a group has no note yet. $1 what its keys share.</summary>
    public string AnyWithoutNote { get; } =
        $"""
            SELECT EXISTS (
              SELECT FROM pg_locks l
              WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted AND l.mode = 'ExclusiveLock'
                AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
                AND (l.classid::bigint >> 16) = $1
                AND NOT EXISTS (SELECT FROM {schema}.notes n WHERE n.word = (l.classid::bigint << 32) | l.objid::bigint
                  AND NOT {schema}.is_over(n.session))
            )
            """;

    /// <summary>Revokes a grant. $1 number of the lock, $2 group, $3 key, $4 number of the grant. Answers, if a living session has the key,
    /// whether it is that grant, and the microseconds until its end.</summary>
    public string Revoke { get; } =
        $"""
            WITH held AS MATERIALIZED (
              SELECT n.word, n.number = $4 AS named, n.until - {schema}.now() AS remaining FROM {schema}.notes n
              WHERE n.word = $1 AND n.group_name = $2 AND n.key = $3 FOR UPDATE OF n
            ),
            revoked AS (UPDATE {schema}.notes AS n SET revoked = true FROM held h WHERE n.word = h.word AND h.named)
            SELECT h.named, h.remaining FROM held h
            """;

    /// <summary>Lets go of another session's grant: its holder finds the note gone. $1 number of the lock, $2 group, $3 key, $4 replica,
    /// $5 acquisition. Answers for each that was there whether another replica was refused meanwhile.</summary>
    public string Drop { get; } =
        $"""
            DELETE FROM {schema}.notes n
            WHERE n.word = $1 AND n.group_name = $2 AND n.key = $3 AND n.replica = $4 AND n.acquisition = $5
              AND NOT {schema}.is_over(n.session) RETURNING n.contended
            """;

    /// <summary>Ends the session that has a lock. $1 the lock's number, $2 whether it surely is one of ours; else its name has to say
    /// so. Answers how many were ended.</summary>
    public string Terminate { get; } =
        """
            SELECT count(*) FILTER (WHERE pg_terminate_backend(l.pid)) FROM pg_locks l
            WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted AND l.mode = 'ExclusiveLock'
              AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
              AND (l.classid::bigint << 32) | l.objid::bigint = $1
              AND ($2 OR EXISTS (SELECT FROM pg_stat_activity a WHERE a.pid = l.pid AND a.application_name LIKE '% locks'))
            """;
}
