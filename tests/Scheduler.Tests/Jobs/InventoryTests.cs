using Quartz;
using Scheduler.Jobs;

namespace Scheduler.Tests.Jobs;

/// <summary>Jobs that an application gave to Quartz itself are checked at start like those of the configuration.</summary>
public sealed class InventoryTests
{
    [Fact]
    public async Task ALeaseLongerThanTheLongestIsRefused() =>
        Assert.Contains("longer than LongestLease", await RefusalAsync(Ledger.Durable<OverlongJob>));

    [Fact]
    public async Task AWrongAttributeShowsAllItsProblems()
    {
        var refusal = await RefusalAsync(Ledger.Durable<WrongJob>);

        Assert.Contains("the key of WrongJob", refusal);
        Assert.Contains("is 'soon'", refusal);
        Assert.Contains("MaxCrashes is 5000", refusal);
    }

    [Fact]
    public async Task DataThatAnotherReplicaCannotReadAreRefused() =>
        Assert.Contains(
            "'thing'",
            await RefusalAsync(q =>
                q.ScheduleJob<PlainJob>(
                    t => t.WithIdentity("t").WithSchedule(CronScheduleBuilder.Create("0 0 2 * * ?")),
                    j => j.WithIdentity("plain").UsingJobData(new JobDataMap { ["thing"] = new object() })
                )
            )
        );

    [Fact]
    public async Task ATriggerCalledManualIsRefused() =>
        Assert.Contains(
            "'manual'",
            await RefusalAsync(q =>
                q.ScheduleJob<PlainJob>(
                    t => t.WithIdentity("manual").WithSchedule(CronScheduleBuilder.Create("0 0 2 * * ?")),
                    j => j.WithIdentity("plain")
                )
            )
        );

    [Fact]
    public async Task TwoTriggersThatTheLedgerCannotTellApartAreRefused() =>
        Assert.Contains(
            "two triggers",
            await RefusalAsync(q =>
            {
                Ledger.Durable<PlainJob>(q);
                foreach (var group in new[] { TriggerKey.DefaultGroup, nameof(PlainJob) })
                {
                    q.AddTrigger(t =>
                        t.WithIdentity("t", group).ForJob(nameof(PlainJob)).WithSchedule(CronScheduleBuilder.Create("0 0 2 * * ?"))
                    );
                }
            })
        );

    [Fact]
    public async Task TwoJobsThatTheLedgerCannotTellApartAreRefused() =>
        Assert.Contains(
            "'a.b'",
            await RefusalAsync(q =>
            {
                q.AddJob<PlainJob>(c => c.WithIdentity("a.b").StoreDurably());
                q.AddJob<PlainJob>(c => c.WithIdentity("b", "a").StoreDurably());
            })
        );

    private static async Task<string> RefusalAsync(Action<IQuartzBuilder> quartz)
    {
        using var group = new Group();
        await using var replica = Replica.Build(group, quartz);
        return (await Assert.ThrowsAsync<SchedulerConfigurationException>(replica.StartAsync)).Message;
    }
}
