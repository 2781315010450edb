using System.Globalization;
using System.Net.Sockets;
using System.Security.Authentication;
using Npgsql;
using Scheduler.Runs;

namespace Scheduler.Postgres.State;

/// <summary>Says what a failure of the server, the network or the driver means for whoever runs it, and what to do.</summary>
internal static class StateProblem
{
    /// <summary>Turns a failure into what callers are told: an argument that cannot be kept, or a State without an answer.</summary>
    public static Exception Explain(StatePlace place, Exception problem)
    {
        if (problem is StateUnavailableException)
        {
            return problem;
        }
        if (problem is PostgresException { SqlState: ['2', '2', ..] } data)
        {
#pragma warning disable MA0015 // The server does not say which argument it was.
            return new ArgumentException($"{place.Name} cannot keep a value of this call: {data.MessageText}", data);
#pragma warning restore MA0015
        }
        var (reason, permanent) = Reason(place, problem);
        return new StateUnavailableException($"{place.Name} cannot be used: {reason}", problem, permanent);
    }

    /// <summary>Whether the same call may well succeed when it is sent again at once.</summary>
    public static bool IsPassing(Exception problem) =>
        problem switch
        {
            // Collisions with others; and a server that goes down, where another connection may lead to its successor.
            PostgresException server => server.SqlState is "40001" or "40P01" or "57P01" or "57P02" or "57P05" or "25P03",
            // The connection had died while nobody looked. One that cannot be made at all is worth no second try.
            NpgsqlException { InnerException: IOException or EndOfStreamException } => true,
            _ => false,
        };

    /// <summary>Whether the failure is of one statement of a group, so that the others may do without it.</summary>
    public static bool IsOfOneStatement(Exception problem) =>
        problem is ArgumentException or StateUnavailableException { InnerException: PostgresException { SqlState: not ['0' or '5', ..] } }
        || problem is StateUnavailableException { InnerException: PostgresException { SqlState: "55P03" or "57014" } }
        || problem is StateUnavailableException { InnerException: not (null or NpgsqlException or TimeoutException) };

    /// <summary>Whether a call met rows that another session had locked, so that it may well succeed a little later.</summary>
    public static bool IsContention(StateUnavailableException problem) =>
        problem.InnerException is PostgresException { SqlState: "55P03" or "40001" or "40P01" };

    /// <summary>What a failure says of the rows of this call: that one cannot be kept, or that they were not to be had in time. Others are
    /// of the State, and stay as they are.</summary>
    public static Exception OfRows(StatePlace place, StateUnavailableException problem) =>
        problem.InnerException switch
        {
#pragma warning disable MA0015 // Which of the values it was, nobody says.
            // A constraint, or more than an index takes.
            PostgresException { SqlState: ['2', '3', ..] or ['5', '4', ..] } server => new ArgumentException(
                $"{place.Name} cannot keep a value of this call: {server.MessageText}",
                server
            ),
            // Half of a surrogate pair: the driver cannot write it.
            ArgumentException value => new ArgumentException($"{place.Name} cannot keep a value of this call: {value.Message}", value),
#pragma warning restore MA0015
            PostgresException { SqlState: "55P03" or "40001" or "40P01" or "57014" } server => new StateUnavailableException(
                problem.Message,
                server,
                ofOneCall: true
            ),
            _ => problem,
        };

    /// <summary>Whether a connection was refused for its start-up options.</summary>
    public static bool IsAboutOptions(PostgresException refused) =>
        refused.SqlState is "08P01" or "0A000" or "22023" or "58000"
        && refused.MessageText.Contains("options", StringComparison.OrdinalIgnoreCase);

    /// <summary>The failure in a few words, for the log.</summary>
    public static string Short(Exception problem) =>
        problem is PostgresException server ? $"{server.SqlState}: {server.MessageText}" : Deepest(problem).Message;

    public static StateUnavailableException Late(StatePlace place, TimeSpan limit, TimeoutException late) =>
        new(
            string.Create(
                CultureInfo.InvariantCulture,
                $"{place.Name} did not answer within {limit.TotalSeconds:0.#} s: look at the load and disk of the server, at the network "
                    + $"between, and at sessions that hold locks (pg_stat_activity)."
            ),
            late
        );

    public static StateUnavailableException TooMany(StatePlace place, int most) =>
        new($"{most} calls wait for {place.Name} already: look at the load of the server; run fewer jobs at once.");

    public static StateUnavailableException NotOpen(StatePlace place) =>
        new($"{place.Name} is not open: it was not opened yet, or is closed already.");

    private static (string Reason, bool Permanent) Reason(StatePlace place, Exception problem)
    {
        if (problem is PostgresException server)
        {
            return ServerReason(place, server);
        }
        var deepest = Deepest(problem);
        var connection = $"{place.Use.Section}:ConnectionString";
        return deepest switch
        {
            AuthenticationException => (
                $"the TLS handshake failed ({deepest.Message}). Let the server show a certificate for '{place.Endpoint}' that this host "
                    + $"trusts (Root Certificate in {connection}), or choose the SSL Mode that it can give.",
                true
            ),
            SocketException { SocketErrorCode: SocketError.HostNotFound or SocketError.NoData } => (
                $"there is no such host ({deepest.Message}). Check the host in {connection} and the name service.",
                false
            ),
            SocketException => ($"there is no connection ({deepest.Message}). Check that the server runs and listens there.", false),
            TimeoutException => (
                "it did not answer in time, or all connections are in use. Check that the server runs and listens there, that nothing "
                    + "between drops packets, and its load.",
                false
            ),
            IOException => ($"the connection ended ({deepest.Message}). The server went down, or something between closed it.", false),
            _ when deepest.Message.Contains("SSL", StringComparison.OrdinalIgnoreCase) => (
                $"TLS was asked for, and the server gives none ({deepest.Message}). Turn on ssl at the server, or choose another SSL Mode "
                    + $"in {connection}.",
                true
            ),
            _ when deepest.Message.Contains("password", StringComparison.OrdinalIgnoreCase) => (
                $"the server asks for a password, and {connection} has none. Add it.",
                true
            ),
            _ => ($"{deepest.GetType().Name}: {deepest.Message}", false),
        };
    }

    private static (string Reason, bool Permanent) ServerReason(StatePlace place, PostgresException server)
    {
        var connection = $"{place.Use.Section}:ConnectionString";
        return server.SqlState switch
        {
            "28P01" => ($"it refused the login ({server.MessageText}). Check user and password in {connection}.", true),
            "28000" => (
                $"it refused the login ({server.MessageText}). Check the user in {connection}, and that pg_hba.conf allows it to log in to "
                    + "this database from this host with this SSL Mode.",
                true
            ),
            "3D000" => ($"there is no such database. Create it, or name another in {connection}.", true),
            "42501" => (
                $"the role may not do what {place.Use.What} needs ({server.MessageText}). As an owner of the database run: CREATE "
                    + $"SCHEMA IF NOT EXISTS {place.Quoted} AUTHORIZATION \"{place.Username ?? "the role"}\"; where it exists: "
                    + "ALTER SCHEMA … OWNER TO … with its tables (docs/postgres.md).",
                true
            ),
            "25006" => (
                "it takes no writes now: it is a standby, or was made read-only. Name the primary in "
                    + $"{connection}; if a fail-over is under way, nothing needs to be done.",
                false
            ),
            "42P01" or "42883" or "3F000" or "42703" => (
                $"the schema is not whole ({server.MessageText}): something of it was dropped or renamed while in use. "
                    + place.Use.WhenDamaged,
                false
            ),
            "53300" => (
                $"it has no free connection ({server.MessageText}). Raise max_connections, or put a proxy in front; each replica uses "
                    + $"up to {place.Use.MostConnections}.",
                false
            ),
            "53200" => (
                $"it has no memory left ({server.MessageText}). Session locks need one place each in its lock table: raise "
                    + "max_locks_per_transaction, which times max_connections must be more than all replicas hold at once.",
                false
            ),
            "53100" => ("its disk is full. Free space there; nothing else needs to be done.", false),
            "55P03" => (
                "another session has kept a row locked for too long. Find it with pg_blocking_pids in pg_stat_activity, and end it.",
                false
            ),
            "57014" => ("a statement took too long. Look at the load of the server and at sessions that hold locks.", false),
            "57P03" => ($"it is starting or stopping ({server.MessageText}); nothing needs to be done.", false),
            "08P01" => (
                $"a proxy in front of it refused the connection ({server.MessageText}). Check user and database in {connection}.",
                false
            ),
            _ => ($"{server.SqlState}: {server.MessageText}", false),
        };
    }

    private static Exception Deepest(Exception problem)
    {
        while (problem.InnerException is { } inner)
        {
            problem = inner;
        }
        return problem;
    }
}
