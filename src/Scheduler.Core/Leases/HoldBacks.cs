using Scheduler.Locking;

namespace Scheduler.Leases;

/// <summary>
/// Lets other replicas go first: after a release of a key that another replica was refused, this replica asks for it again only after a
/// short pause, so that a holder that releases and at once asks again does not starve the others. Where the store grants in the order of
/// asking nothing is held back: the pause of one who is first in the line would be everybody's. Thread-safe.
/// </summary>
internal sealed class HoldBacks(LeaseStoreTraits traits)
{
    private static readonly TimeSpan Brief = TimeSpan.FromMilliseconds(10);
    private static readonly TimeSpan LongestWithoutPush = TimeSpan.FromMilliseconds(250);
    private const int PruneAbove = 1_000;

    // Real time on purpose: it is a courtesy to other processes and decides nothing, so no test's clock has to be moved for it.
    private static readonly TimeProvider Time = TimeProvider.System;
    private readonly Lock _gate = new();
    private readonly Dictionary<LockKey, HoldBack> _byKey = [];
    private volatile bool _any;

    /// <summary>The pause where the store reports releases: usually a report ends it earlier. Set before the first release.</summary>
    public TimeSpan PauseWithPush { get; set; } = Brief;

    /// <summary>A release of this key is about to be sent: its own report may come before its answer, and is counted from now on.</summary>
    public void Sending(LockKey key)
    {
        if (!traits.PushesReleases || traits.Fifo)
        {
            return;
        }
        lock (_gate)
        {
            _byKey[key] = new HoldBack();
            _any = true;
        }
    }

    /// <summary>The release was answered without others wanting the key, or not at all.</summary>
    public void Forget(LockKey key)
    {
        if (_any)
        {
            lock (_gate)
            {
                if (_byKey.TryGetValue(key, out var entry) && !entry.IsActive)
                {
                    Remove(key);
                }
            }
        }
    }

    /// <summary>A release of this key found that others want it.</summary>
    public void Begin(LockKey key)
    {
        if (traits.Fifo)
        {
            return;
        }
        var pause =
            traits.PushesReleases ? PauseWithPush
            : traits.PollInterval < LongestWithoutPush ? traits.PollInterval
            : LongestWithoutPush;
        lock (_gate)
        {
            if (_byKey.Count >= PruneAbove)
            {
                foreach (var (old, _) in _byKey.Where(e => e.Value.IsActive && Remaining(e.Value) <= TimeSpan.Zero).ToList())
                {
                    _byKey.Remove(old);
                }
            }
            var entry = _byKey.TryGetValue(key, out var sending) && !sending.IsActive ? sending : new HoldBack();
            if (entry.Pushes > 1)
            {
                // Another had the key already and gave it back.
                Remove(key);
                return;
            }
            entry.Start(Time.GetTimestamp(), pause);
            _byKey[key] = entry;
            _any = true;
        }
    }

    /// <summary>
    /// The store reported the key. The first report is that of our own release; the next one says that another had it, so ours may go on.
    /// </summary>
    public void Pushed(LockKey key)
    {
        if (!_any)
        {
            return;
        }
        lock (_gate)
        {
            if (_byKey.TryGetValue(key, out var entry) && ++entry.Pushes > 1 && entry.IsActive)
            {
                Remove(key);
                entry.End();
            }
        }
    }

    /// <summary>Waits until this replica may ask again.</summary>
    /// <param name="key">The key.</param>
    /// <param name="briefly">Somebody who asks once waits for 10 ms at most, whatever the store.</param>
    /// <param name="cancellationToken">Ends the wait without an error.</param>
    public ValueTask WaitAsync(LockKey key, bool briefly, CancellationToken cancellationToken)
    {
        if (!_any)
        {
            return default;
        }
        lock (_gate)
        {
            if (!_byKey.TryGetValue(key, out var entry) || !entry.IsActive)
            {
                return default;
            }
            var remaining = Remaining(entry);
            if (remaining <= TimeSpan.Zero)
            {
                Remove(key);
                return default;
            }
            return PauseAsync(entry, briefly && remaining > Brief ? Brief : remaining, cancellationToken);
        }
    }

    private static async ValueTask PauseAsync(HoldBack entry, TimeSpan pause, CancellationToken cancellationToken) =>
        await entry.Over.WaitAsync(pause, Time, cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);

    private void Remove(LockKey key)
    {
        _byKey.Remove(key);
        _any = _byKey.Count > 0;
    }

    private static TimeSpan Remaining(HoldBack entry) => entry.Pause - Time.GetElapsedTime(entry.Since);

    private sealed class HoldBack
    {
        /// <summary>The release was answered and others want the key; before that only reports are counted.</summary>
        public bool IsActive { get; private set; }

        public long Since { get; private set; }

        public TimeSpan Pause { get; private set; }

        public void Start(long since, TimeSpan pause)
        {
            (IsActive, Since, Pause) = (true, since, pause);
            _over = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        }

        public int Pushes { get; set; }

        // Made when it begins: most releases find that nobody else wants the key.
        private TaskCompletionSource? _over;

        public Task Over => _over!.Task;

        public void End() => _over!.TrySetResult();
    }
}
