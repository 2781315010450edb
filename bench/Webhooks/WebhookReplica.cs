using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Scheduler.Bench.Harness;
using Scheduler.Testing.Webhooks;
using Scheduler.Webhooks.Processing;
using Scheduler.Worker.Configuration;
using Scheduler.Worker.Hosting;

namespace Scheduler.Bench.Webhooks;

/// <summary>How one replica is set up.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Port">Where it takes webhooks.</param>
/// <param name="Place">Where the group keeps everything.</param>
/// <param name="Degree">How many events it processes at once.</param>
/// <param name="Holds">Whether an event of the type that holds keeps its place, so that with a degree of 1 nothing else is
/// processed.</param>
internal sealed record ReplicaSetup(string Name, int Port, WebhookPlace Place, int Degree = 16, bool Holds = false)
{
    public string Url => string.Create(CultureInfo.InvariantCulture, $"http://127.0.0.1:{Port}");
}

/// <summary>The worker as a process of its own, whole, with handlers of the benchmark beside those of the sample.</summary>
internal static class WebhookReplica
{
    public const string ChildCommand = "webhook-replica";

    /// <summary>What it says when it has an event that holds.</summary>
    public const string Held = "held";

    /// <summary>The largest body that it takes, in bytes.</summary>
    public const int MaxBodyBytes = 64 * 1024;

    private static readonly TimeSpan ReadyWithin = TimeSpan.FromSeconds(60);

    /// <summary>What the worker's own executable runs with.</summary>
    public static IReadOnlyDictionary<string, string> Environment { get; } =
        new Dictionary<string, string>(StringComparer.Ordinal)
        {
            ["DOTNET_gcServer"] = "1",
            ["DOTNET_TieredPGO"] = "0",
            ["DOTNET_ThreadPool_UnfairSemaphoreSpinLimit"] = "0",
        };

    /// <summary>Starts one and returns at once; it says "ready".</summary>
    public static Child Start(ReplicaSetup setup) => Child.Start([ChildCommand, JsonSerializer.Serialize(setup)], Environment);

    /// <summary>The child process: answers "effects" with those that it applied, "memory", and ends at once when its input ends.</summary>
    public static async Task RunChildAsync(string text)
    {
        var setup = JsonSerializer.Deserialize<ReplicaSetup>(text)!;
        var settings = Settings.Read(Configuration(setup));
        Addresses.TryParse(settings.Scheduler.Operations.Urls, out var operations);
        Addresses.TryParse(settings.Scheduler.Ingress.Urls, out var ingress);
        var addresses = BoundAddresses.Bind(operations, [], ingress, orFreePort: false);
        var effects = new EffectLog();
        using var host = WorkerHost.Build(
            settings,
            addresses,
            LogSetup.Create(settings.Logs, setup.Name, TimeProvider.System, new Quiet()),
            more: services =>
                AddHandlers(services.AddSingleton(effects).AddSingleton(setup).AddSingleton(_ => new EffectStore(setup.Place)))
        );
        await host.StartAsync();
        await UntilReadyAsync(addresses.OperationsUrl);
        Console.WriteLine("ready");
        while (await Child.HearAsync() is { } line)
        {
            Console.WriteLine(
                line switch
                {
                    "effects" => JsonSerializer.Serialize(effects.All),
                    "count" => effects.Count.ToString(CultureInfo.InvariantCulture),
                    "memory" => JsonSerializer.Serialize(MemoryUse.Now()),
                    _ => throw new InvalidOperationException($"'{line}' is no word of a webhook replica."),
                }
            );
        }
    }

    private static void AddHandlers(IServiceCollection services)
    {
        services.AddWebhookHandler<HoldingHandler, BenchEvent>(Signer.Source, HoldingHandler.Type);
        foreach (var type in EffectHandler.Types)
        {
            services.AddWebhookHandler<EffectHandler, BenchEvent>(Signer.Source, type);
        }
    }

    private static IConfigurationRoot Configuration(ReplicaSetup setup)
    {
        const string Source = $"Scheduler:Webhooks:Sources:{Signer.Source}";
        var place = setup.Place;
        var values = new Dictionary<string, string?>(StringComparer.Ordinal)
        {
            ["Scheduler:Group"] = place.Group,
            ["Scheduler:Replica:Name"] = setup.Name,
            ["Scheduler:Locks:Backend"] = place.Locks,
            ["Scheduler:Locks:ConnectionString"] = place.LocksAddress,
            ["Scheduler:State:Backend"] = place.State,
            ["Scheduler:State:ConnectionString"] = place.StateAddress,
            ["Scheduler:Operations:Urls"] = "http://127.0.0.1:0",
            ["Scheduler:Ingress:Urls"] = setup.Url,
            ["Scheduler:Webhooks:Degree"] = setup.Degree.ToString(CultureInfo.InvariantCulture),
            [$"{Source}:Scheme"] = "standard-webhooks",
            [$"{Source}:Secrets:0"] = Signer.Secret,
            // Requests are signed before they are measured.
            [$"{Source}:Tolerance"] = "01:00:00",
            [$"{Source}:MaxBodyBytes"] = MaxBodyBytes.ToString(CultureInfo.InvariantCulture),
            ["Payments:Database"] = $"Data Source={Path.Combine(place.Folder, "payments.db")}",
            ["Logs:Folder"] = Path.Combine(place.Folder, "logs"),
        };
        return new ConfigurationBuilder().AddInMemoryCollection(values).Build();
    }

    private static async Task UntilReadyAsync(string operations)
    {
        using var http = new HttpClient();
        using var limit = new CancellationTokenSource(ReadyWithin, TimeProvider.System);
        while (true)
        {
            using var answer = await http.GetAsync(new Uri($"{operations}/health/ready"), limit.Token);
            if (answer.IsSuccessStatusCode)
            {
                return;
            }
            await Task.Delay(TimeSpan.FromMilliseconds(20), TimeProvider.System, limit.Token);
        }
    }

    /// <summary>Output is for answers; the log has its files.</summary>
    private sealed class Quiet : Serilog.Core.ILogEventSink
    {
        public void Emit(Serilog.Events.LogEvent logEvent) { }
    }
}

/// <summary>What a process has of memory.</summary>
/// <param name="WorkingSet">Megabytes.</param>
/// <param name="Heap">Megabytes that are in use after a full collection.</param>
internal sealed record MemoryUse(double WorkingSet, double Heap)
{
    public static MemoryUse Now()
    {
        var heap = GC.GetTotalMemory(forceFullCollection: true);
        using var self = Process.GetCurrentProcess();
        return new MemoryUse(self.WorkingSet64 / 1e6, heap / 1e6);
    }
}
