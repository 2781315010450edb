using Payments.Jobs;
using Payments.Jobs.Storage;
using Scheduler.Runs;
using Scheduler.Worker.Configuration;
using Scheduler.Worker.Operations;
using Scheduler.Worker.Telemetry;

namespace Scheduler.Worker.Hosting;

/// <summary>Tells the terminal where to look and, once, within the first half minute, what ran.</summary>
internal sealed class Announcer(
    Settings settings,
    BoundAddresses addresses,
    IServiceProvider services,
    OperationsReader reader,
    ReplicaIdentity replica,
    IHostApplicationLifetime lifetime,
    TimeProvider time,
    ILogger<Announcer> logger
) : BackgroundService
{
    /// <summary>When the summary is written at the latest, after the start.</summary>
    private static readonly TimeSpan Latest = TimeSpan.FromSeconds(30);

    /// <summary>Not before: a replica that joins others has to have had its turn.</summary>
    private static readonly TimeSpan Earliest = TimeSpan.FromSeconds(10);

    private static readonly TimeSpan Look = TimeSpan.FromSeconds(1);

    private const int MaxRuns = 1_000;

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        lifetime.ApplicationStopped.Register(() => Log.Stopped(logger, replica.Name));
        var since = time.GetTimestamp();
        try
        {
            // So that these lines follow the one that says that the replica is up.
            await Task.Delay(Timeout.InfiniteTimeSpan, time, lifetime.ApplicationStarted)
                .WaitAsync(stoppingToken)
                .ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            stoppingToken.ThrowIfCancellationRequested();
            SayWhereToLook();
            if (services.GetService<StateGuard>() is { } state)
            {
                while (!await IsTimeAsync(time.GetElapsedTime(since), stoppingToken))
                {
                    await Task.Delay(Look, time, stoppingToken);
                }
                await SummariseAsync(state, stoppingToken);
            }
        }
        catch (Exception e) when (e is StateUnavailableException or PaymentsStorageException)
        {
            Log.NoSummary(logger, e.Message);
        }
        catch (OperationCanceledException)
        {
            // The replica stops before there was anything to sum up.
        }
    }

    private void SayWhereToLook()
    {
        foreach (var (address, port) in addresses.Replaced)
        {
            Log.OtherPort(logger, address, port);
        }
        Log.Listening(logger, addresses.OperationsUrl);
        if (addresses.IngressUrl.Length > 0)
        {
            Log.Ingress(logger, addresses.IngressUrl, string.Join(", ", settings.Scheduler.Webhooks.Sources.Keys));
        }
        foreach (var warning in settings.Warnings)
        {
            Log.Setting(logger, warning);
        }
    }

    private async ValueTask<bool> IsTimeAsync(TimeSpan elapsed, CancellationToken cancellationToken) =>
        elapsed >= Latest
        || (elapsed >= Earliest && await PaymentsAsync(cancellationToken) is { Imported: > 0 } p && p.Settled == p.Imported);

    private ValueTask<PaymentsFigures?> PaymentsAsync(CancellationToken cancellationToken) =>
        services.GetRequiredService<PaymentsOverview>().ReadAsync(cancellationToken);

    private async Task SummariseAsync(StateGuard state, CancellationToken cancellationToken)
    {
        var page = await state.CallAsync((s, token) => s.Runs.ListAsync(new RunQuery(Limit: MaxRuns), token), cancellationToken);
        var jobs = await reader.JobsAsync(cancellationToken);
        var places = new List<(string, string)>
        {
            ("look at", $"{addresses.OperationsUrl}/api/runs  /api/jobs  /api/replicas  /api/locks"),
        };
        var payments = await PaymentsAsync(cancellationToken);
        if (payments is not null)
        {
            places.Add(("files", $"reports in {settings.Payments.Reports}, rejected lines in {settings.Payments.Rejects}"));
        }
        if (settings.Logs.Folder is { Length: > 0 } folder)
        {
            places.Add(("logs", $"{folder}, all details as JSON"));
        }
        Log.Summary(logger, Summary.Draw(jobs.Items, page.Items, replica.Id, payments, places));
    }
}
