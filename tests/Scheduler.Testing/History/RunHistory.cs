namespace Scheduler.Testing.History;

/// <summary>What must have happened to one trigger in the observed window, by its schedule alone.</summary>
/// <param name="Job">The job; its lock key is its own.</param>
/// <param name="Trigger">The trigger.</param>
/// <param name="Due">Every due time in the window, in order.</param>
/// <param name="MayOverlap">Whether the body takes longer than the period, so that due times covered by a body are overlapped.</param>
public sealed record ExpectedOccurrences(string Job, string Trigger, IReadOnlyList<DateTimeOffset> Due, bool MayOverlap = false)
{
    /// <summary>The due times of an interval (or of the cron expression that means the same) on the grid that begins at 1970-01-01
    /// UTC.</summary>
    /// <param name="job">The job.</param>
    /// <param name="trigger">The trigger.</param>
    /// <param name="period">The interval.</param>
    /// <param name="from">The first instant of the window.</param>
    /// <param name="until">The last instant of the window.</param>
    /// <param name="mayOverlap">Whether the body takes longer than the period.</param>
    /// <param name="offset">How far the grid is shifted.</param>
    public static ExpectedOccurrences Every(
        string job,
        string trigger,
        TimeSpan period,
        DateTimeOffset from,
        DateTimeOffset until,
        bool mayOverlap = false,
        TimeSpan offset = default
    )
    {
        var origin = DateTimeOffset.UnixEpoch + offset;
        var first = ((from - origin).Ticks + period.Ticks - 1) / period.Ticks * period.Ticks;
        var due = new List<DateTimeOffset>();
        for (var at = origin.AddTicks(first); at <= until; at += period)
        {
            due.Add(at);
        }
        return new ExpectedOccurrences(job, trigger, due, mayOverlap);
    }
}

/// <summary>What a test can do to a replica.</summary>
public enum FaultKind
{
    /// <summary>Its process was killed.</summary>
    Kill = 0,

    /// <summary>Its process stood still for a while.</summary>
    Freeze,

    /// <summary>It was asked to stop.</summary>
    Stop,
}

/// <summary>What a test did to a replica, by the host's boot clock.</summary>
/// <param name="Replica">The replica's name, the part of its id before the random one.</param>
/// <param name="Kind">What it was.</param>
/// <param name="From">When it began.</param>
/// <param name="Until">When the process was thawed or gone; <see langword="null"/> after a kill.</param>
public sealed record Fault(string Replica, FaultKind Kind, TimeSpan From, TimeSpan? Until = null)
{
    /// <summary>When a kill was sent; its process was gone at <see cref="From"/>.</summary>
    public TimeSpan SentAt { get; init; } = From;

    /// <summary>Whether a replica id is one of this name.</summary>
    public bool Hits(string replicaId) =>
        replicaId.StartsWith(Replica, StringComparison.Ordinal) && (replicaId.Length == Replica.Length || replicaId[Replica.Length] == '-');
}

/// <summary>Everything that one test run left behind, for <see cref="HistoryChecker"/> to judge.</summary>
public sealed record RunHistory
{
    /// <summary>What had to happen.</summary>
    public required IReadOnlyList<ExpectedOccurrences> Expected { get; init; }

    /// <summary>What the bodies wrote.</summary>
    public required IReadOnlyList<BodyRecord> Bodies { get; init; }

    /// <summary>What the ledger says.</summary>
    public required IReadOnlyList<RunRow> Rows { get; init; }

    /// <summary>What was done to replicas.</summary>
    public IReadOnlyList<Fault> Faults { get; init; } = [];

    /// <summary>The host's wall clock at boot clock zero, which translates between the two.</summary>
    public required DateTimeOffset BootedAt { get; init; }

    /// <summary>How far a replica's wall clock may be from the host's, with what a claim and a completion take.</summary>
    public TimeSpan ClockTolerance { get; init; } = TimeSpan.FromMilliseconds(400);

    /// <summary>How long after a thaw a frozen body may go on until its token fires: no code of ours runs before that.</summary>
    public TimeSpan NoticeBound { get; init; } = TimeSpan.FromSeconds(1);
}
