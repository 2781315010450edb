using System.Globalization;
using Scheduler.Jobs;
using Scheduler.Runs;
using Scheduler.Testing;

namespace Scheduler.Tests.Jobs;

/// <summary>What a group runs of what came due while it was down, by each policy.</summary>
public sealed class CatchUpTests
{
    private const string Job = "hourly";
    private const int LeftOut = 3019;

    // Far from any full hour, so that nothing comes due while a test lasts.
    private static readonly DateTimeOffset Noon20 = new(2026, 1, 31, 12, 20, 0, TimeSpan.Zero);

    [Theory]
    // Down from 9:20 to 12:20: due were 10, 11 and 12.
    [InlineData(null, null, null, "12", 1)]
    [InlineData(CatchUp.Latest, "00:15:00", null, "", 1)]
    [InlineData(CatchUp.None, null, null, "", 1)]
    [InlineData(CatchUp.All, null, null, "10 11 12", 0)]
    [InlineData(CatchUp.All, null, 2, "11 12", 0)]
    [InlineData(CatchUp.All, "01:30:00", null, "11 12", 1)]
    public async Task Of_what_came_due_while_the_group_was_down_runs_what_the_policy_says_once(
        CatchUp? policy,
        string? within,
        int? limit,
        string hours,
        int leftOut
    )
    {
        using var group = new Group(withState: true);
        await BeSeenAsync(group, Noon20.AddHours(-3), TimeSpan.FromHours(1));

        // Several at once, as after a power cut.
        await using var one = await StartAsync(group, Noon20, Define);
        await using var two = await StartAsync(group, Noon20.AddSeconds(1), Define);
        await Eventually.Holds(async () => (await ScheduleAsync(one)).SettledUntil >= Noon20.AddMinutes(-20));
        await Eventually.Holds(async () => (await one.RunsAsync()).All(r => r.State == RunState.Succeeded));

        // In order, and each once.
        Assert.Equal(hours, string.Join(' ', group.Bodies.Ended.Select(e => e.Scheduled!.Value.Hour)));
        Assert.Equal(hours, string.Join(' ', (await one.RunsAsync()).Select(r => r.ScheduledAt.Hour).Order()));
        Assert.InRange(group.Log.Count(LeftOut), leftOut, 2 * leftOut);

        JobDefinition Define() =>
            Every(TimeSpan.FromHours(1)) with
            {
                CatchUp = policy,
                CatchUpWithin = within is null ? null : TimeSpan.Parse(within, CultureInfo.InvariantCulture),
                CatchUpLimit = limit,
            };
    }

    [Fact]
    public async Task A_changed_schedule_and_one_that_comes_back_run_nothing_that_was_never_due()
    {
        using var group = new Group(withState: true);
        await BeSeenAsync(group, Noon20.AddDays(-30), TimeSpan.FromHours(1));
        await BeSeenAsync(group, Noon20.AddDays(-29), TimeSpan.FromMinutes(30));

        // Both definitions are known; the one that is back counts from now on.
        await using var replica = await StartAsync(group, Noon20, () => Every(TimeSpan.FromHours(1)) with { CatchUp = CatchUp.All });
        await Eventually.Holds(async () => (await SchedulesAsync(replica)).Any(s => s.SettledUntil >= Noon20));

        Assert.Equal(2, (await SchedulesAsync(replica)).Count);
        Assert.Empty(await replica.RunsAsync());
        Assert.Equal(0, group.Log.Count(LeftOut));
    }

    [Fact]
    public async Task A_changed_cron_expression_runs_what_comes_due_from_its_first_start_on()
    {
        using var group = new Group(withState: true);
        await BeSeenAsync(group, Noon20.AddHours(-3), Cron("0 0 * * * ?"));
        await BeSeenAsync(group, Noon20.AddHours(-1).AddMinutes(-7), Cron("0 0/15 * * * ?"));

        // Of the first one nothing, although 10, 11 and 12 came due; of the second one what came due since 11:13.
        await using var replica = await StartAsync(group, Noon20, () => Cron("0 0/15 * * * ?") with { CatchUp = CatchUp.All });
        await Eventually.Holds(async () => (await SchedulesAsync(replica)).Any(s => s.SettledUntil >= Noon20.AddMinutes(-5)));

        Assert.Equal(
            [Noon20.AddMinutes(-65), Noon20.AddMinutes(-50), Noon20.AddMinutes(-35), Noon20.AddMinutes(-20), Noon20.AddMinutes(-5)],
            (await replica.RunsAsync()).Select(r => r.ScheduledAt).Order()
        );
        Assert.Equal(0, group.Log.Count(LeftOut));
    }

    [Theory]
    [InlineData(null, 1)]
    [InlineData(CatchUp.None, 0)]
    [InlineData(CatchUp.All, 3)]
    public async Task On_PostgreSQL_the_policy_says_the_same(CatchUp? policy, int newest)
    {
        await using var group = await Group.WithStateAsync(onPostgres: true);
        var (cron, due) = TwentyMinutesAgo();
        await BeSeenLongAgoAsync(group, Cron(cron));

        await using var one = await StartAsync(group, TimeProvider.System.GetUtcNow(), Define);
        await using var two = await StartAsync(group, TimeProvider.System.GetUtcNow(), Define);
        await Eventually.Holds(async () => (await ScheduleAsync(one)).SettledUntil >= due[^1]);
        await Eventually.Holds(async () => (await one.RunsAsync()).All(r => r.State == RunState.Succeeded));

        Assert.Equal(due.TakeLast(newest), group.Bodies.Ended.Select(e => e.Scheduled!.Value));
        Assert.Equal(due.TakeLast(newest), (await one.RunsAsync()).Select(r => r.ScheduledAt).Order());

        JobDefinition Define() => Cron(cron) with { CatchUp = policy };
    }

    [Fact]
    public async Task On_PostgreSQL_a_changed_cron_expression_runs_nothing_that_was_never_due()
    {
        await using var group = await Group.WithStateAsync(onPostgres: true);
        var (cron, _) = TwentyMinutesAgo();
        await BeSeenLongAgoAsync(group, Cron(cron));

        var now = TimeProvider.System.GetUtcNow();
        var changed = Cron(cron + " 2000-2098") with { CatchUp = CatchUp.All };
        await using var replica = await StartAsync(group, now, () => changed);
        await Eventually.Holds(async () => (await SchedulesAsync(replica)).Any(s => s.SettledUntil >= now));

        Assert.Equal(2, (await SchedulesAsync(replica)).Count);
        Assert.Empty(await replica.RunsAsync());
    }

    [Fact]
    public async Task The_last_that_came_due_during_a_run_runs_after_it()
    {
        using var group = new Group(withState: true);
        var goOn = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        group.Bodies.Body = (_, token) => new ValueTask(goOn.Task.WaitAsync(token));
        var period = TimeSpan.FromSeconds(3);
        await using var replica = await Replica.StartAsync(
            group,
            configure: l =>
            {
                l.Options.MaxClockOffset = TimeSpan.FromMilliseconds(100);
                l.AddJob(Every(period) with { OnOverlap = OnOverlap.RunAfter });
            }
        );
        await Eventually.Holds(() => !group.Bodies.Events.IsEmpty);
        var first = group.Bodies.Events.First().Scheduled!.Value;

        // Two come due while it runs.
        await Eventually.Holds(() => replica.Time.GetUtcNow() > first + (2.1 * period));
        goOn.SetResult();

        await Eventually.Holds(() => group.Bodies.Ended.Count >= 3);
        Assert.Equal([first, first + (2 * period), first + (3 * period)], group.Bodies.Ended.Take(3).Select(e => e.Scheduled!.Value));
        var overlapped = Assert.Single(await replica.RunsAsync(), r => r.State == RunState.Overlapped);
        Assert.Equal(first + period, overlapped.ScheduledAt);
    }

    // One that says nothing but this, so that the default of the class is the default of the product.
    private static JobDefinition Every(TimeSpan every) => Define(null, every);

    private static JobDefinition Cron(string cron) => Define(cron, null);

    private static JobDefinition Define(string? cron, TimeSpan? every) =>
        new(
            Job,
            typeof(DefaultJob),
            [new TriggerDefinition("t", cron, every, TimeZoneInfo.Utc, new Dictionary<string, string>(StringComparer.Ordinal))]
        );

    private static Task<Replica> StartAsync(Group group, DateTimeOffset now, Func<JobDefinition> define) =>
        Replica.StartAsync(group, configure: l => l.AddJob(define()), skew: now - TimeProvider.System.GetUtcNow());

    // State counts from the moment at which it sees a definition for the first time.
    private static Task BeSeenAsync(Group group, DateTimeOffset now, TimeSpan every) => BeSeenAsync(group, now, Every(every));

    private static async Task BeSeenAsync(Group group, DateTimeOffset now, JobDefinition job)
    {
        await using var replica = await StartAsync(group, now, () => job);
        await Eventually.Holds(async () => (await SchedulesAsync(replica)).Any(s => s.Since >= now));
    }

    // There a replica fires nothing by a clock that is not the server's: so State is told that it saw the definition three hours ago.
    private static async Task BeSeenLongAgoAsync(Group group, JobDefinition job)
    {
        await BeSeenAsync(group, TimeProvider.System.GetUtcNow(), job);
        const string Hours = "interval '3 hours'";
        await group.Database!.ExecuteAsync(
            $"UPDATE scheduler.schedules SET since = since - {Hours}, settled_until = settled_until - {Hours}"
        );
    }

    // Due once an hour, and not while the test lasts.
    private static (string Cron, DateTimeOffset[] Due) TwentyMinutesAgo()
    {
        var ago = TimeProvider.System.GetUtcNow().AddMinutes(-20);
        var last = new DateTimeOffset(ago.Year, ago.Month, ago.Day, ago.Hour, ago.Minute, 0, TimeSpan.Zero);
        return (string.Create(CultureInfo.InvariantCulture, $"0 {last.Minute} * * * ?"), [last.AddHours(-2), last.AddHours(-1), last]);
    }

    private static async Task<ScheduleRecord> ScheduleAsync(Replica replica) => Assert.Single(await SchedulesAsync(replica));

    private static async Task<IReadOnlyList<ScheduleRecord>> SchedulesAsync(Replica replica) =>
        await replica.State!.CallAsync((s, token) => s.Schedules.ListAsync(token), CancellationToken.None);
}
