using System.Data.Common;
using System.Text;
using Dapper;
using Microsoft.Extensions.Logging;
using Payments.Jobs.Csv;
using Payments.Jobs.Storage;
using Payments.Jobs.Telemetry;
using Payments.Jobs.Webhooks;
using Scheduler.Inbox;
using Scheduler.Locking;
using Scheduler.Runs;
using Scheduler.Sqlite.Fencing;

namespace Payments.Jobs.Reconciling;

/// <summary>Compares the inbox with the payments. Thread-safe.</summary>
/// <remarks>The report replaces the one before inside the transaction that raised the fence, so a former holder never puts back an older
/// one. Nothing is repaired: which side is right is for a person.</remarks>
public sealed class PaymentReconciler
{
    /// <summary>The resource whose fence is raised.</summary>
    public const string Resource = "reconciliation";

    /// <summary>The source whose events are compared.</summary>
    public const string Source = "payments";

    /// <summary>The report's name in the reports folder.</summary>
    public const string FileName = "reconciliation.csv";

    // Older events are as they are; a report every hour would only repeat them.
    private static readonly TimeSpan Window = TimeSpan.FromDays(8);

    // An effect may be applied long after its event came, when a person replays it: only young effects are looked for among the events.
    private static readonly TimeSpan YoungEffect = TimeSpan.FromDays(1);

    // What is younger may be under way.
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(5);

    private const int PageSize = 500;
    private const int MaxEvents = 100_000;
    private const int MaxPages = 1_000;

    private const string Effects = """
        SELECT dedupe_key FROM webhook_effects WHERE source = @Source AND dedupe_key IN @Keys
        """;

    private const string Orders = """
        SELECT order_id FROM payments WHERE order_id IN @Orders UNION SELECT order_id FROM refunds WHERE order_id IN @Orders
        """;

    // The table is made by the first effect.
    private const string HasEffects = "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'webhook_effects')";

    private const string YoungEffects = """
        SELECT dedupe_key AS DedupeKey, applied_at AS AppliedAt FROM webhook_effects
        WHERE source = @Source AND applied_at >= datetime(@Since) ORDER BY applied_at DESC LIMIT @Limit
        """;

    private readonly IState _state;
    private readonly PaymentsDatabase _database;
    private readonly TimeProvider _time;
    private readonly ILogger<PaymentReconciler> _logger;
    private readonly Place _folder;

    internal PaymentReconciler(
        IState state,
        PaymentsDatabase database,
        PaymentsOptions options,
        TimeProvider time,
        ILogger<PaymentReconciler> logger
    )
    {
        (_state, _database, _time, _logger) = (state, database, time, logger);
        _folder = new Place("reports folder", options.Reports, "Payments:Reports");
    }

    /// <summary>Compares, and writes the report.</summary>
    /// <param name="lockKey">The key that the caller holds.</param>
    /// <param name="token">The fencing token of its grant.</param>
    /// <param name="cancellationToken">Honoured between pages; the former report stays.</param>
    /// <exception cref="StaleLeaseException">A newer holder compares; the report was not touched.</exception>
    /// <exception cref="PaymentsStorageException">The folder or the database cannot be used.</exception>
    /// <exception cref="StateUnavailableException">The inbox cannot be read.</exception>
    internal async ValueTask<Reconciliation> ReconcileAsync(LockKey lockKey, FencingToken token, CancellationToken cancellationToken)
    {
        _folder.EnsureFolder();
        var now = _time.GetUtcNow();
        // The events first: what is applied meanwhile is found among the effects.
        var (events, isWhole) = await EventsAsync(now - Window, cancellationToken);
        var found = await _database.GuardAsync(async () =>
            await SqliteFence.RunAsync(
                await _database.SourceAsync(cancellationToken),
                Resource,
                lockKey,
                token,
                async (connection, transaction, cancel) =>
                {
                    var differences = await CompareAsync(connection, transaction, events, isWhole, now, cancel);
                    var path = Path.Combine(_folder.Path, FileName);
                    await _folder.GuardAsync(() => ReportFile.ReplaceAsync(path, Content(differences), cancel));
                    return new Reconciliation(events.Count, isWhole, differences);
                },
                cancellationToken
            )
        );
        Say(found);
        return found;
    }

    private async ValueTask<(List<InboxEvent> Events, bool IsWhole)> EventsAsync(DateTimeOffset from, CancellationToken cancellationToken)
    {
        var events = new List<InboxEvent>();
        var query = new InboxQuery(Source, Limit: PageSize);
        for (var pages = 1; ; pages++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            var page = await _state.Inbox.ListAsync(query, cancellationToken);
            events.AddRange(page.Items);
            if (page.Next is null || (page.Items is [.., var last] && last.ReceivedAt < from))
            {
                return (events, true);
            }
            // A page may be empty and have a next one, where other sources have most of the events.
            if (events.Count >= MaxEvents || pages == MaxPages)
            {
                return (events, false);
            }
            query = query with { Before = page.Next };
        }
    }

    private static async ValueTask<List<Difference>> CompareAsync(
        DbConnection connection,
        DbTransaction transaction,
        List<InboxEvent> events,
        bool isWhole,
        DateTimeOffset now,
        CancellationToken cancellationToken
    )
    {
        CommandDefinition Command(string sql, object? values = null) => new(sql, values, transaction, cancellationToken: cancellationToken);

        var hasEffects = await connection.ExecuteScalarAsync<bool>(Command(HasEffects));
        var differences = new List<Difference>();
        foreach (var page in events.Chunk(PageSize))
        {
            var keys = page.Select(e => e.DedupeKey).OfType<string>().ToList();
            var effects = hasEffects
                ? (await connection.QueryAsync<string>(Command(Effects, new { Source, Keys = keys }))).ToHashSet()
                : [];
            var orders = page.Select(OrderOf).OfType<string>().Distinct().ToList();
            var paid = (await connection.QueryAsync<string>(Command(Orders, new { Orders = orders }))).ToHashSet();
            differences.AddRange(page.Select(e => KindOf(e, effects, paid, now) is { } kind ? Of(kind, e) : null).OfType<Difference>());
        }
        if (hasEffects && isWhole)
        {
            var known = events.Select(e => e.DedupeKey).OfType<string>().ToHashSet();
            var values = new
            {
                Source,
                Since = Instants.Text(now - YoungEffect),
                Limit = MaxEvents,
            };
            // What came after the events were read has its effect a moment ago.
            var until = (now - Patience).UtcDateTime.ToString("yyyy-MM-dd HH:mm:ss", System.Globalization.CultureInfo.InvariantCulture);
            differences.AddRange(
                (await connection.QueryAsync<(string Key, string At)>(Command(YoungEffects, values)))
                    .Where(e => !known.Contains(e.Key) && string.CompareOrdinal(e.At, until) < 0)
                    .Select(e => new Difference(Difference.NoEvent, "", "", e.Key, e.At))
            );
        }
        return differences;
    }

    private static string? KindOf(InboxEvent one, HashSet<string> effects, HashSet<string> paid, DateTimeOffset now) =>
        one.State switch
        {
            InboxState.Dead or InboxState.Conflict or InboxState.Quarantined => Difference.Waiting,
            InboxState.Received or InboxState.Processing or InboxState.Failed when now - one.ReceivedAt > Patience => Difference.Late,
            InboxState.Done when one.Type is PaymentSucceeded.Type or PaymentRefunded.Type => effects.Contains(one.DedupeKey!)
                ? OrderOf(one) is { } order && !paid.Contains(order)
                    ? Difference.NoPayment
                    : null
                : Difference.NoEffect,
            _ => null,
        };

    // Of one part, percent-encoded; a long one is a hash, which names no order.
    private static string? OrderOf(InboxEvent one) =>
        one.OrderKey is { } key && !key.StartsWith("sha256=", StringComparison.Ordinal) ? Uri.UnescapeDataString(key) : null;

    private static Difference Of(string kind, InboxEvent one) =>
        new(kind, one.Id, one.Type ?? "", one.OrderKey ?? "", Instants.Text(one.ReceivedAt));

    private static byte[] Content(IEnumerable<Difference> differences)
    {
        var text = new StringBuilder(CsvFormat.Line("difference", "event", "type", "order", "at"));
        foreach (var one in differences)
        {
            text.Append(CsvFormat.Line(one.Kind, one.Event, one.Type, one.Order, one.At));
        }
        return Encoding.UTF8.GetBytes(text.ToString());
    }

    private void Say(Reconciliation found)
    {
        if (!found.IsWhole)
        {
            Log.NotAllCompared(_logger, MaxEvents, Window);
        }
        if (found.Differences.Count == 0)
        {
            Log.NoDifferences(_logger, found.Events);
            return;
        }
        var kinds = found.Differences.CountBy(d => d.Kind).Select(k => $"{k.Value} × {k.Key}");
        Log.Differences(_logger, found.Events, string.Join(", ", kinds), Path.Combine(_folder.Path, FileName));
    }
}
