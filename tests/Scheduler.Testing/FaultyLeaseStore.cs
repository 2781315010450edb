using Scheduler.Locking;

namespace Scheduler.Testing;

/// <summary>
/// A lease store whose way to the server a test can break: answers that never come, come too late, or are refused. Thread-safe.
/// </summary>
public sealed class FaultyLeaseStore(ILeaseStore inner) : ILeaseStore
{
    private volatile TaskCompletionSource? _silence;
    private volatile bool _commandsArrive;
    private string? _refuseWith;
    private int _acquires;
    private int _renewals;

    public LeaseStoreTraits Traits => PretendedTraits ?? inner.Traits;

    /// <summary>What the store says of itself before anybody has contacted it; default: the truth.</summary>
    public LeaseStoreTraits? PretendedTraits { get; init; }

    /// <summary>Every call is refused at once, with this reason.</summary>
    public string? RefuseWith
    {
        get => Volatile.Read(ref _refuseWith);
        set => Volatile.Write(ref _refuseWith, value);
    }

    /// <summary>Whether the refusal is one that only a change of set-up mends.</summary>
    public bool RefuseForGood { get; set; }

    /// <summary>How many acquire commands were sent.</summary>
    public int Acquires => Volatile.Read(ref _acquires);

    /// <summary>How many batches of renewals were sent.</summary>
    public int Renewals => Volatile.Read(ref _renewals);

    /// <summary>From now on no answer comes; the calls end by cancellation only.</summary>
    /// <param name="commandsArrive">Whether the server executes them nevertheless.</param>
    public void GoSilent(bool commandsArrive)
    {
        _commandsArrive = commandsArrive;
        _silence = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
    }

    /// <summary>Answers come again.</summary>
    public void Heal()
    {
        RefuseWith = null;
        var silence = _silence;
        _silence = null;
        silence?.TrySetResult();
    }

    public ValueTask<LeaseStoreInfo> CheckAsync(LockStoreUse use, CancellationToken cancellationToken) =>
        CallAsync(() => inner.CheckAsync(use, CancellationToken.None), cancellationToken);

    public ValueTask<StateMark?> PairAsync(StateMark? mark, TimeSpan replaceAfter, CancellationToken cancellationToken) =>
        CallAsync(() => inner.PairAsync(mark, replaceAfter, CancellationToken.None), cancellationToken);

    public async ValueTask<AcquireResult> AcquireAsync(AcquireRequest request, CancellationToken cancellationToken)
    {
        Interlocked.Increment(ref _acquires);
        return RefuseWith is { } reason
            ? new AcquireResult.Unavailable(reason)
            : await CallAsync(() => inner.AcquireAsync(request, CancellationToken.None), cancellationToken);
    }

    public ValueTask<RenewalReply> RenewAsync(IReadOnlyList<RenewalItem> batch, CancellationToken cancellationToken)
    {
        Interlocked.Increment(ref _renewals);
        return CallAsync(() => inner.RenewAsync(batch, CancellationToken.None), cancellationToken);
    }

    public ValueTask<ReleaseResult> ReleaseAsync(LockKey key, LeaseOwner owner, CancellationToken cancellationToken) =>
        CallAsync(() => inner.ReleaseAsync(key, owner, CancellationToken.None), cancellationToken);

    public ValueTask<RevokeResult> RevokeAsync(LockKey key, long number, CancellationToken cancellationToken) =>
        CallAsync(() => inner.RevokeAsync(key, number, CancellationToken.None), cancellationToken);

    public ValueTask<LeaseRecord?> ReadAsync(LockKey key, CancellationToken cancellationToken) =>
        CallAsync(() => inner.ReadAsync(key, CancellationToken.None), cancellationToken);

    public ValueTask<LeasePage> ListAsync(string prefix, int limit, string? cursor, CancellationToken cancellationToken) =>
        CallAsync(() => inner.ListAsync(prefix, limit, cursor, CancellationToken.None), cancellationToken);

    public ValueTask<IAsyncDisposable> SubscribeAsync(Action<LockKey> mayBeFree, CancellationToken cancellationToken) =>
        CallAsync(() => inner.SubscribeAsync(mayBeFree, CancellationToken.None), cancellationToken);

    public ValueTask DisposeAsync() => inner.DisposeAsync();

    private async ValueTask<T> CallAsync<T>(Func<ValueTask<T>> call, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        if (RefuseWith is { } reason)
        {
            throw new StoreUnavailableException(reason, permanent: RefuseForGood);
        }
        if (_silence is not { } silence)
        {
            // To its end, as stores do: whoever gives up must not hide what is still on its way.
            return await call();
        }
        if (_commandsArrive)
        {
            await call();
        }
        await silence.Task.WaitAsync(cancellationToken);
        throw new StoreUnavailableException("The connection was reset.");
    }
}
