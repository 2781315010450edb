using System.Diagnostics;
using Microsoft.Extensions.Logging.Abstractions;
using Payments.Jobs.Maintenance;
using Scheduler.Bench.Harness;
using Scheduler.Bench.Ledger;
using Scheduler.Hosting;
using Scheduler.Runs;
using Scheduler.Time;

namespace Scheduler.Bench.History;

/// <summary>The command <c>history</c>: pages of a long history, and claims while it is pruned.</summary>
internal static class HistoryCommand
{
    private const int Runs = 1_000_000;
    private const int QuickRuns = 20_000;

    // What an operator waits for, and what a fire may be held up.
    private const double MostMilliseconds = 50;

    // Each with the query of the HTTP interface that asks for the same.
    private static readonly (string Name, RunQuery Query, string Http)[] Pages =
    [
        ("no filter", new RunQuery(), ""),
        ("a job", new RunQuery("job-7"), "?job=job-7"),
        ("succeeded", new RunQuery(State: RunState.Succeeded), "?state=succeeded"),
        ("failed", new RunQuery(State: RunState.Failed), "?state=failed"),
        ("dead (10)", new RunQuery(State: RunState.Dead), "?state=dead"),
        ("orphaned (none)", new RunQuery(State: RunState.Orphaned), "?state=orphaned"),
        ("a job, dead", new RunQuery("job-7", RunState.Dead), "?job=job-7&state=dead"),
        ("a job, failed", new RunQuery("job-7", RunState.Failed), "?job=job-7&state=failed"),
    ];

    private static readonly Dictionary<string, Goal> PageGoals = Pages
        .SelectMany(p => (string[])[$"{p.Name}: worst", $"{p.Name}, HTTP: worst"])
        .ToDictionary(row => row, _ => Goal.AtMost(MostMilliseconds), StringComparer.Ordinal);

    private static readonly Dictionary<string, Goal> ClaimGoals = new(StringComparer.Ordinal)
    {
        ["a claim: longest"] = Goal.AtMost(MostMilliseconds),
    };

    public static async Task RunAsync(Plan plan, Report report)
    {
        foreach (var store in plan.Stores.Select(name => LedgerStores.All.First(s => s.Name == name)))
        {
            await using var place = await store.StartAsync(report);
            var context = new BackendContext(
                HistoryFill.Group,
                ReplicaIdentity.Create("bench"),
                Patience.Options(),
                BootTimeProvider.Instance,
                NullLoggerFactory.Instance
            );
            await using var state = store.Open(place.Address, context);
            await state.OpenAsync(CancellationToken.None);
            var count = plan.Quick ? QuickRuns : Runs;
            Report.Say($"{store.Name}: filling {count} runs");
            await HistoryFill.RunAsync(store.Name, place.Address, count, TimeProvider.System.GetUtcNow());
            await PagesAsync(plan, report, store, place, state, count);
            // As another replica does it, which in production has a process and connections of its own.
            await using var pruned = store.Open(place.Address, context);
            await pruned.OpenAsync(CancellationToken.None);
            await ClaimsAsync(plan, report, store, place.Address, state, pruned);
        }
    }

    private static async Task PagesAsync(Plan plan, Report report, LedgerStore store, LedgerPlace place, IState state, int count)
    {
        var section = new Section($"{store.Name}: first page of 100 among {count} runs", floorName: null, PageGoals);
        await using var worker = await HistoryWorker.StartAsync(store.Name, place.Address);
        var asked = plan.Quick ? 3 : 20;
        for (var round = 1; round <= plan.Rounds; round++)
        {
            foreach (var (name, query, http) in Pages)
            {
                section.AddOurs(await TimeAsync(name, asked, async () => await state.Runs.ListAsync(query, CancellationToken.None)));
                section.AddOurs(await TimeAsync($"{name}, HTTP", asked, () => worker.GetAsync(http)));
            }
        }
        report.Add(section);
    }

    private static async Task<IReadOnlyList<Reading>> TimeAsync(string name, int times, Func<Task> page)
    {
        // Compiled and connected once, uncounted.
        await page();
        var samples = new List<double>(times);
        for (var i = 0; i < times; i++)
        {
            var start = Stopwatch.GetTimestamp();
            await page();
            samples.Add(Stopwatch.GetElapsedTime(start).TotalMilliseconds);
        }
        samples.Sort();
        return [new($"{name}: p50", "ms", Samples.Percentile(samples, 0.5)), new($"{name}: worst", "ms", samples[^1])];
    }

    private static async Task ClaimsAsync(Plan plan, Report report, LedgerStore store, string address, IState state, IState pruned)
    {
        var section = new Section(
            $"{store.Name}: claims one after another while the history is pruned",
            "the same while nothing is pruned",
            ClaimGoals
        );
        var claims = new HistoryClaims(state);
        await claims.RunAsync(plan.Compile);
        var count = await HistoryFill.CountAsync(store.Name, address) - claims.Count;
        for (var round = 1; round <= plan.Rounds; round++)
        {
            // So that there is something left for each round: there is a run for each second.
            var keep = TimeSpan.FromSeconds(count - (round * count / (plan.Rounds + 1)));
            var job = new PruneRunHistory(
                pruned,
                new PruneOptions { KeepRuns = keep },
                TimeProvider.System,
                NullLogger<PruneRunHistory>.Instance
            );
            using var enough = new CancellationTokenSource();
            var (before, start) = (await HistoryFill.CountAsync(store.Name, address) - claims.Count, Stopwatch.GetTimestamp());
            var pruning = Task.Run(() => PruneAsync(job, enough.Token));
            section.AddOurs(await claims.RunAsync(plan.Counted * 3, pruning));
            await enough.CancelAsync();
            await pruning;
            var seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
            var deleted = before - (await HistoryFill.CountAsync(store.Name, address) - claims.Count);
            section.AddOurs([new("runs deleted", "1/s", deleted / seconds)]);
            section.AddFloor(await claims.RunAsync(plan.Counted * 3));
        }
        report.Add(section);
    }

    private static async Task PruneAsync(PruneRunHistory job, CancellationToken enough)
    {
        try
        {
            // The job asks its context for nothing.
            await job.Execute(context: null!, enough);
        }
        catch (OperationCanceledException)
        {
            // The claims have been measured.
        }
    }
}
