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
    /// <summary>Runs one call; never throws.</summary>
    /// <param name="limit">The time limit.</param>
    /// <param name="state">For the callee.</param>
    /// <param name="callee">Must return its task without blocking, and not use the token after that has ended.</param>
    /// <param name="cancellationToken">The caller's.</param>
    public static async ValueTask<BoundedCall<T>> RunAsync<T, TState>(
        CallLimit limit,
        TState state,
        Func<TState, CancellationToken, ValueTask<T>> callee,
        CancellationToken cancellationToken
    )
    {
        if (cancellationToken.IsCancellationRequested)
        {
            return new(CallEnd.Cancelled);
        }
        var call = limit.Begin();
        var caller = cancellationToken.UnsafeRegister(static call => ((CallLimit.Call)call!).Cancel(), call);
        Task<T>? task = null;
        var mayStillBeUsed = false;
        try
        {
            var started = callee(state, call.Token);
            if (started.IsCompletedSuccessfully)
            {
                return new(CallEnd.Answered, started.Result);
            }
            task = started.AsTask();
            return new(CallEnd.Answered, await task.WaitAsync(call.Token));
        }
        catch (OperationCanceledException) when (call.IsCancellationRequested)
        {
            mayStillBeUsed = task is { IsCompleted: false };
            Observe(task);
            return new(cancellationToken.IsCancellationRequested ? CallEnd.Cancelled : CallEnd.TimedOut, Pending: task);
        }
        catch (Exception e)
        {
            return new(CallEnd.Failed, Error: e);
        }
        finally
        {
            caller.Dispose();
            limit.End(call, mayStillBeUsed);
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
