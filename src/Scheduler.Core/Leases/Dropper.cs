using Microsoft.Extensions.Logging;
using Scheduler.Locking;
using Scheduler.Telemetry;

namespace Scheduler.Leases;

/// <summary>
/// Releases, by owner value, every grant whose outcome is not known or that nobody wants any more, in one background loop, until the store
/// confirms it or the grant's own time has passed twice. Thread-safe.
/// </summary>
internal sealed class Dropper(StoreGate gate, LeaseOptions options, TimeProvider time, ILogger log, Action<LockKey, ReleaseResult> released)
{
    private const int AtOnce = 32;

    /// <summary>A call that ended without an answer may still be on its way, so "not there" counts only when it was said twice.</summary>
    private const int DenialsNeeded = 2;

    private readonly Lock _gate = new();
    private readonly HashSet<Drop> _drops = [];
    private TaskCompletionSource _wake = NewSignal();
    private bool _running;
    private bool _stopped;
    private bool _overflowed;

    /// <summary>How many grants wait to be dropped.</summary>
    public int Count
    {
        get
        {
            lock (_gate)
            {
                return _drops.Count;
            }
        }
    }

    /// <summary>Drops a grant that exists, or existed.</summary>
    public void AddGrant(LockKey key, LeaseOwner owner, TimeSpan duration) =>
        Add(new Drop(key, owner, GiveUpAt(duration)) { MayExist = true });

    /// <summary>Reports an abandoned lease and drops its grant. Safe to call from a finalizer.</summary>
    public void AddAbandoned(LeaseState lease) =>
        Add(new Drop(lease.Key, lease.Owner, GiveUpAt(lease.Duration)) { MayExist = true, Abandoned = lease });

    /// <summary>Drops what an acquire of unknown outcome may have granted.</summary>
    /// <param name="request">What was asked for.</param>
    /// <param name="pending">The call, when it may still answer.</param>
    public void AddUnknown(AcquireRequest request, Task<AcquireResult>? pending)
    {
        var drop = new Drop(request.Key, request.Owner, GiveUpAt(request.Duration)) { Pending = pending };
        Add(drop);
        _ = pending?.ContinueWith(
            (ended, _) => OnLateAnswer(drop, request, ended),
            null,
            CancellationToken.None,
            TaskContinuationOptions.None,
            TaskScheduler.Default
        );
    }

    /// <summary>Makes the loop look at once.</summary>
    public void Wake()
    {
        lock (_gate)
        {
            foreach (var drop in _drops)
            {
                drop.NextTry = long.MinValue;
            }
            _wake.TrySetResult();
        }
    }

    /// <summary>Takes nothing more and gives what is left one bounded last try.</summary>
    public async Task StopAsync(TimeSpan bound)
    {
        Drop[] left;
        lock (_gate)
        {
            _stopped = true;
            left = [.. _drops];
            _drops.Clear();
            _wake.TrySetResult();
        }
        if (left.Length > 0 && gate.Health.IsUp)
        {
            // Real time on purpose: a process that stops must not depend on a clock that somebody has to move.
            await Parallel
                .ForEachAsync(left, new ParallelOptions { MaxDegreeOfParallelism = AtOnce }, async (drop, _) => await TryDropAsync(drop))
                .WaitAsync(bound, TimeProvider.System)
                .ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private void Add(Drop drop)
    {
        lock (_gate)
        {
            if (_stopped)
            {
                return;
            }
            if (_drops.Count >= options.MaxPendingDrops)
            {
                if (!_overflowed)
                {
                    _overflowed = true;
                    ThreadPool.UnsafeQueueUserWorkItem(
                        key => Log.DropsOverflow(log, options.MaxPendingDrops, key),
                        drop.Key,
                        preferLocal: false
                    );
                }
                return;
            }
            _drops.Add(drop);
            _wake.TrySetResult();
            if (!_running)
            {
                _running = true;
                _ = Task.Run(RunAsync);
            }
        }
    }

    private void OnLateAnswer(Drop drop, AcquireRequest request, Task<AcquireResult> ended)
    {
        var result = ended.IsCompletedSuccessfully ? ended.Result : null;
        lock (_gate)
        {
            drop.Pending = null;
            if (result is AcquireResult.Granted or AcquireResult.Held or AcquireResult.Unavailable { OutcomeUnknown: false })
            {
                _drops.Remove(drop);
            }
        }
        if (result is AcquireResult.Granted)
        {
            Log.LateGrant(log, request.Key);
            // Whatever became of the first attempts to drop it: this grant is certain, and its time begins now.
            AddGrant(request.Key, request.Owner, request.Duration);
        }
        Wake();
    }

    private async Task RunAsync()
    {
        while (true)
        {
            Drop[] due;
            Task wake;
            lock (_gate)
            {
                if (_drops.Count == 0 || _stopped)
                {
                    _running = false;
                    _overflowed = false;
                    return;
                }
                var now = time.GetTimestamp();
                due = [.. _drops.Where(d => d.NextTry <= now)];
                if (_wake.Task.IsCompleted)
                {
                    _wake = NewSignal();
                }
                wake = _wake.Task;
            }
            try
            {
                foreach (var chunk in due.Chunk(AtOnce))
                {
                    await Task.WhenAll(chunk.Select(DropAsync));
                }
            }
            catch (Exception e)
            {
                Log.BackgroundFailed(log, e, "dropping grants", gate.Name);
            }
            if (Count > 0)
            {
                await wake.WaitAsync(Pause, time).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }
    }

    private async Task DropAsync(Drop drop)
    {
        if (drop.Abandoned is { } lease)
        {
            drop.Abandoned = null;
            Log.LeaseAbandoned(log, lease.Key, lease.Purpose);
        }
        var over = time.GetTimestamp() >= drop.GiveUpAt;
        drop.NextTry = LeaseMath.Add(time.GetTimestamp(), LeaseMath.ToTimestamps(Pause, time.TimestampFrequency));
        var dropped = await TryDropAsync(drop);
        if (dropped || over)
        {
            lock (_gate)
            {
                _drops.Remove(drop);
            }
            if (!dropped)
            {
                Log.DropGivenUp(log, drop.Key);
            }
        }
    }

    private async Task<bool> TryDropAsync(Drop drop)
    {
        var mayStillCome = drop.Pending is not null;
        try
        {
            var result = await gate.CallAsync(
                "release",
                drop,
                static (store, drop, token) => store.ReleaseAsync(drop.Key, drop.Owner, token),
                CancellationToken.None
            );
            if (result.Released)
            {
                released(drop.Key, result);
                return true;
            }
            drop.Denials += mayStillCome ? 0 : 1;
            return !mayStillCome && (drop.MayExist || drop.Denials >= DenialsNeeded);
        }
        catch (Exception e) when (e is StoreUnavailableException or ArgumentException)
        {
            // Also what the store calls a wrong argument: it is tried until the grant's time has passed, and not for ever.
            return false;
        }
    }

    private TimeSpan Pause => options.CallTimeout < options.ProbeInterval ? options.CallTimeout : options.ProbeInterval;

    private long GiveUpAt(TimeSpan duration) =>
        LeaseMath.Add(time.GetTimestamp(), LeaseMath.ToTimestamps(duration * 2, time.TimestampFrequency));

    private static TaskCompletionSource NewSignal() => new(TaskCreationOptions.RunContinuationsAsynchronously);

    private sealed class Drop(LockKey key, LeaseOwner owner, long giveUpAt)
    {
        public LockKey Key { get; } = key;

        public LeaseOwner Owner { get; } = owner;

        public long GiveUpAt { get; } = giveUpAt;

        /// <summary>The grant is known to have been made, so one "not there" settles it.</summary>
        public bool MayExist { get; set; }

        public Task<AcquireResult>? Pending { get; set; }

        public int Denials { get; set; }

        public long NextTry { get; set; } = long.MinValue;

        public LeaseState? Abandoned { get; set; }
    }
}
