using System.Collections.Concurrent;

namespace Scheduler.Redis.Batching;

/// <summary>
/// Gives callers their answers on threads of the pool: one after another for as long as they are quick, so that the many answers of a
/// batch do not each cost a wake-up. While one is delivered and others wait another thread is always asked for, so a caller that blocks
/// delays nobody else by more than the pool takes to give a thread. Thread-safe.
/// </summary>
internal sealed class AnswerRunner : IThreadPoolWorkItem
{
    private readonly ConcurrentQueue<Operation> _ready = new();
    private int _asked;

    /// <summary>Delivers now or soon.</summary>
    /// <param name="answered">Operations whose answers are set.</param>
    /// <param name="here">Whether this thread may be kept by whoever waits for an answer.</param>
    public void Deliver(Operation[] answered, bool here)
    {
        if (here && answered.Length == 1)
        {
            answered[0].Deliver();
            return;
        }
        foreach (var operation in answered)
        {
            _ready.Enqueue(operation);
        }
        if (here)
        {
            DeliverReady();
        }
        else
        {
            AskForThread();
        }
    }

    /// <inheritdoc/>
    public void Execute()
    {
        Volatile.Write(ref _asked, 0);
        DeliverReady();
    }

    private void DeliverReady()
    {
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
