using System.Security.Cryptography;
using System.Text;
using Scheduler.EndToEnd.Harness;
using Scheduler.Testing;
using Scheduler.Testing.Servers;

namespace Scheduler.EndToEnd.Scenarios;

/// <summary>Recognisable secrets in every option that can hold one turn up in no log, no error and no answer.</summary>
public sealed class SecretTests : Scenario
{
    private const string Canary = "cAnArY-7f41";
    private const string BodyCanary = "bOdY-c0de";

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
    [InlineData("Scheduler__State__ListenConnectionString", "Host=a;Password=" + Canary)]
    [InlineData("Scheduler__Locks__ListenConnectionString", "Host=a;Password=" + Canary)]
    [InlineData("Scheduler__Webhooks__Sources__payments__Secrets__0", Canary)]
    [InlineData("Payments__Database", "Password=" + Canary)]
    [InlineData("Payments__Database", "Data Source={0};Unknown=" + Canary)]
    [InlineData("Scheduler__Operations__Urls", "http://user:" + Canary + "@127.0.0.1:1")]
    public async Task A_wrong_option_is_named_and_its_secret_is_not(string option, string value)
    {
        var group = await GroupAsync(Backends.Redis);
        group
            .With("Scheduler__Webhooks__Sources__payments__Scheme", "standard-webhooks")
            .With("Scheduler__Webhooks__Sources__payments__Secrets__0", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
            .With(option, string.Format(null, CompositeFormat.Parse(value), Path.Combine(group.Folder, "state.db")))
            .WithTick("quick", "second", "* * * * * ?", TimeSpan.FromMilliseconds(1));

        var worker = group.Start("a");

        Assert.Equal(2, await worker.UntilEndedAsync());
        Assert.Contains(option.Replace("__", ":", StringComparison.Ordinal), worker.Output, StringComparison.Ordinal);
        ScanFiles(group);
        Assert.Empty(group.Bodies);
    }

    [Fact]
    public async Task Deliveries_show_no_secret_of_a_source_and_nothing_of_a_body()
    {
        var group = await GroupAsync(Backends.Sqlite);
        group
            .With("Logs__Level", "Verbose")
            .With("Scheduler__Webhooks__Sources__payments__Scheme", "github")
            .With("Scheduler__Webhooks__Sources__payments__TypeFrom", "/type")
            .With("Scheduler__Webhooks__Sources__payments__Secrets__0", Canary)
            .With("Scheduler__Webhooks__Sources__payments__MaxAttempts", "1");
        var worker = (await group.StartAsync(("a", default)))[0];
        (string Status, string Body)[] deliveries =
        [
            // One that its handler cannot read, one that it refuses, one that is no JSON, and one that is not genuine.
            ("accepted", $$"""{"type":"payment.succeeded","orderId":"1","amountMinor":"{{BodyCanary}}","{{BodyCanary}}":1}"""),
            (
                "accepted",
                $$"""{"type":"payment.refunded","orderId":"2","paymentId":"{{BodyCanary}}","refundedAt":"2026-01-31T13:00:00Z"}"""
            ),
            ("quarantined", $$"""{"type":"payment.succeeded","orderId":"3","{{BodyCanary}}":}"""),
            ("Refused", $$"""{"type":"payment.succeeded","orderId":"4","paymentId":"{{BodyCanary}}"}"""),
        ];
        using var http = new HttpClient();
        foreach (var (status, body) in deliveries)
        {
            using var request = new HttpRequestMessage(HttpMethod.Post, new Uri(worker.Ingress, "/webhooks/payments"));
            request.Content = new StringContent(body, Encoding.UTF8, "application/json");
            var key = status == "Refused" ? "another" : Canary;
            var hash = HMACSHA256.HashData(Encoding.UTF8.GetBytes(key), Encoding.UTF8.GetBytes(body));
            request.Headers.Add("X-Hub-Signature-256", $"sha256={Convert.ToHexStringLower(hash)}");
            using var answer = await http.SendAsync(request, TestContext.Current.CancellationToken);
            var text = await answer.Content.ReadAsStringAsync(TestContext.Current.CancellationToken);
            Assert.Contains(status, text, StringComparison.Ordinal);
            Assert.DoesNotContain(BodyCanary, text, StringComparison.OrdinalIgnoreCase);
        }
        await Eventually.Holds(
            async () => (await worker.GetAsync("/api/inbox?state=dead")).GetProperty("items").GetArrayLength() == 2,
            TimeSpan.FromSeconds(30)
        );
        var shown = await worker.GetTextAsync("/api/inbox");
        Assert.DoesNotContain(BodyCanary, shown, StringComparison.OrdinalIgnoreCase);
        await ScanAsync(group, worker);
        Assert.Equal(0, await worker.StopAsync());
        ScanFiles(group);
        // The bodies are in the database, and nowhere else.
        ScanFiles(group, BodyCanary, f => !Path.GetFileName(f).StartsWith("state.db", StringComparison.Ordinal));
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

    // Standard output and error, log files, records: everything that the worker wrote. A living replica's lock is an empty file.
    private static void ScanFiles(WorkerGroup group, string secret = Canary, Func<string, bool>? where = null)
    {
        var scanned = 0L;
        var files = Directory.EnumerateFiles(group.Folder, "*", SearchOption.AllDirectories).Where(f => new FileInfo(f).Length > 0);
        foreach (var file in files.Where(where ?? (_ => true)))
        {
            using var stream = new FileStream(file, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
            using var reader = new StreamReader(stream, Encoding.Latin1);
            var text = reader.ReadToEnd();
            scanned += text.Length;
            Assert.False(text.Contains(secret, StringComparison.OrdinalIgnoreCase), $"{file} shows {secret}.");
        }
        Assert.True(scanned > 100, "There was nothing to search.");
    }
}
