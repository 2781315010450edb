using Quartz;
using Scheduler.Jobs;

namespace Payments.Jobs.Demo;

/// <summary>Does what <see cref="Tick"/> does: for trying out a job whose class gets another name.</summary>
[SingleInstance]
public sealed class Tock(TimeProvider time) : IJob
{
    private readonly Tick _tick = new(time);

    /// <inheritdoc/>
    public ValueTask Execute(IJobExecutionContext context, CancellationToken cancellationToken = default) =>
        _tick.Execute(context, cancellationToken);
}
