using System.Globalization;
using System.Reflection;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Quartz;
using Scheduler.Bench.Fires;
using Scheduler.Jobs;
using Scheduler.Postgres.State;
using Scheduler.Redis;
using Scheduler.Runs;
using Scheduler.Testing;

namespace Scheduler.Bench.Members;

/// <summary>
/// Many replicas of one group in this process, each an ordinary Quartz application with connections and a wall clock of its own. What
/// they ask of lock store and State is counted where they call it.
/// </summary>
internal sealed class Crowd : IAsyncDisposable
{
    /// <summary>How a look of a stand-by counts, and one of the reconciler at what was due; in the ports both are one method.</summary>
    public const string StandByLook = "look of a stand-by";

    /// <inheritdoc cref="StandByLook"/>
    public const string SettlingLook = "look at what was due";

    private const int StartedAtOnce = 4;
    private static readonly TimeSpan Spread = TimeSpan.FromMilliseconds(300);
    private readonly List<IHost> _hosts = [];
    private readonly TaskCompletionSource _relief = new(TaskCreationOptions.RunContinuationsAsynchronously);

    private Crowd() { }

    /// <summary>Calls of State by kind.</summary>
    public CallCounts State { get; } = new();

    /// <summary>Calls of the lock store by kind.</summary>
    public CallCounts Locks { get; } = new();

    /// <summary>The bodies that ran.</summary>
    public CrowdLog Bodies { get; } = new();

    /// <summary>What the replicas said.</summary>
    public LogCapture Log { get; } = new();

    /// <summary>State as one of the replicas sees it.</summary>
    public StateGuard Guard => _hosts[0].Services.GetRequiredService<StateGuard>();

    /// <summary>How many they are.</summary>
    public int Replicas => _hosts.Count;

    /// <summary>How far the clocks of the first and the last replica are apart.</summary>
    public static double SpreadMs => Spread.TotalMilliseconds;

    /// <summary>Starts replicas whose wall clocks are spread evenly around the true one, and waits for a heartbeat of each.</summary>
    public static async Task<Crowd> StartAsync(FirePlace place, int replicas, Action<IQuartzBuilder> jobs)
    {
        var crowd = new Crowd();
        for (var i = 0; i < replicas; i++)
        {
            var skew = Spread * ((replicas == 1 ? 0.5 : i / (replicas - 1.0)) - 0.5);
            crowd._hosts.Add(crowd.Build(place, i, skew, jobs));
        }
        await Parallel.ForEachAsync(
            crowd._hosts,
            new ParallelOptions { MaxDegreeOfParallelism = StartedAtOnce },
            async (host, stop) => await host.StartAsync(stop)
        );
        var known = crowd.State.Of(nameof(IMemberRegistry.HeartbeatAndListAsync)) + replicas;
        await Eventually.Holds(() => crowd.State.Of(nameof(IMemberRegistry.HeartbeatAndListAsync)) >= known, TimeSpan.FromSeconds(60));
        return crowd;
    }

    /// <summary>The members whose heartbeat is young.</summary>
    public async Task<int> LivingAsync() =>
        (await Guard.CallAsync((s, t) => s.Members.ListAsync(TimeSpan.FromSeconds(6), t), CancellationToken.None)).Items.Count;

    /// <summary>Takes all worker slots of some replicas until the end: they live and fire nothing.</summary>
    public async Task OccupyAsync(int replicas)
    {
        // Of all clocks some.
        foreach (var host in _hosts.Where((_, i) => i % (_hosts.Count / replicas) == 0).Take(replicas))
        {
            var scheduler = await host.Services.GetRequiredService<ISchedulerFactory>().GetScheduler();
            var slots = (await scheduler.GetMetadata()).ThreadPoolSize;
            for (var i = 0; i < slots; i++)
            {
                await scheduler.TriggerJob(new JobKey(nameof(OccupyingJob)));
            }
            var pipeline = host.Services.GetRequiredService<RunPipeline>();
            await Eventually.Holds(() => pipeline.Running >= slots);
        }
    }

    public async ValueTask DisposeAsync()
    {
        _relief.TrySetResult();
        await Parallel.ForEachAsync(
            _hosts,
            new ParallelOptions { MaxDegreeOfParallelism = StartedAtOnce },
            async (host, _) =>
            {
                await host.StopAsync(CancellationToken.None);
                host.Dispose();
            }
        );
        Log.Dispose();
    }

    private IHost Build(FirePlace place, int number, TimeSpan skew, Action<IQuartzBuilder> jobs)
    {
        var time = new SkewedTime(skew);
        var builder = Host.CreateApplicationBuilder(new HostApplicationBuilderSettings { DisableDefaults = true });
        builder.Logging.AddProvider(Log).SetMinimumLevel(LogLevel.Warning).AddFilter("Scheduler", LogLevel.Information);
        builder.Services.AddSingleton<TimeProvider>(time);
        builder.Services.AddSingleton(new CrowdMember(number, Bodies, _relief));
        builder.Services.AddQuartz(quartz =>
        {
            quartz.ConfigureScheduler(o => o.InstanceName = string.Create(CultureInfo.InvariantCulture, $"{place.Group}-{number}"));
            quartz.UseTimeProvider(time);
            quartz.UseSingleInstance(place.Group, group => Configure(group, place));
            quartz.AddJob<OccupyingJob>(job => job.WithIdentity(nameof(OccupyingJob)).StoreDurably());
            jobs(quartz);
        });
        builder.Services.AddQuartzHostedService(o => o.WaitForJobsToComplete = true);
        return builder.Build();
    }

    private void Configure(SingleInstanceBuilder group, FirePlace place)
    {
        var counted = new CountedBackends(group, State, Locks, NameOf);
        counted.UseRedis(place.Redis);
        counted.UsePostgresState(place.Postgres);
    }

    // A stand-by asks for single occurrences, each as a range of a millisecond.
    private static string NameOf(MethodInfo method, object?[] arguments) =>
        method.Name != nameof(IRunLedger.OccurrencesAsync) ? method.Name
        : ((IReadOnlyList<OccurrenceRange>)arguments[0]!).All(r => r.Until - r.After <= TimeSpan.FromMilliseconds(1)) ? StandByLook
        : SettlingLook;
}
