namespace Scheduler.Leases;

internal enum CallEnd
{
    Answered,
    Failed,
    TimedOut,
    Cancelled,
}

/// <summary>How a call with a time limit ended.</summary>
/// <param name="End">What ended it.</param>
/// <param name="Value">The answer, when there is one.</param>
/// <param name="Error">What it threw.</param>
/// <param name="Pending">The call itself, which may still answer after its limit.</param>
internal readonly record struct BoundedCall<T>(CallEnd End, T? Value = default, Exception? Error = null, Task<T>? Pending = null);

/// <summary>Calls with a time limit that holds even where the callee ignores its cancellation token.</summary>
internal static class BoundedCall
{
    /// <summary>Runs one call; never throws. The callee must return its task without blocking.</summary>
    public static async ValueTask<BoundedCall<T>> RunAsync<T>(
        Func<CancellationToken, ValueTask<T>> call,
        TimeSpan limit,
        TimeProvider time,
        CancellationToken cancellationToken
    )
    {
        if (cancellationToken.IsCancellationRequested)
        {
            return new(CallEnd.Cancelled);
        }
        var limited = new CancellationTokenSource(limit, time);
        var linked = cancellationToken.CanBeCanceled
            ? CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, limited.Token)
            : limited;
        Task<T>? task = null;
        var disposeSources = true;
        try
        {
            var started = call(linked.Token);
            if (started.IsCompletedSuccessfully)
            {
                return new(CallEnd.Answered, started.Result);
            }
            task = started.AsTask();
            return new(CallEnd.Answered, await task.WaitAsync(linked.Token));
        }
        catch (OperationCanceledException) when (linked.IsCancellationRequested)
        {
            // The callee may still use the token, so the sources are left to the collector.
            disposeSources = task is null || task.IsCompleted;
            Observe(task);
            return new(cancellationToken.IsCancellationRequested ? CallEnd.Cancelled : CallEnd.TimedOut, Pending: task);
        }
        catch (Exception e)
        {
            return new(CallEnd.Failed, Error: e);
        }
        finally
        {
            if (disposeSources)
            {
                linked.Dispose();
                limited.Dispose();
            }
        }
    }

    /// <summary>Keeps the error of a call that nobody waits for any more from being reported as unobserved.</summary>
    public static void Observe(Task? task) =>
        _ = task?.ContinueWith(
            static ended => _ = ended.Exception,
            CancellationToken.None,
            TaskContinuationOptions.OnlyOnFaulted | TaskContinuationOptions.ExecuteSynchronously,
            TaskScheduler.Default
        );
}
