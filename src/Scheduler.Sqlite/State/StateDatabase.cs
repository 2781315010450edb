using System.Collections.Concurrent;
using Dapper;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Logging;
using Scheduler.Hosting;
using Scheduler.Runs;
using Scheduler.Sqlite.Files;
using Scheduler.Sqlite.Telemetry;

namespace Scheduler.Sqlite.State;

/// <summary>The file of the State with its threads: one that writes, two that read, each behind a bounded queue. Thread-safe.</summary>
/// <remarks>
/// Threads may block, at the disk or at a writer lock that another process does not let go; callers never wait longer than a limit. A
/// blocked thread goes on by itself, and there are at most four: writer, readers, and one that opens however often that is tried.
/// </remarks>
internal sealed class StateDatabase : IDisposable
{
    /// <summary>How many calls may wait for the writer, and how many for the readers.</summary>
    public const int QueueLimit = 10_000;

    private const int Readers = 2;
    private static readonly TimeSpan LeastLimit = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan StopLimit = TimeSpan.FromSeconds(2);

    private readonly BackendContext _context;
    private readonly string? _mountInfoFile;
    private readonly ILogger _log;
    private readonly SqliteDataSource _source;
    private readonly WriterLock _writerLock;
    private readonly WriterLock _openerLock;
    private readonly BlockingCollection<Operation> _writes = new(QueueLimit);
    private readonly BlockingCollection<Operation> _reads = new(QueueLimit);
    private readonly Lock _gate = new();
    private readonly List<DatabaseThread> _threads = [];
    private Task _opening = Task.CompletedTask;
    private bool _disposed;
    private volatile bool _open;
    private volatile string? _file;

    /// <summary>Opens nothing.</summary>
    /// <param name="context">Times, clocks and loggers.</param>
    /// <param name="connectionString">Names the file.</param>
    /// <param name="mountInfoFile">Where to read what is mounted; another one in tests.</param>
    /// <exception cref="ArgumentException">The text is no connection string or names no file.</exception>
    public StateDatabase(BackendContext context, string connectionString, string? mountInfoFile = null)
    {
        _context = context;
        _mountInfoFile = mountInfoFile;
        _log = context.Loggers.CreateLogger<SqliteState>();
        _source = new SqliteDataSource(connectionString, pooling: false);
        _writerLock = new WriterLock(Path + ".lock", context.Time, _log);
        _openerLock = new WriterLock(Path + ".lock", context.Time, _log);
    }

    public string Path => _source.Path;

    // Callers have their own, shorter limit; this one holds for those that have none.
    private TimeSpan Limit => _context.Leases.CallTimeout > LeastLimit ? _context.Leases.CallTimeout : LeastLimit;

    /// <summary>Makes folder, file and schema. An attempt that did not answer in time goes on, and the next call waits for it.</summary>
    /// <exception cref="StateUnavailableException">It cannot be done, or the schema is too new.</exception>
    public async ValueTask OpenAsync(CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        try
        {
            await Opening().WaitAsync(Limit, _context.Time, cancellationToken);
        }
        catch (TimeoutException late)
        {
            throw Late(late, _openerLock.Explain() ?? DiskLoad);
        }
        catch (Exception problem) when (problem is SqliteException or IOException or UnauthorizedAccessException)
        {
            throw StateProblem.Explain(Path, problem);
        }
    }

    /// <summary>Changes something: durable when the task is done. Calls that wait together share a commit.</summary>
    public ValueTask<T> WriteAsync<T>(Func<SqliteConnection, T> work, CancellationToken cancellationToken) =>
        CallAsync(_writes, work, cancellationToken);

    /// <summary>Reads from one snapshot.</summary>
    public ValueTask<T> ReadAsync<T>(Func<SqliteConnection, T> work, CancellationToken cancellationToken) =>
        CallAsync(_reads, work, cancellationToken);

    /// <summary>
    /// Moves what is committed from the log into the file, on a connection and thread of its own: else the writer does it when the log is
    /// long, and keeps everybody waiting meanwhile. A log that is in use stays as it is; what goes wrong shows at the next write.
    /// </summary>
    public async ValueTask CheckpointAsync(CancellationToken cancellationToken)
    {
        var moving = Task.Run(
            () =>
            {
                StateProblem.ThrowIfDeleted(Path);
                using var connection = _source.OpenConnection();
                using var command = connection.CreateCommand();
                command.CommandText = "PRAGMA wal_checkpoint(PASSIVE)";
                command.ExecuteNonQuery();
            },
            cancellationToken
        );
        await moving.WaitAsync(Limit, _context.Time, cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        cancellationToken.ThrowIfCancellationRequested();
    }

    /// <summary>Whether a connection of somebody else's is on this file; by the name that SQLite made of its path, without links.</summary>
    public bool IsOn(SqliteConnection connection) => _file is { } file && FileOf(connection) == file;

    /// <summary>Ends the threads; calls that wait are answered first, as far as they are done within 2 s.</summary>
    public void Dispose()
    {
        lock (_gate)
        {
            _disposed = true;
            _open = false;
            _writes.CompleteAdding();
            _reads.CompleteAdding();
        }
        var start = TimeProvider.System.GetTimestamp();
        foreach (var thread in _threads)
        {
            // One that the system does not let go on ends with the process: it is a background thread.
            var left = StopLimit - TimeProvider.System.GetElapsedTime(start);
            if (!thread.Join(left > TimeSpan.Zero ? left : TimeSpan.Zero))
            {
                Log.StateDidNotClose(_log, Path, StopLimit);
                return;
            }
        }
    }

    private Task Opening()
    {
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_disposed, typeof(SqliteState));
            if (_opening.IsCompleted)
            {
                _opening = Task.Factory.StartNew(Open, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
                // Observed here, for the case that all who wait have gone.
                _ = _opening.ContinueWith(
                    static t => t.Exception,
                    CancellationToken.None,
                    TaskContinuationOptions.OnlyOnFaulted,
                    TaskScheduler.Default
                );
            }
            return _opening;
        }
    }

    private void Open()
    {
        StateProblem.ThrowIfRemote(Path, _mountInfoFile);
        if (_open)
        {
            // Made anew it would be empty, and what was recorded would run again.
            StateProblem.ThrowIfDeleted(Path);
        }
        Directory.CreateDirectory(System.IO.Path.GetDirectoryName(Path)!);
        _openerLock.Enter();
        try
        {
            lock (_gate)
            {
                ObjectDisposedException.ThrowIf(_disposed, typeof(SqliteState));
            }
            using var connection = (SqliteConnection)_source.OpenConnection();
            Migrations.Apply(connection, Path, _log);
            _file = FileOf(connection);
        }
        finally
        {
            _openerLock.Exit();
        }
        Start();
    }

    private static string FileOf(SqliteConnection connection) =>
        connection.QuerySingle<string>("SELECT file FROM pragma_database_list WHERE name = 'main'");

    private void Start()
    {
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_disposed, typeof(SqliteState));
            if (_threads.Count == 0)
            {
                _threads.Add(new DatabaseThread(_source, _writes, _writerLock, _context.Time, _log));
                for (var i = 0; i < Readers; i++)
                {
                    _threads.Add(new DatabaseThread(_source, _reads, writerLock: null, _context.Time, _log));
                }
            }
            _open = true;
        }
    }

    private async ValueTask<T> CallAsync<T>(
        BlockingCollection<Operation> queue,
        Func<SqliteConnection, T> work,
        CancellationToken cancellationToken
    )
    {
        cancellationToken.ThrowIfCancellationRequested();
        var operation = new Operation<T>(work);
        var since = _context.Time.GetTimestamp();
        Add(queue, operation);
        try
        {
            return await operation.Answer.WaitAsync(Limit, _context.Time, cancellationToken);
        }
        catch (TimeoutException late)
        {
            throw Late(late, LockOf(queue)?.Explain() ?? $"{DiskLoad} {Doing(queue)}.");
        }
        catch (OperationCanceledException)
        {
            // Who has a shorter limit than ours ends its calls so; what they waited for must show all the same.
            var waited = _context.Time.GetElapsedTime(since);
            if (LockOf(queue)?.Explain() is null && waited >= WriterLock.Slow)
            {
                Log.StateIsSlow(_log, Path, waited, Doing(queue));
            }
            throw;
        }
        finally
        {
            operation.Abandon();
        }
    }

    private WriterLock? LockOf(BlockingCollection<Operation> queue) => queue == _writes ? _writerLock : null;

    private string DiskLoad => $"look at the load of the disk under '{System.IO.Path.GetDirectoryName(Path)}'.";

    private StateUnavailableException Late(TimeoutException late, string why) =>
        new($"The State '{Path}' did not answer within {Limit.TotalSeconds:0.#} s: {why}", late);

    private string Doing(BlockingCollection<Operation> queue)
    {
        lock (_gate)
        {
            return $"Its thread {string.Join(", the other ", _threads.Where(t => t.IsWriter == (queue == _writes)).Select(t => t.Now))}";
        }
    }

    private void Add(BlockingCollection<Operation> queue, Operation operation)
    {
        lock (_gate)
        {
            if (!_open)
            {
                throw new StateUnavailableException($"The State '{Path}' is not open: it was not opened yet, or is closed already.");
            }
            if (!queue.TryAdd(operation))
            {
                throw new StateUnavailableException(
                    $"{QueueLimit} calls wait for the State '{Path}' already: "
                        + (LockOf(queue)?.Explain() ?? "look at the load of the disk; run fewer jobs at once.")
                );
            }
        }
    }
}
