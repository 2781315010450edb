using Scheduler.Locking;

namespace Scheduler.Tests.Conformance;

/// <summary>A grant that a test has.</summary>
public sealed record TestGrant(LockKey Key, LeaseOwner Owner, long Number);

/// <summary>One replica's client of the server under test, with what the port takes spelled shorter. Thread-safe.</summary>
public sealed class StoreClient(ILeaseStore store, ReplicaIdentity replica, CancellationToken cancellationToken)
{
    private long _acquisitions;

    public ILeaseStore Store { get; } = store;

    public ReplicaIdentity Replica { get; } = replica;

    public LeaseOwner NewOwner() => new(Replica.Id, Interlocked.Increment(ref _acquisitions));

    public ValueTask<AcquireResult> TryAsync(LockKey key, LeaseOwner owner, TimeSpan duration, string purpose = "test") =>
        Store.AcquireAsync(new AcquireRequest(key, owner, purpose, duration), cancellationToken);

    /// <summary>Takes a key that must be free.</summary>
    public async Task<TestGrant> AcquireAsync(LockKey key, TimeSpan duration, string purpose = "test")
    {
        var owner = NewOwner();
        var granted = Assert.IsType<AcquireResult.Granted>(await TryAsync(key, owner, duration, purpose));
        return new TestGrant(key, owner, granted.Number);
    }

    /// <summary>Asks for a key that must be held.</summary>
    public async Task<AcquireResult.Held> ExpectHeldAsync(LockKey key) =>
        Assert.IsType<AcquireResult.Held>(await TryAsync(key, NewOwner(), TimeSpan.FromSeconds(30)));

    /// <summary>Asks until the key is granted; an answer that the store is unavailable fails the test.</summary>
    public async Task<TestGrant> AcquireWhenFreeAsync(LockKey key, TimeSpan duration, TimeSpan within)
    {
        var owner = NewOwner();
        TestGrant? grant = null;
        await Scheduler.Testing.Eventually.Holds(
            async () =>
            {
                var answer = await TryAsync(key, owner, duration);
                Assert.False(answer is AcquireResult.Unavailable, answer.ToString());
                grant = answer is AcquireResult.Granted granted ? new TestGrant(key, owner, granted.Number) : null;
                return grant is not null;
            },
            within,
            $"'{key}' is granted to {Replica.Id}"
        );
        return grant!;
    }

    public async Task<IReadOnlyList<RenewalOutcome>> RenewAsync(TimeSpan duration, params TestGrant[] grants)
    {
        var reply = await Store.RenewAsync([.. grants.Select(g => new RenewalItem(g.Key, g.Owner, g.Number, duration))], cancellationToken);
        return reply.Outcomes;
    }

    public async Task<ReleaseResult> ReleaseAsync(TestGrant grant) => await Store.ReleaseAsync(grant.Key, grant.Owner, cancellationToken);

    public async Task<RevokeResult> RevokeAsync(TestGrant grant) => await Store.RevokeAsync(grant.Key, grant.Number, cancellationToken);

    public async Task<LeaseRecord?> ReadAsync(LockKey key) => await Store.ReadAsync(key, cancellationToken);

    /// <summary>Reads all pages of a list.</summary>
    public async Task<IReadOnlyList<LeaseRecord>> ListAsync(string prefix, int limit = 100)
    {
        List<LeaseRecord> all = [];
        string? cursor = null;
        do
        {
            var page = await Store.ListAsync(prefix, limit, cursor, cancellationToken);
            Assert.True(page.Items.Count <= limit, $"A page has {page.Items.Count} grants, more than {limit}.");
            all.AddRange(page.Items);
            cursor = page.Next;
            Assert.True(all.Count <= 10_000, "The list does not end.");
        } while (cursor is not null);
        return all;
    }
}
