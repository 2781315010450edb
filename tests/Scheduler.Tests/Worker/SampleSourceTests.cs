using System.Diagnostics;
using System.Text.Json;
using System.Text.RegularExpressions;
using Microsoft.Extensions.Configuration;
using Scheduler.Testing;
using Scheduler.Tests.Architecture;
using Scheduler.Worker.CommandLine;
using Scheduler.Worker.Configuration;

namespace Scheduler.Tests.Worker;

/// <summary>What a new user sees of webhooks: <c>./run</c>, and the example that delivers a payment, on real processes.</summary>
public sealed partial class SampleSourceTests : IAsyncDisposable
{
    private static readonly HttpClient Http = new() { Timeout = TimeSpan.FromSeconds(20) };
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("scheduler-sample-");
    private readonly List<Process> _processes = [];

    public async ValueTask DisposeAsync()
    {
        foreach (var process in _processes)
        {
            process.Kill(entireProcessTree: true);
            await process.WaitForExitAsync();
            process.Dispose();
        }
        _folder.Delete(recursive: true);
    }

    [Fact]
    public async Task The_example_delivers_a_payment_its_copy_and_its_refund_to_replicas_with_one_secret()
    {
        var replicas = await Task.WhenAll(StartAsync(), StartAsync());

        var paid = await DeliverAsync(replicas[0], "8123");
        Assert.Equal("accepted", paid.GetProperty("status").GetString());
        await DoneAsync(replicas[0], paid);
        var again = await DeliverAsync(replicas[1], "8123");
        Assert.Equal("duplicate", again.GetProperty("status").GetString());
        Assert.Equal(paid.GetProperty("id").GetString(), again.GetProperty("id").GetString());
        Assert.Equal("conflict", (await DeliverAsync(replicas[1], "8123", "1")).GetProperty("status").GetString());
        var refund = await DeliverAsync(replicas[1], "--refund", "8123");
        Assert.Equal("accepted", refund.GetProperty("status").GetString());

        var secret = new FileInfo(Path.Combine(_folder.FullName, SampleSource.SecretFile));
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, secret.UnixFileMode);
        Assert.Equal(["dev-secret"], secret.Directory!.GetFiles("dev-secret*").Select(f => f.Name));
    }

    [Fact]
    public async Task The_example_says_what_is_wrong()
    {
        foreach (
            var arguments in (string[][])
                [
                    [],
                    ["8123", "0"],
                    ["a b"],
                    ["1", "2", "3"],
                ]
        )
        {
            var (code, _, errors) = await ExampleAsync("http://127.0.0.1:9/", arguments);
            Assert.Equal(2, code);
            Assert.Contains("usage:", errors, StringComparison.Ordinal);
        }
        var missing = await ExampleAsync("http://127.0.0.1:9/", "8123");
        Assert.Equal(2, missing.Code);
        Assert.Contains("data/dev-secret", missing.Errors, StringComparison.Ordinal);
        SampleConfiguration();
        Assert.Equal(1, (await ExampleAsync("http://127.0.0.1:9/", "8123")).Code);
    }

    [Theory]
    [InlineData("Scheduler:Webhooks:Sources:others:Scheme", "github")]
    [InlineData("Scheduler:State:Backend", "none")]
    public void A_source_of_the_user_stays_alone_and_none_is_added_without_records(string key, string value)
    {
        var configuration = new ConfigurationBuilder().AddInMemoryCollection([new(key, value)]).Build();
        Assert.Same(configuration, SampleSource.AddTo(configuration, _folder.FullName));
        Assert.Empty(_folder.GetFileSystemInfos());
    }

    [Fact]
    public void The_secret_is_made_once_and_has_an_own_one_on_each_machine()
    {
        var first = SampleConfiguration();
        Assert.Equal("standard-webhooks", first["Scheduler:Webhooks:Sources:payments:Scheme"]);
        var file = first["Scheduler:Webhooks:Sources:payments:SecretFiles:0"]!;
        var secret = File.ReadAllText(file);
        Assert.Matches("^whsec_[A-Za-z0-9+/]{43}=\n$", secret);
        SampleConfiguration();
        Assert.Equal(secret, File.ReadAllText(file));
        File.Delete(file);
        SampleConfiguration();
        Assert.NotEqual(secret, File.ReadAllText(file));
    }

    [Fact]
    public void A_folder_that_cannot_be_written_is_named()
    {
        File.WriteAllText(Path.Combine(_folder.FullName, "data"), "");
        var problem = Assert.Throws<SettingsException>(() => SampleConfiguration());
        Assert.Contains(Path.Combine(_folder.FullName, "data", "dev-secret"), problem.Message, StringComparison.Ordinal);
    }

    private IConfiguration SampleConfiguration() => SampleSource.AddTo(new ConfigurationBuilder().Build(), _folder.FullName);

    private async Task<Replica> StartAsync()
    {
        var start = new ProcessStartInfo("dotnet")
        {
            WorkingDirectory = _folder.FullName,
            RedirectStandardOutput = true,
            UseShellExecute = false,
        };
        foreach (
            var argument in (string[])
                [
                    typeof(Commands).Assembly.Location,
                    "run",
                    "--sample-data",
                    "--Scheduler:Operations:Urls=http://127.0.0.1:0",
                    "--Scheduler:Ingress:Urls=http://127.0.0.1:0",
                ]
        )
        {
            start.ArgumentList.Add(argument);
        }
        var process = Process.Start(start)!;
        _processes.Add(process);
        var (operations, ingress) = ("", "");
        while (ingress.Length == 0 || operations.Length == 0)
        {
            var line = await process
                .StandardOutput.ReadLineAsync(TestContext.Current.CancellationToken)
                .AsTask()
                .WaitAsync(TimeSpan.FromSeconds(60));
            Assert.NotNull(line);
            ingress = Ingress().Match(line) is { Success: true } i ? i.Groups["url"].Value : ingress;
            operations = Operations().Match(line) is { Success: true } o ? o.Groups["url"].Value : operations;
        }
        // Read on, or the process would wait for room.
        _ = process.StandardOutput.ReadToEndAsync(CancellationToken.None);
        return new Replica(operations, ingress);
    }

    private async Task<JsonElement> DeliverAsync(Replica replica, params string[] arguments)
    {
        var (code, output, errors) = await ExampleAsync(replica.Ingress, arguments);
        Assert.True(code == 0, $"{code}: {output}{errors}");
        return JsonDocument.Parse(output).RootElement;
    }

    private async Task<(int Code, string Output, string Errors)> ExampleAsync(string url, params string[] arguments)
    {
        var start = new ProcessStartInfo(Path.Combine(Repository.Root, "deploy/examples/deliver-payment"), arguments)
        {
            WorkingDirectory = _folder.FullName,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            UseShellExecute = false,
        };
        start.Environment["URL"] = url;
        using var process = Process.Start(start)!;
        var output = process.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken);
        var errors = process.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
        await process.WaitForExitAsync(TestContext.Current.CancellationToken).WaitAsync(TimeSpan.FromSeconds(30));
        return (process.ExitCode, await output, await errors);
    }

    private static Task DoneAsync(Replica replica, JsonElement delivered) =>
        Eventually.Holds(
            async () =>
            {
                var shown = await Http.GetStringAsync(
                    new Uri($"{replica.Operations}/api/inbox/{delivered.GetProperty("id").GetString()}"),
                    TestContext.Current.CancellationToken
                );
                return JsonDocument.Parse(shown).RootElement.GetProperty("state").GetString() == "done";
            },
            TimeSpan.FromSeconds(30),
            "the payment is done"
        );

    [GeneratedRegex("Webhooks: (?<url>http://[^ ]+/webhooks/payments)", RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 1_000)]
    private static partial Regex Ingress();

    [GeneratedRegex("(?<url>http://[^ /]+)/api/runs", RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 1_000)]
    private static partial Regex Operations();

    private sealed record Replica(string Operations, string Ingress);
}
