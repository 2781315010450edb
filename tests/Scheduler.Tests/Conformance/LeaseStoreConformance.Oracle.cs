using Scheduler.Leases;
using Scheduler.Locking;

namespace Scheduler.Tests.Conformance;

// Rule 1, judged by what a lock is for.
public abstract partial class LeaseStoreConformance<TFixture>
{
    [Fact]
    public async Task Rule_01_the_oracle_of_mutual_exclusion_counts_every_increment()
    {
        var replicas = await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => StartReplicaAsync()));
        var oracle = new MutualExclusionOracle();

        await oracle.RunAsync(
            tasks: 8 * replicas.Length,
            incrementsEach: 4,
            async task =>
            {
                var attempt = await replicas[task % replicas.Length].Locks.AcquireAsync(Key, "count", TimeSpan.FromMinutes(2), Long, Stop);
                return Assert.IsType<LockAttempt.Granted>(attempt).Lease;
            }
        );

        Assert.Equal(oracle.Expected, oracle.Counted);
        Assert.True(oracle.TokensGrew, "a later holder had a smaller token");
        Assert.Null(await replicas[0].Locks.ReadAsync(Key, Stop));
    }
}

/// <summary>A counter that loses increments whenever two holders are at work at the same time.</summary>
public sealed class MutualExclusionOracle
{
    private int _counter;
    private long _lastToken;
    private int _expected;
    private volatile bool _tokensGrew = true;

    public int Expected => _expected;

    public int Counted => Volatile.Read(ref _counter);

    public bool TokensGrew => _tokensGrew;

    /// <summary>Lets tasks increment the counter, each increment inside what <paramref name="enter"/> gives.</summary>
    public async Task RunAsync(int tasks, int incrementsEach, Func<int, Task<IAsyncDisposable>> enter)
    {
        Interlocked.Add(ref _expected, tasks * incrementsEach);
        await Task.WhenAll(
            Enumerable
                .Range(0, tasks)
                .Select(task =>
                    Task.Run(async () =>
                    {
                        for (var i = 0; i < incrementsEach; i++)
                        {
                            await using var section = await enter(task);
                            await IncrementAsync((section as Lease)?.Token);
                        }
                    })
                )
        );
    }

    private async Task IncrementAsync(FencingToken? token)
    {
        var read = Volatile.Read(ref _counter);
        var last = Volatile.Read(ref _lastToken);
        await Task.Yield();
        await Task.Yield();
        _tokensGrew &= token is null || token.Value.Value > last;
        Volatile.Write(ref _lastToken, token?.Value ?? 0);
        Volatile.Write(ref _counter, read + 1);
    }
}

public sealed class MutualExclusionOracleTests
{
    [Fact]
    public async Task The_oracle_notices_that_nothing_excludes()
    {
        // Which increments meet is up to the machine, so it gets several chances.
        for (var round = 0; round < 100; round++)
        {
            var oracle = new MutualExclusionOracle();
            await oracle.RunAsync(tasks: 32, incrementsEach: 4, _ => Task.FromResult<IAsyncDisposable>(new Nothing()));
            if (oracle.Counted != oracle.Expected)
            {
                return;
            }
        }
        Assert.Fail("32 tasks incremented a counter without any lock, and no increment was ever lost: the oracle sees nothing.");
    }

    [Fact]
    public async Task The_oracle_is_content_with_a_real_lock()
    {
        using var mutex = new SemaphoreSlim(1);
        var oracle = new MutualExclusionOracle();

        await oracle.RunAsync(
            tasks: 32,
            incrementsEach: 4,
            async _ =>
            {
                await mutex.WaitAsync();
                return new Leave(mutex);
            }
        );

        Assert.Equal(oracle.Expected, oracle.Counted);
    }

    private sealed class Nothing : IAsyncDisposable
    {
        public ValueTask DisposeAsync() => ValueTask.CompletedTask;
    }

    private sealed class Leave(SemaphoreSlim mutex) : IAsyncDisposable
    {
        public ValueTask DisposeAsync()
        {
            mutex.Release();
            return ValueTask.CompletedTask;
        }
    }
}
