using System.Security.Cryptography;
using System.Text;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Scheduler.Inbox;
using Scheduler.Leases;
using Scheduler.Locking;
using Scheduler.Locking.InMemory;
using Scheduler.Runs;
using Scheduler.Testing;
using Scheduler.Time;
using Scheduler.Webhooks.Processing;

namespace Scheduler.Tests.Postgres;

/// <summary>What one replica stores, another one processes at once: it is told, and does not look by itself for an hour.</summary>
public sealed class PostgresWakeTests : IAsyncLifetime
{
    private static readonly TimeSpan Never = TimeSpan.FromHours(1);
    private readonly List<IAsyncDisposable> _made = [];
    private PostgresDatabase _database = null!;

    public async ValueTask InitializeAsync() => _database = await PostgresDatabase.CreateAsync();

    public async ValueTask DisposeAsync()
    {
        foreach (var made in Enumerable.Reverse(_made))
        {
            await made.DisposeAsync();
        }
        await _database.DisposeAsync();
    }

    [Fact]
    public async Task An_event_that_another_replica_stored_is_processed_when_it_is_told()
    {
        var handled = new TaskCompletionSource<string>(TaskCreationOptions.RunContinuationsAsynchronously);
        var (receives, processes) = (await GuardAsync(), await GuardAsync());
        var processor = await ProcessorAsync(processes, handled);
        using var ended = new CancellationTokenSource();
        var running = processor.RunAsync(ended.Token, ended.Token);
        await Eventually.Holds(() => processes.InboxFeed!.IsHeard);

        var writer = new InboxWriter(receives, () => receives.InboxFeed!.Send());
        _made.Add(writer);
        var hash = SHA256.HashData("1"u8);
        var receipt = await writer.AddAsync(
            new InboxArrival
            {
                Source = "payments",
                Type = "a",
                DedupeKey = "a:1",
                OrderKey = "1",
                BodyHash = hash,
                ContentHash = hash,
                Body = Encoding.UTF8.GetBytes("{}"),
                ReceivedAt = TimeProvider.System.GetUtcNow(),
            }
        );

        Assert.Null(receipt.Refusal);
        Assert.Equal(
            "a:1",
            await handled.Task.WaitAsync(Eventually.DefaultBound, TimeProvider.System, TestContext.Current.CancellationToken)
        );
        await ended.CancelAsync();
        processor.Wake();
        await running;
    }

    private async Task<StateGuard> GuardAsync()
    {
        var state = _database.State(listening: _database.ConnectionString);
        var guard = new StateGuard(state, TimeSpan.FromSeconds(5), TimeSpan.FromSeconds(1), TimeProvider.System, _database.Log);
        _made.Add(guard);
        await guard.OpenAsync(TestContext.Current.CancellationToken);
        return guard;
    }

    private async Task<EventProcessor> ProcessorAsync(StateGuard guard, TaskCompletionSource<string> handled)
    {
        var replica = ReplicaIdentity.Create("test");
        var time = BootTimeProvider.Instance;
        var leases = new LeaseOptions();
        var locks = new LockProvider(new InMemoryLeaseStore(new InMemoryLeaseServer(), "test"), leases, replica, time);
        _made.Add(locks);
        await locks.StartAsync(TestContext.Current.CancellationToken);
        var services = new ServiceCollection().AddSingleton(handled).AddLogging(l => l.AddProvider(_database.Log)).BuildServiceProvider();
        _made.Add(services);
        return new EventProcessor(
            guard,
            locks,
            new WebhookRoutes([new WebhookRoute("payments", "a", WebhookRoutes.To<Handler, Dictionary<string, int>>())]),
            [new ProcessingRule("payments", new RetryRule(), OnDead.Hold)],
            new ProcessingTimes(4, leases.LeaseDuration, Never, Never, TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(30)),
            replica,
            services.GetRequiredService<IServiceScopeFactory>(),
            time,
            services.GetRequiredService<ILogger<EventProcessor>>()
        );
    }

    private sealed class Handler(TaskCompletionSource<string> handled) : IWebhookHandler<Dictionary<string, int>>
    {
        public ValueTask<WebhookResult> HandleAsync(
            Dictionary<string, int> payload,
            WebhookEvent received,
            CancellationToken cancellationToken
        )
        {
            handled.TrySetResult(received.Stored.DedupeKey!);
            return new(WebhookResult.Done);
        }
    }
}
