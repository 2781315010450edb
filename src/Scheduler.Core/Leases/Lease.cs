using System.Diagnostics.CodeAnalysis;
using Scheduler.Locking;

namespace Scheduler.Leases;

/// <summary>A held lock that ends by itself at a deadline unless it is renewed; the watchdog renews it. Thread-safe.</summary>
/// <remarks>
/// Keep the handle for as long as the work runs, and dispose of it: a handle that is collected is abandoned, its lease is renewed no more
/// and dropped. <see cref="Lost"/> calls its callbacks on threads of their own; one that blocks delays no other lease's.
/// </remarks>
[SuppressMessage("Design", "MA0055", Justification = "The finalizer is how an abandoned handle is noticed (rule 9); it frees nothing.")]
[SuppressMessage("Usage", "CA1816", Justification = "Any end of the lease, not only its disposal, makes the finalizer needless.")]
public sealed class Lease : IAsyncDisposable
{
    private readonly LeaseState _state;

    internal Lease(LeaseState state) => _state = state;

    /// <summary>Notices a handle that nobody has any more; releasing it ends that.</summary>
    ~Lease()
    {
        if (_state.TryAbandon())
        {
            _state.Runtime.OnAbandoned(_state);
        }
    }

    /// <summary>What is locked.</summary>
    public LockKey Key => _state.Key;

    /// <summary>The owner value: who has it, unique per acquisition.</summary>
    public LeaseOwner Owner => _state.Owner;

    /// <summary>Which occurrence or request it serves.</summary>
    public string Purpose => _state.Purpose;

    /// <summary>The fencing token: larger than that of every earlier grant of the key.</summary>
    public FencingToken Token => _state.Token;

    /// <summary>
    /// The instant after which the holder must not act, as a timestamp of the provider's <see cref="TimeProvider"/>; moves with renewals.
    /// </summary>
    public long Deadline => _state.Deadline;

    /// <summary>How long the holder may act unless the lease is renewed; zero once it is lost or released.</summary>
    public TimeSpan Remaining
    {
        get
        {
            var time = _state.Runtime.Time;
            var now = time.GetTimestamp();
            var left = _state.CheckHeld() ? LeaseMath.ToTimeSpan(_state.Deadline - now, time.TimestampFrequency) : TimeSpan.Zero;
            GC.KeepAlive(this);
            return left > TimeSpan.Zero ? left : TimeSpan.Zero;
        }
    }

    /// <summary>Whether the holder may act, by comparing clocks now: a process that was frozen sees the truth on its first
    /// instruction.</summary>
    public bool IsHeld
    {
        get
        {
            var held = _state.CheckHeld();
            GC.KeepAlive(this);
            return held;
        }
    }

    /// <summary>Fires when the lease is lost, at its deadline at the latest. Not when it is released in time. Final.</summary>
    public CancellationToken Lost
    {
        get
        {
            var token = _state.LostToken;
            GC.KeepAlive(this);
            return token;
        }
    }

    /// <summary>Why it is lost; <see cref="LossReason.None"/> while it is not.</summary>
    public LossReason LossReason
    {
        get
        {
            _state.CheckHeld();
            GC.KeepAlive(this);
            return _state.LossReason;
        }
    }

    /// <summary>Throws when the lease is lost.</summary>
    /// <exception cref="LeaseLostException">The lease is lost.</exception>
    public void ThrowIfLost()
    {
        if (LossReason is var reason && reason != LossReason.None)
        {
            throw new LeaseLostException(Key, Token, reason);
        }
    }

    /// <summary>Releases the key. Harmless when done before, or when the lease is lost.</summary>
    /// <param name="cancellationToken">Ends the wait for the answer, without an exception; the release then goes on in the
    /// background.</param>
    /// <returns>Whether the store confirmed that this grant was there and is gone now; <see langword="false"/> for a lost lease. A store
    /// that does not answer is no exception: the grant is dropped in the background and ends at its deadline at the latest.</returns>
    public async ValueTask<bool> ReleaseAsync(CancellationToken cancellationToken = default)
    {
        var held = _state.CheckHeld() && _state.TryBeginRelease();
        // From here on a collected handle is nothing to report.
        GC.SuppressFinalize(this);
        if (held)
        {
            _state.Runtime.Watchdog.Remove(_state);
            return await SendReleaseAsync(cancellationToken);
        }
        if (_state.IsLost && _state.TrySendRelease())
        {
            // Confirms a revocation: the key is free from now on and not only at the deadline.
            await SendReleaseAsync(cancellationToken);
        }
        return false;
    }

    /// <summary>
    /// Renews once more for <paramref name="duration"/> and then lets the grant end by itself: no renewal, no release. For the holder the
    /// lease is over: <see cref="IsHeld"/> is false from now on, <see cref="Lost"/> does not fire, releasing does nothing.
    /// </summary>
    /// <param name="duration">How long the key stays taken; 50 ms to <see cref="LeaseOptions.LongestLease"/>.</param>
    /// <param name="cancellationToken">Ends the wait for the answer, without an exception.</param>
    /// <returns>Whether the store confirmed the last renewal.</returns>
    /// <exception cref="ArgumentOutOfRangeException">The duration is outside its range.</exception>
    public async ValueTask<bool> LeaveToExpireAsync(TimeSpan duration, CancellationToken cancellationToken = default)
    {
        var runtime = _state.Runtime;
        LockProvider.CheckDuration(duration, runtime.Options);
        if (!_state.CheckHeld() || !_state.TryLeaveToExpire())
        {
            return false;
        }
        GC.SuppressFinalize(this);
        runtime.Watchdog.Remove(_state);
        try
        {
            if (_state.InFlight is { } batch)
            {
                // A renewal that is under way would set the old duration again if it reached the store after ours.
                await batch
                    .Ended.WaitAsync(runtime.Options.CallTimeout, runtime.Time, cancellationToken)
                    .ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
            RenewalItem[] item = [new(Key, Owner, Token.Number, duration)];
            var reply = await runtime.Gate.CallAsync(
                "renew",
                item,
                static (store, item, token) => store.RenewAsync(item, token),
                cancellationToken,
                evenDown: true
            );
            return reply.Outcomes is [RenewalOutcome.Renewed];
        }
        catch (Exception e) when (e is StoreUnavailableException or OperationCanceledException)
        {
            return false;
        }
    }

    /// <summary>Releases the key.</summary>
    public async ValueTask DisposeAsync()
    {
        await ReleaseAsync();
        GC.SuppressFinalize(this);
    }

    private async ValueTask<bool> SendReleaseAsync(CancellationToken cancellationToken)
    {
        var runtime = _state.Runtime;
        runtime.HoldBacks.Sending(Key);
        try
        {
            var result = await runtime.Gate.CallAsync(
                "release",
                this,
                static (store, lease, token) => store.ReleaseAsync(lease.Key, lease.Owner, token),
                cancellationToken
            );
            runtime.OnReleased(Key, result);
            return result.Released;
        }
        catch (Exception e) when (e is StoreUnavailableException or OperationCanceledException)
        {
            runtime.HoldBacks.Forget(Key);
            runtime.Dropper.AddGrant(Key, Owner, _state.Duration);
            return false;
        }
    }
}
