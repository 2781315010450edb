using Microsoft.Extensions.Logging;
using Scheduler.Leases;
using Scheduler.Locking;
using Scheduler.Telemetry;

namespace Scheduler.Runs;

/// <summary>
/// Keeps lock store and State a pair: each keeps the other's id, and a replica with another pair than living replicas uses no locks.
/// Thread-safe.
/// </summary>
/// <remarks>
/// What it refuses would run jobs twice: State on SQLite on a second host beside locks on one Redis, another database of that Redis, a
/// backend that is changed while former replicas run. Replicas say in their heartbeat of which store they may hold leases (nothing is said
/// by the previous release, so between its replicas and these nothing is compared), and confirm to the store every 5 s which State they
/// have.
/// </remarks>
/// <param name="store">The lock store; not disposed of.</param>
/// <param name="state">The State, or <see langword="null"/> for none.</param>
/// <param name="replica">This process.</param>
/// <param name="options">The times of leases.</param>
/// <param name="demand">Refuses a store that is too weak, before it is paired.</param>
/// <param name="logger">Where a changed pair is told.</param>
public sealed class StorePairing(
    ILeaseStore store,
    StateGuard? state,
    ReplicaIdentity replica,
    LeaseOptions options,
    Action<LeaseStoreInfo> demand,
    ILogger<StorePairing> logger
) : ILockStorePairing
{
    /// <summary>A replica that is up confirms its pair and writes its heartbeat this often at least.</summary>
    private static readonly TimeSpan Signs = TimeSpan.FromSeconds(6);

    private const int MaxLabel = 200;

    private StateMark? _mark;
    private (string StoreId, int Generation)? _paired;

    // Until then a replica that vanished may hold a lease that it took just after its last sign.
    private TimeSpan Silence => options.LongestLease + Signs;

    /// <inheritdoc/>
    public async ValueTask<LockStoreUse> RecallAsync(CancellationToken cancellationToken)
    {
        // What State knows of the store's past tells a store that forgot from a new one; a State that is away knows nothing.
        if (state is null)
        {
            return LockStoreUse.Unknown;
        }
        try
        {
            return await state.CallAsync((s, t) => s.Pair.RecallAsync(t), cancellationToken) is null
                ? LockStoreUse.Unused
                : LockStoreUse.Used;
        }
        catch (StateUnavailableException)
        {
            return LockStoreUse.Unknown;
        }
    }

    /// <inheritdoc/>
    public async ValueTask<int> PairAsync(LeaseStoreInfo info, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(info);
        demand(info);
        try
        {
            // Looked at first: a replica that may not use this store must not make State its pair.
            var noted = await store.PairAsync(null, Silence, cancellationToken);
            var mark = await MarkAsync(cancellationToken);
            // A State that was away told its level only now.
            demand(info);
            ThrowIfOthers(noted, mark, info.Id);
            var generation = await PairStateAsync(info, noted?.Generation ?? 0, cancellationToken);
            Volatile.Write(ref _mark, mark with { Generation = generation });
            await ConfirmAsync(cancellationToken);
            _paired = (info.Id, generation);
            return generation;
        }
        catch (StateUnavailableException) when (_paired is { } before && before.StoreId == info.Id)
        {
            // A State that is away changes nothing about the pair that this replica is part of.
            return before.Generation;
        }
    }

    /// <inheritdoc/>
    public async ValueTask ConfirmAsync(CancellationToken cancellationToken)
    {
        if (Volatile.Read(ref _mark) is { } mark)
        {
            ThrowIfOthers(await store.PairAsync(mark, Silence, cancellationToken), mark, null);
        }
    }

    private async ValueTask<StateMark> MarkAsync(CancellationToken cancellationToken)
    {
        if (state is null)
        {
            return Mark(StateMark.NoState, $"no State, confirmed by {replica.Name}");
        }
        var id = await state.CallAsync((s, t) => s.Pair.IdAsync(t), cancellationToken);
        return Mark(id, $"State '{state.Name}' {id}, confirmed by {replica.Name}");

        static StateMark Mark(string id, string label) => new(id, label[..Math.Min(label.Length, MaxLabel)], 0);
    }

    private async ValueTask<int> PairStateAsync(LeaseStoreInfo info, int least, CancellationToken cancellationToken)
    {
        if (state is null)
        {
            return least;
        }
        var request = new PairRequest(info.Id, replica.Id, Silence, least, IsKept: !store.Traits.IsEphemeral);
        switch (await state.CallAsync((s, t) => s.Pair.PairAsync(request, t), cancellationToken))
        {
            case PairResult.Paired { Former: { } former } paired:
                RunLog.PairReplaced(logger, state.Name, former, store.Traits.Name, info.Id, paired.Generation);
                return paired.Generation;
            case PairResult.Paired paired:
                return paired.Generation;
            case var other:
                var taken = (PairResult.Taken)other;
                throw new StoreUnavailableException(
                    $"The group's State '{state.Name}' is paired with the lock store {taken.StoreId}, of which {Names(taken.Replicas)} may "
                        + $"hold leases (last heartbeat {taken.Age.TotalSeconds:0.0} s ago), and this replica's lock store "
                        + $"'{store.Traits.Name}' is {info.Id}. A group has one lock store: give this replica the others' "
                        + "Scheduler:Locks, or stop the others first; it takes the place of the former store "
                        + $"{Silence.TotalSeconds:0} s after their last heartbeat, or at once when they were stopped in order."
                );
        }
    }

    private void ThrowIfOthers(StateMark? noted, StateMark mark, string? storeId)
    {
        if (noted is null || noted.Id == mark.Id || (storeId is not null && noted.Age >= Silence))
        {
            return;
        }
        throw new StoreUnavailableException(
            $"The lock store '{store.Traits.Name}' belongs to another State of the group ({noted.Label}, {noted.Age.TotalSeconds:0.0} s "
                + $"ago), and this replica has {mark.Label}. A group has one State, "
                + "and State on SQLite serves one host: give all replicas the "
                + $"same Scheduler:State, or this one another Scheduler:Group; a State takes over after {Silence.TotalSeconds:0} s in "
                + "which no replica of the other confirmed it."
        );
    }

    private static string Names(IReadOnlyList<string> replicas) =>
        replicas.Count <= 3 ? string.Join(", ", replicas) : $"{string.Join(", ", replicas.Take(3))} and {replicas.Count - 3} more";
}
