using Microsoft.Extensions.Logging.Abstractions;
using Scheduler.Bench.Floors;
using Scheduler.Bench.Harness;
using Scheduler.Hosting;
using Scheduler.Locking;
using Scheduler.Runs;
using Scheduler.Time;

namespace Scheduler.Bench.Ledger;

/// <summary>The command <c>ledger</c>: claim and completion of an unclaimed occurrence, beside the two raw statements.</summary>
internal static class LedgerCommand
{
    private const int AtOnce = 64;

    private static readonly Dictionary<string, Goal> Kept = new(StringComparer.Ordinal)
    {
        ["one after another: cycles"] = Goal.RatioAtLeast(0.7),
    };

    private static readonly Dictionary<string, Goal> Pooled = new(StringComparer.Ordinal) { ["64 at once: cycles"] = Goal.RatioAtLeast(2) };

    public static async Task RunAsync(Plan plan, Report report)
    {
        foreach (var store in plan.Stores.Select(name => LedgerStores.All.First(s => s.Name == name)))
        {
            await using var place = await store.StartAsync(report);
            var kept = new Section(
                $"{store.Name}: claim and completion",
                $"one INSERT and one UPDATE, a commit each, prepared, each worker with a connection of its own, {store.Floor}",
                Kept
            );
            var pooled = new Section(
                $"{store.Name}: claim and completion",
                $"the same, each statement on a connection that is taken from the pool for it, {store.Floor}",
                Pooled
            );
            await MeasureAsync(plan, store, place, kept, pooled);
            report.Add(kept);
            report.Add(pooled);
        }
    }

    private static async Task MeasureAsync(Plan plan, LedgerStore store, LedgerPlace place, Section kept, Section pooled)
    {
        var replica = ReplicaIdentity.Create("bench");
        var context = new BackendContext("bench", replica, Patience.Options(), BootTimeProvider.Instance, NullLoggerFactory.Instance);
        await using var state = store.Open(place.Address, context);
        await state.OpenAsync(CancellationToken.None);
        var raw = new List<RawLedger>();
        using var oneWriter = store.OneWriter ? new SemaphoreSlim(1, 1) : null;
        await using (var first = place.OpenRaw())
        {
            await RawLedger.CreateTableAsync(first);
        }
        for (var i = 0; i < AtOnce; i++)
        {
            raw.Add(new RawLedger(place.OpenRaw(), oneWriter));
        }
        var start = TimeProvider.System.GetUtcNow();
        var number = 0L;
        await ClosedLoop.CompileAsync(plan.Compile, AtOnce, OursAsync, KeptAsync, PooledAsync);
        foreach (
            var (section, workers, floor) in ((Section, int, Func<int, ValueTask>)[])
                [(kept, 1, KeptAsync), (kept, AtOnce, KeptAsync), (pooled, AtOnce, PooledAsync)]
        )
        {
            await section.CompareAsync(
                plan.Rounds,
                () => ClosedLoop.RunAsync(workers, plan.WarmUp, plan.Counted, OursAsync),
                () => ClosedLoop.RunAsync(workers, plan.WarmUp, plan.Counted, floor)
            );
        }
        foreach (var ledger in raw)
        {
            await ledger.DisposeAsync();
        }

        async ValueTask OursAsync(int worker)
        {
            var next = Interlocked.Increment(ref number);
            // Whole milliseconds of a time that is still to come: each its own occurrence.
            var occurrence = new Occurrence(
                $"job-{worker}",
                "bench",
                DateTimeOffset.FromUnixTimeMilliseconds(start.ToUnixTimeMilliseconds() + next)
            );
            var request = new ClaimRequest
            {
                Occurrence = occurrence,
                LockKey = LockKey.From($"job:job-{worker}"),
                Token = new FencingToken(next),
                Replica = replica.Id,
                Now = TimeProvider.System.GetUtcNow(),
            };
            if (await state.Runs.ClaimAsync(request, CancellationToken.None) is not ClaimResult.Claimed claimed)
            {
                throw new InvalidOperationException($"The claim of {occurrence} was not granted.");
            }
            var completion = new Completion
            {
                RunId = claimed.Run.Id,
                Attempt = claimed.Run.Attempt,
                Token = request.Token,
                Outcome = RunOutcome.Succeeded,
                StartedAt = request.Now,
                Now = TimeProvider.System.GetUtcNow(),
            };
            if (await state.Runs.CompleteAsync(completion, CancellationToken.None) != CompletionResult.Accepted)
            {
                throw new InvalidOperationException($"The completion of {occurrence} was refused.");
            }
        }

        async ValueTask PooledAsync(int worker) =>
            await RawLedger.CycleOnPoolAsync(place.OpenPooled, oneWriter, Interlocked.Increment(ref number));

        async ValueTask KeptAsync(int worker)
        {
            var id = Interlocked.Increment(ref number);
            await raw[worker].ClaimAsync(id);
            await raw[worker].CompleteAsync(id);
        }
    }
}
