using Scheduler.Runs;

namespace Scheduler.Testing.History;

/// <summary>A span in which a body acted.</summary>
/// <param name="From">Its begin.</param>
/// <param name="Until">Its end.</param>
/// <param name="AfterThaw">Whether it is what followed a freeze, before anybody could tell the body.</param>
internal readonly record struct Acting(TimeSpan From, TimeSpan Until, bool AfterThaw);

/// <summary>One body, put together from its lines and from what was done to its replica.</summary>
internal sealed record Attempt(Occurrence Occurrence, int Number, long Token, string Replica, TimeSpan Begin)
{
    /// <summary>Whether it ended by itself.</summary>
    public bool IsDone { get; private init; }

    /// <summary>Whether it wrote that it ended, in whatever way.</summary>
    public bool HasEnded { get; private init; }

    /// <summary>When its token fired, if it went on after that.</summary>
    public TimeSpan? ToldAt { get; private init; }

    /// <summary>When it ended or was killed; <see langword="null"/> when nobody knows an end.</summary>
    public TimeSpan? End { get; private init; }

    /// <summary>The latest instant at which it is known to have run.</summary>
    public TimeSpan LastSeen => End ?? ToldAt ?? Begin;

    public static IReadOnlyList<Attempt> Of(RunHistory history) =>
        [
            .. history
                .Bodies.GroupBy(b => new Attempt(b.Occurrence, b.Attempt, b.Token, b.Replica, b.Begin))
                .Select(lines => Of(lines.Key, [.. lines], history.Faults)),
        ];

    private static Attempt Of(Attempt attempt, BodyRecord[] lines, IReadOnlyList<Fault> faults)
    {
        // A stop that outlasts the patience with a body ends the process under it, as a kill does.
        var gone = faults
            .Where(f => f.Kind != FaultKind.Freeze && f.Hits(attempt.Replica))
            .Select(f => f.Kind == FaultKind.Kill ? f.From : f.Until)
            .Where(at => at >= attempt.Begin)
            .Min();
        var ended = lines.FirstOrDefault(l => l.Phase is BodyPhase.Done or BodyPhase.Cancelled or BodyPhase.Refused)?.End;
        return attempt with
        {
            HasEnded = ended is not null,
            IsDone = lines.Any(l => l.Phase == BodyPhase.Done),
            ToldAt = lines.FirstOrDefault(l => l.Phase == BodyPhase.Told)?.End,
            End = ended ?? gone,
        };
    }

    /// <summary>When it acted: until its end or until it was told to stop, without the time in which its process was frozen.</summary>
    public IEnumerable<Acting> ActsIn(RunHistory history)
    {
        var until = ToldAt is { } told && (End is null || told < End) ? told : LastSeen;
        var from = Begin;
        var afterThaw = false;
        foreach (var freeze in history.Faults.Where(f => f.Kind == FaultKind.Freeze && f.Hits(Replica)).OrderBy(f => f.From))
        {
            if (freeze.Until <= from || freeze.From >= until)
            {
                continue;
            }
            if (freeze.From > from)
            {
                yield return new Acting(from, freeze.From, afterThaw);
            }
            from = freeze.Until ?? until;
            afterThaw = true;
        }
        if (until >= from)
        {
            yield return new Acting(from, until, afterThaw);
        }
    }

    public override string ToString() => $"{Occurrence} attempt {Number} under {Token} on {Replica}";
}
