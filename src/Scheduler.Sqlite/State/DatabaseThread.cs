using System.Collections.Concurrent;
using System.Globalization;
using System.Runtime.ExceptionServices;
using Dapper;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Logging;
using Scheduler.Sqlite.Files;
using Scheduler.Sqlite.Telemetry;

namespace Scheduler.Sqlite.State;

/// <summary>
/// A thread with a connection of its own that works off a queue of calls; SQLite would block the callers' threads. The writer's takes
/// all calls that wait (at most 256) into one commit, because a commit waits for the disk; each call has a savepoint, so a failing one
/// fails alone. It waits for other processes at the writer lock, in the kernel, and so never meets SQLite's own busy state.
/// </summary>
internal sealed class DatabaseThread
{
    private const int LargestBatch = 256;

    private readonly SqliteDataSource _source;
    private readonly BlockingCollection<Operation> _queue;
    private readonly WriterLock? _lock;
    private readonly TimeProvider _time;
    private readonly ILogger _log;
    private readonly Thread _thread;
    private readonly List<Operation> _batch = [];
    private SqliteConnection? _connection;
    private bool _full;
    private volatile Doing _doing;

    /// <summary>Starts the thread.</summary>
    /// <param name="source">The database.</param>
    /// <param name="queue">The calls; the thread ends when adding is completed and it is empty.</param>
    /// <param name="writerLock">Where writers of all processes queue; none for a reader.</param>
    /// <param name="time">The clock of what is told of waits.</param>
    /// <param name="log">Where a full disk is told.</param>
    public DatabaseThread(
        SqliteDataSource source,
        BlockingCollection<Operation> queue,
        WriterLock? writerLock,
        TimeProvider time,
        ILogger log
    )
    {
        _source = source;
        _queue = queue;
        _lock = writerLock;
        _time = time;
        _log = log;
        _doing = new Doing("waits for calls", time.GetTimestamp());
        _thread = new Thread(Work) { IsBackground = true, Name = writerLock is null ? "state reader" : "state writer" };
        _thread.Start();
    }

    /// <summary>Whether it is the one that writes.</summary>
    public bool IsWriter => _lock is not null;

    /// <summary>What it does now and how long already; thread-safe.</summary>
    public string Now
    {
        get
        {
            var doing = _doing;
            return string.Create(CultureInfo.InvariantCulture, $"{doing.What} for {_time.GetElapsedTime(doing.Since).TotalSeconds:0.0} s");
        }
    }

    /// <summary>Waits for the end of the thread.</summary>
    public bool Join(TimeSpan limit) => _thread.Join(limit);

    private void Begin(string what) => _doing = new Doing(what, _time.GetTimestamp());

    private void Work()
    {
        foreach (var first in _queue.GetConsumingEnumerable())
        {
            try
            {
                if (_lock is not null)
                {
                    Begin("waits for the writer lock");
                    _lock.Enter();
                }
                Take(first);
                RunBatch();
            }
            catch (Exception problem)
            {
                if (_batch.Count == 0)
                {
                    first.Fail(Explain(problem));
                }
                FailBatch(problem);
            }
            finally
            {
                _lock?.Exit();
                _batch.Clear();
                Begin("waits for calls");
            }
        }
        _connection?.Dispose();
    }

    // After the lock was waited for: what came meanwhile goes along, and who gave up meanwhile is left out.
    private void Take(Operation first)
    {
        for (var next = first; ; )
        {
            if (next.TryTake())
            {
                _batch.Add(next);
            }
            if (!IsWriter || _batch.Count >= LargestBatch || !_queue.TryTake(out next!))
            {
                return;
            }
        }
    }

    private void RunBatch()
    {
        if (_batch.Count == 0)
        {
            return;
        }
        Begin("opens the file");
        // A file that was deleted would go on working here, unseen by everybody else.
        StateProblem.ThrowIfDeleted(_source.Path);
        _connection ??= (SqliteConnection)_source.OpenConnection();
        Begin("begins a transaction");
        _connection.ExecutePrepared(transaction: null, IsWriter ? "BEGIN IMMEDIATE" : "BEGIN DEFERRED");
        Begin("works");
        var succeeded = new List<Operation>(_batch.Count);
        foreach (var operation in _batch)
        {
            if (RunOne(_connection, operation))
            {
                succeeded.Add(operation);
            }
        }
        // Failed ones have been told; only the others depend on the commit.
        _batch.Clear();
        _batch.AddRange(succeeded);
        Begin("commits");
        _connection.ExecutePrepared(transaction: null, "COMMIT");
        if (_full && succeeded.Count > 0)
        {
            _full = false;
            Log.StateDiskHasSpace(_log, _source.Path);
        }
        foreach (var operation in succeeded)
        {
            operation.Complete();
        }
    }

    private bool RunOne(SqliteConnection connection, Operation operation)
    {
        connection.ExecutePrepared(transaction: null, "SAVEPOINT one");
        try
        {
            operation.Run(connection);
            connection.ExecutePrepared(transaction: null, "RELEASE one");
            return true;
        }
        catch (Exception problem)
        {
            try
            {
                connection.Execute("ROLLBACK TO one; RELEASE one");
            }
            catch (SqliteException)
            {
                // SQLite has rolled back everything by itself (disk full): the whole batch fails, and for the first reason.
                ExceptionDispatchInfo.Throw(problem);
            }
            operation.Fail(Explain(problem));
            return false;
        }
    }

    private void FailBatch(Exception problem)
    {
        // A fresh connection is the one state that is known for sure; it also rolls back what is open.
        _connection?.Dispose();
        _connection = null;
        var told = Explain(problem);
        foreach (var operation in _batch)
        {
            operation.Fail(told);
        }
    }

    private Exception Explain(Exception problem)
    {
        if (StateProblem.IsDiskFull(problem) && !_full)
        {
            _full = true;
            Log.StateDiskFull(_log, _source.Path, Path.GetDirectoryName(_source.Path));
        }
        return StateProblem.Explain(_source.Path, problem);
    }
}

/// <summary>What a thread does, for whoever waits for it too long; immutable.</summary>
/// <param name="What">A verb and its object.</param>
/// <param name="Since">When it began, a timestamp.</param>
internal sealed record Doing(string What, long Since);
