using Npgsql;
using Scheduler.Runs;

namespace Scheduler.Postgres.State;

// What keeps the inbox small.
internal sealed partial class PostgresInbox
{
    // So many rows are changed in one statement: an insert that meets one of them waits for it.
    private const int AtOnce = 200;

    private readonly InboxUpkeepQueries _upkeep = new(database.Place);

    public ValueTask<int> DropBodiesAsync(DateTimeOffset finishedBefore, int limit, CancellationToken cancellationToken) =>
        StepAsync((batch, most) => _upkeep.DropBodies(batch, group, finishedBefore, most), limit, cancellationToken);

    public ValueTask<int> DropDeadBodiesAsync(DateTimeOffset receivedBefore, int limit, CancellationToken cancellationToken) =>
        StepAsync((batch, most) => _upkeep.DropDeadBodies(batch, group, receivedBefore, most), limit, cancellationToken);

    public ValueTask<int> DeleteAsync(string source, DateTimeOffset finishedBefore, int limit, CancellationToken cancellationToken) =>
        StepAsync((batch, most) => _upkeep.Delete(batch, group, source, finishedBefore, most), limit, cancellationToken);

    public ValueTask<int> DropQuarantinedAsync(string source, int keep, int limit, CancellationToken cancellationToken) =>
        StepAsync((batch, most) => _upkeep.DropQuarantined(batch, group, source, keep, most), limit, cancellationToken);

    private async ValueTask<int> StepAsync(Action<NpgsqlBatch, int> fill, int limit, CancellationToken cancellationToken)
    {
        LedgerRules.CheckLimit(limit, 10_000);
        for (var total = 0; ; )
        {
            var most = Math.Min(AtOnce, limit - total);
            var count = await database.CallAsync(
                batch => fill(batch, most),
                static async reader =>
                {
                    await reader.ReadAsync();
                    return (int)reader.GetInt64(0);
                },
                cancellationToken
            );
            total += count;
            if (count < most || total == limit)
            {
                return total;
            }
        }
    }
}
