using Scheduler.Jobs;
using Scheduler.Locking;
using Scheduler.Runs;
using Scheduler.Testing;

namespace Scheduler.Tests.Jobs;

/// <summary>Replicas of two configurations at once, as during a deployment.</summary>
public class VersionTests
{
    private const string Job = "settle";

    protected virtual bool OnPostgres => false;

    [Fact]
    public async Task The_newer_definition_counts_while_a_replica_has_it_and_nothing_is_doubled_or_missed()
    {
        await using var group = await Group.WithStateAsync(OnPostgres);
        await using var former = await StartAsync(group, Every(1));
        await Eventually.Holds(() => group.Bodies.Ended.Count >= 2);

        await using (var newer = await StartAsync(group, Every(3)))
        {
            await Eventually.Holds(() => group.Log.Count(3021) == 1);
            var since = former.Status.SupersededAt(Job, "t")!.Value;
            Assert.Null(newer.Status.SupersededAt(Job, "t"));
            await Eventually.Holds(() => group.Bodies.Ended.Count(e => e.Scheduled > since) >= 3, TimeSpan.FromSeconds(40));

            var ran = group.Bodies.Ended.Select(e => e.Scheduled!.Value).Order().ToList();
            var until = ran[^1];
            var expected = Seconds(ran[0], until).Where(t => t <= since || t.ToUnixTimeSeconds() % 3 == 0);
            Assert.Equal(expected, ran);
            // A crash of the former one's replica changes nothing, also when the new one hears late which definition counts.
            var late = new StateFaults { ContestedTakes = TimeSpan.FromMilliseconds(700) };
            await using var again = await StartAsync(group, Every(1), late.Between);
            await Eventually.Holds(() => again.Status.SupersededAt(Job, "t") == since);
            await Eventually.Holds(() => group.Bodies.Ended.Count(e => e.Scheduled > until) >= 2, TimeSpan.FromSeconds(40));
            Assert.DoesNotContain(group.Bodies.Ended, e => e.Scheduled > since && e.Scheduled.Value.ToUnixTimeSeconds() % 3 != 0);
        }

        // The newer one is rolled back: the former one counts from then on.
        var gone = TimeProvider.System.GetUtcNow();
        await Eventually.Holds(() => group.Log.Count(3022) >= 1);
        await Eventually.Holds(() => group.Bodies.Ended.Count(e => e.Scheduled > gone) >= 5, TimeSpan.FromSeconds(40));
        var all = group.Bodies.Ended;
        Assert.Equal(all.Count, all.Select(e => e.Scheduled).Distinct().Count());
    }

    [Fact]
    public async Task A_renamed_job_keeps_its_identity_so_that_replicas_of_both_names_meet()
    {
        await using var group = await Group.WithStateAsync(OnPostgres);
        await using var former = await StartAsync(group, Every(1));
        await using var renamed = await StartAsync(group, Every(1) with { Name = "payouts", FormerNames = [Job] });

        await Eventually.Holds(async () => (await former.RunsAsync()).Count(r => r.State == RunState.Succeeded) >= 6);

        var runs = await former.RunsAsync();
        Assert.All(runs, r => Assert.Equal((Job, LockKey.From($"job:{Job}")), (r.Job, r.LockKey)));
        var ran = group.Bodies.Ended.Select(e => e.Scheduled!.Value).Order().ToList();
        Assert.Equal(Seconds(ran[0], ran[^1]), ran);
        Assert.Equal(0, group.Log.Count(3021));
    }

    [Fact]
    public async Task Of_replicas_with_different_time_zone_data_those_count_that_came_last()
    {
        await using var group = await Group.WithStateAsync(OnPostgres);
        await using var former = await StartAsync(group, InZone(hours: 1));
        await Eventually.Holds(() => group.Bodies.Ended.Count >= 2);

        await using var newer = await StartAsync(group, InZone(hours: 2));

        // The status changes before the line is written.
        await Eventually.Holds(() => group.Log.Count(3021) == 1);
        Assert.NotNull(former.Status.SupersededAt(Job, "t"));
        Assert.Null(newer.Status.SupersededAt(Job, "t"));
        Assert.Contains(group.Log.Entries, e => e.Id.Id == 3021 && e.Message.Contains("Europe/Berlin", StringComparison.Ordinal));

        static JobDefinition InZone(int hours)
        {
            var zone = TimeZoneInfo.CreateCustomTimeZone("Europe/Berlin", TimeSpan.FromHours(hours), "", "");
            var job = Every(1);
            return job with { Triggers = [job.Triggers[0] with { Every = null, Cron = "* * * * * ?", TimeZone = zone }] };
        }
    }

    [Fact]
    public async Task A_run_whose_job_nobody_has_is_orphaned_until_a_replica_has_it()
    {
        await using var group = await Group.WithStateAsync(OnPostgres);
        await using var one = await StartAsync(group, Every(1) with { Name = "other", Triggers = [] });
        var lost = await one.ClaimAsDeadAsync("removed");

        await Eventually.Holds(async () => await one.StateOfAsync(lost) == RunState.Orphaned);
        await Eventually.Holds(() => group.Log.Count(3023) == 1);
        await using var two = await StartAsync(group, Every(1) with { Name = "removed", Triggers = [] });

        await Eventually.Holds(async () => await one.StateOfAsync(lost) == RunState.Succeeded);
    }

    [Fact]
    public void Names_that_two_jobs_have_are_refused()
    {
        JobDefinition[] jobs =
        [
            Every(1) with
            {
                Name = "a",
                FormerNames = ["b", "c"],
            },
            Every(1) with
            {
                Name = "b",
            },
            Every(1) with
            {
                Name = "d",
                FormerNames = ["c", "d"],
            },
        ];

        var problems = JobDefinitionValidator.ValidateNames(jobs, "Scheduler:Jobs").ToList();

        Assert.Equal(4, problems.Count);
        Assert.Contains(
            problems,
            p => p.StartsWith("Scheduler:Jobs:a:FormerNames: 'b' is a name of the job 'b' too", StringComparison.Ordinal)
        );
        Assert.Contains(problems, p => p.StartsWith("Scheduler:Jobs:d:FormerNames: 'd' is there twice, or is", StringComparison.Ordinal));
    }

    [Fact]
    public void A_definition_that_state_has_not_seen_yet_is_not_taken_for_a_former_one()
    {
        var bounds = new Scheduler.Jobs.Versions.ScheduleBounds();
        var mine = new ScheduleKey(Job, "t", "mine");
        bounds.Expect([mine]);
        var other = new ScheduleRecord(Job, "t", "other", DateTimeOffset.UnixEpoch, DateTimeOffset.UnixEpoch);
        var seen = other with { Fingerprint = mine.Fingerprint };

        Assert.Empty(bounds.Observe([other]));
        Assert.Empty(bounds.Observe([other, seen]));
        Assert.Equal([(mine, (DateTimeOffset?)other.Since)], bounds.Observe([seen, other]));
        Assert.Equal([(mine, (DateTimeOffset?)null)], bounds.Observe([]));
    }

    private static IEnumerable<DateTimeOffset> Seconds(DateTimeOffset from, DateTimeOffset to)
    {
        for (var time = from; time <= to; time = time.AddSeconds(1))
        {
            yield return time;
        }
    }

    private static JobDefinition Every(int seconds) =>
        new(
            Job,
            typeof(PlainJob),
            [
                new TriggerDefinition(
                    "t",
                    null,
                    TimeSpan.FromSeconds(seconds),
                    TimeZoneInfo.Utc,
                    new Dictionary<string, string>(StringComparer.Ordinal)
                ),
            ]
        );

    private static Task<Replica> StartAsync(Group group, JobDefinition job, Action<SingleInstanceBuilder>? between = null) =>
        Replica.StartAsync(
            group,
            configure: l =>
            {
                l.AddJob(job);
                between?.Invoke(l);
            }
        );
}

/// <summary>The same on PostgreSQL.</summary>
public sealed class VersionOnPostgresTests : VersionTests
{
    protected override bool OnPostgres => true;
}
