using System.Collections.Concurrent;
using Scheduler.Sqlite.Files;

namespace Scheduler.Sqlite.Fencing;

/// <summary>
/// A turn at writing to one file. SQLite's own lock has no queue: who waits for it asks again and again, with its thread blocked, and is
/// overtaken by whoever comes at the right moment. So the transactions of one process go one after another; and where the file is also a
/// State's, they queue with the State's writers of all processes at its <c>.lock</c> file. Thread-safe.
/// </summary>
internal sealed class WriterTurn : IDisposable
{
    // One for each database that the process writes to.
    private static readonly ConcurrentDictionary<string, SemaphoreSlim> Lines = new(StringComparer.Ordinal);

    private readonly SemaphoreSlim _line;
    private readonly FileLock? _file;

    private WriterTurn(SemaphoreSlim line, FileLock? file) => (_line, _file) = (line, file);

    /// <summary>Waits for the turn.</summary>
    /// <param name="path">The database.</param>
    /// <param name="limit">How long to wait.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <returns>The turn, or <see langword="null"/> when it did not come within the limit.</returns>
    /// <exception cref="IOException">The State's lock file cannot be opened or locked.</exception>
    public static async ValueTask<WriterTurn?> TakeAsync(string path, TimeSpan limit, CancellationToken cancellationToken)
    {
        using var late = new CancellationTokenSource(limit, TimeProvider.System);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(late.Token, cancellationToken);
        try
        {
            var line = Lines.GetOrAdd(path, static _ => new SemaphoreSlim(1, 1));
            await line.WaitAsync(either.Token);
            return await TakeFileAsync(line, $"{path}.lock", either.Token);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            return null;
        }
    }

    /// <summary>Ends the turn.</summary>
    public void Dispose()
    {
        _file?.Dispose();
        _line.Release();
    }

    private static async Task<WriterTurn> TakeFileAsync(SemaphoreSlim line, string lockPath, CancellationToken cancellationToken)
    {
        if (!File.Exists(lockPath))
        {
            return new WriterTurn(line, file: null);
        }
        // A thread of its own: a process that was stopped in its turn blocks it without a bound. There is at most one for each file.
        var locking = Task.Factory.StartNew(
            static path => LockFile((string)path!),
            lockPath,
            CancellationToken.None,
            TaskCreationOptions.LongRunning,
            TaskScheduler.Default
        );
        try
        {
            return new WriterTurn(line, await locking.WaitAsync(cancellationToken));
        }
        catch
        {
            // Who waited has gone; the next one's turn is when the thread is free.
            _ = locking.ContinueWith(
                ended =>
                {
                    if (ended.Exception is null)
                    {
                        ended.Result.Dispose();
                    }
                    line.Release();
                },
                CancellationToken.None,
                TaskContinuationOptions.None,
                TaskScheduler.Default
            );
            throw;
        }
    }

    private static FileLock LockFile(string path)
    {
        var file = FileLock.Open(path);
        try
        {
            file.Lock();
            return file;
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }
}
