using Npgsql;
using Scheduler.Runs;

namespace Scheduler.Postgres.State;

/// <summary>The pair of lock store and State, on PostgreSQL. Thread-safe.</summary>
internal sealed class PostgresPairLedger(StateDatabase database, string group) : IPairLedger
{
    public ValueTask<string> IdAsync(CancellationToken cancellationToken) =>
        database.CallAsync(
            batch => batch.Add($"SELECT id FROM {database.Place.Quoted}.state_identity"),
            static async reader => await reader.ReadAsync() ? reader.GetString(0) : throw new InvalidOperationException("State has no id."),
            cancellationToken
        );

    public ValueTask<string?> RecallAsync(CancellationToken cancellationToken) =>
        database.CallAsync(
            batch => batch.Add($"SELECT id FROM {database.Place.Quoted}.lock_store WHERE group_name = $1").Text(group),
            static async reader => await reader.ReadAsync() ? reader.GetString(0) : null,
            cancellationToken
        );

    public async ValueTask<PairResult> PairAsync(PairRequest request, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(request);
        ArgumentException.ThrowIfNullOrEmpty(request.StoreId, nameof(request));
        try
        {
            return await database.CallDurablyAsync(batch => Ask(batch, request), ReadAsync, cancellationToken);
        }
        catch (StateUnavailableException problem)
            when (problem.InnerException is PostgresException { SqlState: PostgresErrorCodes.CheckViolation, TableName: "lock_store" })
        {
            throw LedgerRules.GenerationsUsedUp(database.Place.Name);
        }
    }

    private void Ask(NpgsqlBatch batch, PairRequest request) =>
        batch
            .Add($"SELECT * FROM {database.Place.Quoted}.pair($1, $2, $3, $4, $5, $6)")
            .Text(group)
            .Text(request.StoreId)
            .Text(request.Replica)
            .Interval(request.QuietFor)
            .Number(request.LeastGeneration)
            .Flag(request.IsKept);

    private static async Task<PairResult> ReadAsync(NpgsqlDataReader reader)
    {
        await reader.ReadAsync();
        return await reader.IsDBNullAsync(2)
            ? new PairResult.Paired(reader.GetInt32(0), await reader.IsDBNullAsync(1) ? null : reader.GetString(1))
            : new PairResult.Taken(reader.GetString(2), reader.GetFieldValue<string[]>(3), reader.GetTimeSpan(4));
    }
}
