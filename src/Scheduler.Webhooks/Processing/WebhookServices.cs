using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Scheduler.Inbox;
using Scheduler.Leases;
using Scheduler.Runs;
using Scheduler.Webhooks.Sources;
using Scheduler.Webhooks.Telemetry;

namespace Scheduler.Webhooks.Processing;

/// <summary>Registers what receives and processes webhooks.</summary>
public static class WebhookServices
{
    /// <summary>
    /// Adds the inbox's writer and the processor of the given sources. Needs the services of a scheduler with State
    /// (<c>UseSingleInstance</c>).
    /// </summary>
    /// <param name="services">The host's services.</param>
    /// <param name="sources">The sources by name; checked by <see cref="WebhookSourceOptionsValidator"/>.</param>
    /// <param name="degree">How many handlers run at once on this replica; 1 to <see cref="IInbox.MaxBatch"/>.</param>
    /// <param name="grace">From the begin of a stop until handlers that still run are cancelled; the same as for jobs.</param>
    /// <param name="leases">The times of leases.</param>
    public static IServiceCollection AddWebhooks(
        this IServiceCollection services,
        IReadOnlyDictionary<string, WebhookSourceOptions> sources,
        int degree,
        TimeSpan grace,
        Locking.LeaseOptions leases
    )
    {
        ArgumentNullException.ThrowIfNull(services);
        ArgumentNullException.ThrowIfNull(sources);
        ArgumentNullException.ThrowIfNull(leases);
        ArgumentOutOfRangeException.ThrowIfLessThan(degree, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(degree, IInbox.MaxBatch);
        var times = new ProcessingTimes(
            degree,
            leases.LeaseDuration,
            Poll: TimeSpan.FromSeconds(1),
            PollWhenHeard: TimeSpan.FromSeconds(5),
            LockWait: leases.CallTimeout,
            Handler: TimeSpan.FromSeconds(30)
        );
        ProcessingRule[] rules = [.. sources.Select(s => new ProcessingRule(s.Key, s.Value.ToRetry(), s.Value.OnDead))];
        services.AddSingleton(p => new WebhookRoutes(p.GetServices<WebhookRoute>()));
        services.AddSingleton(p => new EventProcessor(
            p.GetRequiredService<StateGuard>(),
            p.GetRequiredService<ILockProvider>(),
            p.GetRequiredService<WebhookRoutes>(),
            rules,
            times,
            p.GetRequiredService<ReplicaIdentity>(),
            p.GetRequiredService<IServiceScopeFactory>(),
            p.GetRequiredService<TimeProvider>(),
            p.GetRequiredService<ILogger<EventProcessor>>()
        ));
        services.AddSingleton(p =>
        {
            var processor = p.GetRequiredService<EventProcessor>();
            return new InboxWriter(p.GetRequiredService<StateGuard>(), processor.Stored, processor);
        });
        string[] names = [.. sources.Keys];
        services.AddSingleton<IHostedService>(p => new InboxWatch(
            p.GetRequiredService<StateGuard>(),
            p.GetRequiredService<WebhookRoutes>(),
            names,
            new InboxMetrics(p.GetRequiredService<ReplicaIdentity>()),
            p.GetRequiredService<TimeProvider>(),
            p.GetRequiredService<ILogger<InboxWatch>>()
        ));
        services.AddSingleton<IHostedService>(p => new WebhookService(
            p.GetRequiredService<EventProcessor>(),
            grace,
            p.GetRequiredService<IHostApplicationLifetime>(),
            p.GetRequiredService<TimeProvider>()
        ));
        return services;
    }
}
