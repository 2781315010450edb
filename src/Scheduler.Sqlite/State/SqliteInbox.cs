using System.Data.Common;
using Dapper;
using Microsoft.Data.Sqlite;
using Scheduler.Inbox;
using Scheduler.Runs;

namespace Scheduler.Sqlite.State;

/// <summary>The inbox on SQLite, by the wall clock of the one host. Thread-safe.</summary>
internal sealed partial class SqliteInbox(StateDatabase database, string group, TimeProvider time) : IInbox
{
    private const string Finish = """
        UPDATE inbox SET state = @state, due_at = @dueAt, finished_at = @finishedAt, error = iif(@state = 'processing', error, @error),
          counted = counted - iif(@counts, 0, 1)
        WHERE group_name = @group AND id = @id AND attempts = @attempt AND state = 'processing'
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

    public ValueTask<bool> FinishWithinAsync(DbTransaction transaction, InboxEnd end, CancellationToken cancellationToken)
    {
        InboxRules.Check([end]);
        if (transaction.Connection is not SqliteConnection connection || !database.IsOn(connection))
        {
            return new(false);
        }
        return connection.Execute(Finish, Values(end, time.GetUtcNow()), transaction) > 0
            ? new(true)
            : throw new EventTakenUpException(end.Id, end.Attempt);
    }

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
