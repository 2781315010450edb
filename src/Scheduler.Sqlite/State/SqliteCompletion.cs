using Dapper;
using Microsoft.Data.Sqlite;
using Scheduler.Runs;
using Scheduler.Sqlite.Files;

namespace Scheduler.Sqlite.State;

/// <summary>The transaction of a completion. Stateless and thread-safe.</summary>
internal static class SqliteCompletion
{
    private const string IsRecorded = """
        SELECT count(*) FROM run_attempts
        WHERE group_name = @group AND run_id = @id AND attempt = @attempt AND token = @token AND outcome = @outcome
        """;

    private const string EndRun = """
        UPDATE runs SET state = @state, failures = failures + @failures, started_at = coalesce(@started, started_at), finished_at = @now,
          next_attempt_at = @next, error = @error
        WHERE group_name = @group AND id = @id AND attempt = @attempt AND token = @token AND state = 'running'
        """;

    private const string EndAttempt = """
        UPDATE run_attempts SET started_at = coalesce(@started, started_at), ended_at = @now, outcome = @outcome
        WHERE group_name = @group AND run_id = @id AND attempt = @attempt AND token = @token
        """;

    public static CompletionResult Run(SqliteConnection connection, string group, Completion completion)
    {
        var (state, failures) = LedgerRules.Effect(completion);
        var id = completion.RunId;
        var attempt = (long)completion.Attempt;
        var token = completion.Token.Value;
        var outcome = Times.Of(completion.Outcome);
        object? started = completion.StartedAt is { } began ? Times.Of(began) : null;
        var now = Times.Of(completion.Now);
        var ended = connection.ExecutePrepared(
            transaction: null,
            EndRun,
            ("@group", group),
            ("@id", id),
            ("@attempt", attempt),
            ("@token", token),
            ("@state", Times.Of(state)),
            ("@failures", failures),
            ("@started", started),
            ("@now", now),
            ("@next", LedgerRules.NextAttempt(completion) is { } next ? Times.Of(next) : null),
            ("@error", LedgerRules.ErrorOf(completion))
        );
        if (ended > 0)
        {
            connection.ExecutePrepared(
                transaction: null,
                EndAttempt,
                ("@group", group),
                ("@id", id),
                ("@attempt", attempt),
                ("@token", token),
                ("@started", started),
                ("@now", now),
                ("@outcome", outcome)
            );
            return CompletionResult.Accepted;
        }
        // An earlier call recorded it and its answer was lost; also when the next attempt has begun since.
        var values = new
        {
            group,
            id,
            attempt,
            token,
            outcome,
        };
        return connection.ExecuteScalar<long>(IsRecorded, values) > 0 ? CompletionResult.Accepted : CompletionResult.Refused;
    }
}
