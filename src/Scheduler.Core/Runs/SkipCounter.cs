using Microsoft.Extensions.Logging;
using Scheduler.Telemetry;

namespace Scheduler.Runs;

/// <summary>
/// Adds up in memory how often this replica skips, and writes it once a minute, when that has passed, and at the end: a skip itself calls
/// nobody, and a minute without one writes nothing. Thread-safe.
/// </summary>
internal sealed class SkipCounter : IAsyncDisposable
{
    /// <summary>How many different counts are kept in memory at most: what comes beyond is not counted, and that is logged.</summary>
    public const int Capacity = 10_000;

    /// <summary>How long a count is added up.</summary>
    public static readonly TimeSpan Interval = TimeSpan.FromMinutes(1);

    // What a stop waits for what is not written yet.
    private static readonly TimeSpan LastWrite = TimeSpan.FromSeconds(1);

    private readonly StateGuard _state;
    private readonly ReplicaIdentity _replica;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly Lock _gate = new();
    private readonly Dictionary<(long Minute, string Job, SkipReason Reason), int> _counts = [];
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _loop;
    private int _uncounted;

    public SkipCounter(StateGuard state, ReplicaIdentity replica, TimeProvider time, ILogger logger)
    {
        _state = state;
        _replica = replica;
        _time = time;
        _logger = logger;
        _loop = Task.Run(LoopAsync);
    }

    /// <summary>Counts a skip; returns at once and never throws.</summary>
    public void Add(string job, SkipReason reason)
    {
        var key = (Minute(), job, reason);
        lock (_gate)
        {
            if (_counts.TryGetValue(key, out var count) || _counts.Count < Capacity)
            {
                _counts[key] = count + 1;
            }
            else
            {
                _uncounted++;
            }
        }
    }

    /// <summary>Writes all that is counted, if the State answers within a second, and ends the loop.</summary>
    public async ValueTask DisposeAsync()
    {
        if (_stop.IsCancellationRequested)
        {
            return;
        }
        await _stop.CancelAsync();
        await _loop;
        using var limit = new CancellationTokenSource(LastWrite);
        await WriteAsync(long.MaxValue, limit.Token);
        _stop.Dispose();
    }

    private long Minute() => _time.GetUtcNow().ToUnixTimeMilliseconds() / (long)Interval.TotalMilliseconds;

    private async Task LoopAsync()
    {
        try
        {
            while (true)
            {
                await Task.Delay(Interval, _time, _stop.Token);
                await WriteAsync(Minute(), _stop.Token);
            }
        }
        catch (OperationCanceledException)
        {
            // The end writes the rest.
        }
    }

    // The minutes before this one: nothing is added to them any more. They stay until they are written.
    private async Task WriteAsync(long minute, CancellationToken cancellationToken)
    {
        List<KeyValuePair<(long Minute, string Job, SkipReason Reason), int>> ready;
        int uncounted;
        lock (_gate)
        {
            ready = [.. _counts.Where(c => c.Key.Minute < minute)];
            (uncounted, _uncounted) = (_uncounted, 0);
        }
        if (uncounted > 0)
        {
            RunLog.SkipsNotCounted(_logger, uncounted, $"{Capacity} counts wait already");
        }
        foreach (var batch in ready.Chunk(IRunSkips.MaxBatch))
        {
            SkipCount[] counts = [.. batch.Select(c => Count(c.Key, c.Value))];
            try
            {
                await _state.CallAsync((s, token) => s.Skips.AddAsync(counts, token), cancellationToken);
            }
#pragma warning disable CA1031 // Nothing depends on these counts: they are tried again with the next minute.
            catch (Exception e)
#pragma warning restore CA1031
            {
                RunLog.SkipsNotWritten(_logger, ready.Count, Verdict.Describe(e));
                return;
            }
            lock (_gate)
            {
                foreach (var (key, _) in batch)
                {
                    _counts.Remove(key);
                }
            }
        }
    }

    private SkipCount Count((long Minute, string Job, SkipReason Reason) key, int count) =>
        new(DateTimeOffset.UnixEpoch + (Interval * key.Minute), key.Job, _replica.Id, key.Reason, count);
}
