using System.Runtime.CompilerServices;
using Quartz;
using Scheduler.Runs;

namespace Scheduler.Jobs;

/// <summary>Reaches the run of a body from Quartz's execution context.</summary>
public static class JobExecutionContextExtensions
{
    private static readonly ConditionalWeakTable<IJobExecutionContext, IRun> Runs = [];

    /// <summary>The run that this body executes: its token, its attempt, whether it still holds its lock.</summary>
    /// <param name="context">The context that Quartz handed to the body.</param>
    /// <exception cref="InvalidOperationException">The job is not <see cref="SingleInstanceAttribute"/>, or its body has not
    /// begun.</exception>
    public static IRun GetRun(this IJobExecutionContext context) =>
        context.FindRun()
        ?? throw new InvalidOperationException(
            $"Job '{context.JobDetail.Key}' has no run: only the body of a [SingleInstance] job has one. Mark the class, and "
                + "call UseSingleInstance in AddQuartz."
        );

    /// <summary>The run that this body executes, or <see langword="null"/> for a job without a lock.</summary>
    /// <param name="context">The context that Quartz handed to the body.</param>
    public static IRun? FindRun(this IJobExecutionContext context) => Runs.TryGetValue(context, out var run) ? run : null;

    internal static void SetRun(this IJobExecutionContext context, IRun run) => Runs.AddOrUpdate(context, run);
}
