using Quartz;
using Scheduler.Locking;
using Scheduler.Runs;
using Scheduler.Testing;

namespace Scheduler.Tests.Jobs;

/// <summary>Looks into the State of a replica, and writes there what a replica that died would have written.</summary>
internal static class Ledger
{
    public static async Task<IReadOnlyList<RunRecord>> RunsAsync(this Replica replica) =>
        (await LookAsync(replica, (s, t) => s.Runs.ListAsync(new RunQuery(Limit: 1_000), t))).Items;

    public static async Task<RecordedOccurrence> FindAsync(this Replica replica, string id) =>
        (await LookAsync(replica, (s, t) => s.Runs.FindAsync(id, t)))!;

    // What is written counts here, and not how soon it is shown: a busy machine may take longer than a replica's own calls may.
    private static async Task<T> LookAsync<T>(Replica replica, Func<IState, CancellationToken, ValueTask<T>> look)
    {
        var since = TimeProvider.System.GetTimestamp();
        while (true)
        {
            try
            {
                return await replica.State!.CallAsync(look, CancellationToken.None);
            }
            catch (StateUnavailableException) when (TimeProvider.System.GetElapsedTime(since) < Eventually.DefaultBound)
            {
                await Eventually.Passes(TimeSpan.FromMilliseconds(50));
            }
        }
    }

    public static async Task<RunState> StateOfAsync(this Replica replica, RunRecord run) => (await replica.FindAsync(run.Id)).Run.State;

    /// <summary>Claims as a replica would that is killed right after.</summary>
    public static async Task<RunRecord> ClaimAsDeadAsync(
        this Replica replica,
        string job,
        DateTimeOffset? scheduled = null,
        string? data = null,
        string? key = null,
        long token = 5
    )
    {
        var at = scheduled ?? DateTimeOffset.FromUnixTimeSeconds(1_700_000_000);
        var request = new ClaimRequest
        {
            Occurrence = new Occurrence(job, "t", at),
            LockKey = LockKey.From(key ?? $"job:{job}"),
            Token = FencingToken.Compose(0, token),
            Replica = "dead-00000000",
            Now = at,
            Data = data,
        };
        var result = await replica.State!.CallAsync((s, t) => s.Runs.ClaimAsync(request, t), CancellationToken.None);
        return Assert.IsType<ClaimResult.Claimed>(result).Run;
    }

    public static void EverySecond<T>(IQuartzBuilder quartz)
        where T : class, IJob =>
        quartz.ScheduleJob<T>(
            t => t.WithIdentity("every-second").WithSchedule(CronScheduleBuilder.Create("* * * * * ?").InTimeZone(TimeZoneInfo.Utc)),
            j => j.WithIdentity(typeof(T).Name)
        );

    public static void Durable<T>(IQuartzBuilder quartz)
        where T : class, IJob => quartz.AddJob<T>(c => c.WithIdentity(typeof(T).Name).StoreDurably());
}
