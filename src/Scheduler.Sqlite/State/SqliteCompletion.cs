using Dapper;
using Microsoft.Data.Sqlite;
using Scheduler.Runs;

namespace Scheduler.Sqlite.State;

/// <summary>The transaction of a completion. Stateless and thread-safe.</summary>
internal static class SqliteCompletion
{
    private const int LongestError = 4_000;

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
        var (state, failures) = completion.Outcome switch
        {
            RunOutcome.Succeeded => (RunState.Succeeded, 0),
            RunOutcome.Failed => (RunState.Failed, 1),
            RunOutcome.FailedWillRetry => (RunState.Waiting, 1),
            RunOutcome.Interrupted => (RunState.Interrupted, 0),
            _ => throw new ArgumentOutOfRangeException(nameof(completion), completion.Outcome, "There is no such outcome."),
        };
        var values = new
        {
            group,
            id = completion.RunId,
            attempt = completion.Attempt,
            token = completion.Token.Value,
            outcome = Times.Of(completion.Outcome),
            state = Times.Of(state),
            failures,
            started = completion.StartedAt is { } began ? Times.Of(began) : (long?)null,
            now = Times.Of(completion.Now),
            next = completion.Outcome == RunOutcome.FailedWillRetry ? Times.Of(completion.NextAttemptAt!.Value) : (long?)null,
            error = completion.Outcome == RunOutcome.Succeeded ? null : Cut(completion.Error),
        };
        if (connection.Execute(EndRun, values) > 0)
        {
            connection.Execute(EndAttempt, values);
            return CompletionResult.Accepted;
        }
        // An earlier call recorded it and its answer was lost; also when the next attempt has begun since.
        return connection.ExecuteScalar<long>(IsRecorded, values) > 0 ? CompletionResult.Accepted : CompletionResult.Refused;
    }

    private static string? Cut(string? error)
    {
        if (error is null || error.Length <= LongestError)
        {
            return error;
        }
        // Not between the halves of a surrogate pair.
        return error[..(char.IsHighSurrogate(error[LongestError - 1]) ? LongestError - 1 : LongestError)];
    }
}
