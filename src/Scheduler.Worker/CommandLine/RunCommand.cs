using System.Net.Sockets;
using Payments.Jobs;
using Payments.Jobs.Storage;
using Scheduler.Jobs;
using Scheduler.Locking;
using Scheduler.Runs;
using Scheduler.Time;
using Scheduler.Worker.Configuration;
using Scheduler.Worker.Hosting;

namespace Scheduler.Worker.CommandLine;

/// <summary>The command <c>run</c>.</summary>
internal static class RunCommand
{
    public static async Task<int> RunAsync(string[] overrides, bool freePort, bool sampleData, TextWriter errors)
    {
        try
        {
            var folder = Directory.GetCurrentDirectory();
            var configuration = Settings.Load(folder, overrides);
            var settings = Settings.Read(sampleData ? SampleSource.AddTo(configuration, folder) : configuration);
            using var host = Build(settings, freePort);
            if (sampleData)
            {
                await host.Services.GetRequiredService<SampleInput>().EnsureAsync(CancellationToken.None);
            }
            await host.RunAsync();
            // Set when the first contact with a store found what only a change of configuration mends; else 0.
            return Environment.ExitCode;
        }
        catch (OperationCanceledException)
        {
            // Told to stop while it started, or stopped by itself then: the same code tells which.
            return Environment.ExitCode;
        }
        catch (Exception e) when (Explain(e) is { } explained)
        {
            await errors.WriteLineAsync($"scheduler: {explained.Message}");
            return explained.Code;
        }
#pragma warning disable CA1031 // The last resort of a command: a defect is shown whole, and the exit code still tells what it should.
        catch (Exception e)
#pragma warning restore CA1031
        {
            await errors.WriteLineAsync($"scheduler: failed by a defect: {e}");
            return Commands.Failed;
        }
    }

    private static IHost Build(Settings settings, bool freePort)
    {
        // The name is fixed here, so that the log file and the group's records show the same one.
        settings.Scheduler.Replica.Name ??= ReplicaIdentity.Create().Name;
        var logger = LogSetup.Create(settings.Logs, settings.Scheduler.Replica.Name, BootTimeProvider.Instance);
        try
        {
            Addresses.TryParse(settings.Scheduler.Operations.Urls, out var operations);
            Addresses.TryParse(settings.Scheduler.Operations.HealthUrls, out var health);
            IReadOnlyList<System.Net.IPEndPoint> ingress = [];
            if (settings.Scheduler.Webhooks.Sources.Count > 0)
            {
                Addresses.TryParse(settings.Scheduler.Ingress.Urls, out ingress);
            }
            return WorkerHost.Build(settings, BoundAddresses.Bind(operations, health, ingress, freePort), logger);
        }
        catch
        {
            logger.Dispose();
            throw;
        }
    }

    /// <summary>What an operator can mend is told in a sentence; anything else is a defect and keeps its stack trace.</summary>
    internal static (int Code, string Message)? Explain(Exception exception) =>
        exception switch
        {
            SettingsException e => (Commands.WrongUse, e.Message),
            SchedulerConfigurationException e => (Commands.WrongUse, new SettingsException(e.Problems).Message),
            StateUnavailableException { IsPermanent: true } e => (Commands.WrongUse, $"State cannot be used; no job has run: {e.Message}"),
            StoreUnavailableException { IsPermanent: true } e => (
                Commands.WrongUse,
                $"The lock store cannot be used; no job has run: {e.Message}"
            ),
            Microsoft.Extensions.Options.OptionsValidationException e => (Commands.WrongUse, string.Join("\n  - ", e.Failures)),
            PaymentsStorageException e => (Commands.WrongUse, $"The payments jobs cannot work; no job has run: {e.Message}"),
            SocketException e => (
                Commands.Failed,
                $"an address of Scheduler:Operations (Urls, HealthUrls) or Scheduler:Ingress cannot be listened on: {e.Message}. "
                    + "Is another worker using it? Set another port, port 0, or use --free-port."
            ),
            AggregateException { InnerExceptions: [var only] } => Explain(only),
            _ => null,
        };
}
