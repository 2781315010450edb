using System.Collections.Concurrent;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Quartz;
using Scheduler.Jobs;
using Scheduler.Leases;
using Scheduler.Locking.InMemory;
using Scheduler.Postgres.State;
using Scheduler.Runs;
using Scheduler.Sqlite.State;
using Scheduler.Testing;
using Scheduler.Tests.Postgres;

namespace Scheduler.Tests.Jobs;

/// <summary>One replica in this process: a plain Quartz application with the one added line, and its own wall clock.</summary>
public sealed class Replica : IAsyncDisposable
{
    private readonly IHost _host;
    private readonly Group _group;

    private Replica(IHost host, Group group, FireLog fires, SkewedTime time)
    {
        (_host, _group) = (host, group);
        Fires = fires;
        Time = time;
    }

    public SkewedTime Time { get; }

    public FireLog Fires { get; }

    public IServiceProvider Services => _host.Services;

    public LockProvider Locks => Services.GetRequiredService<LockProvider>();

    public StateGuard? State => Services.GetRequiredService<Scheduler.Jobs.Hosting.StateHolder>().Guard;

    /// <summary>Fires when the host is asked to stop.</summary>
    public CancellationToken Stopping => Services.GetRequiredService<IHostApplicationLifetime>().ApplicationStopping;

    public string Id => Services.GetRequiredService<ReplicaIdentity>().Id;

    public ReplicaStatus Status => Services.GetRequiredService<ReplicaStatus>();

    /// <summary>Whether it has found the other one among the members, as its log says.</summary>
    public bool Sees(Replica other) =>
        _group.Log.Entries.Any(e => e.Id.Id == 3031 && e.Message.Contains(other.Id, StringComparison.Ordinal));

    public async Task<IScheduler> SchedulerAsync() => await Services.GetRequiredService<ISchedulerFactory>().GetScheduler();

    /// <summary>Builds and starts a replica.</summary>
    public static async Task<Replica> StartAsync(
        Group group,
        Action<IQuartzBuilder>? quartz = null,
        Action<SingleInstanceBuilder>? configure = null,
        TimeSpan? skew = null
    )
    {
        var replica = Build(group, quartz, configure, skew);
        await replica._host.StartAsync();
        return replica;
    }

    public static Replica Build(
        Group group,
        Action<IQuartzBuilder>? quartz = null,
        Action<SingleInstanceBuilder>? configure = null,
        TimeSpan? skew = null
    )
    {
        var time = new SkewedTime(skew ?? TimeSpan.Zero);
        var fires = new FireLog();
        var builder = Host.CreateApplicationBuilder(new HostApplicationBuilderSettings { DisableDefaults = true });
        builder.Logging.ClearProviders().AddProvider(group.Log).SetMinimumLevel(LogLevel.Debug);
        builder.Services.AddSingleton<TimeProvider>(time);
        builder.Services.AddSingleton(group.Bodies);
        // Every scheduler of a process has a name of its own in Quartz's repository.
        builder.Services.AddQuartz(q =>
        {
            q.ConfigureScheduler(o => o.InstanceName = $"replica-{Guid.NewGuid():n}");
            q.UseTimeProvider(time);
            q.AddJobListener(fires, []);
            q.UseSingleInstance(
                group.Name,
                l =>
                {
                    l.SetLeaseStore((_, context) => new InMemoryLeaseStore(group.Server, context.Group));
                    if (group.StateFile is { } file)
                    {
                        l.UseSqliteState($"Data Source={file}");
                    }
                    if (group.Database is { } database)
                    {
                        l.UsePostgresState(database.ConnectionString);
                    }
                    configure?.Invoke(l);
                }
            );
            q.AddJobTimeout();
            quartz?.Invoke(q);
        });
        builder.Services.AddQuartzHostedService();
        return new Replica(builder.Build(), group, fires, time);
    }

    public Task StartAsync() => _host.StartAsync();

    public Task StopAsync() => _host.StopAsync();

    public async ValueTask DisposeAsync()
    {
        await _host.StopAsync();
        await ((IAsyncDisposable)_host).DisposeAsync();
    }
}

/// <summary>What the replicas of a test share: lock server, State, bodies, log.</summary>
public sealed class Group(bool withState = false, string name = "test", Group? beside = null) : IDisposable, IAsyncDisposable
{
    private readonly DirectoryInfo? _folder = withState && beside is null ? Directory.CreateTempSubdirectory("scheduler-jobs-") : null;

    public string Name { get; } = name;

    /// <summary>Where its State is, if it is on PostgreSQL; ends with the group.</summary>
    internal PostgresDatabase? Database { get; private init; }

    public InMemoryLeaseServer Server { get; } = beside?.Server ?? new();

    public BodyLog Bodies { get; } = new();

    public LogCapture Log { get; } = new();

    public string? StateFile => beside?.StateFile ?? (_folder is null ? null : Path.Combine(_folder.FullName, "state.db"));

    /// <summary>A group with a State, in a file or on PostgreSQL.</summary>
    public static async Task<Group> WithStateAsync(bool onPostgres) =>
        onPostgres ? new Group { Database = await PostgresDatabase.CreateAsync() } : new Group(withState: true);

    public async ValueTask DisposeAsync()
    {
        if (Database is not null)
        {
            await Database.DisposeAsync();
        }
        Dispose();
    }

    public void Dispose()
    {
        _folder?.Delete(recursive: true);
        Log.Dispose();
    }
}

/// <summary>How Quartz saw the fires of one replica.</summary>
public sealed class FireLog : IJobListener
{
    public string Name { get; } = $"fires-{Guid.NewGuid():n}";

    public ConcurrentQueue<(IJobExecutionContext Context, JobExecutionException? Error)> Ended { get; } = new();

    public IReadOnlyList<JobRunReport> Skips =>
        [.. Ended.Select(e => e.Context.Result).OfType<JobRunReport>().Where(r => r.Result == JobRunResult.Skipped)];

    public ValueTask JobToBeExecuted(IJobExecutionContext context, CancellationToken cancellationToken = default) =>
        ValueTask.CompletedTask;

    public ValueTask JobExecutionVetoed(IJobExecutionContext context, CancellationToken cancellationToken = default) =>
        ValueTask.CompletedTask;

    public ValueTask JobWasExecuted(
        IJobExecutionContext context,
        JobExecutionException? jobException,
        CancellationToken cancellationToken = default
    )
    {
        Ended.Enqueue((context, jobException));
        return ValueTask.CompletedTask;
    }
}
