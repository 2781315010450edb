using System.Globalization;
using Scheduler.Locking;

namespace Scheduler.Runs;

/// <summary>In which order of runs a list is read: each has an index, or a table, of its own in every ledger.</summary>
internal enum RunListSource
{
    /// <summary>All runs of the group.</summary>
    Newest = 0,

    /// <summary>The runs of a job.</summary>
    OfJob,

    /// <summary>The occurrences of a trigger of a job.</summary>
    OfTrigger,

    /// <summary>The runs that were asked for.</summary>
    Manual,

    /// <summary>The runs that are failed, or dead, or overlapped.</summary>
    Unsuccessful,

    /// <summary>The same of a job.</summary>
    UnsuccessfulOfJob,

    /// <summary>The runs that are not over.</summary>
    Open,
}

/// <summary>
/// A query for a page of runs, taken apart alike for all ledgers: where it is read, from where on, and which of its filters are left to
/// be compared row by row. Immutable and thread-safe.
/// </summary>
internal sealed record RunListing
{
    /// <summary>
    /// How many rows a page compares at most, so that no filter reads a whole history: a page that found less ends there, and its cursor
    /// says where to go on.
    /// </summary>
    public const int MostLookedAt = 5_000;

    /// <summary>Takes a query apart.</summary>
    /// <exception cref="ArgumentException">Limit or cursor is none of this list.</exception>
    public RunListing(RunQuery query)
    {
        ArgumentNullException.ThrowIfNull(query);
        LedgerRules.CheckLimit(query.Limit, 1_000);
        Query = query;
        Source = SourceOf(query);
        From = query.From is { } from ? LedgerRules.WholeUp(from) : null;
        Before = StartOf(query);
        State = Source is RunListSource.Unsuccessful or RunListSource.UnsuccessfulOfJob ? null : query.State;
        Job = Source is RunListSource.OfJob or RunListSource.OfTrigger or RunListSource.UnsuccessfulOfJob ? null : query.Job;
        Trigger = Source is RunListSource.OfTrigger or RunListSource.Manual ? null : query.Trigger;
    }

    /// <summary>What was asked for.</summary>
    public RunQuery Query { get; }

    /// <summary>Where it is read.</summary>
    public RunListSource Source { get; }

    /// <summary>The earliest scheduled time, in Unix milliseconds.</summary>
    public long? From { get; }

    /// <summary>Only rows in front of this one, by scheduled time in Unix milliseconds and id; none for the beginning of all.</summary>
    public (long At, string Id)? Before { get; }

    /// <summary>The state to compare with each row.</summary>
    public RunState? State { get; }

    /// <summary>The job to compare with each row.</summary>
    public string? Job { get; }

    /// <summary>The trigger to compare with each row.</summary>
    public string? Trigger { get; }

    /// <summary>The replica to compare with each row.</summary>
    public string? Replica => Query.Replica;

    /// <summary>The lock key to compare with each row.</summary>
    public LockKey? LockKey => Query.LockKey;

    /// <summary>Whether rows are compared one by one.</summary>
    public bool Compares => State is not null || Job is not null || Trigger is not null || Replica is not null || LockKey is not null;

    /// <summary>How many rows are read at most.</summary>
    public int Reads => Compares ? MostLookedAt : Query.Limit + 1;

    /// <summary>Makes the page.</summary>
    /// <param name="rows">What was found, one more than the limit if there is more.</param>
    /// <param name="last">The last row that was compared, where there may be more behind it.</param>
    public RunPage Page(IReadOnlyList<RunRecord> rows, (DateTimeOffset At, string Id)? last) =>
        rows.Count > Query.Limit
            ? new RunPage([.. rows.Take(Query.Limit)], Cursor(rows[Query.Limit - 1].ScheduledAt, rows[Query.Limit - 1].Id))
            : new RunPage(rows, last is { } end ? Cursor(end.At, end.Id) : null);

    private static RunListSource SourceOf(RunQuery query) =>
        query switch
        {
            { State: RunState.Failed or RunState.Dead or RunState.Overlapped, Job: not null } => RunListSource.UnsuccessfulOfJob,
            { State: RunState.Failed or RunState.Dead or RunState.Overlapped } => RunListSource.Unsuccessful,
            { State: { } state } when state.IsOpen() => RunListSource.Open,
            { Trigger: RunRecord.ManualTrigger } => RunListSource.Manual,
            { Job: not null, Trigger: not null } => RunListSource.OfTrigger,
            { Job: not null } => RunListSource.OfJob,
            _ => RunListSource.Newest,
        };

    /// <summary>A place in a list.</summary>
    internal static string Cursor(DateTimeOffset scheduledAt, string id) =>
        string.Create(CultureInfo.InvariantCulture, $"{scheduledAt.ToUnixTimeMilliseconds()}_{id}");

    // The cursor, or the end of the range where that is earlier: one bound, because a database looks for only one in an index.
    private static (long At, string Id)? StartOf(RunQuery query)
    {
        (long At, string Id)? until = query.To is { } to ? (LedgerRules.WholeUp(to), "") : null;
        if (query.Cursor is null)
        {
            return until;
        }
        var cursor = ReadCursor(query.Cursor);
        return until is { } end && end.At <= cursor.At ? end : cursor;
    }

    /// <summary>Reads a place in a list.</summary>
    /// <exception cref="ArgumentException">It is none.</exception>
    internal static (long At, string Id) ReadCursor(string cursor)
    {
        var separator = cursor.IndexOf('_', StringComparison.Ordinal);
        return separator > 0 && LedgerRules.TryReadTime(cursor.AsSpan(0, separator), out var at)
            ? (at, cursor[(separator + 1)..])
            : throw new ArgumentException("The cursor is none of this list: hand in 'next' of the page before, or none.", nameof(cursor));
    }
}
