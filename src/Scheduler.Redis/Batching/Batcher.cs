namespace Scheduler.Redis.Batching;

/// <summary>
/// Lets operations that are asked for at the same time share calls to the server: a lone one is sent at once by its caller's thread;
/// while all calls that may be under way are, those that come wait and go together with the next. Thread-safe.
/// </summary>
/// <remarks>
/// Several calls at once keep server and client busy at the same time; more make the batches smaller and gain nothing. The size is
/// bounded so that no call holds the server, which does nothing else meanwhile, for more than half a millisecond.
/// </remarks>
/// <param name="send">Sends 1 to <see cref="LargestBatch"/> operations and sets the answer of each; ends within a time limit and never
/// throws.</param>
internal sealed class Batcher(Func<Operation[], Task> send)
{
    /// <summary>How many operations share a call at most.</summary>
    public const int LargestBatch = 96;

    /// <summary>How many calls are under way at most.</summary>
    public const int CallsAtOnce = 3;

    /// <summary>How many operations may wait for a call.</summary>
    public const int QueueLimit = 100_000;

    private readonly AnswerRunner _runner = new();
    private readonly Lock _gate = new();
    private readonly Queue<Operation> _waiting = new();
    private int _calls;

    /// <summary>Sends the operation now, or with the next call.</summary>
    /// <returns>Whether it was taken; not when too many wait.</returns>
    public bool TryAdd(Operation operation)
    {
        lock (_gate)
        {
            if (_calls == CallsAtOnce)
            {
                if (_waiting.Count == QueueLimit)
                {
                    return false;
                }
                _waiting.Enqueue(operation);
                return true;
            }
            _calls++;
        }
        _ = SendAsync([operation]);
        return true;
    }

    private async Task SendAsync(Operation[] batch)
    {
        var sending = send(batch);
        var isCallersThread = sending.IsCompleted;
        await sending;
        // Before the answers are given: whoever gets one may keep this thread.
        if (TakeNext() is { } next)
        {
            _ = SendAsync(next);
        }
        _runner.Deliver(batch, here: !isCallersThread);
    }

    private Operation[]? TakeNext()
    {
        lock (_gate)
        {
            if (_waiting.Count == 0)
            {
                _calls--;
                return null;
            }
            var batch = new Operation[Math.Min(_waiting.Count, LargestBatch)];
            for (var i = 0; i < batch.Length; i++)
            {
                batch[i] = _waiting.Dequeue();
            }
            return batch;
        }
    }
}
