using Dapper;
using Microsoft.Data.Sqlite;
using Scheduler.Locking;
using Scheduler.Runs;

namespace Scheduler.Sqlite.State;

/// <summary>The pair of lock store and State, on SQLite. Thread-safe.</summary>
internal sealed class SqlitePairLedger(StateDatabase database, string group, TimeProvider time) : IPairLedger
{
    private const string Others = """
        SELECT name AS Name, lock_store AS Store, @now - beat_at AS Age FROM members
        WHERE group_name = @group AND id <> @replica AND boot_id = @bootId AND lock_store <> @storeId AND beat_at > @now - @quiet
        ORDER BY beat_at DESC
        """;

    private const string Write = """
        INSERT INTO lock_store (group_name, id, first_use, generation) VALUES (@group, @storeId, @wall, @generation)
        ON CONFLICT (group_name) DO UPDATE SET id = excluded.id, generation = excluded.generation,
          first_use = CASE WHEN id = excluded.id THEN first_use ELSE excluded.first_use END
        """;

    private long Clock => (long)time.GetElapsedTime(0).TotalMilliseconds;

    public ValueTask<string> IdAsync(CancellationToken cancellationToken) =>
        database.ReadAsync(connection => connection.QuerySingle<string>("SELECT id FROM state_identity"), cancellationToken);

    public ValueTask<string?> RecallAsync(CancellationToken cancellationToken) =>
        database.ReadAsync(connection => Recall(connection, group), cancellationToken);

    public ValueTask<PairResult> PairAsync(PairRequest request, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(request);
        ArgumentException.ThrowIfNullOrEmpty(request.StoreId, nameof(request));
        return database.WriteAsync(connection => Pair(connection, request), cancellationToken);
    }

    /// <summary>The id of the lock store that a group is paired with.</summary>
    public static string? Recall(SqliteConnection connection, string group) =>
        connection.QuerySingleOrDefault<string?>("SELECT id FROM lock_store WHERE group_name = @group", new { group });

    private PairResult Pair(SqliteConnection connection, PairRequest request)
    {
        var paired = connection.QuerySingleOrDefault<PairRow?>(
            "SELECT id AS Id, generation AS Generation FROM lock_store WHERE group_name = @group",
            new { group }
        );
        if (paired?.Id != request.StoreId && OthersOf(connection, request) is { } taken)
        {
            return taken;
        }
        var former = paired is not null && paired.Id != request.StoreId ? paired.Id : null;
        var generation = Math.Max(paired?.Generation ?? 0, request.LeastGeneration);
        if (!request.IsKept)
        {
            return new PairResult.Paired((int)generation, Former: null);
        }
        generation += former is null ? 0 : 1;
        if (generation > FencingToken.MaxGeneration)
        {
            throw LedgerRules.GenerationsUsedUp(database.Path);
        }
        if (former is not null || paired is null || generation != paired.Generation)
        {
            connection.Execute(
                Write,
                new
                {
                    group,
                    storeId = request.StoreId,
                    wall = Times.Of(time.GetUtcNow()),
                    generation,
                }
            );
        }
        return new PairResult.Paired((int)generation, former);
    }

    private PairResult.Taken? OthersOf(SqliteConnection connection, PairRequest request)
    {
        var others = connection
            .Query<OtherRow>(
                Others,
                new
                {
                    group,
                    replica = request.Replica,
                    storeId = request.StoreId,
                    bootId = SqliteMemberRegistry.BootId,
                    now = Clock,
                    quiet = (long)request.QuietFor.TotalMilliseconds,
                }
            )
            .AsList();
        return others.Count == 0
            ? null
            : new PairResult.Taken(others[0].Store, others.ConvertAll(o => o.Name), TimeSpan.FromMilliseconds(Math.Max(0, others[0].Age)));
    }

    private sealed class PairRow
    {
        public string Id { get; set; } = "";
        public long Generation { get; set; }
    }

    private sealed class OtherRow
    {
        public string Name { get; set; } = "";
        public string Store { get; set; } = "";
        public long Age { get; set; }
    }
}
