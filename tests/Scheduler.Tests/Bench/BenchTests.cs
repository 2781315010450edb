using System.Diagnostics;
using System.Text.Json;

namespace Scheduler.Tests.Bench;

/// <summary>
/// The benchmark as a real process, in its short form: it measures every row, finds nothing lost or doubled, and writes down where it
/// ran. Its times are not looked at.
/// </summary>
[Collection(Alone)]
public sealed class BenchTests
{
    /// <summary>Runs while no other test does: on a starved machine fires come so late that the next ones overlap them.</summary>
    [CollectionDefinition(Alone, DisableParallelization = true)]
    public sealed class RunsAlone;

    internal const string Alone = "benchmark";

    private static readonly TimeSpan Bound = TimeSpan.FromMinutes(4);

    private static readonly string[] Cycles =
    [
        "one after another: cycles",
        "one after another: p50",
        "one after another: p99",
        "64 at once: cycles",
        "64 at once: p50",
        "64 at once: p99",
    ];

    private static readonly string[] Locks =
    [
        .. Cycles,
        "256 at once: cycles",
        "256 at once: p50",
        "256 at once: p99",
        "CPU of the process",
        "retained for a lease",
        "lost",
    ];

    private static readonly string[] BetweenProcesses =
    [
        "gap p50",
        "gap p99",
        "worst wait",
        "share of a task, largest / smallest",
        "after kill -9: p50",
        "after kill -9: worst",
    ];

    private static readonly string[] Fires =
    [
        "2 processes: fires",
        "2 processes: lateness p50",
        "2 processes: lateness p99",
        "2 processes: SQL statements and Redis calls for a fire",
        "2 processes: of these Redis",
        "2 processes: take-over after kill -9",
        "2 processes: added p50",
        "2 processes: added p99",
    ];

    private static readonly string[] Pages =
    [
        .. (
            (string[])["no filter", "a job", "succeeded", "failed", "dead (10)", "orphaned (none)", "a job, dead", "a job, failed"]
        ).SelectMany(filter => (string[])[$"{filter}: p50", $"{filter}: worst", $"{filter}, HTTP: p50", $"{filter}, HTTP: worst"]),
    ];

    private static readonly string[] History = [.. Pages, "a claim: p50", "a claim: p99", "a claim: longest", "runs deleted"];

    private static readonly string[] Ingest =
    [
        .. ((string[])["64 connections", "256 connections"]).SelectMany(c => (string[])[$"{c}: requests", .. TimesOf(c)]),
        .. TimesOf("2,000 requests/s"),
    ];

    private static readonly string[] Events =
    [
        "accepted to effect: p50",
        "accepted to effect: p99",
        "accepted to effect: longest",
        "sent to accepted: p50",
        "sent to accepted: p99",
    ];

    private static readonly string[] Memory =
    [
        "requests, a quarter of them new events",
        "requests",
        .. ((string[])["heap after a full collection", "working set"]).SelectMany(what =>
            (string[])[$"{what}, after a third", $"{what}, at the end", $"{what}, growth for a request"]
        ),
    ];

    private static readonly string[] Soak =
    [
        "events",
        "deliveries that were answered",
        "of these duplicates",
        "of these contradictions, each twice",
        "of these not genuine or too large, refused",
        "deliveries without an answer",
        "deliveries answered with 503",
        "kills",
        "until all were sent",
        "until all had their effect",
        "replicas that applied effects",
        "lost",
        "doubled",
        "out of order",
        "of nobody",
        "accepted never or more than once",
        "contradictions not kept once",
    ];

    private static readonly string[] Webhooks = [.. Ingest, "errors", .. Events, "a backlog: effects", .. Memory, .. Soak];

    // What stands alone because nothing hand-written could do it, or because it is a part of the row above it.
    private static readonly string[] WithoutFloor =
    [
        "lost",
        "runs deleted",
        "share of a task, largest / smallest",
        "2 processes: of these Redis",
        .. Pages,
        "errors",
        .. Events,
        .. Memory,
        .. Soak,
    ];

    // Side by side: much of it is waiting for leases to end, and for replicas to start again.
    [Fact]
    public Task Locks_ledger_history_and_webhooks_are_measured_beside_their_floors_and_no_event_is_lost_or_doubled() =>
        Task.WhenAll(
            MeasuresAsync("locks", new(StringComparer.Ordinal) { ["memory"] = Locks, ["redlock"] = Locks }),
            MeasuresAsync("locks", new(StringComparer.Ordinal) { ["sqlite"] = [.. Locks, .. BetweenProcesses] }),
            MeasuresAsync("locks", new(StringComparer.Ordinal) { ["redis"] = [.. Locks, .. BetweenProcesses] }),
            MeasuresAsync("locks", new(StringComparer.Ordinal) { ["postgres"] = [.. Locks, .. BetweenProcesses] }),
            MeasuresAsync("ledger", new(StringComparer.Ordinal) { ["sqlite"] = Cycles, ["postgres"] = Cycles }),
            MeasuresAsync("history", new(StringComparer.Ordinal) { ["sqlite"] = History, ["postgres"] = History }),
            MeasuresAsync("webhooks", new(StringComparer.Ordinal) { ["redis+postgres"] = Webhooks }),
            MeasuresAsync("webhooks", new(StringComparer.Ordinal) { ["sqlite"] = Webhooks })
        );

    [Fact]
    public Task Fires_are_measured_beside_the_cluster_of_Quartz() =>
        MeasuresAsync(
            "fires",
            new(StringComparer.Ordinal)
            {
                ["redis+postgres"] = Fires,
                ["redis+sqlite"] = Fires,
                ["sqlite"] = Fires,
            }
        );

    [Theory]
    [InlineData("allowed: locks, ledger, history, fires, members, webhooks")]
    [InlineData("allowed: locks, ledger, history, fires, members, webhooks", "unlocks")]
    [InlineData("allowed: memory, sqlite, redis, redlock, postgres, postgres-session", "locks", "--store", "paper")]
    [InlineData("--store needs a value", "locks", "--store")]
    [InlineData("allowed: 1 to 20", "ledger", "--rounds", "0")]
    [InlineData("allowed: 1 to 8", "fires", "--processes", "1,9")]
    [InlineData("allowed: --store", "locks", "--processes", "1")]
    [InlineData("allowed: 2 to 100", "members", "--replicas", "1")]
    [InlineData("allowed: --store", "fires", "--replicas", "50")]
    [InlineData("allowed: ingest, effects, memory, soak", "webhooks", "--part", "rest")]
    [InlineData("allowed: --store", "fires", "--part", "soak")]
    [InlineData("its folder must exist", "locks", "--json", "/no-such-folder/x.json")]
    public async Task Wrong_use_ends_with_code_2_and_what_is_allowed(string says, params string[] arguments)
    {
        var (code, output, errors) = await RunAsync(arguments);

        Assert.Equal(2, code);
        Assert.Contains(says, errors, StringComparison.Ordinal);
        Assert.Empty(output);
    }

    [Fact]
    public async Task Help_names_commands_options_and_stores()
    {
        var (code, output, _) = await RunAsync("--help");

        Assert.Equal(0, code);
        Assert.All(
            [
                "locks",
                "ledger",
                "history",
                "fires",
                "members",
                "webhooks",
                "--store",
                "--part",
                "--rounds",
                "--json",
                "--quick",
                "redis+sqlite",
            ],
            word => Assert.Contains(word, output, StringComparison.Ordinal)
        );
    }

    private static async Task MeasuresAsync(string command, Dictionary<string, string[]> rowsByStore)
    {
        var file = Path.GetTempFileName();
        try
        {
            var (code, output, errors) = await RunAsync([
                command,
                "--quick",
                "--json",
                file,
                // Without the option it is all of them.
                .. command is "locks" or "webhooks" ? rowsByStore.Keys.SelectMany(store => (string[])["--store", store]) : [],
            ]);

            Assert.True(code == 0, $"It ended with code {code}.\n{output}\n{errors}");
            using var json = JsonDocument.Parse(await File.ReadAllTextAsync(file));
            var root = json.RootElement;
            Assert.Empty(root.GetProperty("problems").EnumerateArray());
            Assert.Contains($"bench -- {command} --quick", root.GetProperty("command").GetString(), StringComparison.Ordinal);
            Assert.NotEqual(default, root.GetProperty("date").GetDateTimeOffset());
            Assert.Equal(Environment.ProcessorCount, root.GetProperty("machine").GetProperty("cores").GetInt32());
            Assert.NotEmpty(root.GetProperty("versions").GetProperty("Quartz").GetString()!);
            var figures = root.GetProperty("figures").EnumerateArray().ToList();
            foreach (var (store, rows) in rowsByStore)
            {
                var found = figures.Where(f => Text(f, "section").Split(':')[0] == store).ToList();
                Assert.Equal(rows.Order(), found.Select(f => Text(f, "row")).Distinct().Order());
                Assert.All(rows, row => Assert.Contains(row, output, StringComparison.Ordinal));
            }
            Assert.All(figures, HasNumbers);
        }
        finally
        {
            File.Delete(file);
        }
    }

    private static void HasNumbers(JsonElement figure)
    {
        IsSpread(figure.GetProperty("ours"));
        if (WithoutFloor.Contains(Text(figure, "row")))
        {
            Assert.Equal(JsonValueKind.Null, figure.GetProperty("ratio").ValueKind);
            return;
        }
        IsSpread(figure.GetProperty("floor"));
        IsSpread(figure.GetProperty("ratio"));
        Assert.NotEmpty(Text(figure, "floorName"));
    }

    private static string[] TimesOf(string what) => [$"{what}: p50", $"{what}: p99", $"{what}: longest"];

    private static void IsSpread(JsonElement spread)
    {
        var (min, median, max) = (Number(spread, "min"), Number(spread, "median"), Number(spread, "max"));
        Assert.True(double.IsFinite(median) && min <= median && median <= max, $"{min} {median} {max} is no spread.");
        Assert.NotEmpty(spread.GetProperty("rounds").EnumerateArray());
    }

    private static double Number(JsonElement spread, string name) => spread.GetProperty(name).GetDouble();

    private static string Text(JsonElement figure, string name) => figure.GetProperty(name).GetString()!;

    internal static async Task<(int Code, string Output, string Errors)> RunAsync(params string[] arguments)
    {
        var start = new ProcessStartInfo("dotnet", [Path.Combine(AppContext.BaseDirectory, "Scheduler.Bench.dll"), .. arguments])
        {
            UseShellExecute = false,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        using var process = Process.Start(start)!;
        try
        {
            var output = process.StandardOutput.ReadToEndAsync();
            var errors = process.StandardError.ReadToEndAsync();
            await process.WaitForExitAsync().WaitAsync(Bound);
            return (process.ExitCode, await output, await errors);
        }
        finally
        {
            if (!process.HasExited)
            {
                process.Kill();
            }
        }
    }
}
