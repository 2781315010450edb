using Microsoft.Extensions.Logging;
using Scheduler.Locking;
using Scheduler.Postgres.State;
using Scheduler.Postgres.Telemetry;
using Scheduler.Runs;

namespace Scheduler.Postgres.SessionLeases;

/// <summary>What all sessions of a replica have in common. Immutable.</summary>
/// <param name="Group">The group.</param>
/// <param name="Replica">The replica's id.</param>
/// <param name="Words">The numbers of its locks.</param>
/// <param name="WordOf">The number of a key's lock.</param>
/// <param name="Channel">Where released keys are told.</param>
/// <param name="Place">For messages.</param>
/// <param name="Limit">How long the server may take for one statement until the session counts as ended.</param>
/// <param name="Log">Where it tells what became of it.</param>
internal sealed record SessionContext(
    string Group,
    string Replica,
    LockWords Words,
    Func<LockKey, long> WordOf,
    string Channel,
    StatePlace Place,
    TimeSpan Limit,
    ILogger Log
);

/// <summary>
/// A session with what it holds. Calls that meet share statements: what ends goes first, then what is taken. Notes of what is held are sent
/// when nothing else waits, and what is over is let go. Thread-safe.
/// </summary>
/// <remarks>
/// A note costs the server more than a lock, so a grant that is soon over has none: notes are sent after a millisecond when the session
/// has nothing else to do, after <see cref="LatestNote"/> in any case. Whoever is refused and finds no note looks again until it is there.
/// </remarks>
internal sealed partial class LiveSession
{
    /// <summary>When the note of a grant is sent at the latest.</summary>
    public static readonly TimeSpan LatestNote = TimeSpan.FromMilliseconds(10);

    private static readonly TimeSpan SoonestNote = TimeSpan.FromMilliseconds(1);
    private static readonly TimeSpan LongestSleep = TimeSpan.FromSeconds(1);

    private readonly LockSession _session;
    private readonly SessionContext _context;
    private readonly OwnGrants _own = new();
    private readonly GroupCommit<SessionStep, bool> _calls;
    private readonly Lock _gate = new();
    private TaskCompletionSource _wake = NewSignal();
    private long _sleepsUntil = long.MinValue;
    private int _underWay;
    private volatile Exception? _overBecause;
    private volatile bool _closing;

    public LiveSession(LockSession session, SessionContext context)
    {
        (_session, _context) = (session, context);
        _calls = new((steps, _) => SendAsync(steps), static (_, _) => 0, context.Place, context.Log);
        _ = Task.Run(KeepUpAsync);
    }

    /// <summary>Whether the session has ended, and all its locks with it.</summary>
    public bool IsOver => _overBecause is not null;

    /// <summary>The process that serves it, for tests and messages.</summary>
    public int ProcessId => _session.ProcessId;

    /// <summary>Asks for a lock.</summary>
    /// <returns>What became of it: the grant asked for, or the one of this replica that has the lock.</returns>
    public async ValueTask<Grant> TakeAsync(long word, AcquireRequest request)
    {
        ThrowIfOver();
        var asked = new Grant(word, request);
        if (_own.TryReserve(asked) is { } present)
        {
            if (present.Answered is { } answered)
            {
                await answered.Task;
                ThrowIfOver();
            }
            return present;
        }
        Interlocked.Increment(ref _underWay);
        try
        {
            await CallAsync(new TakeStep(asked));
        }
        finally
        {
            Interlocked.Decrement(ref _underWay);
            if (asked.Phase == GrantPhase.Asking)
            {
                _own.Settle(asked, number: 0);
            }
        }
        if (asked.Phase == GrantPhase.Held)
        {
            if (_closing)
            {
                // Nobody has begun anything under it.
                if (_own.TryEnd(asked.Word, asked.Owner) is { } unused)
                {
                    await EndAsync(unused);
                }
                throw StateProblem.NotOpen(_context.Place);
            }
            WakeBefore(asked.Since);
        }
        return asked;
    }

    /// <summary>Lets go of a grant of this session.</summary>
    public async ValueTask<ReleaseResult> EndAsync(long word, LeaseOwner owner)
    {
        ThrowIfOver();
        return _own.TryEnd(word, owner) is { } grant ? await EndAsync(grant) : default;
    }

    private async ValueTask<ReleaseResult> EndAsync(Grant grant)
    {
        Interlocked.Increment(ref _underWay);
        try
        {
            return (await CallAsync(new EndStep(grant))).Result;
        }
        finally
        {
            Interlocked.Decrement(ref _underWay);
        }
    }

    /// <summary>Proves that the session lives, and moves the ends of grants.</summary>
    public async ValueTask<RenewalReply> RenewAsync(IReadOnlyList<RenewalItem> batch)
    {
        ThrowIfOver();
        return (await CallAsync(new RenewStep(batch))).Reply!;
    }

    /// <summary>Asks the server whether the session lives.</summary>
    /// <exception cref="StateUnavailableException">It could not be asked, and the session may live.</exception>
    public async ValueTask<bool> IsAliveAsync()
    {
        try
        {
            await EndedAsync([]);
            return true;
        }
        catch (StateUnavailableException) when (IsOver)
        {
            return false;
        }
    }

    /// <summary>Which of other sessions have ended.</summary>
    public async ValueTask<long[]> EndedAsync(long[] sessions)
    {
        ThrowIfOver();
        return (await CallAsync(new EndedStep(sessions))).Ended;
    }

    /// <summary>Makes others tell what they release.</summary>
    public async ValueTask ListenAsync()
    {
        ThrowIfOver();
        await CallAsync(new ListenStep());
    }

    /// <summary>Takes nothing more, and ends when nothing is held any more: a body may still run under a grant that is left.</summary>
    public void Close()
    {
        _closing = true;
        Wake();
    }

    private void ThrowIfOver()
    {
        if (_overBecause is { } cause)
        {
            throw Over(cause);
        }
        if (_closing)
        {
            throw StateProblem.NotOpen(_context.Place);
        }
    }

    private StateUnavailableException Over(Exception cause) =>
        new(
            $"{StateProblem.Explain(_context.Place, cause).Message} The session that had this replica's locks has ended, and all its "
                + "leases with it; a new one is opened with the next check.",
            cause
        );

    private async ValueTask<T> CallAsync<T>(T step)
        where T : SessionStep
    {
        await _calls.CallAsync(step, CancellationToken.None);
        return step.Error is null ? step : throw step.Error;
    }

    private async ValueTask<bool[]> SendAsync(IReadOnlyList<SessionStep> steps)
    {
        if (_overBecause is { } cause)
        {
            throw Over(cause);
        }
        var sending = SendAllAsync(steps);
        try
        {
            await sending.WaitAsync(_context.Limit, TimeProvider.System, CancellationToken.None);
            return new bool[steps.Count];
        }
        catch (Exception problem)
        {
            End(problem, sending);
            throw Over(problem);
        }
    }

    private void End(Exception problem, Task sending)
    {
        lock (_gate)
        {
            if (_overBecause is not null)
            {
                return;
            }
            _overBecause = problem;
        }
        var lost = _own.Lose();
        if (lost > 0 && !_closing)
        {
            Log.SessionEnded(_context.Log, _context.Place.Name, lost, StateProblem.Short(problem));
        }
        Wake();
        // A call that hangs still uses the connection.
        _ = sending.ContinueWith(
            _ => _session.DisposeAsync().AsTask(),
            CancellationToken.None,
            TaskContinuationOptions.None,
            TaskScheduler.Default
        );
    }

    private static long Ticks(TimeSpan time) => (long)(time.TotalSeconds * OwnGrants.Clock.TimestampFrequency);

    private static TaskCompletionSource NewSignal() => new(TaskCreationOptions.RunContinuationsAsynchronously);
}
