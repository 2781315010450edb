namespace Scheduler.Leases;

/// <summary>
/// Cancels calls that last longer than one limit that all of them have: in the order of their beginning, by one timer for all, because
/// a timer for each call would cost more than much of the rest of it. Thread-safe.
/// </summary>
internal sealed class CallLimit(TimeSpan limit, TimeProvider time)
{
    private const int Kept = 256;

    private readonly Lock _gate = new();
    private readonly LinkedList<Call> _running = new();
    private readonly Stack<Call> _kept = new();
    private readonly long _limit = LeaseMath.ToTimestamps(limit, time.TimestampFrequency);
    private ITimer? _timer;
    private bool _armed;

    /// <summary>The limit.</summary>
    public TimeSpan Limit => limit;

    /// <summary>Begins a call; <see cref="End"/> follows.</summary>
    public Call Begin()
    {
        var until = LeaseMath.Add(time.GetTimestamp(), _limit);
        lock (_gate)
        {
            var call = _kept.TryPop(out var kept) ? kept : new Call();
            call.Until = until;
            _running.AddLast(call.Node);
            if (!_armed)
            {
                Arm(limit);
            }
            return call;
        }
    }

    /// <summary>Ends a call.</summary>
    /// <param name="call">The call.</param>
    /// <param name="mayStillBeUsed">Somebody may still look at its token, so it is not used again.</param>
    public void End(Call call, bool mayStillBeUsed)
    {
        lock (_gate)
        {
            // One that is not in the list is being cancelled.
            if (call.Node.List is not null)
            {
                _running.Remove(call.Node);
                if (!mayStillBeUsed && _kept.Count < Kept && call.TryReset())
                {
                    _kept.Push(call);
                }
            }
        }
    }

    private void Look()
    {
        List<Call> over = [];
        lock (_gate)
        {
            var now = time.GetTimestamp();
            while (_running.First is { Value: var call } && call.Until <= now)
            {
                _running.RemoveFirst();
                over.Add(call);
            }
            _armed = false;
            if (_running.First is { Value: var next })
            {
                Arm(LeaseMath.ToTimeSpan(next.Until - now, time.TimestampFrequency) + TimeSpan.FromMilliseconds(1));
            }
        }
        foreach (var call in over)
        {
            call.Cancel();
        }
    }

    private void Arm(TimeSpan after)
    {
        _armed = true;
        _timer ??= time.CreateTimer(static self => ((CallLimit)self!).Look(), this, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        _timer.Change(after, Timeout.InfiniteTimeSpan);
    }

    /// <summary>A running call: the source of its token.</summary>
    internal sealed class Call : CancellationTokenSource
    {
        public Call() => Node = new LinkedListNode<Call>(this);

        public LinkedListNode<Call> Node { get; }

        public long Until { get; set; }
    }
}
