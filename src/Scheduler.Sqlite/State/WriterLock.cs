using Microsoft.Extensions.Logging;
using Scheduler.Sqlite.Files;
using Scheduler.Sqlite.Telemetry;

namespace Scheduler.Sqlite.State;

/// <summary>
/// One thread's turn at the file at which the writers of all processes queue, in the kernel. A process that is stopped while it has its
/// turn blocks the others without bound: so only threads of the State wait here, and their callers end by their own time limits.
/// <see cref="Enter"/> and <see cref="Exit"/> are for one thread, the rest is thread-safe.
/// </summary>
internal sealed class WriterLock(string path, TimeProvider time, ILogger log)
{
    /// <summary>From here on a wait is worth telling: a turn takes a commit, some milliseconds. Less than the usual limit of a call, or the
    /// first call that ends without an answer would leave no word of why.</summary>
    public static readonly TimeSpan Slow = TimeSpan.FromSeconds(0.5);

    private const long NotWaiting = long.MinValue;
    private long _since = NotWaiting;
    private int _told;
    private FileLock? _file;

    /// <summary>How long the thread has been waiting for its turn; zero when it does not wait.</summary>
    public TimeSpan Waited => Volatile.Read(ref _since) is var since and not NotWaiting ? time.GetElapsedTime(since) : TimeSpan.Zero;

    /// <summary>Waits for the turn; blocks the thread.</summary>
    /// <exception cref="IOException">The file cannot be opened or locked; the message names it and the system's reason.</exception>
    public void Enter()
    {
        // Opened for each turn: one that was deleted meanwhile is made anew, instead of keeping nobody out.
        var file = FileLock.Open(path);
        Volatile.Write(ref _told, 0);
        Volatile.Write(ref _since, time.GetTimestamp());
        try
        {
            file.Lock();
        }
        catch
        {
            file.Dispose();
            throw;
        }
        finally
        {
            var waited = Waited;
            Volatile.Write(ref _since, NotWaiting);
            if (waited >= Slow)
            {
                Log.StateLockWasSlow(log, path, waited);
            }
        }
        _file = file;
    }

    /// <summary>Ends the turn; without one it does nothing.</summary>
    public void Exit()
    {
        _file?.Dispose();
        _file = null;
    }

    /// <summary>Says why there is no answer, if it is this, and logs it once for each wait.</summary>
    public string? Explain()
    {
        var waited = Waited;
        if (waited < Slow)
        {
            return null;
        }
        if (Interlocked.Exchange(ref _told, 1) == 0)
        {
            Log.StateLockIsStuck(log, path, waited);
        }
        return $"another process has held the writer lock '{path}' for {waited.TotalSeconds:0.0} s. It is stopped, or its disk "
            + "hangs: find it "
            + "with 'lslocks', and let it go on or end it; the State then goes on by itself.";
    }
}
