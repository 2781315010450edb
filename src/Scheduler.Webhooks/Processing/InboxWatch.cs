using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Scheduler.Inbox;
using Scheduler.Runs;
using Scheduler.Webhooks.Telemetry;

namespace Scheduler.Webhooks.Processing;

/// <summary>Counts now and then what waits in the inbox, for gauges and alerts, and tells of types that nobody seems to process.</summary>
/// <remarks>
/// A due event of a type with a handler somewhere is taken within seconds, or waits behind others of its kind. So one that has been due
/// for long and has no handler here has none anywhere, or only on replicas that are behind: a person knows which.
/// </remarks>
internal sealed class InboxWatch(
    StateGuard state,
    WebhookRoutes routes,
    IReadOnlyList<string> sources,
    InboxMetrics metrics,
    TimeProvider time,
    ILogger<InboxWatch> logger
) : BackgroundService
{
    /// <summary>How often it counts.</summary>
    public static readonly TimeSpan Every = TimeSpan.FromSeconds(15);

    /// <summary>From here on a type without a handler here is told: most roll-outs, in which replicas of two builds run, are
    /// over.</summary>
    public static readonly TimeSpan Patience = TimeSpan.FromMinutes(5);

    private static readonly TimeSpan Again = TimeSpan.FromMinutes(10);

    private readonly Dictionary<(string Source, string Type), long> _told = [];

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        while (!stoppingToken.IsCancellationRequested)
        {
            foreach (var part in sources.Chunk(IInbox.MaxBatch))
            {
                await LookAsync(part, stoppingToken);
            }
            await Task.Delay(Every, time, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private async Task LookAsync(string[] part, CancellationToken cancellationToken)
    {
        try
        {
            foreach (var counts in await state.CallInboxAsync((inbox, token) => inbox.CountAsync(part, token), cancellationToken))
            {
                var unhandled = counts.Due.Where(d => d.Oldest >= Patience && !routes.Has(counts.Source, d.Type)).ToList();
                metrics.Counted(counts, unhandled.Sum(d => d.Count));
                unhandled.ForEach(d => Tell(counts.Source, d));
            }
        }
        catch (Exception away) when (away is StateUnavailableException or OperationCanceledException)
        {
            // The guard has said so, or it is the end; the gauges stay where they were.
        }
    }

    private void Tell(string source, InboxDue due)
    {
        // At most one for each type that is told apart.
        if (_told.TryGetValue((source, due.Type), out var told) && time.GetElapsedTime(told) < Again)
        {
            return;
        }
        _told[(source, due.Type)] = time.GetTimestamp();
        Log.EventsUnhandled(logger, due.Count, source, due.Type, due.Oldest);
    }
}
