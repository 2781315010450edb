using System.ComponentModel;
using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;

namespace Scheduler.Testing.Servers;

/// <summary>
/// A server process of a test that refuses to run as root: it runs as the user <c>postgres</c> then. Killed at the end of the test run
/// at the latest.
/// </summary>
internal sealed partial class ServiceProcess : IDisposable
{
    private const string Account = "postgres";
    private const int SigContinue = 18;
    private const int SigStop = 19;
    private static readonly TimeSpan EndBound = TimeSpan.FromSeconds(20);

    private readonly Process _process;

    private ServiceProcess(Process process)
    {
        _process = process;
        AppDomain.CurrentDomain.ProcessExit += OnProcessExit;
    }

    public bool HasExited => _process.HasExited;

    public int ExitCode => _process.ExitCode;

    /// <summary>Starts a program; what it writes to its error output goes to a file.</summary>
    public static ServiceProcess Start(
        string program,
        string install,
        string folder,
        string log,
        IEnumerable<KeyValuePair<string, string>> environment,
        params string[] arguments
    )
    {
        // Set where the account is the right one already: libfaketime makes things in memory that only their maker may use.
        string[] words = [.. environment.Select(e => $"{e.Key}={e.Value}"), program, .. arguments];
        // The shell is replaced by the program, so signals reach it.
        string[] shell = ["-c", "exec \"$@\" >>\"$LOG\" 2>&1", "sh", .. AsAccount("/usr/bin/env", words)];
        var start = new ProcessStartInfo("/bin/sh", shell) { WorkingDirectory = folder, UseShellExecute = false };
        start.Environment["LOG"] = log;
        if (!File.Exists(program))
        {
            throw new InvalidOperationException($"This test needs {program}. Install it with: sudo apt-get install -y {install}");
        }
        return new ServiceProcess(Process.Start(start)!);
    }

    /// <summary>Runs a program to its end.</summary>
    /// <exception cref="InvalidOperationException">It failed.</exception>
    public static async Task RunAsync(string program, params string[] arguments) => await RunPlainAsync(AsAccount(program, arguments));

    /// <summary>A new folder that the account owns.</summary>
    public static async Task<string> FolderAsync(string prefix)
    {
        var folder = Directory.CreateTempSubdirectory(prefix).FullName;
        await OwnAsync(folder);
        return folder;
    }

    /// <summary>Gives a folder with all in it to the account.</summary>
    public static async Task OwnAsync(string folder)
    {
        if (Environment.IsPrivilegedProcess)
        {
            await RunPlainAsync(["chown", "-R", Account, folder]);
        }
    }

    public void Signal(int signal)
    {
        if (!_process.HasExited && Kill(_process.Id, signal) != 0)
        {
            throw new Win32Exception(Marshal.GetLastPInvokeError(), $"Signal {signal} did not reach process {_process.Id}.");
        }
    }

    /// <summary>Stops it and its children in their tracks.</summary>
    public void Freeze()
    {
        Signal(SigStop);
        SignalChildren(SigStop);
    }

    /// <summary>Lets it and its children go on.</summary>
    public void Thaw()
    {
        SignalChildren(SigContinue);
        Signal(SigContinue);
    }

    public async Task EndedAsync()
    {
        using var limit = new CancellationTokenSource(EndBound, TimeProvider.System);
        await _process.WaitForExitAsync(limit.Token);
    }

    /// <summary>Ends a server that all tests share when the test run ends, and deletes its folder. Waits for nothing: the folder of a
    /// server with many databases takes longer than a test run may take to end.</summary>
    public static void AtExit(Action end, string folder) =>
        AppDomain.CurrentDomain.ProcessExit += (_, _) =>
        {
            end();
            Process.Start(new ProcessStartInfo("rm", ["-rf", folder]) { UseShellExecute = false })?.Dispose();
        };

    public void Dispose()
    {
        AppDomain.CurrentDomain.ProcessExit -= OnProcessExit;
        _process.Dispose();
    }

    private static IEnumerable<string> AsAccount(string program, IEnumerable<string> arguments) =>
        Environment.IsPrivilegedProcess
            ? ["setpriv", $"--reuid={Account}", $"--regid={Account}", "--init-groups", program, .. arguments]
            : [program, .. arguments];

    private static async Task RunPlainAsync(IEnumerable<string> words)
    {
        var all = words.ToList();
        var start = new ProcessStartInfo(all[0], all.Skip(1))
        {
            UseShellExecute = false,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            WorkingDirectory = "/",
        };
        using var process = Process.Start(start)!;
        var output = process.StandardOutput.ReadToEndAsync();
        var errors = await process.StandardError.ReadToEndAsync();
        await process.WaitForExitAsync();
        if (process.ExitCode != 0)
        {
            throw new InvalidOperationException($"{all[0]} ended with code {process.ExitCode}: {await output}{errors}");
        }
    }

    private void SignalChildren(int signal)
    {
        var children = File.ReadAllText($"/proc/{_process.Id}/task/{_process.Id}/children");
        foreach (var child in children.Split(' ', StringSplitOptions.RemoveEmptyEntries))
        {
            // One may have ended meanwhile.
            _ = Kill(int.Parse(child, CultureInfo.InvariantCulture), signal);
        }
    }

    private void OnProcessExit(object? sender, EventArgs args)
    {
        try
        {
            _process.Kill();
        }
        catch (InvalidOperationException)
        {
            // It has ended.
        }
    }

    [LibraryImport("libc", EntryPoint = "kill", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int Kill(int processId, int signal);
}
