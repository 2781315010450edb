namespace Scheduler.Runs;

/// <summary>One scheduled time of one trigger, the same on all replicas.</summary>
/// <param name="Job">The job's name (its identity, not its class).</param>
/// <param name="Trigger">The trigger's name, unique within the job.</param>
/// <param name="ScheduledAt">The scheduled time in UTC, whole milliseconds.</param>
public readonly record struct Occurrence(string Job, string Trigger, DateTimeOffset ScheduledAt)
{
    /// <summary>How the text of every occurrence of this trigger begins.</summary>
    public string Prefix => $"{Job}/{Trigger}@";

    /// <summary>The occurrence as lock purposes and logs show it: <c>job/trigger@2026-01-31T02:00:00.000Z</c>.</summary>
    public override string ToString() => $"{Job}/{Trigger}@{ScheduledAt.UtcDateTime:yyyy-MM-dd'T'HH:mm:ss.fff'Z'}";
}
