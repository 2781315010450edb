using System.Globalization;
using Quartz;

namespace Scheduler.Bench.Fires;

/// <summary>What is due when: the same jobs and triggers for every system.</summary>
/// <param name="Name">Also the name of the jobs.</param>
/// <param name="Jobs">How many jobs with one trigger each.</param>
/// <param name="Cron">When all of them are due.</param>
/// <param name="Blocks">Whether a body runs until its process is gone, except when it is a take-over.</param>
internal sealed record Workload(string Name, int Jobs, string Cron, bool Blocks = false)
{
    /// <summary>Adds jobs and triggers; each job is a lock key of its own.</summary>
    public void AddTo(IQuartzBuilder quartz)
    {
        for (var i = 0; i < Jobs; i++)
        {
            var name = string.Create(CultureInfo.InvariantCulture, $"{Name}-{i}");
            quartz.AddJob<CountedJob>(job => job.WithIdentity(name).StoreDurably().RequestRecovery(Blocks).UsingJobData("blocks", Blocks));
            quartz.AddTrigger(trigger =>
                trigger
                    .WithIdentity(name, "bench")
                    .ForJob(name)
                    .WithSchedule(CronScheduleBuilder.Create(Cron).InTimeZone(TimeZoneInfo.Utc))
            );
        }
    }

    /// <summary>The first due time after a time.</summary>
    public DateTimeOffset NextAfter(DateTimeOffset time) => new CronExpression(Cron, TimeZoneInfo.Utc).GetNextValidTimeAfter(time)!.Value;
}
