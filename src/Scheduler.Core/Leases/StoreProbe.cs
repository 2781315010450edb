using System.Diagnostics.CodeAnalysis;
using Microsoft.Extensions.Logging;
using Scheduler.Locking;
using Scheduler.Telemetry;

namespace Scheduler.Leases;

/// <summary>Knows whether the store may be asked, and checks it: before first use, and again and again while it is down.
/// Thread-safe.</summary>
/// <remarks>
/// After a time-out or an error the store counts as down, until a probe (a whole check: a node that came back may have forgotten) succeeds.
/// Only a probe marks it up; a renewal that is answered while it is down merely makes the next probe come at once.
/// </remarks>
[SuppressMessage("Design", "CA1001", Justification = "The source has no timer: once cancelled it holds nothing to dispose of.")]
internal sealed class StoreProbe(ILeaseStore store, LeaseOptions options, TimeProvider time, ILogger log, ILockStorePairing? pairing)
{
    /// <summary>A check is several commands and may have to connect first, so it has several times the limit of one call.</summary>
    private const int CallsPerCheck = 5;

    /// <summary>The time between two confirmations of the pair.</summary>
    public static readonly TimeSpan PairInterval = TimeSpan.FromSeconds(5);

    private readonly CallLimit _limit = new(options.CallTimeout * CallsPerCheck, time);
    private readonly Lock _gate = new();
    private readonly CancellationTokenSource _stop = new();
    private StoreHealth _health = new(IsUp: false, "It has not been checked yet.", time.GetUtcNow());
    private LeaseStoreInfo? _info;
    private Task<LeaseStoreInfo>? _check;
    private TaskCompletionSource _hurry = NewSignal();
    private bool _probing;
    private bool _confirms;
    private int _generation;
    private int _outage;
    private TimeSpan? _retryAfter;

    /// <summary>Called after the store came up; with true for the first time.</summary>
    public Action<bool>? CameUp { get; set; }

    /// <summary>Called when a check before the first that passed finds that only a change of configuration or set-up helps.</summary>
    public Action<StoreUnavailableException>? Refused { get; set; }

    public StoreHealth Health => Volatile.Read(ref _health);

    public LeaseStoreInfo? Info => Volatile.Read(ref _info);

    /// <summary>The generation of the tokens that the store's grants get.</summary>
    public int Generation => Volatile.Read(ref _generation);

    public bool IsStopped => _stop.IsCancellationRequested;

    private string Name => store.Traits.Name;

    /// <summary>A renewal was answered: if the store counts as down, it is probed at once.</summary>
    public void NoteAnswer()
    {
        if (!Health.IsUp)
        {
            Volatile.Read(ref _hurry).TrySetResult();
        }
    }

    /// <summary>Ends the probing; later calls are refused.</summary>
    public void Stop() => _stop.Cancel();

    /// <summary>Says why no call is sent now, or null. Does the first check when nobody has asked for it yet.</summary>
    public ValueTask<string?> RefusalAsync(CancellationToken cancellationToken)
    {
        if (IsStopped)
        {
            return new("The lock provider has been disposed of.");
        }
        var health = Health;
        return health.IsUp ? default
            : Volatile.Read(ref _probing) ? new(health.Reason)
            : FirstCheckAsync(cancellationToken);
    }

    private async ValueTask<string?> FirstCheckAsync(CancellationToken cancellationToken)
    {
        var check = SharedCheck();
        await ((Task)check.WaitAsync(options.CallTimeout, time, cancellationToken)).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        return check.IsCompletedSuccessfully ? null
            : check.IsCompleted ? Health.Reason
            : $"The first check of the {Name} lock store has not ended within {options.CallTimeout} (CallTimeout); it goes on.";
    }

    /// <summary>The check that is under way, or a new one.</summary>
    public Task<LeaseStoreInfo> SharedCheck()
    {
        lock (_gate)
        {
            if (_check is null or { IsCompleted: true })
            {
                _check = CheckAsync();
                BoundedCall.Observe(_check);
            }
            return _check;
        }
    }

    private async Task<LeaseStoreInfo> CheckAsync()
    {
        // Leaves the lock of SharedCheck before anything of others runs.
        await Task.Yield();
        var ended = await BoundedCall.RunAsync(_limit, this, static (probe, token) => probe.CheckAndNoteAsync(token), _stop.Token);
        if (ended.End == CallEnd.Answered)
        {
            MarkUp(ended.Value!);
            return ended.Value!;
        }
        var error = StoreFailure.Of(Name, "check", ended, _limit.Limit);
        GoDown(error.Message, error.InnerException, error.RetryAfter, fromCheck: true);
        if (error.IsPermanent && Info is null)
        {
            Refused?.Invoke(error);
        }
        throw error;
    }

    private async ValueTask<LeaseStoreInfo> CheckAndNoteAsync(CancellationToken cancellationToken)
    {
        var use = pairing is null ? LockStoreUse.Unknown : await pairing.RecallAsync(cancellationToken);
        var info = await store.CheckAsync(use, cancellationToken);
        if (pairing is not null)
        {
            // A store that is used without a note could not be told from a new one after it forgot, so it is not used without.
            Volatile.Write(ref _generation, await pairing.PairAsync(info, cancellationToken));
        }
        return info;
    }

    /// <summary>A call failed: calls are refused until a probe passes.</summary>
    public void GoDown(StoreUnavailableException error) => GoDown(error.Message, error.InnerException, error.RetryAfter);

    /// <summary>The same, by its reason.</summary>
    public void GoDown(string reason, Exception? cause, TimeSpan? retryAfter, bool fromCheck = false)
    {
        bool changed;
        lock (_gate)
        {
            // While it is down only the probes say why: the calls that were under way would only repeat it in other words.
            if (IsStopped || (_probing && !fromCheck))
            {
                return;
            }
            changed = !_probing || _health.Reason != reason;
            var since = _probing ? _health.Since : time.GetUtcNow();
            Volatile.Write(ref _health, new StoreHealth(IsUp: false, reason, since));
            _retryAfter = retryAfter;
            if (!_probing)
            {
                Volatile.Write(ref _probing, true);
                Volatile.Write(ref _hurry, NewSignal());
                var outage = ++_outage;
                _ = Task.Run(() => ProbeAsync(outage));
            }
        }
        if (changed)
        {
            Log.StoreDown(log, cause, Name, reason);
        }
    }

    private void MarkUp(LeaseStoreInfo info)
    {
        LeaseStoreInfo? before;
        bool wasUp;
        lock (_gate)
        {
            before = _info;
            Volatile.Write(ref _info, info);
            wasUp = _health.IsUp;
            Volatile.Write(ref _health, wasUp ? _health : new StoreHealth(IsUp: true, Reason: null, time.GetUtcNow()));
            Volatile.Write(ref _probing, false);
        }
        if (!wasUp)
        {
            Log.StoreUp(log, Name, info.Id, info.Level);
        }
        foreach (var warning in info.Warnings.Except(before?.Warnings ?? []))
        {
            Log.StoreWarning(log, Name, warning);
        }
        if (!wasUp)
        {
            CameUp?.Invoke(before is null);
        }
        if (pairing is not null && !Interlocked.Exchange(ref _confirms, true))
        {
            _ = Task.Run(() => ConfirmAsync(pairing));
        }
    }

    /// <summary>Confirms the pair again and again while the store is up; one that belongs to others now is used no more.</summary>
    private async Task ConfirmAsync(ILockStorePairing pair)
    {
        var limit = new CallLimit(options.CallTimeout, time);
        while (!IsStopped)
        {
            await Task.Delay(PairInterval, time, _stop.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            if (IsStopped || !Health.IsUp)
            {
                continue;
            }
            var ended = await BoundedCall.RunAsync(limit, pair, static (pair, token) => ConfirmedAsync(pair, token), _stop.Token);
            if (ended.End != CallEnd.Answered && !IsStopped)
            {
                GoDown(StoreFailure.Of(Name, "pair", ended, limit.Limit));
            }
        }

        static async ValueTask<bool> ConfirmedAsync(ILockStorePairing pair, CancellationToken cancellationToken)
        {
            await pair.ConfirmAsync(cancellationToken);
            return true;
        }
    }

    private async Task ProbeAsync(int outage)
    {
        while (Volatile.Read(ref _probing) && _outage == outage && !IsStopped)
        {
            var pause = _retryAfter is { } retry && retry > TimeSpan.Zero ? Earlier(retry, options.LongestLease) : options.ProbeInterval;
            var hurry = Volatile.Read(ref _hurry).Task;
            await hurry.WaitAsync(pause, time, _stop.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            if (hurry.IsCompleted)
            {
                // One answered renewal brings one probe forward, not a stream of them.
                Volatile.Write(ref _hurry, NewSignal());
            }
            if (Volatile.Read(ref _probing) && _outage == outage && !IsStopped)
            {
                await ((Task)SharedCheck()).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }
    }

    /// <summary>No store has a reason to wait for longer than the longest lease, and no timer takes every length.</summary>
    private static TimeSpan Earlier(TimeSpan one, TimeSpan other) => one < other ? one : other;

    private static TaskCompletionSource NewSignal() => new(TaskCreationOptions.RunContinuationsAsynchronously);
}
