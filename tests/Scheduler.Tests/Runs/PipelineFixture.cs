using System.Collections.Concurrent;
using Microsoft.Extensions.Logging.Abstractions;
using Scheduler.Leases;
using Scheduler.Locking;
using Scheduler.Locking.InMemory;
using Scheduler.Runs;
using Scheduler.Testing;
using Scheduler.Time;

namespace Scheduler.Tests.Runs;

/// <summary>A pipeline on the memory store with scripted claims.</summary>
public abstract class PipelineFixture : IAsyncDisposable
{
    private int _cancelled;

    protected PipelineFixture()
    {
        Locks = new LockProvider(new InMemoryLeaseStore(Server, "test"), Options, ReplicaIdentity.Create("one"), BootTimeProvider.Instance);
        Pipeline = new RunPipeline(Locks, Claims, ReplicaIdentity.Create("one"), Options, BootTimeProvider.Instance, NullLogger.Instance);
    }

    private protected static LockKey Key { get; } = LockKey.From("job:test");

    private protected InMemoryLeaseServer Server { get; } = new();

    private protected LeaseOptions Options { get; } =
        new() { LeaseDuration = TimeSpan.FromSeconds(2), ProbeInterval = TimeSpan.FromMilliseconds(20) };

    private protected ScriptedClaims Claims { get; } = new();

    private protected LockProvider Locks { get; }

    private protected RunPipeline Pipeline { get; }

    /// <summary>How often the pipeline cancelled the body's token.</summary>
    private protected int Cancelled => Volatile.Read(ref _cancelled);

    public async ValueTask DisposeAsync()
    {
        GC.SuppressFinalize(this);
        await Pipeline.DisposeAsync();
        await Locks.DisposeAsync();
    }

    private protected static ArgumentException Wrong(string run) => new(run, nameof(run));

    private protected async Task<FireResult> LoseLeaseAsync(Action<IRun> then) =>
        await ExecuteAsync(async run =>
        {
            var lost = new TaskCompletionSource();
            run.Lost.Register(lost.SetResult);
            await Locks.RevokeAsync(Key);
            await lost.Task.WaitAsync(Eventually.DefaultBound);
            then(run);
        });

    private protected ValueTask<FireResult> ExecuteAsync(Func<IRun, ValueTask> body) =>
        Pipeline.ExecuteAsync(Fire(() => Interlocked.Increment(ref _cancelled)), body, CancellationToken.None);

    private protected static FireRequest Fire(Action cancel) =>
        new()
        {
            Occurrence = new Occurrence("test", "trigger", DateTimeOffset.UnixEpoch),
            LockKey = Key,
            Cancel = cancel,
        };

    private protected sealed class ScriptedClaims : IRunClaims
    {
        public ConcurrentQueue<FireRequest> Claims { get; } = new();

        public ConcurrentQueue<Completion> Completions { get; } = new();

        public Lease? Lease { get; private set; }

        public Func<FireRequest, ValueTask<ClaimAnswer>> OnClaim { get; set; } =
            _ => ValueTask.FromResult<ClaimAnswer>(new ClaimAnswer.Claimed("run", 1));

        public Func<Completion, ValueTask<bool>> OnComplete { get; set; } = _ => ValueTask.FromResult(true);

        public Func<ValueTask> OnResolve { get; set; } = () => ValueTask.CompletedTask;

        public ValueTask<ClaimAnswer> ClaimAsync(FireRequest fire, Lease lease, CancellationToken cancellationToken)
        {
            Claims.Enqueue(fire);
            Lease = lease;
            return OnClaim(fire);
        }

        public ValueTask<bool> CompleteAsync(ClaimAnswer.Claimed claim, Completion completion, CancellationToken cancellationToken)
        {
            Completions.Enqueue(completion);
            return OnComplete(completion);
        }

        public async ValueTask ResolveAsync(FireRequest fire, Lease lease, CancellationToken cancellationToken) => await OnResolve();
    }
}
