using System.Text.Json;
using Scheduler.Bench.Harness;
using Scheduler.Locking;
using Scheduler.Time;

namespace Scheduler.Bench.Locks;

/// <summary>
/// One key that 2 processes × 8 tasks want all the time. The gap reaches from the moment before one calls release to the moment after
/// the next one's acquire has returned, on the boot clock, which all processes share.
/// </summary>
internal static class HandOff
{
    public const string ChildCommand = "hand-off";
    private const int Processes = 2;
    private const int TasksPerProcess = 8;
    private static readonly TimeSpan LongestWait = TimeSpan.FromMinutes(1);

    /// <summary>What one task did.</summary>
    /// <param name="Taken">When it had the key.</param>
    /// <param name="Freed">When it began to free it.</param>
    /// <param name="LongestWait">Its longest wait. All in nanoseconds.</param>
    internal sealed record Turns(List<long> Taken, List<long> Freed, long LongestWait);

    public static Task MeasureAsync(Plan plan, Report report, LockStore store, string address, Section section)
    {
        var group = 0;
        return section.CompareAsync(
            plan.Rounds,
            () => RoundAsync(plan, report, store, address, $"hand-off-{group++}", ours: true),
            () => RoundAsync(plan, report, store, address, $"raw-{group}", ours: false)
        );
    }

    /// <summary>The child process: all its tasks until the time is over, then one line with what they did.</summary>
    public static async Task RunChildAsync(string storeName, string address, string group, bool ours, int me, double seconds)
    {
        var store = LockStores.Named(storeName);
        Turns[] turns;
        if (ours)
        {
            await using var provider = await Replica.OpenAsync(store, address, group);
            var key = LockKey.From("contended");
            var end = await BeginAsync(seconds);
            turns = await Task.WhenAll(Enumerable.Range(0, TasksPerProcess).Select(_ => Task.Run(() => TaskAsync(end, AcquireAsync))));

            async Task<Func<ValueTask>> AcquireAsync()
            {
                var lease = (await provider.AcquireAsync(key, "bench", LongestWait)).Granted();
                return async () => await lease.ReleaseAsync();
            }
        }
        else
        {
            await using var raw = store.OpenHandOff!(address, me);
            var end = await BeginAsync(seconds);
            using var over = new CancellationTokenSource(TimeSpan.FromSeconds(seconds), TimeProvider.System);
            turns = [await TaskAsync(end, AcquireAsync)];

            async Task<Func<ValueTask>> AcquireAsync()
            {
                await raw.TakeAsync(over.Token);
                return async () => await raw.PassAsync();
            }
        }
        Console.WriteLine(JsonSerializer.Serialize(turns));
    }

    private static async Task<long> BeginAsync(double seconds)
    {
        Console.WriteLine("ready");
        await Child.HearAsync();
        return BootTimeProvider.Instance.GetTimestamp() + (long)(seconds * 1e9);
    }

    private static async Task<Turns> TaskAsync(long end, Func<Task<Func<ValueTask>>> acquire)
    {
        var clock = BootTimeProvider.Instance;
        var turns = new Turns([], [], 0);
        var longest = 0L;
        for (var asked = clock.GetTimestamp(); asked < end; asked = clock.GetTimestamp())
        {
            Func<ValueTask> release;
            try
            {
                release = await acquire();
            }
            catch (OperationCanceledException)
            {
                break;
            }
            var taken = clock.GetTimestamp();
            longest = Math.Max(longest, taken - asked);
            turns.Taken.Add(taken);
            turns.Freed.Add(clock.GetTimestamp());
            await release();
        }
        return turns with { LongestWait = longest };
    }

    private static async Task<IReadOnlyList<Reading>> RoundAsync(
        Plan plan,
        Report report,
        LockStore store,
        string address,
        string group,
        bool ours
    )
    {
        var children = Enumerable
            .Range(0, Processes)
            .Select(me => Child.Start(ChildCommand, store.Name, address, group, ours, me, plan.Quick ? 1 : 5))
            .ToList();
        var turns = new List<Turns>();
        foreach (var child in children)
        {
            await child.ExpectAsync("ready");
        }
        await Task.WhenAll(children.Select(c => c.TellAsync("go")));
        foreach (var child in children)
        {
            turns.AddRange(await child.ResultAsync<Turns[]>());
            await child.DisposeAsync();
        }
        return Readings(report, store, turns, ours);
    }

    private static List<Reading> Readings(Report report, LockStore store, List<Turns> turns, bool ours)
    {
        var holds = turns.SelectMany(t => t.Taken.Zip(t.Freed)).OrderBy(h => h.First).ToList();
        var gaps = holds.Zip(holds.Skip(1), (one, next) => next.First - one.Second).Order().ToList();
        if (gaps[0] < 0)
        {
            report.Problem($"{store.Name}: two had the contended key at once ({gaps.Count(g => g < 0)} times).");
        }
        List<Reading> readings =
        [
            new("gap p50", "ms", Samples.Percentile(gaps, 0.5) / 1e6),
            new("gap p99", "ms", Samples.Percentile(gaps, 0.99) / 1e6),
            new("worst wait", "ms", turns.Max(t => t.LongestWait) / 1e6),
        ];
        if (ours)
        {
            // Two tasks that take turns have equal shares whatever happens: no floor.
            var share = (double)turns.Max(t => t.Taken.Count) / Math.Max(1, turns.Min(t => t.Taken.Count));
            readings.Add(new("share of a task, largest / smallest", "×", share));
        }
        return readings;
    }
}
