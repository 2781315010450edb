using System.Globalization;
using System.Text.RegularExpressions;
using Npgsql;

namespace Scheduler.Postgres.State;

/// <summary>Which database and schema, and how its sessions are set up. Immutable and thread-safe.</summary>
internal sealed partial class StatePlace
{
    private const string Example = "for example 'Host=db.internal;Database=shop;Username=scheduler;Password=…'";
    private readonly NpgsqlConnectionStringBuilder _given;

    /// <summary>Reads the connection string; connects to nothing.</summary>
    /// <param name="connectionString">As Npgsql reads it.</param>
    /// <param name="schema">The schema's name.</param>
    /// <param name="use">What is kept there; default <see cref="PlaceUse.State"/>.</param>
    /// <exception cref="ArgumentException">It is none, or the schema's name is not allowed; the message does not show it.</exception>
    public StatePlace(string connectionString, string schema, PlaceUse? use = null)
    {
        Use = use ?? PlaceUse.State;
        if (Problem(connectionString) is { } problem)
        {
            throw new ArgumentException($"The connection string of {Use.What} (not shown here) {problem}", nameof(connectionString));
        }
        if (SchemaProblem(schema) is { } notAllowed)
        {
            throw new ArgumentException($"The schema of {Use.What} is '{schema}'; {notAllowed}", nameof(schema));
        }
        _given = new NpgsqlConnectionStringBuilder(connectionString);
        Schema = schema;
        Endpoint = string.Create(CultureInfo.InvariantCulture, $"{_given.Host}:{_given.Port}");
        Database = _given.Database ?? _given.Username ?? "(the user's)";
        Name = $"PostgreSQL at {Endpoint}, database '{Database}', schema '{schema}'";
    }

    /// <summary>What is kept there.</summary>
    public PlaceUse Use { get; }

    /// <summary>The schema's name; quoted it is <see cref="Quoted"/>.</summary>
    public string Schema { get; }

    public string Quoted => $"\"{Schema}\"";

    /// <summary>Host and port.</summary>
    public string Endpoint { get; }

    public string Database { get; }

    /// <summary>The user, where the connection string names one.</summary>
    public string? Username => _given.Username;

    /// <summary>Host, port, database and schema, for messages; no secret.</summary>
    public string Name { get; }

    /// <summary>Whether a connection of somebody else's leads to the same database by the same way, as the same user, who may write the
    /// tables.</summary>
    public bool IsOf(NpgsqlConnection connection) =>
        string.Equals(connection.Host, _given.Host, StringComparison.OrdinalIgnoreCase)
        && connection.Port == _given.Port
        && connection.Database == Database
        && connection.UserName == _given.Username;

    /// <summary>What is wrong with a connection string, without showing it.</summary>
    public static string? Problem(string? connectionString)
    {
        if (string.IsNullOrWhiteSpace(connectionString))
        {
            return $"is empty; write one of Npgsql, {Example}.";
        }
        try
        {
            var builder = new NpgsqlConnectionStringBuilder(connectionString);
            if (string.IsNullOrWhiteSpace(builder.Host))
            {
                return $"names no host; write one of Npgsql, {Example}.";
            }
            return builder.Host.Contains(',', StringComparison.Ordinal)
                ? "names several hosts; name one address that always leads to the primary."
                : null;
        }
        // The driver's message may quote the text; a wrong value shows as one of several types.
        catch (Exception e) when (e is ArgumentException or FormatException or InvalidCastException or OverflowException)
        {
            return $"is no connection string of Npgsql (an unknown keyword, or a value that is not allowed); write one, {Example}.";
        }
    }

    /// <summary>What is wrong with a name for the schema.</summary>
    public static string? SchemaProblem(string? schema) =>
        schema is not null && PlainIdentifier().IsMatch(schema)
            ? null
            : "allowed is 1 to 63 of lower-case letters, digits and '_', not beginning with a digit or 'pg_', and not information_schema.";

    /// <summary>Makes the pool of connections.</summary>
    /// <param name="limit">The time after which the server ends a statement; 5 s at least.</param>
    /// <param name="lockLimit">How long a statement may wait for a row that another session has locked.</param>
    /// <param name="pool">How many connections at most.</param>
    /// <param name="ownSessions">Whether a session is the client's own, so that it gets its limits at its start; behind a
    /// transaction-pooling proxy it is another one for each transaction.</param>
    public NpgsqlDataSource CreateSource(TimeSpan limit, TimeSpan lockLimit, int pool, bool ownSessions)
    {
        var settings = Sessions(limit);
        settings.Pooling = true;
        settings.MinPoolSize = 0;
        settings.MaxPoolSize = pool;
        // Nothing is kept in a session but prepared statements, and these by the State itself: the driver's own way confuses answers
        // when the call that would prepare one fails (seen with Npgsql 10.0.0).
        settings.NoResetOnClose = true;
        settings.MaxAutoPrepare = 0;
        settings.Multiplexing = false;
        settings.ApplicationName ??= "scheduler";
        if (ownSessions)
        {
            settings.Options = string.Join(' ', ((string[])[settings.Options ?? "", .. Settings(limit, lockLimit).Select(Option)])).Trim();
        }
        return new NpgsqlDataSourceBuilder(settings.ConnectionString).Build();
    }

    /// <summary>Makes the connection over which signals are heard; opens nothing.</summary>
    /// <param name="limit">The longest time of connecting.</param>
    public NpgsqlConnection CreateListening(TimeSpan limit)
    {
        var settings = Sessions(limit);
        settings.Pooling = false;
        settings.ApplicationName = $"{settings.ApplicationName ?? "scheduler"} listener";
        return new NpgsqlConnection(settings.ConnectionString);
    }

    /// <summary>Makes the connection of a session that keeps advisory locks; opens nothing.</summary>
    /// <param name="limit">The longest time of connecting.</param>
    /// <param name="settings">The settings of the session.</param>
    public NpgsqlConnection CreateSession(TimeSpan limit, IEnumerable<(string Name, string Value)> settings)
    {
        var session = Sessions(limit);
        session.Pooling = false;
        session.MaxAutoPrepare = 0;
        session.Multiplexing = false;
        session.ApplicationName = $"{session.ApplicationName ?? "scheduler"} locks";
        session.Options = string.Join(' ', ((string[])[session.Options ?? "", .. settings.Select(Option)])).Trim();
        return new NpgsqlConnection(session.ConnectionString);
    }

    private NpgsqlConnectionStringBuilder Sessions(TimeSpan limit)
    {
        var seconds = Math.Max(1, (int)Math.Ceiling(limit.TotalSeconds));
        var settings = new NpgsqlConnectionStringBuilder(_given.ConnectionString)
        {
            Enlist = false,
            PersistSecurityInfo = false,
            IncludeErrorDetail = false,
            LogParameters = false,
            Timeout = Math.Min(IsGiven("Timeout") ? Math.Max(1, _given.Timeout) : seconds, seconds),
            // Calls are bounded by their callers and by the server. The driver's own limit would send a cancellation over a second
            // connection and wait for it without a bound when the server is frozen.
            CommandTimeout = 0,
            TcpKeepAlive = true,
            TcpKeepAliveTime = 5,
            TcpKeepAliveInterval = 2,
        };
        // The driver asks for it on each connection otherwise, and loses the socket when the second attempt, without it, is refused.
        if (!IsGiven("GSS Encryption Mode"))
        {
            settings.GssEncryptionMode = GssEncryptionMode.Disable;
        }
        return settings;
    }

    // ContainsKey says whether the driver knows the word.
    private bool IsGiven(string word) => _given.ShouldSerialize(word);

    /// <summary>Statements by which the server ends a listening session whose client is gone.</summary>
    public const string KeepAliveSettings =
        "SET tcp_user_timeout = 10000; SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 2; SET tcp_keepalives_count = 5";

    /// <summary>The settings of a session: its limits, that no plan may read a whole table, and that none is compiled.</summary>
    private IEnumerable<(string Name, string Value)> Settings(TimeSpan limit, TimeSpan lockLimit) =>
        [
            ("statement_timeout", Milliseconds(limit)),
            ("lock_timeout", Milliseconds(lockLimit)),
            ("idle_in_transaction_session_timeout", Milliseconds(limit * 2)),
            ("tcp_user_timeout", Milliseconds(limit * 2)),
            ("tcp_keepalives_idle", "5"),
            ("tcp_keepalives_interval", "2"),
            ("tcp_keepalives_count", "5"),
            // For a small table that plan is the cheapest; but sessions keep their plans, and tables grow.
            ("enable_seqscan", "off"),
            // A plan that reads a whole table all the same counts as so dear that the server would compile it, each time, for longer
            // than all else takes.
            ("jit", "off"),
            ("plan_cache_mode", Use.PlansOnce ? "force_generic_plan" : "auto"),
        ];

    /// <summary>A time as the server's settings take it.</summary>
    public static string Milliseconds(TimeSpan time) => ((long)time.TotalMilliseconds).ToString(CultureInfo.InvariantCulture);

    private static string Option((string Name, string Value) limit) => $"-c {limit.Name}={limit.Value}";

    [GeneratedRegex("^(?!pg_|information_schema$)[a-z_][a-z0-9_]{0,62}\\z", RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 1_000)]
    private static partial Regex PlainIdentifier();
}
