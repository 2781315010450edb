using System.Globalization;
using System.Text;
using Scheduler.Locking;

namespace Scheduler.Runs;

/// <summary>What every run ledger does alike, whatever keeps its rows. Stateless and thread-safe.</summary>
internal static class LedgerRules
{
    private const int MaxDataBytes = 64 * 1024;
    private const int LongestError = 4_000;
    private const int LongestDetail = 1_000;
    private const int LongestLog = (Telemetry.KeptLog.MaxLines + 1) * (Telemetry.KeptLog.LongestLine + 1);

    /// <summary>The error of a group whose lock store was replaced as often as tokens can tell.</summary>
    public static StateUnavailableException GenerationsUsedUp(string place) =>
        new(
            $"The lock store of this group was replaced {FencingToken.MaxGeneration} times in {place}, and fencing tokens tell no more "
                + "generations apart. Go on with another Scheduler:Group, after its resources have forgotten the former tokens.",
            permanent: true
        );

    /// <summary>A new id that sorts by time (RFC 9562, version 7).</summary>
    public static Guid NewId(DateTimeOffset now) => Guid.CreateVersion7(now);

    /// <summary>
    /// The row of a new run's first attempt, as it was written: no database need send it back. Times have whole milliseconds, as all
    /// ledgers keep them.
    /// </summary>
    public static RunRecord FirstAttempt(string id, ClaimRequest request)
    {
        var occurrence = request.Occurrence!.Value;
        return new RunRecord
        {
            Id = id,
            Job = occurrence.Job,
            Trigger = occurrence.Trigger,
            IsScheduled = true,
            ScheduledAt = Whole(occurrence.ScheduledAt),
            LockKey = request.LockKey,
            Data = request.Data,
            State = RunState.Running,
            Attempt = 1,
            Token = request.Token,
            Replica = request.Replica,
            StartedAt = Whole(request.Now),
        };
    }

    /// <summary>Refuses a claim that no ledger can record.</summary>
    public static void Check(ClaimRequest request)
    {
        ArgumentNullException.ThrowIfNull(request);
        if (request.Occurrence is null == request.RunId is null)
        {
            throw new ArgumentException("A claim names either an occurrence or a run.", nameof(request));
        }
        ArgumentException.ThrowIfNullOrEmpty(request.LockKey.Value, nameof(request));
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(request.Token.Value, nameof(request));
        CheckData(request.Data);
    }

    /// <summary>Refuses a completion that no ledger can record.</summary>
    public static void Check(Completion completion)
    {
        ArgumentNullException.ThrowIfNull(completion);
        if (completion.Outcome == RunOutcome.FailedWillRetry && completion.NextAttemptAt is null)
        {
            throw new ArgumentException("A failure with another attempt needs the time of it (NextAttemptAt).", nameof(completion));
        }
    }

    /// <summary>Refuses a request that no ledger can record.</summary>
    public static void Check(RunRequest request)
    {
        ArgumentNullException.ThrowIfNull(request);
        ArgumentException.ThrowIfNullOrEmpty(request.LockKey.Value, nameof(request));
        CheckData(request.Data);
    }

    /// <summary>What a request gets to know of an earlier one with its key. A build that did not keep what a request said has none:
    /// then the key alone counts.</summary>
    /// <param name="earlier">The run of the earlier one.</param>
    /// <param name="said">What that one said.</param>
    /// <param name="says">What this one says.</param>
    public static RequestResult Repeated(RunRecord earlier, string? said, string? says) =>
        said is null || said == says ? new RequestResult.Recorded(earlier) : new RequestResult.KeyReused(earlier);

    /// <summary>Refuses a number of rows outside of 1 to <paramref name="most"/>.</summary>
    public static void CheckLimit(int limit, int most)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(limit, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(limit, most);
    }

    /// <summary>Refuses more than <paramref name="most"/> items.</summary>
    public static void CheckBatch<T>(IReadOnlyList<T> items, int most)
    {
        ArgumentNullException.ThrowIfNull(items);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(items.Count, most, nameof(items));
    }

    /// <summary>What a completion makes of its run: the state, and by how much it raises the count of failures.</summary>
    public static (RunState State, int Failures) Effect(Completion completion) =>
        completion.Outcome switch
        {
            RunOutcome.Succeeded => (RunState.Succeeded, 0),
            RunOutcome.Failed => (completion.IsLastAttempt ? RunState.Dead : RunState.Failed, 1),
            RunOutcome.FailedWillRetry => (RunState.Waiting, 1),
            RunOutcome.Interrupted => (RunState.Interrupted, 0),
            _ => throw new ArgumentOutOfRangeException(nameof(completion), completion.Outcome, "There is no such outcome."),
        };

    /// <summary>When the next attempt may begin after this completion, if one follows.</summary>
    public static DateTimeOffset? NextAttempt(Completion completion) =>
        completion.Outcome == RunOutcome.FailedWillRetry ? completion.NextAttemptAt : null;

    /// <summary>The error to keep with a completion: none after a success, at most 4,000 characters.</summary>
    public static string? ErrorOf(Completion completion) =>
        completion.Outcome == RunOutcome.Succeeded ? null : Cut(completion.Error, LongestError);

    /// <summary>The detail to keep with an event: at most 1,000 characters.</summary>
    public static string? DetailOf(RunEvent happened) =>
        Cut(happened.Detail, happened.Kind == RunEventKind.Log ? LongestLog : LongestDetail);

    /// <summary>The begin of a text, not ended between the halves of a surrogate pair.</summary>
    public static string? Cut(string? text, int longest) =>
        text is null || text.Length <= longest ? text : text[..(char.IsHighSurrogate(text[longest - 1]) ? longest - 1 : longest)];

    /// <summary>Refuses events that no State keeps.</summary>
    public static void Check(IReadOnlyList<RunEvent> events)
    {
        CheckBatch(events, IRunEvents.MaxBatch);
        if (
            events.FirstOrDefault(e =>
                e.Kind is not (RunEventKind.Lost or RunEventKind.Refused or RunEventKind.Closed or RunEventKind.Log)
            ) is
            { } told
        )
        {
            throw new ArgumentException(
                $"An event '{told.Kind}' is told by the attempts of run '{told.RunId}'; it is not kept.",
                nameof(events)
            );
        }
    }

    /// <summary>A time in Unix milliseconds, which records have whole, not earlier than it.</summary>
    public static long WholeUp(DateTimeOffset time)
    {
        var whole = time.ToUnixTimeMilliseconds();
        return DateTimeOffset.FromUnixTimeMilliseconds(whole) < time ? whole + 1 : whole;
    }

    /// <summary>Reads Unix milliseconds that stand for a time, from a cursor.</summary>
    public static bool TryReadTime(ReadOnlySpan<char> text, out long milliseconds) =>
        long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out milliseconds)
        && milliseconds >= DateTimeOffset.MinValue.ToUnixTimeMilliseconds()
        && milliseconds <= DateTimeOffset.MaxValue.ToUnixTimeMilliseconds();

    private static DateTimeOffset Whole(DateTimeOffset time) => DateTimeOffset.FromUnixTimeMilliseconds(time.ToUnixTimeMilliseconds());

    /// <summary>Refuses job data that no ledger can keep.</summary>
    public static void CheckData(string? data)
    {
        if (data is not null && Encoding.UTF8.GetByteCount(data) is > MaxDataBytes and var bytes)
        {
            throw new ArgumentException(
                $"The job data has {bytes} bytes; a run keeps at most {MaxDataBytes}. Keep large data elsewhere and name its place.",
                nameof(data)
            );
        }
    }
}
