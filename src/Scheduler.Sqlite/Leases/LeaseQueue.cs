using System.Collections.Concurrent;
using Microsoft.Extensions.Logging;
using Scheduler.Locking;
using Scheduler.Sqlite.Telemetry;

namespace Scheduler.Sqlite.Leases;

/// <summary>
/// The one queue and the one thread through which a process works on the database, so that neither pool threads nor SQLite's locks are
/// waited for. What waits together is committed together. Thread-safe.
/// </summary>
internal sealed class LeaseQueue : IAsyncDisposable
{
    private const int Capacity = 10_000;
    private const int LargestBatch = 64;

    // Another process that is frozen while it has the writer lock must not freeze the end of this one.
    private static readonly TimeSpan LongestEnd = TimeSpan.FromSeconds(5);

    private readonly string _path;
    private readonly LeaseSession _session;
    private readonly ILogger _log;
    private readonly BlockingCollection<LeaseOperation> _waiting = new(Capacity);
    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Lock _gate = new();
    private bool _started;
    private bool _closed;

    public LeaseQueue(string path, LeaseSession session, ILogger log)
    {
        _path = path;
        _session = session;
        _log = log;
    }

    /// <summary>Runs a command in its turn.</summary>
    /// <exception cref="StoreUnavailableException">It failed, the queue is full, or the store was disposed of.</exception>
    /// <exception cref="OperationCanceledException">Nobody waits any more; the outcome is unknown.</exception>
    public Task<T> RunAsync<T>(Func<LeaseTable, T> command, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        var operation = new LeaseOperation<T>(command, cancellationToken);
        lock (_gate)
        {
            if (_closed)
            {
                throw new StoreUnavailableException($"This client of the SQLite locks '{_path}' was disposed of.");
            }
            if (!_waiting.TryAdd(operation))
            {
                throw new StoreUnavailableException(
                    $"{Capacity} commands wait for the SQLite locks '{_path}' already; the disk is too slow for them, or another process "
                        + "is frozen while it writes."
                );
            }
            if (!_started)
            {
                _started = true;
                new Thread(Work) { IsBackground = true, Name = "sqlite-locks" }.Start();
            }
        }
        return operation.Answer.WaitAsync(cancellationToken);
    }

    /// <summary>Finishes what waits and closes the files.</summary>
    public async ValueTask DisposeAsync()
    {
        lock (_gate)
        {
            if (!_closed)
            {
                _closed = true;
                _waiting.CompleteAdding();
            }
            if (!_started)
            {
                return;
            }
        }
        try
        {
            await _ended.Task.WaitAsync(LongestEnd, TimeProvider.System);
        }
        catch (TimeoutException)
        {
            Log.LockQueueDidNotEnd(_log, _path, LongestEnd);
        }
    }

    private void Work()
    {
        List<LeaseOperation> batch = new(LargestBatch);
        foreach (var first in _waiting.GetConsumingEnumerable())
        {
            batch.Clear();
            batch.Add(first);
            while (batch.Count < LargestBatch && _waiting.TryTake(out var next))
            {
                batch.Add(next);
            }
            batch.RemoveAll(o => o.IsAbandoned);
            if (batch.Count > 0)
            {
                Run(batch);
            }
        }
        try
        {
            _session.Dispose();
        }
        catch (Exception problem)
        {
            Log.LockFilesNotClosed(_log, _path, problem);
        }
        _ended.TrySetResult();
    }

    private void Run(List<LeaseOperation> batch)
    {
        try
        {
            _session.Run(batch);
        }
        catch (Exception problem)
        {
            // Each waiter is told: an exception that ended this thread would leave all of them waiting.
            var explained = SqliteProblem.Explain(_path, problem);
            batch.ForEach(o => o.Fail(explained));
            return;
        }
        batch.ForEach(o => o.Complete());
        foreach (var (key, replica) in _session.Broken)
        {
            Log.DeadReplicaLostLease(_log, replica, key);
        }
    }
}
