using System.Globalization;
using Quartz;

namespace Scheduler.Bench.Fires;

/// <summary>What is due when: the same jobs and triggers for every system.</summary>
/// <param name="Name">Also the name of the jobs.</param>
/// <param name="Jobs">How many jobs with one trigger each.</param>
/// <param name="Cron">When all of them are due; without it each has an interval of its own, a little above a second, so that the
/// fires are spread evenly.</param>
/// <param name="Blocks">Whether a body runs until its process is gone, or is told to go on.</param>
internal sealed record Workload(string Name, int Jobs, string? Cron, bool Blocks = false)
{
    // Counted from 1970, so where in a second each is due is as good as random.
    private const int StepMs = 1;

    private static readonly TimeSpan FirstFireAfter = TimeSpan.FromSeconds(1);

    /// <summary>Adds jobs and triggers; each job is a lock key of its own.</summary>
    public void AddTo(IQuartzBuilder quartz)
    {
        for (var i = 0; i < Jobs; i++)
        {
            var (name, number) = (NameOf(i), i);
            quartz.AddJob<CountedJob>(job => job.WithIdentity(name).StoreDurably().RequestRecovery(Blocks).UsingJobData("blocks", Blocks));
            // Read when Quartz starts: a start time that has passed by then would be moved off the grid.
            quartz.AddTrigger((_, trigger) => SetSchedule(trigger.WithIdentity(name, "bench").ForJob(name), number));
        }
    }

    /// <summary>Sets when the trigger of a job is due.</summary>
    public void SetSchedule(ITriggerConfigurator<IJob> trigger, int job)
    {
        if (Cron is not null)
        {
            trigger.WithSchedule(CronScheduleBuilder.Create(Cron).InTimeZone(TimeZoneInfo.Utc));
        }
        else
        {
            trigger
                .StartAt(NextAfter(job, TimeProvider.System.GetUtcNow() + FirstFireAfter))
                .WithSchedule(SimpleScheduleBuilder.Create().WithInterval(EveryOf(job)).RepeatForever());
        }
    }

    /// <summary>A job's name, which is its trigger's too.</summary>
    public string NameOf(int job) => string.Create(CultureInfo.InvariantCulture, $"{Name}-{job}");

    /// <summary>The first due time of a job after a time.</summary>
    public DateTimeOffset NextAfter(int job, DateTimeOffset time)
    {
        if (Cron is not null)
        {
            return new CronExpression(Cron, TimeZoneInfo.Utc).GetNextValidTimeAfter(time)!.Value;
        }
        // On the grid of whole intervals since 1970, where all processes see the same times.
        var every = EveryOf(job).Ticks;
        var since = (time - DateTimeOffset.UnixEpoch).Ticks;
        return DateTimeOffset.UnixEpoch.AddTicks((since / every + 1) * every);
    }

    /// <summary>All that is due after one time and not after another.</summary>
    public IEnumerable<(string Job, long Due)> Between(DateTimeOffset after, DateTimeOffset until)
    {
        for (var job = 0; job < Jobs; job++)
        {
            for (var due = NextAfter(job, after); due <= until; due = NextAfter(job, due))
            {
                yield return (NameOf(job), due.ToUnixTimeMilliseconds());
            }
        }
    }

    private static TimeSpan EveryOf(int job) => TimeSpan.FromMilliseconds(1_000 + StepMs * (job + 1));
}
