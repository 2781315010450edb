using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Hosting.Internal;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Scheduler.Hosting;
using Scheduler.Inbox;
using Scheduler.Leases;
using Scheduler.Locking;
using Scheduler.Locking.InMemory;
using Scheduler.Runs;
using Scheduler.Sqlite.State;
using Scheduler.Time;
using Scheduler.Webhooks.Keys;
using Scheduler.Webhooks.Processing;

namespace Scheduler.Tests.Webhooks;

// A replica.
public sealed partial class EventProcessorTests
{
    private async Task<Process> StartAsync(OnDead onDead = OnDead.Hold, TimeSpan? grace = null, TimeProvider? stopClock = null)
    {
        var process = await Process.StartAsync(this, onDead, grace ?? TimeSpan.FromMilliseconds(100), stopClock);
        _processes.Enqueue(process);
        return process;
    }

    /// <summary>What the bodies read as.</summary>
    private sealed record Payload(Dictionary<string, long>? Amounts = null);

    private sealed class Process : IAsyncDisposable
    {
        private readonly LockProvider _locks;
        private readonly WebhookService _service;
        private readonly EventProcessor _processor;
        private readonly ServiceProvider _services;
        private readonly ClaimGate _claims;
        private readonly CountingFeed _feed;
        private int _stopped;

        private Process(
            StateGuard state,
            LockProvider locks,
            WebhookService service,
            EventProcessor processor,
            ServiceProvider services,
            ClaimGate claims,
            CountingFeed feed
        ) => (State, _locks, _service, _processor, _services, _claims, _feed) = (state, locks, service, processor, services, claims, feed);

        /// <summary>How often the other replicas were told.</summary>
        public int Told => _feed.Sent;

        public ApplicationLifetime Lifetime => (ApplicationLifetime)_services.GetRequiredService<IHostApplicationLifetime>();

        public StateGuard State { get; }

        public static async Task<Process> StartAsync(EventProcessorTests test, OnDead onDead, TimeSpan grace, TimeProvider? stopClock)
        {
            var replica = ReplicaIdentity.Create("test");
            var time = BootTimeProvider.Instance;
            var leases = new LeaseOptions { LeaseDuration = TimeSpan.FromSeconds(2) };
            var context = new BackendContext("test", replica, leases, time, NullLoggerFactory.Instance);
            var claims = new ClaimGate();
            var feed = new CountingFeed();
            var state = new StateGuard(
                claims.Before(
                    StateThrough.Wrap(
                        new SqliteState(context, $"Data Source={Path.Combine(test._folder.FullName, "state.db")}"),
                        (name, args) => test._beforeInbox(name, args),
                        feed
                    )
                ),
                TimeSpan.FromSeconds(5),
                TimeSpan.FromSeconds(1),
                time,
                NullLogger.Instance
            );
            await state.OpenAsync(CancellationToken.None);
            var locks = new LockProvider(new InMemoryLeaseStore(test._server, "test"), leases, replica, time);
            await locks.StartAsync(CancellationToken.None);
            var services = new ServiceCollection()
                .AddSingleton(test)
                .AddSingleton<IHostApplicationLifetime, ApplicationLifetime>()
                .AddLogging(l => l.AddProvider(test._log))
                .BuildServiceProvider();
            var read = WebhookRoutes.To<Handler, Payload>();
            var processor = new EventProcessor(
                state,
                locks,
                new WebhookRoutes(
                    Enumerable.Range(0, 10).Select(i => $"t{i}").Concat(["a", "b"]).Select(t => new WebhookRoute(Source, t, read))
                ),
                [
                    new ProcessingRule(
                        Source,
                        new RetryRule
                        {
                            MaxAttempts = 3,
                            Delay = TimeSpan.FromMilliseconds(50),
                            Backoff = RetryBackoff.Exponential,
                        },
                        onDead
                    ),
                ],
                new ProcessingTimes(
                    4,
                    TimeSpan.FromSeconds(2),
                    TimeSpan.FromMilliseconds(50),
                    TimeSpan.FromMilliseconds(50),
                    TimeSpan.FromSeconds(1),
                    TimeSpan.FromSeconds(30)
                ),
                replica,
                services.GetRequiredService<IServiceScopeFactory>(),
                time,
                services.GetRequiredService<ILogger<EventProcessor>>()
            );
            var lifetime = services.GetRequiredService<IHostApplicationLifetime>();
            var service = new WebhookService(processor, grace, lifetime, stopClock ?? time);
            await service.StartAsync(CancellationToken.None);
            return new Process(state, locks, service, processor, services, claims, feed);
        }

        public async Task<IReadOnlyList<string>> AddAsync(IReadOnlyList<InboxArrival> arrivals)
        {
            var answers = await State.CallAsync((s, t) => s.Inbox.AddAsync(arrivals, t), CancellationToken.None);
            _processor.Stored();
            return [.. answers.Select(a => a.Id)];
        }

        /// <summary>A writer that offers what it stores to this replica's processor.</summary>
        public InboxWriter Writer() => new(State, _processor.Stored, _processor);

        public async Task<InboxEvent> FindAsync(string id) =>
            (await State.CallAsync((s, t) => s.Inbox.FindAsync(id, t), CancellationToken.None))!;

        public async Task<bool> IsFreeAsync(string order)
        {
            var key = OrderLock.KeyOf(Source, order);
            var attempt = await _locks.TryAcquireAsync(key, "test", cancellationToken: CancellationToken.None);
            if (attempt is LockAttempt.Granted granted)
            {
                await granted.Lease.ReleaseAsync(CancellationToken.None);
            }
            return attempt is LockAttempt.Granted;
        }

        public async Task<IReadOnlyList<InboxClaim>> ClaimAsync() =>
            await State.CallAsync(
                (s, t) => s.Inbox.ClaimAsync(new("another", [new InboxKind(Source, "a", false)], 10, TimeSpan.FromSeconds(2)), t),
                CancellationToken.None
            );

        /// <summary>Lets the next claim take effect and keeps its answer.</summary>
        public (Task Claimed, TaskCompletionSource Go) HoldTheNextClaim() => _claims.Hold();

        public async Task StopAsync()
        {
            if (Interlocked.Exchange(ref _stopped, 1) == 0)
            {
                await _service.StopAsync(CancellationToken.None);
            }
        }

        public async ValueTask DisposeAsync()
        {
            await StopAsync();
            _service.Dispose();
            await _locks.DisposeAsync();
            await State.DisposeAsync();
            await _services.DisposeAsync();
        }
    }

    /// <summary>Reaches nobody.</summary>
    private sealed class CountingFeed : IInboxFeed
    {
        private int _sent;

        public int Sent => Volatile.Read(ref _sent);

        public bool IsHeard => false;

        public event Action? Heard;

        public void Send()
        {
            Interlocked.Increment(ref _sent);
            Heard?.Invoke();
        }
    }

    private sealed class Handler(EventProcessorTests test) : IWebhookHandler<Payload>
    {
        public ValueTask<WebhookResult> HandleAsync(Payload payload, WebhookEvent received, CancellationToken cancellationToken)
        {
            test._handled.Enqueue(received.Stored.DedupeKey!);
            return test._handler(received, cancellationToken);
        }
    }
}
