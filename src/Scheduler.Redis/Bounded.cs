namespace Scheduler.Redis;

/// <summary>Gives every call its own time limit, because the client's asynchronous calls wait for a silent server for ever.</summary>
internal sealed class Bounded(TimeSpan limit, TimeProvider time)
{
    public TimeSpan Limit { get; } = limit;

    public TimeProvider Time { get; } = time;

    /// <summary>Waits for the answer, for the limit at most. The caller goes on on a thread of the pool.</summary>
    /// <exception cref="TimeoutException">There was no answer in time; it is ignored when it comes.</exception>
    public async Task<T> WaitAsync<T>(Task<T> call, CancellationToken cancellationToken)
    {
        try
        {
            // Forced to yield: the client completes calls one after another on its own thread, where a caller that blocks would hold
            // up the answers of all others, renewals among them.
            await ((Task)call.WaitAsync(Limit, Time, cancellationToken)).ConfigureAwait(ConfigureAwaitOptions.ForceYielding);
            return await call;
        }
        catch when (!call.IsCompleted)
        {
            Observe(call);
            throw;
        }
    }

    /// <summary>The same, but the caller goes on on the thread that brings the answer.</summary>
    /// <exception cref="TimeoutException">There was no answer in time; it is ignored when it comes.</exception>
    public async Task<T> WaitInlineAsync<T>(Task<T> call)
    {
        try
        {
            return await call.WaitAsync(Limit, Time);
        }
        catch (TimeoutException)
        {
            Observe(call);
            throw;
        }
    }

    private static void Observe(Task call) =>
        _ = call.ContinueWith(
            static late => _ = late.Exception,
            CancellationToken.None,
            TaskContinuationOptions.OnlyOnFaulted | TaskContinuationOptions.ExecuteSynchronously,
            TaskScheduler.Default
        );
}
