using System.Collections.Concurrent;
using Npgsql;

namespace Scheduler.Postgres.State;

/// <summary>
/// Which connections of the application have a session of their own, so that statements may be prepared there. A proxy that pools
/// transactions hands out process numbers of its own, and a statement of that name that somebody else has prepared behind it would be run
/// without a word. Thread-safe.
/// </summary>
internal static class OwnSessions
{
    // Numbers of connections that have ended stay until there are so many; those that are in use are learned again.
    private const int Most = 10_000;

    private static readonly ConcurrentDictionary<(string Server, int Process), bool> Known = new();

    /// <summary>Prepares a batch if its connection is known to have a session of its own: a round trip at the first use there.</summary>
    public static Task PrepareAsync(NpgsqlBatch batch, CancellationToken cancellationToken) =>
        Known.ContainsKey(KeyOf(batch.Connection!)) ? batch.PrepareAsync(cancellationToken) : Task.CompletedTask;

    /// <summary>Compares what the server says of a connection with what the driver was told when it was opened.</summary>
    /// <param name="connection">The connection, which is open.</param>
    /// <param name="process">What <c>pg_backend_pid()</c> said.</param>
    public static void Learn(NpgsqlConnection connection, int process)
    {
        var key = KeyOf(connection);
        if (connection.ProcessID != process)
        {
            Known.TryRemove(key, out _);
            return;
        }
        if (Known.TryAdd(key, true) && Known.Count > Most)
        {
            Known.Clear();
        }
    }

    private static (string, int) KeyOf(NpgsqlConnection connection) => (connection.DataSource, connection.ProcessID);
}
