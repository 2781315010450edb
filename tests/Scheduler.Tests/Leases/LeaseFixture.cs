using Scheduler.Leases;
using Scheduler.Locking;
using Scheduler.Testing;

namespace Scheduler.Tests.Leases;

/// <summary>A provider on a scripted store and a clock that the test moves (or the real one).</summary>
internal sealed class LeaseFixture : IAsyncDisposable
{
    public static readonly TimeSpan Bound = TimeSpan.FromSeconds(20);
    public static readonly LockKey Key = LockKey.From("job:settle");

    public LeaseFixture(TimeProvider? time = null, Action<LeaseOptions>? configure = null)
    {
        Time = time ?? new FakeTime();
        Store = new ScriptedLeaseStore(Time);
        configure?.Invoke(Options);
        Provider = NewProvider("a");
    }

    public TimeProvider Time { get; }

    public FakeTime Fake => (FakeTime)Time;

    public ScriptedLeaseStore Store { get; }

    public LeaseOptions Options { get; } = new();

    public LogCapture Log { get; } = new();

    public LockProvider Provider { get; }

    public LockProvider NewProvider(string name) => new(Store, Options, ReplicaIdentity.Create(name), Time, Log);

    public async Task<Lease> TakeAsync(LockKey? key = null, TimeSpan? duration = null, LockProvider? provider = null) =>
        Assert.IsType<LockAttempt.Granted>(await (provider ?? Provider).TryAcquireAsync(key ?? Key, "test", duration)).Lease;

    /// <summary>Moves the clock in small steps, as time passes for a running process, until the condition holds.</summary>
    public async Task AdvanceUntil(Func<bool> condition, TimeSpan atMost, TimeSpan? step = null)
    {
        var left = atMost;
        var by = step ?? TimeSpan.FromMilliseconds(100);
        while (!condition() && left > TimeSpan.Zero)
        {
            Fake.Advance(by);
            left -= by;
            await Eventually.Passes(TimeSpan.FromMilliseconds(3));
            // What the step has set off stands in front of this in the pool's queue; where the processors are busy, time limits would
            // otherwise pass before what they limit has begun.
            await Task.Run(static () => Task.Run(static () => { }));
        }
        await Eventually.Holds(condition, TimeSpan.FromSeconds(5));
    }

    public ValueTask DisposeAsync() => Provider.DisposeAsync();
}
