using System.Text.Json;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Quartz;
using Scheduler.Bench.Harness;

namespace Scheduler.Bench.Fires;

/// <summary>One process of a system: an ordinary Quartz application with counted jobs.</summary>
internal static class FireReplica
{
    public const string ChildCommand = "fire-replica";

    /// <summary>What a process says when a body that blocks begins.</summary>
    public const string Running = "running";

    /// <summary>What it says instead when the body goes on with a run of a process that died.</summary>
    public const string TakenOver = "taken over";

    /// <summary>Ends bodies that block.</summary>
    public const string GoOn = "go on";

    /// <summary>What a process is told.</summary>
    internal sealed record Setting(string System, Workload Workload, FirePlace Place);

    public static Child Start(FireSystem system, Workload workload, FirePlace place) =>
        Child.Start(ChildCommand, JsonSerializer.Serialize(new Setting(system.Name, workload, place)));

    /// <summary>
    /// The child process: starts on "go", ends bodies that block on "go on", answers "count" and "report", and stops in order when its
    /// input ends.
    /// </summary>
    public static async Task RunChildAsync(string text)
    {
        var setting = JsonSerializer.Deserialize<Setting>(text)!;
        var system = FireSystems.Named(setting.System);
        using var host = Build(system, setting.Workload, setting.Place, withJobs: !system.StoresTriggers);
        var log = host.Services.GetRequiredService<FireLog>();
        Console.WriteLine("ready");
        while (await Child.HearAsync() is { } line)
        {
            switch (line)
            {
                case "go":
                    await host.StartAsync();
                    Console.WriteLine("started");
                    log.MaySpeak.SetResult();
                    break;
                case GoOn:
                    log.MayGoOn.SetResult();
                    break;
                case "count":
                    Console.WriteLine(log.Count);
                    break;
                case "report":
                    Console.WriteLine(JsonSerializer.Serialize(log.All));
                    break;
                default:
                    throw new InvalidOperationException($"'{line}' is no word of a fire replica.");
            }
        }
        await host.StopAsync();
    }

    /// <summary>Puts the jobs and triggers of a workload into the database of a system that keeps them there.</summary>
    public static async Task StoreTriggersAsync(FireSystem system, Workload workload, FirePlace place)
    {
        using var host = Build(system, workload, place, withJobs: true);
        var scheduler = await host.Services.GetRequiredService<ISchedulerFactory>().GetScheduler();
        await scheduler.Shutdown();
    }

    private static IHost Build(FireSystem system, Workload workload, FirePlace place, bool withJobs)
    {
        var builder = Host.CreateApplicationBuilder(new HostApplicationBuilderSettings { DisableDefaults = true });
        // Output is for answers.
        builder.Logging.AddConsole(console => console.LogToStandardErrorThreshold = LogLevel.Trace).SetMinimumLevel(LogLevel.Error);
        builder.Services.AddSingleton<FireLog>();
        builder.Services.AddQuartz(quartz =>
        {
            quartz.ConfigureScheduler(o => o.InstanceName = "bench");
            quartz.AddJobMiddleware<CallTime>();
            system.Configure(quartz, place);
            if (withJobs)
            {
                workload.AddTo(quartz);
            }
        });
        builder.Services.AddQuartzHostedService(o => o.WaitForJobsToComplete = true);
        return builder.Build();
    }
}
