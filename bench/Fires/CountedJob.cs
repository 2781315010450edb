using System.Collections.Concurrent;
using System.Diagnostics;
using System.Runtime.CompilerServices;
using Quartz;
using Scheduler.Jobs;

namespace Scheduler.Bench.Fires;

/// <summary>One body that ran.</summary>
/// <param name="Job">Whose.</param>
/// <param name="Due">Its scheduled time, Unix milliseconds.</param>
/// <param name="LateMs">How long after it the body began.</param>
/// <param name="AddedMs">How long after Quartz called the middleware the body began.</param>
internal sealed record Fired(string Job, long Due, double LateMs, double AddedMs);

/// <summary>Does nothing but say that it ran.</summary>
[SingleInstance(CatchUp = CatchUp.All)]
internal sealed class CountedJob(FireLog log) : IJob
{
    public async ValueTask Execute(IJobExecutionContext context, CancellationToken cancellationToken = default)
    {
        log.Add(context);
        if (context.MergedJobDataMap.GetBoolean("blocks"))
        {
            await log.MaySpeak.Task;
            var again = context.Recovering || context.FindRun() is { Attempt: > 1 };
            Console.WriteLine(again ? FireReplica.TakenOver : FireReplica.Running);
            await ((Task)log.MayGoOn.Task.WaitAsync(cancellationToken)).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }
}

/// <summary>The bodies that ran in this process. Thread-safe.</summary>
internal sealed class FireLog
{
    private static readonly ConditionalWeakTable<IJobExecutionContext, object> Called = [];
    private readonly ConcurrentQueue<Fired> _fired = new();

    public int Count => _fired.Count;

    /// <summary>Set when the start of this process has been answered: a first fire may be quicker than that.</summary>
    public TaskCompletionSource MaySpeak { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Set when bodies that block are to end.</summary>
    public TaskCompletionSource MayGoOn { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public IReadOnlyCollection<Fired> All => _fired;

    /// <summary>Notes that Quartz has called the first middleware.</summary>
    public static void NoteCall(IJobExecutionContext context) => Called.Add(context, Stopwatch.GetTimestamp());

    public void Add(IJobExecutionContext context)
    {
        var added = Called.TryGetValue(context, out var called)
            ? Stopwatch.GetElapsedTime((long)called)
            : throw new InvalidOperationException("The body was reached without the outermost middleware.");
        var now = TimeProvider.System.GetUtcNow();
        var due = context.ScheduledFireTimeUtc ?? throw new InvalidOperationException($"{context.JobDetail.Key} has no scheduled time.");
        var late = now - due;
        _fired.Enqueue(
            new Fired(context.JobDetail.Key.Name, due.ToUnixTimeMilliseconds(), late.TotalMilliseconds, added.TotalMilliseconds)
        );
    }
}

/// <summary>The outermost middleware: only notes when Quartz called it.</summary>
internal sealed class CallTime : IJobExecutionMiddleware
{
    public ValueTask Invoke(IJobExecutionContext context, JobExecutionDelegate next, CancellationToken cancellationToken = default)
    {
        FireLog.NoteCall(context);
        return next(context, cancellationToken);
    }
}
