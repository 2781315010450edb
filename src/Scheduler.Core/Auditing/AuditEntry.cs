namespace Scheduler.Auditing;

/// <summary>A call of somebody who would change something. Immutable.</summary>
public sealed record AuditEntry
{
    /// <summary>The entry's id; sorts by time.</summary>
    public required string Id { get; init; }

    /// <summary>When it was asked for, by the replica's wall clock.</summary>
    public required DateTimeOffset At { get; init; }

    /// <summary>Who asked, for example an address; at most 200 characters are kept.</summary>
    public required string Who { get; init; }

    /// <summary>What for, for example <c>pause</c>; at most 100 characters are kept.</summary>
    public required string Action { get; init; }

    /// <summary>On what, for example <c>job settle</c>; at most 500 characters are kept.</summary>
    public required string Target { get; init; }

    /// <summary>With what parameters; at most 2,000 characters are kept.</summary>
    public string? Parameters { get; init; }

    /// <summary>The replica that was asked.</summary>
    public required string Replica { get; init; }

    /// <summary>The status of the answer, for example 200; <see langword="null"/> when it is not known what became of the call.</summary>
    public int? Outcome { get; init; }

    /// <summary>What was done, or why it was refused; at most 2,000 characters are kept.</summary>
    public string? Detail { get; init; }
}

/// <summary>A page of the audit trail, the newest first.</summary>
/// <param name="Items">The entries.</param>
/// <param name="Next">What to hand in for the next page; <see langword="null"/> at the end.</param>
public sealed record AuditPage(IReadOnlyList<AuditEntry> Items, string? Next);
