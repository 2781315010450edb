using System.Text.Json;
using Scheduler.Locking;
using Scheduler.Runs;

namespace Scheduler.Postgres.State;

/// <summary>What a function of the schema answered to a claim. Immutable.</summary>
/// <param name="Id">The run's id, where it is new.</param>
/// <param name="Json">What it says; <see langword="null"/> when the run is new and as asked for.</param>
internal readonly record struct ClaimAnswer(Guid Id, string? Json)
{
    /// <summary>The result of a claim.</summary>
    /// <exception cref="ArgumentException">The run belongs to another lock key.</exception>
    /// <exception cref="InvalidOperationException">Another lock key protects the fence.</exception>
    public ClaimResult ToResult(ClaimRequest request)
    {
        if (Json is null)
        {
            return new ClaimResult.Claimed(LedgerRules.FirstAttempt(Id.ToString("N"), request));
        }
        using var document = JsonDocument.Parse(Json);
        var answer = document.RootElement;
        return answer.GetProperty("answer").GetString() switch
        {
            "claimed" => new ClaimResult.Claimed(Run(answer)),
            "recorded" => new ClaimResult.Recorded(Run(answer)),
            "closed" => new ClaimResult.Closed(Run(answer)),
            "stale" => new ClaimResult.Stale(new FencingToken(answer.GetProperty("newest").GetInt64())),
            "unknown" => new ClaimResult.Unknown(),
            "other_key" => throw new ArgumentException(
                $"The run '{request.RunId}' is protected by the lock key '{HeldBy(answer)}', not by '{request.LockKey}': hold that one to "
                    + "claim it.",
                nameof(request)
            ),
            "fenced" => throw new InvalidOperationException(
                $"The resource '{request.LockKey}' is fenced by the lock key '{HeldBy(answer)}', not by '{request.LockKey}': tokens of "
                    + "different keys cannot be compared. Use one lock key for all work on the resource, or another resource name."
            ),
            var other => throw new InvalidOperationException($"The schema answered a claim with '{other}'."),
        };
    }

    private static string? HeldBy(JsonElement answer) => answer.GetProperty("held_by").GetString();

    private static RunRecord Run(JsonElement answer)
    {
        var run = answer.GetProperty("run");
        return new RunRecord
        {
            Id = run.GetProperty("id").GetGuid().ToString("N"),
            Job = Text(run, "job")!,
            Trigger = Text(run, "trigger_name")!,
            IsScheduled = Text(run, "kind") == RunReader.Scheduled,
            ScheduledAt = Time(run, "scheduled_at")!.Value,
            LockKey = LockKey.From(Text(run, "lock_key")!),
            Data = Text(run, "data"),
            State = RunReader.StateOf(Text(run, "state")!),
            Attempt = run.GetProperty("attempt").GetInt32(),
            Failures = run.GetProperty("failures").GetInt32(),
            Crashes = run.GetProperty("crashes").GetInt32(),
            Token = new FencingToken(run.GetProperty("token").GetInt64()),
            Replica = Text(run, "replica"),
            StartedAt = Time(run, "started_at"),
            FinishedAt = Time(run, "finished_at"),
            NextAttemptAt = Time(run, "next_attempt_at"),
            Error = Text(run, "error"),
        };
    }

    private static string? Text(JsonElement run, string column) => run.GetProperty(column).GetString();

    private static DateTimeOffset? Time(JsonElement run, string column) =>
        run.GetProperty(column) is { ValueKind: not JsonValueKind.Null } value ? value.GetDateTimeOffset().ToUniversalTime() : null;
}
