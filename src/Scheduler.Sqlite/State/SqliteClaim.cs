using Dapper;
using Microsoft.Data.Sqlite;
using Scheduler.Runs;
using Scheduler.Sqlite.Fencing;
using Scheduler.Sqlite.Files;

namespace Scheduler.Sqlite.State;

/// <summary>The transaction of a claim: raises the fence, then takes the run or says why not. Stateless and thread-safe.</summary>
internal static class SqliteClaim
{
    private const string Insert = """
        INSERT INTO runs (group_name, id, job, trigger_name, kind, scheduled_at, lock_key, data, state, attempt, token, replica, started_at,
          created_at)
        VALUES (@group, @id, @job, @trigger, 'scheduled', @scheduledAt, @lockKey, @data, 'running', 1, @token, @replica, @now, @now)
        ON CONFLICT (group_name, job, trigger_name, scheduled_at) WHERE kind = 'scheduled' DO NOTHING
        """;

    private const string InsertAttempt = """
        INSERT INTO run_attempts (group_name, run_id, attempt, token, replica, started_at)
        VALUES (@group, @id, @attempt, @token, @replica, @now)
        """;

    private const string Begin = """
        UPDATE runs SET state = 'running', attempt = @attempt, crashes = @crashes, token = @token, replica = @replica, started_at = @now,
          finished_at = NULL, next_attempt_at = NULL, error = NULL
        WHERE group_name = @group AND id = @id
        """;

    private const string Close = """
        UPDATE runs SET state = 'dead', crashes = @crashes, finished_at = @now, next_attempt_at = NULL, error = @error
        WHERE group_name = @group AND id = @id
        """;

    // What the holder said itself, before it was gone: it lost its lease, or it was stopping.
    private const string WasTold = """
        SELECT EXISTS (SELECT 1 FROM run_events WHERE group_name = @group AND run_id = @id AND attempt = @attempt AND kind = 'lost')
          OR EXISTS (SELECT 1 FROM members WHERE group_name = @group AND id = @replica AND status = 'stopping')
        """;

    public static ClaimResult Run(SqliteConnection connection, string group, ClaimRequest request)
    {
        // First of all: what follows is then read behind the fence.
        if (FenceTable.Raise(connection, transaction: null, group, request.LockKey.Value, request.LockKey, request.Token) is { } newest)
        {
            return new ClaimResult.Stale(newest);
        }
        return request.Occurrence is { } occurrence
            ? ClaimOccurrence(connection, group, request, occurrence)
            : ClaimRun(connection, group, request, request.RunId!);
    }

    private static ClaimResult ClaimOccurrence(SqliteConnection connection, string group, ClaimRequest request, Occurrence occurrence)
    {
        var id = RunQueries.NewId(request.Now);
        var inserted = connection.ExecutePrepared(
            transaction: null,
            Insert,
            ("@group", group),
            ("@id", id),
            ("@job", occurrence.Job),
            ("@trigger", occurrence.Trigger),
            ("@scheduledAt", Times.Of(occurrence.ScheduledAt)),
            ("@lockKey", request.LockKey.Value),
            ("@data", request.Data),
            ("@token", request.Token.Value),
            ("@replica", request.Replica),
            ("@now", Times.Of(request.Now))
        );
        if (inserted == 0)
        {
            var row = RunQueries.FindOccurrence(connection, group, occurrence)!;
            return IsSameClaim(row, request) ? new ClaimResult.Claimed(row.ToRecord()) : new ClaimResult.Recorded(row.ToRecord());
        }
        BeginAttempt(connection, group, id, attempt: 1, request);
        return new ClaimResult.Claimed(LedgerRules.FirstAttempt(id, request));
    }

    private static void BeginAttempt(SqliteConnection connection, string group, string id, long attempt, ClaimRequest request) =>
        connection.ExecutePrepared(
            transaction: null,
            InsertAttempt,
            ("@group", group),
            ("@id", id),
            ("@attempt", attempt),
            ("@token", request.Token.Value),
            ("@replica", request.Replica),
            ("@now", Times.Of(request.Now))
        );

    private static ClaimResult ClaimRun(SqliteConnection connection, string group, ClaimRequest request, string id)
    {
        if (RunQueries.Find(connection, group, id) is not { } row)
        {
            return new ClaimResult.Unknown();
        }
        if (row.LockKey != request.LockKey.Value)
        {
            throw new ArgumentException(
                $"The run '{id}' is protected by the lock key '{row.LockKey}', not by '{request.LockKey}': hold that one to claim it.",
                nameof(request)
            );
        }
        if (IsSameClaim(row, request))
        {
            return new ClaimResult.Claimed(row.ToRecord());
        }
        if (!IsClaimable(row, request))
        {
            return new ClaimResult.Recorded(row.ToRecord());
        }
        var crashed =
            row.StateValue == RunState.Running
            && !connection.ExecuteScalar<bool>(
                WasTold,
                new
                {
                    group,
                    id,
                    attempt = row.Attempt,
                    replica = row.Replica,
                }
            );
        var values = new
        {
            group,
            id,
            attempt = row.Attempt + 1,
            crashes = row.Crashes + (crashed ? 1 : 0),
            token = request.Token.Value,
            replica = request.Replica,
            now = Times.Of(request.Now),
            error = Verdict(row, request),
        };
        if (crashed && values.error is not null)
        {
            connection.Execute(Close, values);
            return new ClaimResult.Closed(RunQueries.Find(connection, group, id)!.ToRecord());
        }
        connection.Execute(Begin, values);
        BeginAttempt(connection, group, id, row.Attempt + 1, request);
        return new ClaimResult.Claimed(RunQueries.Find(connection, group, id)!.ToRecord());
    }

    // A claim whose answer was lost is asked for again.
    private static bool IsSameClaim(RunRow row, ClaimRequest request) =>
        row.StateValue == RunState.Running && row.Token == request.Token.Value && row.Replica == request.Replica;

    private static bool IsClaimable(RunRow row, ClaimRequest request) =>
        row.StateValue switch
        {
            RunState.Waiting => row.NextAttemptAt is not { } at || at <= Times.Of(request.Now),
            RunState.Interrupted or RunState.Orphaned => true,
            RunState.Running => row.Token < request.Token.Value,
            _ => false,
        };

    private static string? Verdict(RunRow row, ClaimRequest request)
    {
        if (request.OnCrash == OnCrash.Leave)
        {
            return $"Attempt {row.Attempt} ended with its replica '{row.Replica}', and the job is set to be left then (OnCrash.Leave).";
        }
        return row.Crashes + 1 > request.MaxCrashes
            ? $"Attempt {row.Attempt} ended with its replica '{row.Replica}': crash {row.Crashes + 1}, and {request.MaxCrashes} "
                + "are allowed "
                + "(MaxCrashes)."
            : null;
    }
}
