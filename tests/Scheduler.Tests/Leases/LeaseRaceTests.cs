using System.Diagnostics.Metrics;
using Microsoft.Extensions.Logging;
using Scheduler.Leases;
using Scheduler.Locking;
using Scheduler.Testing;
using static Scheduler.Tests.Leases.LeaseFixture;

namespace Scheduler.Tests.Leases;

/// <summary>What comes at the wrong moment, and what should not have thrown.</summary>
public sealed class LeaseRaceTests
{
    private static readonly TimeSpan Step = TimeSpan.FromMilliseconds(10);

    [Fact]
    public async Task Somebody_may_wait_for_longer_than_any_timer_runs()
    {
        await using var f = new LeaseFixture();
        var lease = await f.TakeAsync();

        var waiting = f.Provider.AcquireAsync(Key, "w", TimeSpan.MaxValue).AsTask();
        await lease.ReleaseAsync();

        await Assert.IsType<LockAttempt.Granted>(await waiting.WaitAsync(Bound)).Lease.ReleaseAsync();
        Assert.Equal(0, f.Store.Held);
    }

    [Fact]
    public async Task A_wait_that_ran_out_during_its_question_and_is_then_cancelled_ends()
    {
        await using var f = new LeaseFixture();
        await f.Provider.StartAsync(CancellationToken.None);
        f.Store.OnAcquire = async (_, answer, token) =>
        {
            await new TaskCompletionSource().Task.WaitAsync(token);
            return answer();
        };
        using var cancel = new CancellationTokenSource();
        var waiting = f.Provider.AcquireAsync(Key, "w", TimeSpan.FromMilliseconds(100), cancellationToken: cancel.Token).AsTask();
        for (var i = 0; i < 30; i++)
        {
            f.Fake.Advance(Step);
            var since = TimeProvider.System.GetTimestamp();
            await Eventually.Holds(() => TimeProvider.System.GetElapsedTime(since) > Step / 2);
        }
        Assert.False(waiting.IsCompleted);

        await cancel.CancelAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => waiting.WaitAsync(Bound));
    }

    [Fact]
    public async Task A_grant_from_before_a_jump_of_the_servers_clock_does_not_count_after_it()
    {
        await using var f = new LeaseFixture();
        f.Store.ServerTime = f.Time.GetUtcNow();
        await (await f.TakeAsync(LockKey.From("job:first"))).ReleaseAsync();
        var held = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        f.Store.OnAcquire = async (request, answer, _) =>
        {
            var granted = answer();
            await (request.Key == Key ? held.Task : Task.CompletedTask);
            return granted;
        };
        var slow = f.Provider.TryAcquireAsync(Key, "slow").AsTask();
        f.Store.ServerTime = f.Time.GetUtcNow().AddSeconds(2);
        await f.TakeAsync(LockKey.From("job:second"));

        held.SetResult();
        var lease = Assert.IsType<LockAttempt.Granted>(await slow.WaitAsync(Bound)).Lease;

        Assert.False(lease.IsHeld);
        Assert.Equal(LossReason.ServerClockJumped, lease.LossReason);
    }

    [Fact]
    public async Task A_store_that_asks_to_be_left_alone_for_ever_is_probed_all_the_same()
    {
        await using var f = new LeaseFixture();
        var checks = 0;
        f.Store.OnCheck = (_, _) =>
            Interlocked.Increment(ref checks) == 1
                ? throw new StoreUnavailableException("It may have forgotten.", retryAfter: TimeSpan.MaxValue)
                : new(new LeaseStoreInfo("store-1", Level.Correctness, []));
        await Assert.ThrowsAsync<StoreUnavailableException>(async () => await f.Provider.StartAsync(CancellationToken.None));

        await f.AdvanceUntil(() => f.Provider.Health.IsUp, f.Options.LongestLease + TimeSpan.FromSeconds(1));
    }

    [Fact]
    public async Task A_log_that_throws_ends_no_loop()
    {
        await using var f = new LeaseFixture();
        await using var provider = new LockProvider(f.Store, f.Options, ReplicaIdentity.Create("b"), f.Time, new BrokenLog());
        var lease = await f.TakeAsync(provider: provider);
        var other = await f.TakeAsync(LockKey.From("job:other"), TimeSpan.FromSeconds(30), provider);
        f.Store.OnRenew = (_, _, _) => throw new InvalidOperationException("a defect of the store");
        await f.AdvanceUntil(() => lease.LossReason == LossReason.DeadlinePassed, TimeSpan.FromSeconds(12));
        await Eventually.Holds(() => lease.Lost.IsCancellationRequested);

        f.Store.OnRenew = null;
        await f.AdvanceUntil(() => provider.Health.IsUp, TimeSpan.FromSeconds(5));
        var deadline = other.Deadline;
        await f.AdvanceUntil(() => other.Deadline > deadline, TimeSpan.FromSeconds(15));
        Assert.True(other.IsHeld);
        await other.ReleaseAsync();
    }

    [Fact]
    public async Task A_listener_of_metrics_that_throws_silences_no_loss()
    {
        const string Name = "counted-badly";
        await using var f = new LeaseFixture();
        f.Store.Traits = f.Store.Traits with { Name = Name };
        await using var provider = f.NewProvider("b");
        using var listener = new MeterListener { InstrumentPublished = (i, l) => l.EnableMeasurementEvents(i) };
        listener.SetMeasurementEventCallback<long>(
            (_, _, tags, _) =>
            {
                foreach (var tag in tags)
                {
                    if (tag.Value as string == Name)
                    {
                        throw new InvalidOperationException("a defect of the listener");
                    }
                }
            }
        );
        listener.Start();

        var lease = await f.TakeAsync(provider: provider);
        var told = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        await using var telling = lease.Lost.Register(told.SetResult);
        f.Store.OnRenew = (_, _, _) => throw new InvalidOperationException("a defect of the store");
        await f.AdvanceUntil(() => told.Task.IsCompleted, TimeSpan.FromSeconds(12));
        Assert.False(lease.IsHeld);
    }

    private sealed class BrokenLog : ILoggerFactory, ILogger
    {
        public ILogger CreateLogger(string categoryName) => this;

        public void AddProvider(ILoggerProvider provider) => throw new NotSupportedException();

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(
            LogLevel logLevel,
            EventId eventId,
            TState state,
            Exception? exception,
            Func<TState, Exception?, string> formatter
        ) => throw new IOException("No space left on device");

        public void Dispose() { }
    }
}
