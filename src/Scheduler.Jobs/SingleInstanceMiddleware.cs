using System.Runtime.ExceptionServices;
using Microsoft.Extensions.Logging;
using Quartz;
using Scheduler.Jobs.Reconciliation;
using Scheduler.Jobs.Telemetry;
using Scheduler.Runs;

namespace Scheduler.Jobs;

/// <summary>
/// The lock-before-execute interceptor: reads what a fire stands for, takes it through <see cref="RunPipeline"/> with the rest of
/// Quartz's chain as the body, and tells Quartz how it ended. Thread-safe.
/// </summary>
internal sealed class SingleInstanceMiddleware(
    RunPipeline pipeline,
    JobCatalog jobs,
    FireReader reader,
    RunLauncher launcher,
    ILogger<SingleInstanceMiddleware> logger
) : IJobExecutionMiddleware
{
    public async ValueTask Invoke(IJobExecutionContext context, JobExecutionDelegate next, CancellationToken cancellationToken = default)
    {
        var policy = jobs.Of(context.JobDetail);
        if (!policy.IsSingleInstance)
        {
            await pipeline.ExecuteUnlockedAsync(() => next(context, cancellationToken), reader.CancelOf(context, policy));
            return;
        }
        var ran = false;
        try
        {
            FireRequest? fire;
            string? skip;
            try
            {
                (fire, skip) = await reader.ReadAsync(context, policy, cancellationToken);
            }
            catch (StateUnavailableException e)
            {
                context.Result = JobRunReport.Failed(e.Message);
                return;
            }
            if (fire is null)
            {
                context.Result = JobRunReport.Skipped(skip);
                return;
            }
            var result = await pipeline.ExecuteAsync(fire, run => RunBodyAsync(run, context, next, cancellationToken), cancellationToken);
            ran = result is not (FireResult.Skipped or FireResult.Unavailable);
            Report(context, fire, result);
        }
        finally
        {
            launcher.Ended(context.Trigger.Key, ran);
        }
    }

    private async ValueTask RunBodyAsync(
        IRun run,
        IJobExecutionContext context,
        JobExecutionDelegate next,
        CancellationToken cancellationToken
    )
    {
        context.SetRun(run);
        if (launcher.LaunchOf(context.Trigger.Key) is { } launch)
        {
            // Said only now: another replica may have been quicker, or the run may have ended while this fire was on its way.
            if (launch.IsTakeOver)
            {
                JobLog.TakingOver(logger, run.Occurrence, launch.Why);
            }
            else
            {
                JobLog.Launched(logger, run.Occurrence, launch.Why);
            }
        }
        await next(context, cancellationToken);
    }

    private void Report(IJobExecutionContext context, FireRequest fire, FireResult result)
    {
        switch (result)
        {
            case FireResult.Succeeded:
                return;
            case FireResult.Failed failed:
                ExceptionDispatchInfo.Throw(failed.Error);
                return;
            case FireResult.Interrupted interrupted:
                throw new JobExecutionException(new RunInterruptedException(fire.Occurrence, interrupted.Reason, interrupted.Error));
            case FireResult.Unavailable unavailable:
                context.Result = JobRunReport.Failed(unavailable.Reason);
                return;
            case FireResult.Skipped skipped:
                if (fire is { RunId: null, Occurrence.Trigger: RunRecord.ManualTrigger })
                {
                    JobLog.ManualSkipped(logger, fire.Occurrence.Job, fire.LockKey);
                }
                context.Result = JobRunReport.Skipped(skipped.Reason).With("holder", skipped.Holder ?? "");
                return;
        }
    }
}
