using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Quartz;
using Scheduler.Hosting;
using Scheduler.Jobs.Clocks;
using Scheduler.Jobs.Hosting;
using Scheduler.Jobs.Preference;
using Scheduler.Jobs.Reconciliation;
using Scheduler.Jobs.Schedules;
using Scheduler.Jobs.Versions;
using Scheduler.Leases;
using Scheduler.Locking;
using Scheduler.Runs;
using Scheduler.Telemetry;

namespace Scheduler.Jobs;

/// <summary>Adds the group to a Quartz application.</summary>
public static class SingleInstanceQuartzExtensions
{
    /// <summary>The group's name where none is given; only for stores that stay on one host.</summary>
    public const string DefaultGroup = "default";

    private static readonly TimeSpan UnwindTime = TimeSpan.FromSeconds(5);

    /// <summary>
    /// Makes this application a replica of a group: jobs marked <see cref="SingleInstanceAttribute"/> run once per occurrence over all
    /// replicas. Call it once, inside <c>AddQuartz</c>; it raises <see cref="HostOptions.ShutdownTimeout"/> to what a graceful stop needs.
    /// </summary>
    /// <param name="quartz">The builder that <c>AddQuartz</c> hands out.</param>
    /// <param name="group">The replicas that form one scheduler; required with a networked lock store.</param>
    /// <param name="configure">Sets lock store, State (optional), options, and jobs.</param>
    /// <exception cref="SchedulerConfigurationException">No lock store was set, or no group with a networked one.</exception>
    /// <exception cref="InvalidOperationException">It was called before.</exception>
    public static IQuartzBuilder UseSingleInstance(this IQuartzBuilder quartz, string? group, Action<SingleInstanceBuilder> configure)
    {
        ArgumentNullException.ThrowIfNull(quartz);
        ArgumentNullException.ThrowIfNull(configure);
        var builder = new SingleInstanceBuilder();
        configure(builder);
        var services = quartz.Services;
        if (services.Any(s => s.ServiceType == typeof(GroupContext)))
        {
            throw new InvalidOperationException("UseSingleInstance was called twice; one process is one replica of one group.");
        }
        var store =
            builder.LeaseStore
            ?? throw new SchedulerConfigurationException([
                "UseSingleInstance needs a lock store: call for example l.UseRedis(\"localhost:6379\").",
            ]);
        var options = builder.Options;
        AddCore(services, group, builder, store, options);
        AddJobs(quartz, builder.Jobs);
        quartz.AddJobMiddleware<SingleInstanceMiddleware>();
        services.AddHostedService<SchedulerLifecycle>();
        services.PostConfigure<HostOptions>(host =>
        {
            var needed = options.DrainDelay + options.StopGrace + UnwindTime;
            host.ShutdownTimeout = host.ShutdownTimeout > needed ? host.ShutdownTimeout : needed;
        });
        return quartz;
    }

    private static void AddCore(
        IServiceCollection services,
        string? group,
        SingleInstanceBuilder builder,
        Func<IServiceProvider, BackendContext, ILeaseStore> store,
        SingleInstanceOptions options
    )
    {
        GroupTime.AddTo(services, options.MaxClockOffset, isCompared: builder.State is not null);
        services.TryAddEnumerable(ServiceDescriptor.Singleton<ILoggerProvider, KeptLogProvider>());
        services.AddSingleton(options);
        services.AddSingleton<IReadOnlyList<JobDefinition>>(builder.Jobs);
        services.AddSingleton(_ => ReplicaIdentity.Create(options.ReplicaName));
        services.AddSingleton(p => new GroupContext(group ?? DefaultGroup, p.GetRequiredService<ReplicaIdentity>(), builder.Jobs));
        services.AddSingleton(p => new JobCatalog(builder.Jobs));
        services.AddSingleton(p => MakeState(p, builder, options));
        if (builder.State is { } state)
        {
            // For jobs that look after the records, whose calls may take longer than one in a fire.
            services.AddSingleton(p => state(p, Context(p, options)));
            services.AddSingleton(p => p.GetRequiredService<StateHolder>().Guard!);
        }
        services.AddSingleton(p => MakeLocks(p, store(p, Context(p, options)), group, options));
        services.AddSingleton<ILockProvider>(p => p.GetRequiredService<LockProvider>());
        services.AddSingleton(p =>
            RunPipeline.Create(
                p.GetRequiredService<ILockProvider>(),
                p.GetRequiredService<StateHolder>().Guard,
                p.GetRequiredService<ReplicaIdentity>(),
                options.Leases,
                p.GetRequiredService<TimeProvider>(),
                p.GetRequiredService<ILoggerFactory>()
            )
        );
        services.AddSingleton(p => new FireReader(
            p.GetRequiredService<StateHolder>().Guard,
            p.GetRequiredService<ReplicaOrder>(),
            p.GetService<StandBy>(),
            p.GetRequiredService<PausedJobs>(),
            p.GetRequiredService<ScheduleBounds>(),
            p.GetRequiredService<ClockGuard>(),
            options.Leases,
            p.GetRequiredService<TimeProvider>(),
            p.GetRequiredService<ILogger<FireReader>>()
        ));
        services.AddSingleton<RunLauncher>();
        services.AddSingleton<ReplicaOrder>();
        services.AddSingleton<PausedJobs>();
        services.AddSingleton<ScheduleBounds>();
        if (builder.State is not null)
        {
            services.AddSingleton(p => new RunRequests(
                p.GetRequiredService<StateGuard>(),
                p.GetRequiredService<JobCatalog>(),
                p.GetRequiredService<ISchedulerFactory>(),
                p.GetRequiredService<PausedJobs>(),
                p.GetRequiredService<GroupLoops>(),
                p.GetRequiredService<ClockGuard>()
            ));
            services.AddSingleton<VersionWatch>();
            services.AddSingleton(p => new PauseRequests(
                p.GetRequiredService<StateGuard>(),
                p.GetRequiredService<JobCatalog>(),
                p.GetRequiredService<ISchedulerFactory>(),
                p.GetRequiredService<PausedJobs>(),
                p.GetRequiredService<GroupLoops>()
            ));
            services.AddSingleton(p => new StandBy(
                p.GetRequiredService<StateGuard>(),
                p.GetRequiredService<RunLauncher>(),
                p.GetRequiredService<RunPipeline>(),
                p.GetRequiredService<JobCatalog>(),
                p.GetRequiredService<TimeProvider>(),
                p.GetRequiredService<ClockGuard>(),
                p.GetRequiredService<ILogger<StandBy>>()
            ));
        }
        services.AddSingleton<LevelCheck>();
        services.AddSingleton<QuartzInventory>();
        services.AddSingleton(p => new ClockGuard(
            p.GetRequiredService<ReplicaIdentity>(),
            p.GetRequiredService<GroupTime>(),
            options.MaxClockOffset,
            isWatched: builder.State is not null,
            p.GetRequiredService<ILogger<ClockGuard>>()
        ));
        services.AddSingleton(p => new ReplicaStatus(
            p.GetRequiredService<ILockProvider>(),
            p.GetRequiredService<StateHolder>().Guard,
            p.GetRequiredService<ScheduleBounds>(),
            p.GetRequiredService<ClockGuard>()
        ));
        services.AddSingleton(MakeLoops);
    }

    private static void AddJobs(IQuartzBuilder quartz, IReadOnlyList<JobDefinition> jobs)
    {
        foreach (var job in jobs)
        {
            var key = new JobKey(job.Identity);
            quartz.AddJob(job.Type, c => c.WithIdentity(key).StoreDurably());
            foreach (var trigger in job.Triggers)
            {
                quartz.AddTrigger(
                    (services, c) =>
                    {
                        c.WithIdentity(trigger.Name, job.Identity).ForJob(key).WithSchedule(ScheduleOf(trigger));
                        if (trigger.Every is { } every)
                        {
                            var now = services.GetRequiredService<TimeProvider>().GetUtcNow();
                            c.StartAt(Schedule.NextOnGrid(every, now + TimeSpan.FromSeconds(1)));
                        }
                        foreach (var (name, value) in trigger.Data)
                        {
                            c.UsingJobData(name, value);
                        }
                    }
                );
            }
        }
    }

    // A late fire is the reconciler's, so Quartz drops what it missed instead of firing it under some label.
    private static IScheduleBuilder ScheduleOf(TriggerDefinition trigger) =>
        trigger.Cron is { } cron
            ? CronScheduleBuilder.Create(cron).InTimeZone(trigger.TimeZone).WithMisfireInstruction(CronTriggerMisfireInstruction.DoNothing)
            : SimpleScheduleBuilder
                .Create()
                .WithInterval(trigger.Every!.Value)
                .RepeatForever()
                .WithMisfireInstruction(SimpleTriggerMisfireInstruction.NextWithExistingCount);

    private static BackendContext Context(IServiceProvider services, SingleInstanceOptions options)
    {
        var group = services.GetRequiredService<GroupContext>();
        return new BackendContext(
            group.Group,
            group.Replica,
            options.Leases,
            services.GetRequiredService<TimeProvider>(),
            services.GetRequiredService<ILoggerFactory>()
        );
    }

    private static StateHolder MakeState(IServiceProvider services, SingleInstanceBuilder builder, SingleInstanceOptions options)
    {
        if (builder.State is null)
        {
            return new StateHolder(null);
        }
        var context = Context(services, options);
        var logger = context.Loggers.CreateLogger<StateGuard>();
        return new StateHolder(
            new StateGuard(
                services.GetRequiredService<IState>(),
                options.Leases.CallTimeout,
                options.Leases.ProbeInterval,
                context.Time,
                logger
            )
        );
    }

    private static LockProvider MakeLocks(IServiceProvider services, ILeaseStore store, string? group, SingleInstanceOptions options)
    {
        if (group is null && !store.Traits.HostLocal)
        {
            throw new SchedulerConfigurationException([
                $"Scheduler:Group is not set; with the networked lock store '{store.Traits.Name}' a group is required, or two "
                    + "services on one store would share their locks.",
            ]);
        }
        var context = Context(services, options);
        var guard = services.GetRequiredService<StateHolder>().Guard;
        var pairing = new StorePairing(
            store,
            guard,
            context.Replica,
            options.Leases,
            info => services.GetRequiredService<LevelCheck>().ThrowIfTooWeak(store.Traits.Name, info.Level, info.Warnings),
            context.Loggers.CreateLogger<StorePairing>()
        );
        return new LockProvider(store, options.Leases, context.Replica, context.Time, context.Loggers, pairing);
    }

    private static GroupLoops MakeLoops(IServiceProvider services)
    {
        if (services.GetRequiredService<StateHolder>().Guard is not { } guard)
        {
            return new GroupLoops(null, null, null);
        }
        var options = services.GetRequiredService<SingleInstanceOptions>();
        var time = services.GetRequiredService<TimeProvider>();
        var jobs = services.GetRequiredService<JobCatalog>();
        var locks = services.GetRequiredService<ILockProvider>();
        var reconciler = new Reconciler(
            guard,
            locks,
            services.GetRequiredService<RunPipeline>(),
            services.GetRequiredService<RunLauncher>(),
            jobs,
            services.GetRequiredService<ReplicaIdentity>(),
            services.GetRequiredService<ReplicaOrder>(),
            services.GetRequiredService<PausedJobs>(),
            services.GetRequiredService<ScheduleBounds>(),
            services.GetRequiredService<VersionWatch>(),
            new GroupPace(services.GetRequiredService<ReplicaOrder>(), jobs, options.Leases, locks.Traits.HostLocal),
            time,
            services.GetRequiredService<ClockGuard>(),
            services.GetRequiredService<ILogger<Reconciler>>()
        );
        var heartbeat = new Heartbeat(
            guard,
            services.GetRequiredService<ReplicaIdentity>(),
            jobs,
            services.GetRequiredService<ReplicaStatus>(),
            services.GetRequiredService<ReplicaOrder>(),
            services.GetRequiredService<PausedJobs>(),
            services.GetRequiredService<VersionWatch>(),
            services.GetRequiredService<ClockGuard>(),
            services.GetRequiredService<LockProvider>(),
            options,
            services.GetRequiredService<GroupTime>(),
            services.GetRequiredService<ILogger<Heartbeat>>()
        );
        return new GroupLoops(reconciler, services.GetRequiredService<StandBy>(), heartbeat);
    }
}
