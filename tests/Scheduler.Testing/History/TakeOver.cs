using Scheduler.Runs;

namespace Scheduler.Testing.History;

/// <summary>A run whose body was cut off by the end of its replica, and whose next body another replica began.</summary>
/// <param name="Occurrence">What the run stands for.</param>
/// <param name="Killed">The replica under which it was cut off.</param>
/// <param name="Waited">From when the kill was sent until the next body began; where another body of the job came in between, from its
/// end: two do not run under one key.</param>
/// <param name="CameAfterAnother">Whether another body of the job came in between.</param>
public sealed record TakeOver(Occurrence Occurrence, string Killed, TimeSpan Waited, bool CameAfterAnother)
{
    /// <summary>Finds all of a history. Pure.</summary>
    public static IReadOnlyList<TakeOver> Of(RunHistory history)
    {
        var attempts = Attempt.Of(history);
        var found = new List<TakeOver>();
        foreach (var job in attempts.GroupBy(a => a.Occurrence.Job, StringComparer.Ordinal))
        {
            foreach (var run in job.GroupBy(a => a.Occurrence))
            {
                Attempt[] ordered = [.. run.OrderBy(a => a.Number)];
                found.AddRange(
                    ordered.Zip(ordered.Skip(1)).Select(pair => Of(history, [.. job], pair.First, pair.Second)).OfType<TakeOver>()
                );
            }
        }
        return found;
    }

    private static TakeOver? Of(RunHistory history, Attempt[] sameJob, Attempt cut, Attempt next)
    {
        var kills = history.Faults.Where(f => f.Kind == FaultKind.Kill && f.From <= next.Begin).ToList();
        if (cut.HasEnded || kills.FirstOrDefault(k => k.Hits(cut.Replica) && k.From >= cut.Begin) is not { } kill)
        {
            return null;
        }
        // A replica that was killed between its claim and its body took over, too.
        var since = (next.Number == cut.Number + 1 ? kill : kills.MaxBy(k => k.From)!).SentAt;
        var between = sameJob
            .Where(a => a != cut && a != next && a.Begin > kill.From && a.Begin < next.Begin)
            .Max(a => (TimeSpan?)a.LastSeen);
        return new TakeOver(cut.Occurrence, cut.Replica, next.Begin - (between > since ? between.Value : since), between is not null);
    }
}
