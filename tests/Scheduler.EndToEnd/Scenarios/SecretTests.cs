using System.Text;
using Scheduler.EndToEnd.Harness;
using Scheduler.Testing;
using Scheduler.Testing.Servers;

namespace Scheduler.EndToEnd.Scenarios;

/// <summary>Recognisable secrets in every option that can hold one turn up in no log, no error and no answer.</summary>
public sealed class SecretTests : Scenario
{
    private const string Canary = "cAnArY-7f41";

    private static readonly string[] Paths =
    [
        "/health/live",
        "/health/ready",
        "/api/jobs",
        "/api/runs",
        "/api/runs/none",
        "/api/runs?limit=x",
        "/api/locks",
        "/api/replicas",
        "/none",
    ];

    [Fact]
    public async Task A_worker_that_runs_and_loses_its_server_shows_no_secret()
    {
        var group = await GroupAsync(Backends.Redis, new RedisServerOptions { Password = Canary });
        group.With("Logs__Level", "Verbose").WithTick("quick", "second", "* * * * * ?", TimeSpan.FromMilliseconds(1));
        var worker = (await group.StartAsync(("a", default)))[0];
        await Eventually.Holds(() => group.Bodies.Count > 0);
        await ScanAsync(group, worker);

        await group.Place.Redis.KillAsync();
        await Eventually.Holds(async () => !await worker.IsReadyAsync());
        await ScanAsync(group, worker);
        await group.Place.Redis.RestartAsync(keepData: true);
        await worker.UntilReadyAsync();
        Assert.Equal(0, await worker.StopAsync());
        ScanFiles(group);
    }

    [Fact]
    public async Task A_server_that_refuses_the_login_ends_the_start_without_the_secret()
    {
        var group = await GroupAsync(Backends.Redis, new RedisServerOptions { Password = "another" });
        group
            .With("Logs__Level", "Verbose")
            .With("Scheduler__Locks__ConnectionString", $"{group.Place.Redis.Endpoint},password={Canary}")
            .WithTick("quick", "second", "* * * * * ?", TimeSpan.FromMilliseconds(1));

        var worker = group.Start("a");

        Assert.Equal(2, await worker.UntilEndedAsync());
        Assert.Contains("password", worker.Output, StringComparison.Ordinal);
        ScanFiles(group);
        Assert.Empty(group.Bodies);
    }

    [Fact]
    public async Task A_server_that_is_not_there_is_waited_for_without_the_secret()
    {
        var group = await GroupAsync(Backends.Sqlite);
        group
            .With("Logs__Level", "Verbose")
            .With("Scheduler__Locks__Backend", "redis")
            .With("Scheduler__Locks__ConnectionString", $"127.0.0.1:{FreePort.Next()},password={Canary}")
            .WithTick("quick", "second", "* * * * * ?", TimeSpan.FromMilliseconds(1));

        var worker = group.Start("a");
        await Eventually.Holds(() => worker.Output.Contains("WRN", StringComparison.Ordinal), TimeSpan.FromSeconds(60));

        Assert.False(await worker.IsReadyAsync());
        await ScanAsync(group, worker);
        Assert.Equal(0, await worker.StopAsync());
        ScanFiles(group);
        Assert.Empty(group.Bodies);
    }

    [Theory]
    [InlineData("Scheduler__Locks__ConnectionString", "Data Source=" + Canary + ";Password=" + Canary)]
    [InlineData("Scheduler__State__ConnectionString", "Password=" + Canary)]
    [InlineData("Scheduler__State__ConnectionString", "Data Source={0};Pass word;" + Canary)]
    [InlineData("Scheduler__State__ConnectionString", "Data Source={0};Password=" + Canary)]
    [InlineData("Scheduler__State__ConnectionString", "Data Source={0};Unknown=" + Canary)]
    [InlineData("Payments__Database", "Password=" + Canary)]
    [InlineData("Payments__Database", "Data Source={0};Unknown=" + Canary)]
    [InlineData("Scheduler__Operations__Urls", "http://user:" + Canary + "@127.0.0.1:1")]
    public async Task A_wrong_option_is_named_and_its_secret_is_not(string option, string value)
    {
        var group = await GroupAsync(Backends.Redis);
        group
            .With(option, string.Format(null, CompositeFormat.Parse(value), Path.Combine(group.Folder, "state.db")))
            .WithTick("quick", "second", "* * * * * ?", TimeSpan.FromMilliseconds(1));

        var worker = group.Start("a");

        Assert.Equal(2, await worker.UntilEndedAsync());
        Assert.Contains(option.Replace("__", ":", StringComparison.Ordinal), worker.Output, StringComparison.Ordinal);
        ScanFiles(group);
        Assert.Empty(group.Bodies);
    }

    private static async Task ScanAsync(WorkerGroup group, WorkerProcess worker)
    {
        foreach (var path in Paths)
        {
            var answer = await worker.GetTextAsync(path);
            Assert.DoesNotContain(Canary, answer, StringComparison.OrdinalIgnoreCase);
        }
        ScanFiles(group);
    }

    // Standard output and error, log files, records: everything that the worker wrote.
    private static void ScanFiles(WorkerGroup group)
    {
        var scanned = 0L;
        foreach (var file in Directory.EnumerateFiles(group.Folder, "*", SearchOption.AllDirectories))
        {
            using var stream = new FileStream(file, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
            using var reader = new StreamReader(stream, Encoding.Latin1);
            var text = reader.ReadToEnd();
            scanned += text.Length;
            Assert.False(text.Contains(Canary, StringComparison.OrdinalIgnoreCase), $"{file} shows the secret.");
        }
        Assert.True(scanned > 100, "There was nothing to search.");
    }
}
