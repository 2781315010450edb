using System.Net;
using Scheduler.Locking;
using Scheduler.Testing.Servers.Faults;
using Scheduler.TestPeer;
using Scheduler.Tests.Sqlite;

namespace Scheduler.Tests.Conformance;

/// <summary>What fences do on every resource that has them.</summary>
public abstract class FenceConformance : IAsyncLifetime
{
    protected const long Older = 5;
    protected const long Newer = 6;
    protected static readonly TimeSpan Bound = TimeSpan.FromSeconds(20);

    protected static CancellationToken Stop => TestContext.Current.CancellationToken;

    /// <summary>See <see cref="Payouts.Open"/>.</summary>
    protected abstract string Kind { get; }

    /// <summary>See <see cref="Payouts.Open"/>.</summary>
    protected string Place { get; private set; } = null!;

    private protected Payouts Payouts { get; private set; } = null!;

    public async ValueTask InitializeAsync()
    {
        Place = await StartAsync();
        Payouts = Payouts.Open(Kind, Place);
        await Payouts.CreateAsync();
    }

    public async ValueTask DisposeAsync()
    {
        GC.SuppressFinalize(this);
        await Payouts.DisposeAsync();
        await EndAsync();
    }

    [Fact]
    public async Task An_equal_or_newer_token_passes_and_a_smaller_one_is_refused_by_name()
    {
        Assert.Equal(1, await Payouts.PayAsync(Older));
        Assert.Equal(0, await Payouts.PayAsync(Older));
        Assert.Equal(0, await Payouts.PayAsync(Newer));
        var stale = await Assert.ThrowsAsync<StaleLeaseException>(() => Payouts.PayAsync(Older));
        Assert.Equal((Payouts.Resource, Payouts.Key), (stale.Resource, stale.Key));
        Assert.Equal((Older, Newer), (stale.Token.Value, stale.Newest.Value));
        Assert.Equal([Older], await Payouts.PaidAsync());
    }

    [Fact]
    public async Task A_stale_holder_does_nothing_although_nothing_is_there_yet()
    {
        Assert.Equal(1, await Payouts.PayAsync(Newer));
        await Assert.ThrowsAsync<StaleLeaseException>(() => Payouts.PayAsync(Older));
        Assert.Equal([Newer], await Payouts.PaidAsync());
    }

    /// <summary>Tokens are 64 bits wide, and two may differ in their length or in their last digit alone.</summary>
    [Theory]
    [InlineData(9, 10)]
    [InlineData(99_999, 100_000)]
    [InlineData((1L << 53) - 1, 1L << 53)]
    [InlineData(1L << 53, (1L << 53) + 1)]
    [InlineData(long.MaxValue - 1, long.MaxValue)]
    public async Task Tokens_of_every_size_are_told_apart(long older, long newer)
    {
        await Payouts.PayAsync(newer);
        var stale = await Assert.ThrowsAsync<StaleLeaseException>(() => Payouts.PayAsync(older));
        Assert.Equal((older, newer), (stale.Token.Value, stale.Newest.Value));
        Assert.Equal(0, await Payouts.PayAsync(newer));
    }

    [Fact]
    public async Task A_fence_remembers_its_lock_key()
    {
        await Payouts.PayAsync(Older);
        var problem = await Assert.ThrowsAsync<InvalidOperationException>(() => Payouts.PayAsync(Newer, LockKey.From("job:other")));
        Assert.Contains("'payouts' is fenced by the lock key 'job:pay', not by 'job:other'", problem.Message, StringComparison.Ordinal);
        Assert.Equal(0, await Payouts.PayAsync(Older));
    }

    [Fact]
    public async Task Resources_are_told_apart_by_every_character()
    {
        string[] names = ["a", "A", "a ", "ä", "a\u0308", "a:\U0001F512", "a'b"];
        foreach (var name in names)
        {
            await Payouts.PayAsync(Newer, resource: name);
        }
        foreach (var name in names)
        {
            var stale = await Assert.ThrowsAsync<StaleLeaseException>(() => Payouts.PayAsync(Older, resource: name));
            Assert.Equal(name, stale.Resource);
        }
        Assert.Equal(0, await Payouts.PayAsync(Older, resource: "b"));
    }

    [Fact]
    public async Task What_names_no_resource_and_no_grant_is_refused()
    {
        await Assert.ThrowsAsync<ArgumentException>(() => Payouts.PayAsync(Older, resource: ""));
        await Assert.ThrowsAsync<ArgumentOutOfRangeException>(() => Payouts.PayAsync(0));
        using var cancelled = new CancellationTokenSource();
        await cancelled.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => Payouts.PayAsync(Older, cancellationToken: cancelled.Token));
        Assert.Empty(await Payouts.PaidAsync());
    }

    [Fact]
    public async Task Many_that_find_no_fence_at_the_same_time_all_have_their_turn()
    {
        var paid = await Task.WhenAll(Enumerable.Range(0, 12).Select(_ => Task.Run(() => Payouts.PayAsync(Older), Stop)));
        Assert.Equal(1, paid.Sum());
        Assert.Equal([Older], await Payouts.PaidAsync());
    }

    /// <summary>The reason for fences: nobody can tell a process that stands still that its lease has ended.</summary>
    [Fact]
    public async Task A_holder_that_is_stopped_between_look_and_payment_is_refused_when_its_successor_is_done()
    {
        await using var older = await StopBetweenAsync("before");
        Assert.Equal(1, await Payouts.PayAsync(Newer));
        await older.SignalAsync("CONT");

        Assert.Equal($"stale {Payouts.Resource} {Payouts.Key} {Older} {Newer}", await older.LineAsync());
        Assert.Equal([Newer], await Payouts.PaidAsync());
    }

    /// <summary>How many round trips a fenced transaction has more than the same without a fence, counted on the wire.</summary>
    /// <param name="port">The server's.</param>
    /// <param name="through">The place by way of another port.</param>
    protected async Task<long> CountRoundTripsOfAFenceAsync(int port, Func<int, string> through)
    {
        await using var wire = FaultProxy.Start(new DnsEndPoint("127.0.0.1", port), FaultSeed.Take());
        await using var payouts = Payouts.Open(Kind, through(wire.EndPoint.Port));
        // Connections, tables and statements are there from the second time on.
        for (var i = 0; i < 3; i++)
        {
            await payouts.PayAsync(Older);
            await payouts.PayPlainlyAsync(Older);
        }
        var start = wire.RoundTrips;
        await payouts.PayPlainlyAsync(Older);
        var plain = wire.RoundTrips - start;
        await payouts.PayAsync(Older);
        Assert.InRange(plain, 1, 5);
        return wire.RoundTrips - start - plain - plain;
    }

    /// <summary>Makes an empty place for the resource.</summary>
    protected abstract ValueTask<string> StartAsync();

    protected abstract ValueTask EndAsync();

    /// <summary>An older holder, a process of its own, that has seen that nothing is paid and is stopped; when it is continued, it
    /// pays.</summary>
    private protected async Task<Peer> StopBetweenAsync(string where, string? place = null)
    {
        var older = Peer.Start("pay", Kind, place ?? Place, $"{Older}", where);
        Assert.Equal("saw 0", await older.LineAsync());
        await older.SignalAsync("STOP");
        await older.GoAsync();
        return older;
    }
}
