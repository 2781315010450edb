namespace Scheduler.Runs;

/// <summary>Tells what happened to a run, from its attempts and from what was kept beside them. Pure.</summary>
public static class RunStory
{
    /// <summary>Everything that is known, in order of time; at the same time in order of attempts.</summary>
    /// <param name="recorded">The run with its attempts.</param>
    /// <param name="kept">Its events of <see cref="IRunEvents"/>.</param>
    public static IReadOnlyList<RunEvent> Of(RecordedOccurrence recorded, IReadOnlyList<RunEvent> kept)
    {
        ArgumentNullException.ThrowIfNull(recorded);
        var events = new List<RunEvent>(kept);
        RunAttempt? before = null;
        foreach (var attempt in recorded.Attempts)
        {
            // An attempt that never ended, and another one after it: its replica was gone.
            events.Add(Event(attempt, before is { Outcome: null } ? RunEventKind.TakenOver : RunEventKind.Claimed, attempt.StartedAt));
            if (attempt is { Outcome: { } outcome, EndedAt: { } ended })
            {
                events.Add(
                    outcome == RunOutcome.Interrupted
                        ? Event(attempt, RunEventKind.Interrupted, ended)
                        : Event(attempt, RunEventKind.Completed, ended, Name(outcome))
                );
            }
            before = attempt;
        }
        // Stable: what the attempts say about one instant stays in its order.
        return [.. events.OrderBy(e => e.At).ThenBy(e => e.Attempt)];
    }

    /// <summary>An outcome as the history shows it, in camel case.</summary>
    internal static string Name(RunOutcome outcome)
    {
        var name = outcome.ToString();
        return char.ToLowerInvariant(name[0]) + name[1..];
    }

    private static RunEvent Event(RunAttempt attempt, RunEventKind kind, DateTimeOffset at, string? detail = null) =>
        new(attempt.RunId, kind, at, attempt.Attempt, attempt.Token, attempt.Replica, detail);
}
