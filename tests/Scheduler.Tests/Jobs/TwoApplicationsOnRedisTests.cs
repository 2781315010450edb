using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Quartz;
using Scheduler.Jobs;
using Scheduler.Redis;
using Scheduler.Testing;
using Scheduler.Testing.Servers;

namespace Scheduler.Tests.Jobs;

/// <summary>The one added line in empty Quartz applications: no host of ours, no State, one Redis.</summary>
public sealed class TwoApplicationsOnRedisTests
{
    [Fact]
    public async Task EachTickRunsOnceWithClocks300MillisecondsApart()
    {
        await using var redis = await RedisServer.StartAsync();
        var bodies = new BodyLog();
        // Without State nothing tells a new node from one that forgot, so it must have been up for the longest lease first.
        using var one = Application(redis, bodies, TimeSpan.Zero);
        using var two = Application(redis, bodies, TimeSpan.FromMilliseconds(300));
        await one.StartAsync();
        await two.StartAsync();

        await Eventually.Holds(() => bodies.Ended.Count >= 8, TimeSpan.FromSeconds(40));
        await one.StopAsync();
        await two.StopAsync();

        var ticks = bodies.Ended.Select(e => e.Scheduled!.Value).Order().ToList();
        Assert.Equal(Enumerable.Range(0, ticks.Count).Select(i => ticks[0].AddSeconds(i)), ticks);
    }

    private static IHost Application(RedisServer redis, BodyLog bodies, TimeSpan skew)
    {
        var time = new SkewedTime(skew);
        var builder = Host.CreateApplicationBuilder(new HostApplicationBuilderSettings { DisableDefaults = true });
        builder.Services.AddSingleton<TimeProvider>(time);
        builder.Services.AddSingleton(bodies);
        builder.Services.AddQuartz(q =>
        {
            q.ConfigureScheduler(o => o.InstanceName = $"application-{Guid.NewGuid():n}");
            q.UseTimeProvider(time);
            q.UseSingleInstance(
                "payments",
                l =>
                {
                    l.Options.Leases.LongestLease = TimeSpan.FromSeconds(3);
                    l.Options.Leases.LeaseDuration = TimeSpan.FromSeconds(3);
                    l.UseRedis(redis.ConnectionString);
                }
            );
            q.ScheduleJob<PlainJob>(
                t => t.WithIdentity("every-second").WithSchedule(CronScheduleBuilder.Create("* * * * * ?").InTimeZone(TimeZoneInfo.Utc)),
                j => j.WithIdentity("plain")
            );
        });
        builder.Services.AddQuartzHostedService();
        return builder.Build();
    }
}
