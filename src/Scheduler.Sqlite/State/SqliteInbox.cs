using Dapper;
using Microsoft.Data.Sqlite;
using Scheduler.Inbox;
using Scheduler.Runs;

namespace Scheduler.Sqlite.State;

/// <summary>The inbox on SQLite, by the wall clock of the one host. Thread-safe.</summary>
internal sealed class SqliteInbox(StateDatabase database, string group, TimeProvider time) : IInbox
{
    private const string Finish = """
        UPDATE inbox SET state = @state, due_at = @dueAt, finished_at = @finishedAt, error = iif(@state = 'processing', error, @error),
          counted = counted - iif(@counts, 0, 1)
        WHERE group_name = @group AND id = @id AND attempts = @attempt AND state = 'processing'
        """;

    private const string Replay = """
        UPDATE inbox SET state = 'received', due_at = @now, counted = 0
        WHERE group_name = @group AND id = @id AND state IN ('failed', 'dead')
        """;

    // As an event of its own it has effects of its own.
    private const string Accept = """
        UPDATE inbox SET state = 'received', due_at = @now, dedupe_key = dedupe_key || '~' || id
        WHERE group_name = @group AND id = @id AND state = 'conflict'
        """;

    private const string KeepFirst = """
        UPDATE inbox SET state = 'ignored', finished_at = @now WHERE group_name = @group AND id = @id AND state = 'conflict'
        """;

    // One transaction for all, so that all are known at once.
    public async ValueTask<IReadOnlyList<InboxAnswer>> AddAsync(
        IReadOnlyList<InboxArrival> arrivals,
        Action<int, InboxAnswer>? answered,
        CancellationToken cancellationToken
    )
    {
        InboxRules.Check(arrivals);
        try
        {
            return await database.WriteAsync(
                connection => SqliteInboxAdd.Run(connection, group, arrivals, time.GetUtcNow()),
                cancellationToken
            );
        }
        catch (StateUnavailableException problem)
        {
            throw StateProblem.OfRows(database.Path, problem);
        }
    }

    public ValueTask<IReadOnlyList<InboxClaim>> ClaimAsync(InboxClaimRequest request, CancellationToken cancellationToken) =>
        InboxRules.ClaimAsync(
            request,
            (limit, width) =>
                database.WriteAsync(
                    connection => SqliteInboxClaim.Look(connection, group, request, limit, width, time.GetUtcNow()),
                    cancellationToken
                )
        );

    public ValueTask<IReadOnlyList<bool>> FinishAsync(IReadOnlyList<InboxEnd> ends, CancellationToken cancellationToken)
    {
        InboxRules.Check(ends);
        return database.WriteAsync<IReadOnlyList<bool>>(
            connection =>
            {
                var now = time.GetUtcNow();
                return [.. ends.Select(end => connection.Execute(Finish, Values(end, now)) > 0)];
            },
            cancellationToken
        );
    }

    public ValueTask<InboxChange> ReplayAsync(string id, CancellationToken cancellationToken) => ChangeAsync(Replay, id, cancellationToken);

    public ValueTask<InboxChange> ResolveAsync(string id, bool accept, CancellationToken cancellationToken) =>
        ChangeAsync(accept ? Accept : KeepFirst, id, cancellationToken);

    public ValueTask<InboxEvent?> FindAsync(string id, CancellationToken cancellationToken) =>
        database.ReadAsync(connection => Find(connection, id), cancellationToken);

    public ValueTask<IReadOnlyList<InboxEvent>> ListAsync(
        string? source,
        InboxState? state,
        int limit,
        long? before,
        CancellationToken cancellationToken
    )
    {
        Runs.LedgerRules.CheckLimit(limit, 1_000);
        var sql = $"""
            SELECT {InboxRow.Columns} FROM inbox WHERE group_name = @group AND number < @before
              {(state is null ? "" : "AND state = @state")} {(source is null ? "" : "AND source = @source")}
            ORDER BY number DESC LIMIT @limit
            """;
        return database.ReadAsync<IReadOnlyList<InboxEvent>>(
            connection =>
                [
                    .. connection
                        .Query<InboxRow>(
                            sql,
                            new
                            {
                                group,
                                source,
                                state = state is { } s ? InboxRules.NameOf(s) : null,
                                before = before ?? long.MaxValue,
                                limit,
                            }
                        )
                        .Select(row => row.ToRecord()),
                ],
            cancellationToken
        );
    }

    private ValueTask<InboxChange> ChangeAsync(string sql, string id, CancellationToken cancellationToken) =>
        database.WriteAsync(
            connection =>
            {
                var changed = connection.Execute(
                    sql,
                    new
                    {
                        group,
                        id,
                        now = Times.Of(time.GetUtcNow()),
                    }
                );
                return new InboxChange(Find(connection, id), changed > 0);
            },
            cancellationToken
        );

    private InboxEvent? Find(SqliteConnection connection, string id) =>
        connection
            .QuerySingleOrDefault<InboxRow?>(
                $"SELECT {InboxRow.Columns} FROM inbox WHERE group_name = @group AND id = @id",
                new { group, id }
            )
            ?.ToRecord();

    private object Values(InboxEnd end, DateTimeOffset now) =>
        new
        {
            group,
            id = end.Id,
            attempt = end.Attempt,
            state = InboxRules.NameOf(end.State),
            dueAt = end.State is InboxState.Failed or InboxState.Received or InboxState.Processing
                ? Times.Of(now + end.After)
                : (long?)null,
            finishedAt = end.State == InboxState.Done ? Times.Of(now) : (long?)null,
            error = end.State == InboxState.Done ? null : InboxRules.ErrorOf(end.Error),
            counts = end.Counts,
        };
}
