using System.Collections.Concurrent;

namespace Scheduler.Redis.Batching;

/// <summary>
/// Gives callers their answers on threads of the pool: one after another for as long as they are quick, so that the many answers of a
/// batch do not each cost a wake-up. While one is delivered another thread is always asked for, so a caller that blocks delays nobody
/// else by more than the pool takes to give a thread. Thread-safe.
/// </summary>
internal sealed class AnswerRunner : IThreadPoolWorkItem
{
    private readonly ConcurrentQueue<Operation> _ready = new();
    private int _asked;

    /// <summary>Delivers soon.</summary>
    /// <param name="answered">Operations whose answers are set.</param>
    public void Add(Operation[] answered)
    {
        foreach (var operation in answered)
        {
            _ready.Enqueue(operation);
        }
        AskForThread();
    }

    /// <inheritdoc/>
    public void Execute()
    {
        Volatile.Write(ref _asked, 0);
        while (_ready.TryDequeue(out var operation))
        {
            if (!_ready.IsEmpty)
            {
                AskForThread();
            }
            operation.Deliver();
        }
    }

    private void AskForThread()
    {
        if (Interlocked.Exchange(ref _asked, 1) == 0)
        {
            ThreadPool.UnsafeQueueUserWorkItem(this, preferLocal: false);
        }
    }
}
