using System.Diagnostics;
using Scheduler.Bench.Harness;
using Scheduler.Locking;
using Scheduler.Runs;

namespace Scheduler.Bench.History;

/// <summary>Claims one after another, each completed before the next; only the claim is timed.</summary>
internal sealed class HistoryClaims(IState state)
{
    private static readonly LockKey Key = LockKey.From("job:claimed");
    private readonly DateTimeOffset _start = TimeProvider.System.GetUtcNow();
    private long _number;

    /// <summary>How many claims there were.</summary>
    public long Count => _number;

    /// <summary>Claims for so long, or until something else has ended, and at least once.</summary>
    public async Task<IReadOnlyList<Reading>> RunAsync(TimeSpan duration, Task? until = null)
    {
        var samples = new List<double>();
        var start = Stopwatch.GetTimestamp();
        do
        {
            var number = ++_number;
            var request = new ClaimRequest
            {
                // Each its own second that is still to come, which no pruning takes.
                Occurrence = new Occurrence("claimed", "often", _start.AddSeconds(number)),
                LockKey = Key,
                Token = new FencingToken(number),
                Replica = "bench",
                Now = TimeProvider.System.GetUtcNow(),
            };
            var asked = Stopwatch.GetTimestamp();
            var answer = await state.Runs.ClaimAsync(request, CancellationToken.None);
            samples.Add(Stopwatch.GetElapsedTime(asked).TotalMilliseconds);
            if (answer is not ClaimResult.Claimed { Run: var run })
            {
                throw new InvalidOperationException($"The claim of {request.Occurrence} was not granted.");
            }
            var completion = new Completion
            {
                RunId = run.Id,
                Attempt = run.Attempt,
                Token = run.Token,
                Outcome = RunOutcome.Succeeded,
                StartedAt = request.Now,
                Now = TimeProvider.System.GetUtcNow(),
            };
            if (await state.Runs.CompleteAsync(completion, CancellationToken.None) != CompletionResult.Accepted)
            {
                throw new InvalidOperationException($"The completion of {request.Occurrence} was refused.");
            }
        } while (Stopwatch.GetElapsedTime(start) < duration && until is not { IsCompleted: true });
        samples.Sort();
        return
        [
            new("a claim: p50", "ms", Samples.Percentile(samples, 0.5)),
            new("a claim: p99", "ms", Samples.Percentile(samples, 0.99)),
            new("a claim: longest", "ms", samples[^1]),
        ];
    }
}
