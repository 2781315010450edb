using System.Globalization;
using Npgsql;
using Scheduler.Runs;

namespace Scheduler.Postgres.State;

/// <summary>What the server says of itself, and what follows from it. Immutable.</summary>
/// <param name="Version">As <c>server_version_num</c>, for example 150018.</param>
/// <param name="VersionText">As people write it.</param>
/// <param name="IsStandby">Whether it only follows another server.</param>
/// <param name="IsReadOnly">Whether transactions are read-only unless they say otherwise.</param>
/// <param name="StatementTimeout">The limit that the session really has; zero: none.</param>
/// <param name="IsOwnSession">Whether the session is the client's own: a proxy that pools transactions hands out keys of its own.</param>
/// <param name="IsSynced">Whether it waits for its disk at all (<c>fsync</c>, <c>full_page_writes</c>).</param>
/// <param name="SynchronousStandbys">The setting <c>synchronous_standby_names</c>.</param>
/// <param name="Standbys">How many servers copy it, as far as the role may see them.</param>
internal sealed record ServerFacts(
    int Version,
    string VersionText,
    bool IsStandby,
    bool IsReadOnly,
    TimeSpan StatementTimeout,
    bool IsOwnSession,
    bool IsSynced,
    string SynchronousStandbys,
    long Standbys
)
{
    /// <summary>The oldest version that is used, as <c>server_version_num</c>.</summary>
    public const int OldestVersion = 130000;

    // Followers by logical replication copy rows, not commits, and are nobody's stand-in; their slots say so. Nor is a backup.
    private const string Question = """
        SELECT current_setting('server_version_num')::int, current_setting('server_version'), pg_is_in_recovery(),
          current_setting('default_transaction_read_only')::bool,
          (SELECT setting::bigint FROM pg_settings WHERE name = 'statement_timeout'), pg_backend_pid(),
          current_setting('fsync')::bool AND current_setting('full_page_writes')::bool,
          current_setting('synchronous_standby_names'),
          (SELECT count(*) FROM pg_stat_replication r
           WHERE r.state IS DISTINCT FROM 'backup'
             AND NOT EXISTS (SELECT FROM pg_replication_slots s WHERE s.active_pid = r.pid AND s.slot_type = 'logical'))
        """;

    /// <summary>Asks the server.</summary>
    public static async Task<ServerFacts> ReadAsync(NpgsqlDataSource source)
    {
        await using var connection = await source.OpenConnectionAsync();
        await using var command = new NpgsqlCommand(Question, connection);
        await using var reader = await command.ExecuteReaderAsync();
        await reader.ReadAsync();
        return new ServerFacts(
            reader.GetInt32(0),
            reader.GetString(1),
            reader.GetBoolean(2),
            reader.GetBoolean(3),
            TimeSpan.FromMilliseconds(reader.GetInt64(4)),
            reader.GetInt32(5) == connection.ProcessID,
            reader.GetBoolean(6),
            reader.GetString(7),
            reader.GetInt64(8)
        );
    }

    /// <summary>Refuses a server that cannot keep what is to be kept there.</summary>
    /// <exception cref="StateUnavailableException">It cannot.</exception>
    public void ThrowIfUnfit(StatePlace place)
    {
        if (Version < OldestVersion)
        {
            throw new StateUnavailableException(
                $"{place.Name} has version {VersionText}; {place.Use.What} needs {OldestVersion / 10_000} or later. Upgrade the server or "
                    + $"name another one in {place.Use.Section}:ConnectionString.",
                permanent: true
            );
        }
        if (IsStandby)
        {
            // It may be promoted at any time, or the name lead to the new primary.
            throw new StateUnavailableException(
                $"{place.Name} is a standby, which takes no writes. Name the primary in {place.Use.Section}:ConnectionString, or an "
                    + "address that follows it; if a fail-over is under way, nothing needs to be done."
            );
        }
        if (IsReadOnly)
        {
            throw new StateUnavailableException(
                $"{place.Name} is read-only for this role (default_transaction_read_only is on), and {place.Use.What} writes. Turn it "
                    + $"off, for example with ALTER ROLE {place.Username ?? "…"} SET default_transaction_read_only = off, "
                    + $"or name the primary in {place.Use.Section}:ConnectionString.",
                permanent: true
            );
        }
    }

    /// <summary>Why the server may forget what it has confirmed, or <see langword="null"/>.</summary>
    public string? FindWeakness()
    {
        if (!IsSynced)
        {
            return "fsync or full_page_writes is off, so that it forgets or destroys commits when its machine fails. Turn both on.";
        }
        return Standbys > 0 && string.IsNullOrWhiteSpace(SynchronousStandbys)
            ? string.Create(
                CultureInfo.InvariantCulture,
                $"{Standbys} other server(s) copy it asynchronously, and a fail-over to one of them forgets the newest commits. Set "
                    + $"synchronous_standby_names and promote none but a synchronous one."
            )
            : null;
    }
}
