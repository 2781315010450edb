using Dapper;
using Scheduler.Runs;
using Scheduler.Sqlite;
using Scheduler.Sqlite.Fencing;

namespace Payments.Jobs.Demo;

/// <summary>The fenced effect of <see cref="Tick"/>: one row per attempt that was allowed to write.</summary>
internal static class TickEntries
{
    private const string Resource = "entries";

    private const string Create = """
        CREATE TABLE IF NOT EXISTS entries (
            occurrence TEXT NOT NULL, attempt INTEGER NOT NULL, token INTEGER NOT NULL, replica TEXT NOT NULL
        )
        """;

    private const string Insert =
        "INSERT INTO entries (occurrence, attempt, token, replica) VALUES (@Occurrence, @Attempt, @Token, @Replica)";

    /// <summary>Writes a run's row.</summary>
    /// <exception cref="Scheduler.Locking.StaleLeaseException">A newer token has written.</exception>
    public static async ValueTask WriteAsync(string path, IRun run, CancellationToken cancellationToken)
    {
        await using var database = SqliteDatabase.Create($"Data Source={path}");
        await SqliteFence.RunAsync(
            database,
            Resource,
            run.LockKey,
            run.Token,
            async (connection, transaction, cancel) =>
            {
                await connection.ExecuteAsync(new CommandDefinition(Create, transaction: transaction, cancellationToken: cancel));
                var row = new
                {
                    Occurrence = run.Occurrence.ToString(),
                    run.Attempt,
                    Token = run.Token.Value,
                    run.Replica,
                };
                return await connection.ExecuteAsync(new CommandDefinition(Insert, row, transaction, cancellationToken: cancel));
            },
            cancellationToken
        );
    }
}
