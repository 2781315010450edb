using System.Diagnostics;

namespace Scheduler.EndToEnd.Harness;

/// <summary>The worker as the commit before this one builds it; before the one that is being worked on, where files are changed.</summary>
internal static class PreviousBuild
{
    private static readonly TimeSpan Bound = TimeSpan.FromMinutes(8);

    /// <summary>Builds it.</summary>
    /// <param name="folder">An empty folder of the caller's.</param>
    /// <returns>Where it was built, or why there is no previous commit here.</returns>
    public static async Task<(string? Build, string? Missing)> MakeAsync(string folder)
    {
        var root = Root();
        var (state, _) = await RunAsync(root, "git", "status", "--porcelain");
        if (state is null)
        {
            return (null, "there is no Git repository around the tests");
        }
        var previous = state.Trim().Length > 0 ? "HEAD" : "HEAD~1";
        var archive = Path.Combine(folder, "source.tar");
        if (await RunAsync(root, "git", "archive", "-o", archive, previous) is (null, var why))
        {
            return (null, $"the repository has no {previous}: {why}");
        }
        await NeededAsync(folder, "tar", "-xf", archive, "-C", folder);
        // It was analysed when it was committed. No server of the compiler stays behind and keeps this process's output open.
        await NeededAsync(
            folder,
            "dotnet",
            "build",
            Path.Combine("src", "Scheduler.Worker", "Scheduler.Worker.csproj"),
            "-c",
            "Release",
            "-v",
            "q",
            "-nologo",
            "-p:RunAnalyzers=false",
            "-nodeReuse:false",
            "-p:UseSharedCompilation=false"
        );
        return (Path.Combine(folder, "src", "Scheduler.Worker", "bin", "Release", "net10.0"), null);
    }

    private static async Task NeededAsync(string folder, string program, params string[] arguments)
    {
        var (output, error) = await RunAsync(folder, program, arguments);
        Assert.True(output is not null, $"'{program} {string.Join(' ', arguments)}' failed: {error}");
    }

    private static async Task<(string? Output, string Error)> RunAsync(string folder, string program, params string[] arguments)
    {
        var start = new ProcessStartInfo(program, arguments)
        {
            WorkingDirectory = folder,
            UseShellExecute = false,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        try
        {
            using var process = Process.Start(start)!;
            var output = process.StandardOutput.ReadToEndAsync();
            var error = process.StandardError.ReadToEndAsync();
            await process.WaitForExitAsync().WaitAsync(Bound, TestContext.Current.CancellationToken);
            return (process.ExitCode == 0 ? await output : null, $"{await error}{await output}");
        }
        catch (System.ComponentModel.Win32Exception missing)
        {
            return (null, missing.Message);
        }
    }

    private static string Root()
    {
        var folder = AppContext.BaseDirectory;
        while (!File.Exists(Path.Combine(folder, "Scheduler.sln")))
        {
            folder = Path.GetDirectoryName(folder) ?? throw new InvalidOperationException("Run the tests from a clone.");
        }
        return folder;
    }
}
