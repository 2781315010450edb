using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using Scheduler.Webhooks.Processing;

namespace Scheduler.Bench.Webhooks;

/// <summary>The part of a body that the handlers read.</summary>
/// <param name="OrderId">The order.</param>
/// <param name="Index">Which event of its sender it is.</param>
internal sealed record BenchEvent(string OrderId, long Index);

/// <summary>Does not end until it is cancelled, where the replica holds: its place is taken, so what comes is stored and not
/// processed.</summary>
internal sealed class HoldingHandler(ReplicaSetup setup) : IWebhookHandler<BenchEvent>
{
    public const string Type = "bench.held";

    private static int s_said;

    public async ValueTask<WebhookResult> HandleAsync(BenchEvent payload, WebhookEvent received, CancellationToken cancellationToken)
    {
        if (setup.Holds)
        {
            if (Interlocked.Exchange(ref s_said, 1) == 0)
            {
                Console.WriteLine(WebhookReplica.Held);
            }
            await Task.Delay(Timeout.InfiniteTimeSpan, TimeProvider.System, cancellationToken);
        }
        return WebhookResult.Done;
    }
}

/// <summary>Writes what it did, when and where, in the effect's own transaction.</summary>
internal sealed class EffectHandler(ReplicaSetup setup, EffectStore store, EffectLog log) : IWebhookHandler<BenchEvent>
{
    /// <summary>The types that it takes: the steps of an order.</summary>
    public static IReadOnlyList<string> Types { get; } = [.. Enumerable.Range(1, 5).Select(TypeOf)];

    public static string TypeOf(int step) => string.Create(CultureInfo.InvariantCulture, $"bench.step{step}");

    public async ValueTask<WebhookResult> HandleAsync(BenchEvent payload, WebhookEvent received, CancellationToken cancellationToken)
    {
        await store.ApplyAsync(received, payload.OrderId, setup.Name, cancellationToken);
        log.Add(payload.Index);
        return WebhookResult.Done;
    }
}

/// <summary>One effect of this process.</summary>
/// <param name="Index">Which event of its sender it was.</param>
/// <param name="At">When it was committed, by the clock that all processes share.</param>
internal sealed record AppliedEffect(long Index, long At);

/// <summary>The effects of this process. Thread-safe.</summary>
internal sealed class EffectLog
{
    private readonly ConcurrentQueue<AppliedEffect> _all = new();

    public IReadOnlyCollection<AppliedEffect> All => _all;

    public int Count => _all.Count;

    public void Add(long index) => _all.Enqueue(new AppliedEffect(index, Stopwatch.GetTimestamp()));
}
