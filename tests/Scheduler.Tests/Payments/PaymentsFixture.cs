using System.Collections.Concurrent;
using Dapper;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Payments.Jobs;
using Payments.Jobs.Importing;
using Payments.Jobs.Maintenance;
using Payments.Jobs.Reporting;
using Payments.Jobs.Settling;
using Payments.Jobs.Storage;
using Scheduler.Locking;
using Scheduler.Testing;

namespace Scheduler.Tests.Payments;

/// <summary>The payments services on folders and a database of their own.</summary>
internal sealed class PaymentsFixture : IAsyncDisposable
{
    private readonly ServiceProvider _services;

    public PaymentsFixture(int batchSize = 500)
    {
        Options = new PaymentsOptions
        {
            Database = $"Data Source={Path.Combine(Root, "payments.db")}",
            Inbox = Path.Combine(Root, "inbox"),
            Done = Path.Combine(Root, "done"),
            Rejects = Path.Combine(Root, "rejects"),
            Reports = Path.Combine(Root, "reports"),
            BatchSize = batchSize,
        };
        _services = new ServiceCollection()
            .AddSingleton<TimeProvider>(Time)
            .AddSingleton<ILoggerProvider>(Log)
            .AddLogging(l => l.SetMinimumLevel(LogLevel.Trace))
            .AddPayments(Options)
            .BuildServiceProvider();
        Directory.CreateDirectory(Options.Inbox);
    }

    public static readonly LockKey Key = LockKey.From("job:payments");

    public string Root { get; } = Directory.CreateTempSubdirectory("payments-").FullName;

    // A day after the files of a test are written, so that they count as quiet.
    public FakeTime Time { get; } = new(TimeProvider.System.GetUtcNow().AddDays(1));

    public EventLog Log { get; } = new();

    public PaymentsOptions Options { get; }

    public PaymentImporter Importer => _services.GetRequiredService<PaymentImporter>();

    public PayoutSettler Settler => _services.GetRequiredService<PayoutSettler>();

    public SalesExporter Exporter => _services.GetRequiredService<SalesExporter>();

    public EffectPruner Pruner => _services.GetRequiredService<EffectPruner>();

    public SampleInput Sample => _services.GetRequiredService<SampleInput>();

    public PaymentsDatabase Database => _services.GetRequiredService<PaymentsDatabase>();

    public string Drop(string name, string content)
    {
        var path = Path.Combine(Options.Inbox, name);
        File.WriteAllText(path, content);
        return path;
    }

    public void DropPayments(string name, int count, string day = "2026-01-28", int from = 1) =>
        Drop(
            name,
            Header
                + string.Concat(
                    Enumerable
                        .Range(from, count)
                        .Select(i => $"p{i},m{i % 3},o{i},{100 + i},{(i % 2 == 0 ? "EUR" : "USD")},{day}T10:00:00Z\n")
                )
        );

    public const string Header = "payment_id,merchant_id,order_id,amount_minor,currency,paid_at\n";

    public ValueTask<IReadOnlyList<ImportSummary>> ImportAsync(CancellationToken cancellationToken = default) =>
        Importer.ImportAsync(cancellationToken);

    public async Task<long> NumberAsync(string sql) => (await QueryAsync<long>(sql)).Single();

    public async Task<IReadOnlyList<T>> QueryAsync<T>(string sql)
    {
        await using var connection = await Database.OpenAsync(CancellationToken.None);
        return (await connection.QueryAsync<T>(sql)).AsList();
    }

    public static string[] Names(string folder) =>
        Directory.Exists(folder) ? [.. Directory.GetFiles(folder).Select(f => Path.GetFileName(f)!).Order(StringComparer.Ordinal)] : [];

    public async ValueTask DisposeAsync()
    {
        await _services.DisposeAsync();
        Microsoft.Data.Sqlite.SqliteConnection.ClearAllPools();
        Directory.Delete(Root, recursive: true);
    }
}

/// <summary>Keeps the log's events and lets a test act on one.</summary>
internal sealed class EventLog : ILoggerProvider, ILogger
{
    public ConcurrentQueue<(int Id, string Text)> Events { get; } = new();

    public Action<int>? On { get; set; }

    public ILogger CreateLogger(string categoryName) => this;

    public IDisposable? BeginScope<TState>(TState state)
        where TState : notnull => null;

    public bool IsEnabled(LogLevel logLevel) => true;

    public void Log<TState>(
        LogLevel logLevel,
        EventId eventId,
        TState state,
        Exception? exception,
        Func<TState, Exception?, string> formatter
    )
    {
        Events.Enqueue((eventId.Id, formatter(state, exception)));
        On?.Invoke(eventId.Id);
    }

    public void Dispose() { }
}
