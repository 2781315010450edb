using System.Text.Json;
using Scheduler.Bench.Webhooks;

namespace Scheduler.Tests.Bench;

/// <summary>The benchmark's replicas are processes of the benchmark's own program.</summary>
public sealed class ReplicaSettingsTests
{
    [Fact]
    public void Replicas_run_with_what_the_worker_runs_with()
    {
        var file = Path.Combine(AppContext.BaseDirectory, "scheduler.runtimeconfig.json");
        using var json = JsonDocument.Parse(File.ReadAllBytes(file));
        var worker = json.RootElement.GetProperty("runtimeOptions").GetProperty("configProperties");

        Assert.Equal(
            new Dictionary<string, string>
            {
                ["DOTNET_gcServer"] = worker.GetProperty("System.GC.Server").GetBoolean() ? "1" : "0",
                ["DOTNET_TieredPGO"] = worker.GetProperty("System.Runtime.TieredPGO").GetBoolean() ? "1" : "0",
                ["DOTNET_ThreadPool_UnfairSemaphoreSpinLimit"] =
                    $"{worker.GetProperty("System.Threading.ThreadPool.UnfairSemaphoreSpinLimit")}",
            },
            WebhookReplica.Environment
        );
    }
}
