using Microsoft.Extensions.Logging;
using Quartz;
using Scheduler.Jobs;

namespace Scheduler.Tests.Worker;

/// <summary>Says one line and is done.</summary>
[SingleInstance]
public sealed class TalkingJob(ILogger<TalkingJob> logger) : IJob
{
    public ValueTask Execute(IJobExecutionContext context, CancellationToken cancellationToken = default)
    {
#pragma warning disable CA1848, CA1873 // As a user's job would.
        logger.LogInformation("The body says hello");
#pragma warning restore CA1848, CA1873
        return ValueTask.CompletedTask;
    }
}

/// <summary>Fails.</summary>
[SingleInstance]
public sealed class FailingJob : IJob
{
    public ValueTask Execute(IJobExecutionContext context, CancellationToken cancellationToken = default) =>
        throw new InvalidOperationException("the bank said no");
}

/// <summary>Runs until it is told to end.</summary>
[SingleInstance(Key = "long:{who}")]
public sealed class LongJob : IJob
{
    public async ValueTask Execute(IJobExecutionContext context, CancellationToken cancellationToken = default) =>
        await Task.Delay(Timeout.InfiniteTimeSpan, TimeProvider.System, cancellationToken);
}

/// <summary>Runs on each replica.</summary>
[EveryReplica]
public sealed class LocalJob : IJob
{
    public ValueTask Execute(IJobExecutionContext context, CancellationToken cancellationToken = default) => ValueTask.CompletedTask;
}

/// <summary>Has no attribute: refused.</summary>
public sealed class ForgottenJob : IJob
{
    public ValueTask Execute(IJobExecutionContext context, CancellationToken cancellationToken = default) => ValueTask.CompletedTask;
}
