using System.Runtime.ExceptionServices;
using Microsoft.Extensions.Logging;
using Scheduler.Locking;

namespace Scheduler.Leases;

/// <summary>An answer to an acquire, with what is needed to trust or to drop it.</summary>
/// <param name="Result">What the store answered.</param>
/// <param name="SentAt">The timestamp before the command was sent.</param>
/// <param name="Cancelled">The caller ended the call; the result is then of unknown outcome.</param>
/// <param name="Pending">The call, when it may still answer.</param>
/// <param name="Generation">That of tokens before the command was sent: what a store granted before it was replaced belongs to the
/// one before.</param>
internal readonly record struct AcquireAnswer(
    AcquireResult Result,
    long SentAt,
    bool Cancelled = false,
    Task<AcquireResult>? Pending = null,
    int Generation = 0
);

/// <summary>
/// The only way to the store: gives every call its time limit, turns errors into answers, and keeps callers away from a store that does
/// not answer (see <see cref="StoreProbe"/>). Thread-safe.
/// </summary>
internal sealed class StoreGate(ILeaseStore store, LeaseOptions options, TimeProvider time, ILogger log, ILockStorePairing? pairing)
{
    private readonly CallLimit _limit = new(options.CallTimeout, time);
    private readonly StoreProbe _probe = new(store, options, time, log, pairing);

    /// <summary>Called after the store came up; with true for the first time.</summary>
    public Action<bool>? CameUp
    {
        get => _probe.CameUp;
        set => _probe.CameUp = value;
    }

    /// <summary>Called when a check before the first that passed finds that only a change of configuration or set-up helps.</summary>
    public Action<StoreUnavailableException>? Refused
    {
        get => _probe.Refused;
        set => _probe.Refused = value;
    }

    public StoreHealth Health => _probe.Health;

    public LeaseStoreInfo? Info => _probe.Info;

    public bool IsStopped => _probe.IsStopped;

    public string Name => store.Traits.Name;

    /// <summary>Checks the store once.</summary>
    /// <exception cref="StoreUnavailableException">It cannot be used now; it is then probed in the background.</exception>
    public async ValueTask<LeaseStoreInfo> StartAsync(CancellationToken cancellationToken) =>
        await _probe.SharedCheck().WaitAsync(cancellationToken);

    /// <summary>Asks for a key; never throws.</summary>
    public async ValueTask<AcquireAnswer> AcquireAsync(AcquireRequest request, CancellationToken cancellationToken)
    {
        if (await _probe.RefusalAsync(cancellationToken) is { } refusal)
        {
            return new(new AcquireResult.Unavailable(refusal), 0, cancellationToken.IsCancellationRequested);
        }
        if (cancellationToken.IsCancellationRequested)
        {
            return new(new AcquireResult.Unavailable("The attempt was cancelled before anything was sent."), 0, Cancelled: true);
        }
        var (sentAt, generation) = (time.GetTimestamp(), _probe.Generation);
        var call = await BoundedCall.RunAsync(
            _limit,
            (store, request),
            static (state, token) => state.store.AcquireAsync(state.request, token),
            cancellationToken
        );
        switch (call.End)
        {
            case CallEnd.Answered when call.Value is AcquireResult.Unavailable unavailable:
                _probe.GoDown(unavailable.Reason, unavailable.Cause, null);
                return new(unavailable, sentAt);
            case CallEnd.Answered:
                return new(call.Value!, sentAt, Generation: generation);
            case CallEnd.Cancelled:
                return new(new AcquireResult.Unavailable("The attempt was cancelled.", OutcomeUnknown: true), sentAt, true, call.Pending);
            default:
                var error = Failure("acquire", call);
                _probe.GoDown(error);
                return new(
                    new AcquireResult.Unavailable(error.Message, OutcomeUnknown: true, error.InnerException),
                    sentAt,
                    false,
                    call.Pending
                );
        }
    }

    /// <summary>Runs one call of the store with its time limit.</summary>
    /// <param name="what">The call's name for errors.</param>
    /// <param name="state">What the call needs.</param>
    /// <param name="call">The call.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <param name="evenDown">Whether to try while the store counts as down.</param>
    /// <param name="marksDown">Whether no answer makes the store count as down; not for what the locks do without.</param>
    /// <exception cref="StoreUnavailableException">No answer in time, or an error.</exception>
    /// <exception cref="OperationCanceledException">The caller ended it.</exception>
    public async ValueTask<T> CallAsync<T, TState>(
        string what,
        TState state,
        Func<ILeaseStore, TState, CancellationToken, ValueTask<T>> call,
        CancellationToken cancellationToken,
        bool evenDown = false,
        bool marksDown = true
    )
    {
        if (!evenDown && await _probe.RefusalAsync(cancellationToken) is { } refusal)
        {
            cancellationToken.ThrowIfCancellationRequested();
            throw new StoreUnavailableException(refusal);
        }
        var ended = await BoundedCall.RunAsync(
            _limit,
            (store, state, call),
            static (state, token) => state.call(state.store, state.state, token),
            cancellationToken
        );
        switch (ended.End)
        {
            case CallEnd.Answered:
                return ended.Value!;
            case CallEnd.Cancelled:
                throw new OperationCanceledException(cancellationToken);
            case CallEnd.Failed when ended.Error is ArgumentException:
                ExceptionDispatchInfo.Throw(ended.Error);
                throw ended.Error;
            default:
                var error = Failure(what, ended);
                if (marksDown)
                {
                    _probe.GoDown(error);
                }
                throw error;
        }
    }

    /// <summary>A call that does not come through this gate (a renewal) had no answer.</summary>
    public void NoteFailure(string what, Exception? error) =>
        _probe.GoDown(Failure(what, new BoundedCall<bool>(error is null ? CallEnd.TimedOut : CallEnd.Failed, Error: error)));

    /// <summary>The store must pass another check before it is used again.</summary>
    public void GoDown(string reason) => _probe.GoDown(reason, null, null);

    /// <summary>A renewal was answered: if the store counts as down, it is probed at once.</summary>
    public void NoteAnswer() => _probe.NoteAnswer();

    /// <summary>Ends the probing; later calls are refused.</summary>
    public void Stop() => _probe.Stop();

    private StoreUnavailableException Failure<T>(string what, BoundedCall<T> call) =>
        StoreFailure.Of(Name, what, call, options.CallTimeout);
}
