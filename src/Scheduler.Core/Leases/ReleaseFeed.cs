using System.Diagnostics.CodeAnalysis;
using Scheduler.Locking;
using Scheduler.Telemetry;

namespace Scheduler.Leases;

/// <summary>
/// Tells waiters and watchers of keys that may be free: releases of this process at once, those of others as the store pushes them, over
/// one subscription that is made when it is first needed and made again after a failure. Thread-safe.
/// </summary>
[SuppressMessage("Design", "CA1001", Justification = "The source has no timer: once cancelled it holds nothing to dispose of.")]
internal sealed class ReleaseFeed(LeaseRuntime runtime)
{
    private readonly Lock _gate = new();
    private readonly CancellationTokenSource _stop = new();
    private Action<LockKey>[] _watchers = [];
    private TaskCompletionSource _renew = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private Task? _loop;

    /// <summary>Subscribes soon, unless that is done or the store does not push.</summary>
    public void EnsureSubscribed()
    {
        if (Volatile.Read(ref _loop) is not null || !runtime.Traits.PushesReleases)
        {
            return;
        }
        lock (_gate)
        {
            _loop ??= Task.Run(SubscribeAsync);
        }
    }

    public IDisposable Watch(Action<LockKey> mayBeFree)
    {
        lock (_gate)
        {
            _watchers = [.. _watchers, mayBeFree];
        }
        EnsureSubscribed();
        return new Watcher(this, mayBeFree);
    }

    /// <summary>A key was released in this process.</summary>
    /// <param name="key">The key.</param>
    /// <param name="isNextTold">Whether the store tells whoever is next, here or elsewhere.</param>
    public void Released(LockKey key, bool isNextTold)
    {
        if (!isNextTold)
        {
            runtime.Lines.Wake(key);
        }
        Tell(key);
    }

    /// <summary>The store came up again: the subscription may have died with the connection.</summary>
    public void Renew()
    {
        lock (_gate)
        {
            _renew.TrySetResult();
        }
    }

    /// <summary>Ends the subscription.</summary>
    public Task StopAsync()
    {
        _stop.Cancel();
        return _loop ?? Task.CompletedTask;
    }

    private void Pushed(LockKey key)
    {
        runtime.HoldBacks.Pushed(key);
        runtime.Lines.Wake(key);
        Tell(key);
    }

    private void Tell(LockKey key)
    {
        foreach (var watcher in Volatile.Read(ref _watchers))
        {
            try
            {
                watcher(key);
            }
            catch (Exception e)
            {
                Log.WatcherFailed(runtime.Log, e, key);
            }
        }
    }

    private async ValueTask<IAsyncDisposable> SubscribeOnceAsync(ILeaseStore store, CancellationToken cancellationToken)
    {
        var subscription = await store.SubscribeAsync(Pushed, cancellationToken);
        if (cancellationToken.IsCancellationRequested)
        {
            // Nobody waits for this one any more; the next attempt makes another.
            await subscription.DisposeAsync();
            cancellationToken.ThrowIfCancellationRequested();
        }
        return subscription;
    }

    private async Task SubscribeAsync()
    {
        var failed = false;
        while (!_stop.IsCancellationRequested)
        {
            Task renew;
            lock (_gate)
            {
                if (_renew.Task.IsCompleted)
                {
                    _renew = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
                }
                renew = _renew.Task;
            }
            IAsyncDisposable? subscription = null;
            try
            {
                subscription = await runtime.Gate.CallAsync(
                    "subscribe",
                    this,
                    static (store, feed, token) => feed.SubscribeOnceAsync(store, token),
                    _stop.Token,
                    marksDown: false
                );
                failed = false;
                // What was released before the subscription stood was not pushed.
                runtime.Lines.WakeAll();
                await renew.WaitAsync(_stop.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
            catch (OperationCanceledException) when (_stop.IsCancellationRequested) { }
            catch (Exception e)
            {
                if (!failed && runtime.Gate.Health.IsUp)
                {
                    failed = true;
                    Log.SubscriptionFailed(runtime.Log, e, runtime.Gate.Name, runtime.Options.ProbeInterval);
                }
                await renew
                    .WaitAsync(runtime.Options.ProbeInterval, runtime.Time, _stop.Token)
                    .ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
            await EndAsync(subscription);
        }
    }

    private async Task EndAsync(IAsyncDisposable? subscription)
    {
        try
        {
            if (subscription is not null)
            {
                await subscription.DisposeAsync().AsTask().WaitAsync(runtime.Options.CallTimeout, TimeProvider.System);
            }
        }
        catch (Exception e)
        {
            Log.BackgroundFailed(runtime.Log, e, "ending a subscription", runtime.Gate.Name);
        }
    }

    private sealed class Watcher(ReleaseFeed feed, Action<LockKey> mayBeFree) : IDisposable
    {
        private int _disposed;

        public void Dispose()
        {
            if (Interlocked.Exchange(ref _disposed, 1) != 0)
            {
                return;
            }
            lock (feed._gate)
            {
                var watchers = feed._watchers.ToList();
                watchers.Remove(mayBeFree);
                feed._watchers = [.. watchers];
            }
        }
    }
}
