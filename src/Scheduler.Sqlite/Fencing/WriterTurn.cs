using System.Collections.Concurrent;
using Scheduler.Sqlite.Files;

namespace Scheduler.Sqlite.Fencing;

/// <summary>
/// Turns at writing to one file. SQLite's own lock has no queue: who waits for it asks again and again, with its thread blocked, and is
/// overtaken by whoever comes at the right moment. So the transactions of one process go one after another, on a thread of their own that
/// SQLite may block while it waits for the disk, and processes queue at the <c>.lock</c> file beside the database, as the State's writers
/// do at that of theirs. Thread-safe.
/// </summary>
internal sealed class WriterTurn
{
    // How long a process keeps the lock file while it has work, and the thread stays without any.
    private static readonly TimeSpan Longest = TimeSpan.FromMilliseconds(10);
    private static readonly TimeSpan Idle = TimeSpan.FromSeconds(1);

    // One for each database that the process writes to.
    private static readonly ConcurrentDictionary<string, WriterTurn> Lines = new(StringComparer.Ordinal);

    private readonly string _lockPath;
    private readonly BlockingCollection<Turn> _waiting = [];
    private readonly Lock _gate = new();
    private bool _hasThread;

    private WriterTurn(string path) => _lockPath = $"{path}.lock";

    /// <summary>Waits for the turn, without a thread, and for the work that is done in it.</summary>
    /// <param name="path">The database.</param>
    /// <param name="limit">How long to wait for the turn; the work has no limit.</param>
    /// <param name="work">Begins on the thread of the turns.</param>
    /// <param name="cancellationToken">Ends the wait for the turn; the work looks at it by itself.</param>
    /// <returns>Whether the turn came within the limit, and what the work returned then.</returns>
    public static async ValueTask<(bool Came, T? Result)> TakeAsync<T>(
        string path,
        TimeSpan limit,
        Func<Task<T>> work,
        CancellationToken cancellationToken
    )
    {
        using var late = new CancellationTokenSource(limit, TimeProvider.System);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(late.Token, cancellationToken);
        var turn = new Turn<T>(work);
        await using (either.Token.UnsafeRegister(static turn => ((Turn)turn!).GiveUp(), turn))
        {
            Lines.GetOrAdd(path, static path => new WriterTurn(path)).Add(turn);
            if (await turn.Ended is { } ended)
            {
                return (true, await ended);
            }
        }
        cancellationToken.ThrowIfCancellationRequested();
        return default;
    }

    private void Add(Turn turn)
    {
        _waiting.Add(turn, CancellationToken.None);
        lock (_gate)
        {
            if (_hasThread)
            {
                return;
            }
            _hasThread = true;
        }
        new Thread(Work) { IsBackground = true, Name = "effect writer" }.UnsafeStart();
    }

    private void Work()
    {
        while (true)
        {
            if (_waiting.TryTake(out var first, Idle))
            {
                RunSome(first);
                continue;
            }
            lock (_gate)
            {
                if (_waiting.Count == 0)
                {
                    _hasThread = false;
                    return;
                }
            }
        }
    }

    // Several while the lock is there, because the next process's thread has to be woken; not for long, because it waits.
    private void RunSome(Turn first)
    {
        // A process that was stopped in its turn blocks this thread without a bound; who waits here leaves by its own limit.
        using var file = LockFile();
        var start = TimeProvider.System.GetTimestamp();
        var next = first;
        do
        {
            next.Run();
        } while (TimeProvider.System.GetElapsedTime(start) < Longest && _waiting.TryTake(out next!));
    }

    // None where the file cannot be: then SQLite's own lock decides, and what is wrong with the folder is SQLite's to say.
    private FileLock? LockFile()
    {
        FileLock? file = null;
        try
        {
            file = FileLock.Open(_lockPath);
            file.Lock();
            return file;
        }
        catch (IOException)
        {
            file?.Dispose();
            return null;
        }
    }

    /// <summary>Somebody's turn: either its work begins, or who waits gives it up, whichever is first.</summary>
    private abstract class Turn
    {
        private readonly ExecutionContext? _context = ExecutionContext.Capture();
        private int _decided;

        public void Run()
        {
            if (Interlocked.Exchange(ref _decided, 1) != 0)
            {
                return;
            }
            if (_context is null)
            {
                Work();
                return;
            }
            ExecutionContext.Run(_context, static turn => ((Turn)turn!).Work(), this);
        }

        public void GiveUp()
        {
            if (Interlocked.Exchange(ref _decided, 1) == 0)
            {
                Leave();
            }
        }

        protected abstract void Work();

        protected abstract void Leave();
    }

    private sealed class Turn<T>(Func<Task<T>> work) : Turn
    {
        private readonly TaskCompletionSource<Task<T>?> _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public Task<Task<T>?> Ended => _ended.Task;

        protected override void Work()
        {
            var working = work();
            // Work that awaits something else than SQLite goes on elsewhere; the turn is over when it is.
            Task.WaitAny([working], CancellationToken.None);
            _ended.SetResult(working);
        }

        protected override void Leave() => _ended.SetResult(null);
    }
}
