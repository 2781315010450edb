using System.Collections.Concurrent;
using Quartz;
using Scheduler.Jobs;
using Scheduler.Runs;

namespace Scheduler.Tests.Jobs;

/// <summary>What bodies did, over all replicas of a test; and what they are to do.</summary>
public sealed class BodyLog
{
    private int _failingConstructions;

    public ConcurrentQueue<BodyEvent> Events { get; } = new();

    public Func<IJobExecutionContext, CancellationToken, ValueTask> Body { get; set; } = static (_, _) => ValueTask.CompletedTask;

    /// <summary>How many more times constructing a <see cref="BrittleJob"/> fails.</summary>
    public int FailingConstructions
    {
        get => Volatile.Read(ref _failingConstructions);
        set => Volatile.Write(ref _failingConstructions, value);
    }

    public bool FailsConstruction() => Interlocked.Decrement(ref _failingConstructions) >= 0;

    public IReadOnlyList<BodyEvent> Ended => [.. Events.Where(e => e.Kind == "end")];

    public async ValueTask RunAsync(IJobExecutionContext context, CancellationToken cancellationToken)
    {
        var run = context.FindRun();
        Events.Enqueue(
            new BodyEvent("begin", run, context.ScheduledFireTimeUtc, context.MergedJobDataMap.TryGetValue("who", out var who) ? who : null)
        );
        await Body(context, cancellationToken);
        Events.Enqueue(new BodyEvent("end", run, context.ScheduledFireTimeUtc, null));
    }
}

public sealed record BodyEvent(string Kind, IRun? Run, DateTimeOffset? Scheduled, object? Who);

[SingleInstance(CatchUp = CatchUp.All)]
public sealed class PlainJob(BodyLog log) : IJob
{
    public ValueTask Execute(IJobExecutionContext context, CancellationToken cancellationToken = default) =>
        log.RunAsync(context, cancellationToken);
}

[SingleInstance]
public sealed class DefaultJob(BodyLog log) : IJob
{
    public ValueTask Execute(IJobExecutionContext context, CancellationToken cancellationToken = default) =>
        log.RunAsync(context, cancellationToken);
}

[SingleInstance(Key = "settle:{who}", CatchUp = CatchUp.All)]
public sealed class KeyedJob(BodyLog log) : IJob
{
    public ValueTask Execute(IJobExecutionContext context, CancellationToken cancellationToken = default) =>
        log.RunAsync(context, cancellationToken);
}

[EveryReplica]
public sealed class EverywhereJob(BodyLog log) : IJob
{
    public ValueTask Execute(IJobExecutionContext context, CancellationToken cancellationToken = default) =>
        log.RunAsync(context, cancellationToken);
}

public sealed class UnmarkedJob(BodyLog log) : IJob
{
    public ValueTask Execute(IJobExecutionContext context, CancellationToken cancellationToken = default) =>
        log.RunAsync(context, cancellationToken);
}

[SingleInstance(CatchUp = CatchUp.All)]
[JobTimeout("00:00:00.2")]
public sealed class TimedJob(BodyLog log) : IJob
{
    public ValueTask Execute(IJobExecutionContext context, CancellationToken cancellationToken = default) =>
        log.RunAsync(context, cancellationToken);
}

[SingleInstance]
[RetryPolicy(3, "00:00:01")]
public sealed class RetriedByQuartzJob : IJob
{
    public ValueTask Execute(IJobExecutionContext context, CancellationToken cancellationToken = default) => ValueTask.CompletedTask;
}

[SingleInstance]
[PersistJobDataAfterExecution]
public sealed class PersistingJob : IJob
{
    public ValueTask Execute(IJobExecutionContext context, CancellationToken cancellationToken = default) => ValueTask.CompletedTask;
}

[SingleInstance(CatchUp = CatchUp.All)]
[DisallowConcurrentExecution]
public sealed class NonConcurrentJob(BodyLog log) : IJob
{
    public ValueTask Execute(IJobExecutionContext context, CancellationToken cancellationToken = default) =>
        log.RunAsync(context, cancellationToken);
}

[SingleInstance(CatchUp = CatchUp.All)]
public sealed class BrittleJob : IJob
{
    private readonly BodyLog _log;

    public BrittleJob(BodyLog log)
    {
        if (log.FailsConstruction())
        {
            throw new InvalidOperationException("cannot be constructed now");
        }
        _log = log;
    }

    public ValueTask Execute(IJobExecutionContext context, CancellationToken cancellationToken = default) =>
        _log.RunAsync(context, cancellationToken);
}

[SingleInstance(Lease = "00:05:00")]
public sealed class OverlongJob : IJob
{
    public ValueTask Execute(IJobExecutionContext context, CancellationToken cancellationToken = default) => ValueTask.CompletedTask;
}

[SingleInstance]
[EveryReplica]
public sealed class UndecidedJob : IJob
{
    public ValueTask Execute(IJobExecutionContext context, CancellationToken cancellationToken = default) => ValueTask.CompletedTask;
}

[SingleInstance(
    Key = "broken:{",
    Lease = "soon",
    MaxCrashes = 5_000,
    CatchUpWithin = "a while",
    CatchUpLimit = 20_000,
    RetryDelay = "later"
)]
public sealed class WrongJob : IJob
{
    public ValueTask Execute(IJobExecutionContext context, CancellationToken cancellationToken = default) => ValueTask.CompletedTask;
}
