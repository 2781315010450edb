using Scheduler.Locking;
using Scheduler.Telemetry;

namespace Scheduler.Leases;

/// <summary>
/// Those in this process who wait for keys: first come, first served, and one question to the store at a time for all who wait for the
/// same key. Thread-safe.
/// </summary>
internal sealed class WaitLines(LeaseRuntime runtime)
{
    private const double LargestJitter = 0.25;
    private static readonly TimeSpan ShortestPoll = TimeSpan.FromMilliseconds(2);

    /// <summary>Timers take no longer ones; whoever waits longer waits for this long.</summary>
    private static readonly TimeSpan LongestWait = TimeSpan.FromMilliseconds(uint.MaxValue - 1L);

    private readonly Lock _gate = new();
    private readonly Dictionary<LockKey, WaitLine> _lines = [];
    private string? _closed;

    // Looked at without the lock: mostly nobody waits, and every attempt and release asks.
    private volatile int _count;

    /// <summary>Those who wait here come first: somebody who asks once is told who has the key, as far as that is known.</summary>
    public LockAttempt.Held? AnswerFromLine(LockKey key)
    {
        if (_count == 0)
        {
            return null;
        }
        lock (_gate)
        {
            return _lines.TryGetValue(key, out var line) && line.Waiters.Count > 0 ? LastHeld(line) : null;
        }
    }

    /// <summary>Waits in the line of a key.</summary>
    public async ValueTask<LockAttempt> WaitAsync(
        LockKey key,
        string purpose,
        TimeSpan duration,
        TimeSpan wait,
        CancellationToken cancellationToken
    )
    {
        var waiter = new Waiter(purpose, duration, cancellationToken);
        WaitLine? begun = null;
        WaitLine line;
        lock (_gate)
        {
            if (_closed is not null)
            {
                return new LockAttempt.Unavailable(_closed);
            }
            if (!_lines.TryGetValue(key, out line!))
            {
                begun = line = new WaitLine(key);
                _lines.Add(key, line);
                _count = _lines.Count;
            }
            line.Waiters.AddLast(waiter.Node);
        }
        if (begun is not null)
        {
            _ = PumpAsync(begun);
        }
        var answer = waiter.Answer.Task;
        var bounded = wait < LongestWait ? wait : LongestWait;
        await ((Task)answer.WaitAsync(bounded, runtime.Time, cancellationToken)).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        return answer.IsCompleted ? await answer : await LeaveAsync(line, waiter, cancellationToken);
    }

    /// <summary>The key may be free now.</summary>
    public void Wake(LockKey key)
    {
        if (_count == 0)
        {
            return;
        }
        lock (_gate)
        {
            if (_lines.TryGetValue(key, out var line))
            {
                line.Signal.TrySetResult();
            }
        }
    }

    /// <summary>Any key may be free now.</summary>
    public void WakeAll()
    {
        lock (_gate)
        {
            foreach (var line in _lines.Values)
            {
                line.Signal.TrySetResult();
            }
        }
    }

    /// <summary>Answers all who wait, and all who come later, with unavailable.</summary>
    public void Close(string reason)
    {
        lock (_gate)
        {
            _closed = reason;
            foreach (var line in _lines.Values)
            {
                AnswerAll(line, new LockAttempt.Unavailable(reason));
            }
        }
    }

    private async ValueTask<LockAttempt> LeaveAsync(WaitLine line, Waiter waiter, CancellationToken cancellationToken)
    {
        LockAttempt? result = null;
        lock (_gate)
        {
            if (cancellationToken.IsCancellationRequested || (!waiter.Asking && line.LastHeld is not null))
            {
                waiter.Leave();
                result = line.LastHeld is null ? null : LastHeld(line);
                if (line.Waiters.Count == 0)
                {
                    line.Signal.TrySetResult();
                }
            }
            else
            {
                // A question is on its way, for this waiter or for the first look at all: its answer, soon, is this one's.
                waiter.Expired = true;
            }
        }
        if (waiter.Answer.Task.IsCompleted)
        {
            return await waiter.Answer.Task;
        }
        cancellationToken.ThrowIfCancellationRequested();
        return result ?? await waiter.Answer.Task;
    }

    private async Task PumpAsync(WaitLine line)
    {
        try
        {
            while (true)
            {
                Waiter head;
                Task signal;
                int waiting;
                lock (_gate)
                {
                    if (line.Waiters.First is not { } first)
                    {
                        _lines.Remove(line.Key);
                        _count = _lines.Count;
                        return;
                    }
                    head = first.Value;
                    head.Asking = true;
                    waiting = line.Waiters.Count;
                    if (line.Signal.Task.IsCompleted)
                    {
                        line.Signal = WaitLine.NewSignal();
                    }
                    signal = line.Signal.Task;
                }
                await runtime.HoldBacks.WaitAsync(line.Key, briefly: false, head.CancellationToken);
                var attempt = await AskAsync(line, head, waiting);
                if (await TakeAnswerAsync(line, head, waiting, attempt) is { } pause)
                {
                    await signal.WaitAsync(pause, runtime.Time).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                }
            }
        }
        catch (Exception e)
        {
            Log.BackgroundFailed(runtime.Log, e, "waiting for a key", runtime.Gate.Name);
            lock (_gate)
            {
                AnswerAll(line, new LockAttempt.Unavailable("Waiting for the key failed; the cause is in the log.", e));
                _lines.Remove(line.Key);
                _count = _lines.Count;
            }
        }
    }

    private async ValueTask<LockAttempt?> AskAsync(WaitLine line, Waiter head, int waiting)
    {
        try
        {
            return await runtime.AskAsync(line.Key, head.Purpose, head.Duration, waiting, head.CancellationToken);
        }
        catch (OperationCanceledException)
        {
            return null;
        }
    }

    /// <summary>Hands an answer to those whom it concerns.</summary>
    /// <returns>How long to wait for a signal before asking again; null to ask at once.</returns>
    private async ValueTask<TimeSpan?> TakeAnswerAsync(WaitLine line, Waiter head, int waiting, LockAttempt? attempt)
    {
        Lease? unwanted = null;
        TimeSpan? pause = null;
        lock (_gate)
        {
            head.Asking = false;
            switch (attempt)
            {
                case LockAttempt.Granted granted:
                    SetLastHeld(line, new LockAttempt.Held(runtime.ReplicaId, head.Purpose, head.Duration));
                    if (head.IsWaiting && head.Answer.TrySetResult(granted))
                    {
                        head.Leave();
                        // Who came while the question was on its way has no place in the store's line yet.
                        var hasPlace = !runtime.Traits.Fifo || waiting > 1;
                        pause = line.Waiters.Count > 0 && hasPlace ? PauseFor(head.Duration) : null;
                    }
                    else
                    {
                        unwanted = granted.Lease;
                    }
                    AnswerExpired(line);
                    break;
                case LockAttempt.Held held:
                    SetLastHeld(line, held);
                    AnswerExpired(line);
                    pause = PauseFor(held.Remaining);
                    break;
                case LockAttempt.Unavailable unavailable:
                    AnswerAll(line, unavailable);
                    break;
                default:
                    // It may be waiting for this answer only, because its own time ran out while the question was on its way.
                    head.Leave();
                    head.Answer.TrySetCanceled(head.CancellationToken);
                    break;
            }
        }
        if (unwanted is not null)
        {
            await unwanted.ReleaseAsync();
        }
        return pause;
    }

    private void SetLastHeld(WaitLine line, LockAttempt.Held held)
    {
        line.LastHeld = held;
        line.LastHeldAt = runtime.Time.GetTimestamp();
    }

    private LockAttempt.Held? LastHeld(WaitLine line)
    {
        if (line.LastHeld is not { } held)
        {
            return null;
        }
        var remaining = held.Remaining - runtime.Time.GetElapsedTime(line.LastHeldAt);
        return held with { Remaining = remaining > TimeSpan.Zero ? remaining : TimeSpan.Zero };
    }

    private void AnswerExpired(WaitLine line)
    {
        for (var node = line.Waiters.First; node is not null; )
        {
            var waiter = node.Value;
            node = node.Next;
            if (waiter.Expired && LastHeld(line) is { } held)
            {
                waiter.Leave();
                waiter.Answer.TrySetResult(held);
            }
        }
    }

    private static void AnswerAll(WaitLine line, LockAttempt answer)
    {
        while (line.Waiters.First is { } first)
        {
            first.Value.Leave();
            first.Value.Answer.TrySetResult(answer);
        }
        line.Signal.TrySetResult();
    }

    /// <summary>The shorter of the holder's remaining time and the poll interval, which is jittered so that replicas do not ask in
    /// step.</summary>
    private TimeSpan PauseFor(TimeSpan remaining)
    {
        var poll = runtime.Traits.PollInterval * (1 - (Random.Shared.NextDouble() * LargestJitter));
        var expiry = remaining + TimeSpan.FromMilliseconds(1);
        var pause = expiry < poll ? expiry : poll;
        return pause > ShortestPoll ? pause : ShortestPoll;
    }
}
