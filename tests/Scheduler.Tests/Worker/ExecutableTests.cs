using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using Microsoft.Data.Sqlite;
using Scheduler.Locking;
using Scheduler.Runs;
using Scheduler.Worker.CommandLine;

namespace Scheduler.Tests.Worker;

/// <summary>What the built executable says and returns when it cannot start.</summary>
public sealed class ExecutableTests : IDisposable
{
    private const string Job = "PruneRunHistory";
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("scheduler-exe-");

    public void Dispose() => _folder.Delete(recursive: true);

    [Fact]
    public async Task A_State_that_needs_a_newer_build_ends_with_2()
    {
        var state = Path.Combine(_folder.FullName, "state.db");
        SQLitePCL.Batteries_V2.Init();
        await using (var connection = new SqliteConnection($"Data Source={state};Pooling=False"))
        {
            await connection.OpenAsync(TestContext.Current.CancellationToken);
            await using var command = connection.CreateCommand();
            command.CommandText =
                "CREATE TABLE schema (version INTEGER NOT NULL, min_reader INTEGER NOT NULL); INSERT INTO schema VALUES (98, 97)";
            await command.ExecuteNonQueryAsync(TestContext.Current.CancellationToken);
        }
        var result = await RunAsync();
        AssertRefused(result, "schema version 98", "reads version 97 or later", "Run the newer release");
    }

    [Theory]
    [InlineData("Scheduler:Locks:ConnectionString", "write permission")]
    [InlineData("Scheduler:State:ConnectionString", "write permission")]
    [InlineData("Payments:Database", "Payments:Database")]
    [InlineData("Payments:Inbox", "Payments:Inbox")]
    [InlineData("Logs:Folder", "Logs:Folder")]
    public async Task A_folder_without_permission_ends_with_2(string key, string expected)
    {
        // A file where a folder has to be: refused for root as well.
        var blocker = Path.Combine(_folder.FullName, "blocker");
        await File.WriteAllTextAsync(blocker, "", TestContext.Current.CancellationToken);
        var place = Path.Combine(blocker, "x");
        var result = await RunAsync(
            (key, key.EndsWith('g') || key.EndsWith("Database", StringComparison.Ordinal) ? $"Data Source={place}" : place)
        );
        AssertRefused(result, expected, blocker);
    }

    [Fact]
    public async Task An_address_that_is_taken_ends_with_1_and_the_remedy()
    {
        using var taken = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        taken.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        taken.Listen();
        var result = await RunAsync(("Scheduler:Operations:Urls", $"http://{taken.LocalEndPoint}"));
        Assert.Equal(1, result.Code);
        Assert.Contains("--free-port", result.Errors, StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", result.Errors + result.Output, StringComparison.Ordinal);
    }

    [Fact]
    public void What_only_the_operator_can_mend_ends_with_2()
    {
        // Network file systems cannot be mounted here; their pure rule is tested beside the store, and this is what becomes of its answer.
        var refused = new StoreUnavailableException("The SQLite locks '/srv/nfs/locks.db' lie on the file system 'nfs4'", permanent: true);
        Assert.Equal(2, RunCommand.Explain(refused)!.Value.Code);
        Assert.Contains("'nfs4'", RunCommand.Explain(refused)!.Value.Message, StringComparison.Ordinal);
        Assert.Equal(2, RunCommand.Explain(new StateUnavailableException("x", permanent: true))!.Value.Code);
        Assert.Null(RunCommand.Explain(new InvalidOperationException("a defect")));
    }

    private static void AssertRefused((int Code, string Output, string Errors) result, params string[] expected)
    {
        Assert.True(result.Code == 2, $"exit code {result.Code}\n{result.Errors}\n{result.Output}");
        Assert.StartsWith("scheduler: ", result.Errors, StringComparison.Ordinal);
        Assert.All(expected, e => Assert.Contains(e, result.Errors, StringComparison.Ordinal));
        Assert.DoesNotContain("   at ", result.Errors + result.Output, StringComparison.Ordinal);
        Assert.DoesNotContain("Unhandled", result.Errors, StringComparison.Ordinal);
        Assert.DoesNotContain("Started ", result.Output, StringComparison.Ordinal);
    }

    private async Task<(int Code, string Output, string Errors)> RunAsync(params (string Key, string Value)[] settings)
    {
        var start = new ProcessStartInfo("dotnet")
        {
            WorkingDirectory = _folder.FullName,
            RedirectStandardError = true,
            RedirectStandardOutput = true,
            UseShellExecute = false,
        };
        var values = new Dictionary<string, string>(StringComparer.Ordinal)
        {
            ["Scheduler:Locks:ConnectionString"] = "Data Source=locks.db",
            ["Scheduler:State:ConnectionString"] = "Data Source=state.db",
            ["Scheduler:Operations:Urls"] = "http://127.0.0.1:0",
            ["Scheduler:Ingress:Urls"] = "http://127.0.0.1:0",
            [$"Scheduler:Jobs:{Job}:Every"] = "00:00:01",
            ["Logs:Folder"] = "",
        };
        foreach (var (key, value) in settings)
        {
            values[key] = value;
        }
        start.ArgumentList.Add(typeof(Commands).Assembly.Location);
        start.ArgumentList.Add("run");
        start.ArgumentList.Add("--sample-data");
        foreach (var (key, value) in values)
        {
            start.ArgumentList.Add($"--{key}={value}");
        }
        using var process = Process.Start(start)!;
        try
        {
            var output = process.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken);
            var errors = process.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
            await process.WaitForExitAsync(TestContext.Current.CancellationToken).WaitAsync(TimeSpan.FromSeconds(60));
            return (process.ExitCode, await output, await errors);
        }
        finally
        {
            process.Kill(entireProcessTree: true);
        }
    }
}
