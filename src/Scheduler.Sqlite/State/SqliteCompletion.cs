using Dapper;
using Microsoft.Data.Sqlite;
using Scheduler.Runs;

namespace Scheduler.Sqlite.State;

/// <summary>The transaction of a completion. Stateless and thread-safe.</summary>
internal static class SqliteCompletion
{
    private const string IsRecorded = """
        SELECT count(*) FROM run_attempts
        WHERE group_name = @group AND run_id = @id AND attempt = @attempt AND token = @token AND outcome = @outcome
        """;

    private const string EndRun = """
        UPDATE runs SET state = @state, failures = failures + @failures, finished_at = @now, next_attempt_at = @next, error = @error
        WHERE group_name = @group AND id = @id AND attempt = @attempt AND token = @token AND state = 'running'
        """;

    private const string EndAttempt = """
        UPDATE run_attempts SET ended_at = @now, outcome = @outcome
        WHERE group_name = @group AND run_id = @id AND attempt = @attempt AND token = @token
        """;

    public static CompletionResult Run(SqliteConnection connection, string group, Completion completion)
    {
        var (state, failures) = LedgerRules.Effect(completion);
        var values = new
        {
            group,
            id = completion.RunId,
            attempt = completion.Attempt,
            token = completion.Token.Value,
            outcome = Times.Of(completion.Outcome),
            state = Times.Of(state),
            failures,
            now = Times.Of(completion.Now),
            next = LedgerRules.NextAttempt(completion) is { } next ? Times.Of(next) : (long?)null,
            error = LedgerRules.ErrorOf(completion),
        };
        if (connection.Execute(EndRun, values) > 0)
        {
            connection.Execute(EndAttempt, values);
            return CompletionResult.Accepted;
        }
        // An earlier call recorded it and its answer was lost; also when the next attempt has begun since.
        return connection.ExecuteScalar<long>(IsRecorded, values) > 0 ? CompletionResult.Accepted : CompletionResult.Refused;
    }
}
