using Scheduler.Bench.Harness;
using Scheduler.Locking;
using Scheduler.Runs;
using Scheduler.Testing;

namespace Scheduler.Bench.Members;

/// <summary>What the command <c>members</c> reads from the calls, the bodies and the log of a while.</summary>
internal static class MembersReadings
{
    public const string RoundTrips = "calls of lock store and State for an occurrence";
    public const string AllRoundTrips = "the same with the heartbeats and looks at the open runs of that time";
    public const string Share = "largest share / mean";

    /// <summary>How long after the due time a replica looks, by its place.</summary>
    private static readonly TimeSpan Step = TimeSpan.FromMilliseconds(50);

    private const int Launched = 3003;
    private const string RunsHere = " runs here now: ";

    // What a replica asks whether or not anything is due; its part of the idle group.
    private static readonly string[] Standing =
    [
        nameof(IMemberRegistry.HeartbeatAndListAsync),
        nameof(IRunLedger.OpenRunsAsync),
        nameof(IScheduleLedger.ContestedAsync),
        nameof(ILeaseStore.PairAsync),
    ];

    // Of the replicas that are only there in the list.
    private const string OfGhosts = nameof(IMemberRegistry.HeartbeatAsync);

    private static readonly (string Name, string Row)[] Kinds =
    [
        (nameof(ILeaseStore.AcquireAsync), "acquire"),
        (nameof(IRunLedger.ClaimAsync), "claim"),
        (nameof(IRunLedger.CompleteAsync), "complete"),
        (nameof(ILeaseStore.ReleaseAsync), "release"),
        (nameof(ILeaseStore.ReadAsync), "question whether a key is held"),
        (Crowd.StandByLook, "look of a second or third replica"),
        (Crowd.SettlingLook, "look at what was due"),
        (nameof(IScheduleLedger.SettleAsync), "settled bound"),
    ];

    private static readonly (int Place, string Name, string Why)[] Next =
    [
        (1, "second", "the replica before this one did not take it"),
        (2, "third", "the two replicas before this one did not take it"),
    ];

    /// <summary>What the rows of those that come next are meant to reach.</summary>
    public static IEnumerable<KeyValuePair<string, Goal>> NextGoals() =>
        Next.SelectMany(n =>
            new[]
            {
                KeyValuePair.Create(Max(AfterTurn(n.Name)), Goal.AtMost(Step.TotalMilliseconds)),
                KeyValuePair.Create(Max(AfterDue(n.Name)), Goal.AtMost((n.Place + 1) * Step.TotalMilliseconds)),
            }
        );

    /// <summary>What a group asks State for without anything to do.</summary>
    public static IEnumerable<Reading> StandingOf(IReadOnlyDictionary<string, long> state, double seconds) =>
        [
            new("calls of State a second", "1/s", state.Values.Sum() / seconds),
            new("of these heartbeats", "1/s", state.GetValueOrDefault(Standing[0]) / seconds),
            new("of these looks at the open runs", "1/s", state.GetValueOrDefault(Standing[1]) / seconds),
            new("of these questions for other definitions", "1/s", state.GetValueOrDefault(Standing[2]) / seconds),
            new("of these others", "1/s", state.Where(c => !Standing.Contains(c.Key)).Sum(c => c.Value) / seconds),
        ];

    /// <summary>How often lock store and State were called for an occurrence, over all replicas.</summary>
    public static IEnumerable<Reading> CallsOf(IReadOnlyDictionary<string, long> calls, int occurrences, TimeSpan time)
    {
        var all = calls.Where(c => c.Key != OfGhosts).ToDictionary(StringComparer.Ordinal);
        var work = all.Where(c => !Standing.Contains(c.Key)).ToDictionary(StringComparer.Ordinal);
        return
        [
            new(RoundTrips, "", work.Values.Sum() / (double)occurrences),
            .. Kinds.Select(k => new Reading($"of these {k.Row}", "", work.GetValueOrDefault(k.Name) / (double)occurrences)),
            new("of these others", "", work.Where(w => Kinds.All(k => k.Name != w.Key)).Sum(w => w.Value) / (double)occurrences),
            new(AllRoundTrips, "", all.Values.Sum() / (double)occurrences),
            new("besides, a second: heartbeats", "1/s", all.GetValueOrDefault(Standing[0]) / time.TotalSeconds),
            new("besides, a second: looks at the open runs", "1/s", all.GetValueOrDefault(Standing[1]) / time.TotalSeconds),
        ];
    }

    /// <summary>How the occurrences are shared, and how late they begin.</summary>
    public static IEnumerable<Reading> SharesOf(IReadOnlyCollection<CrowdBody> bodies, int replicas)
    {
        var shares = bodies.GroupBy(b => b.Replica).Select(g => g.Count()).ToList();
        return
        [
            new("occurrences", "", bodies.Count),
            new(Share, "", shares.Max() / ((double)bodies.Count / replicas)),
            new("smallest share / mean", "", (shares.Count < replicas ? 0 : shares.Min()) / ((double)bodies.Count / replicas)),
            .. Lateness("lateness", [.. bodies.Select(b => b.Late)]),
        ];
    }

    /// <summary>Who ran what the first one did not, and when.</summary>
    public static IReadOnlyList<Reading> NextOf(IReadOnlyCollection<CrowdBody> bodies, IEnumerable<LogEntry> log)
    {
        var started = log.Where(e => e.Id.Id == Launched)
            .Select(e => e.Message.Split(RunsHere))
            .GroupBy(m => m[0], StringComparer.Ordinal)
            .ToDictionary(g => g.Key, g => g.Select(m => m[1]).ToList(), StringComparer.Ordinal);
        var readings = new List<Reading> { new("occurrences", "", bodies.Count) };
        foreach (var (place, name, why) in Next)
        {
            var late = StartedFor(why).Select(b => b.Late).ToList();
            readings.Add(new($"run by the {name} replica", "", late.Count));
            readings.AddRange(Lateness(AfterTurn(name), [.. late.Select(l => l - (place * Step))]));
            readings.AddRange(Lateness(AfterDue(name), late));
        }
        readings.Add(new("found by the reconciler", "", StartedFor("no replica has run it").Count()));
        return readings;

        IEnumerable<CrowdBody> StartedFor(string why) =>
            bodies.Where(b => started.GetValueOrDefault(new Occurrence(b.Job, b.Job, b.Due).ToString())?.Contains(why) == true);
    }

    private static IEnumerable<Reading> Lateness(string name, IReadOnlyList<TimeSpan> late)
    {
        if (late.Count == 0)
        {
            yield break;
        }
        var sorted = late.Select(l => l.TotalMilliseconds).Order().ToList();
        yield return new($"{name}: p50", "ms", Samples.Percentile(sorted, 0.5));
        yield return new($"{name}: p99", "ms", Samples.Percentile(sorted, 0.99));
        yield return new(Max(name), "ms", sorted[^1]);
    }

    private static string AfterTurn(string name) => $"the {name} begins after its turn";

    private static string AfterDue(string name) => $"the {name} begins after the due time";

    private static string Max(string name) => $"{name}: max";
}
