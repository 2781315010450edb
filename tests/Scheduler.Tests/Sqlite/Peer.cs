using System.Diagnostics;
using Scheduler.Testing;
using Scheduler.Testing.Servers;

namespace Scheduler.Tests.Sqlite;

/// <summary>A second real process (tests/Scheduler.TestPeer). Killed at the end.</summary>
internal sealed class Peer : IAsyncDisposable
{
    private static readonly TimeSpan LongestStart = TimeSpan.FromSeconds(60);
    private readonly Process _process;

    private Peer(Process process) => _process = process;

    public static Peer Start(params string[] arguments) => Start(on: null, arguments);

    /// <summary>Starts it on another host.</summary>
    public static Peer Start(OtherHost? on, params string[] arguments)
    {
        string[] command = [.. on?.Prefix ?? [], "dotnet", Path.Combine(AppContext.BaseDirectory, "Scheduler.TestPeer.dll"), .. arguments];
        var start = new ProcessStartInfo(command[0], command[1..])
        {
            UseShellExecute = false,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
        };
        return new Peer(Process.Start(start)!);
    }

    /// <summary>Waits for the next line of its output.</summary>
    public async Task<string> LineAsync(TimeSpan? within = null)
    {
        var line = await _process.StandardOutput.ReadLineAsync().WaitAsync(within ?? LongestStart);
        return line ?? throw new InvalidOperationException("The peer ended without a line; its errors stand above.");
    }

    /// <summary>Waits until it has ended.</summary>
    public async Task<int> ExitAsync()
    {
        await _process.WaitForExitAsync().WaitAsync(LongestStart);
        return _process.ExitCode;
    }

    public Task GoAsync() => _process.StandardInput.WriteLineAsync("go");

    /// <summary>SIGKILL; returns when the process is gone.</summary>
    public async Task KillAsync()
    {
        _process.Kill();
        await _process.WaitForExitAsync();
    }

    public async Task SignalAsync(string signal)
    {
        using var kill = Process.Start("kill", [$"-{signal}", $"{_process.Id}"]);
        await kill.WaitForExitAsync();
        Assert.Equal(0, kill.ExitCode);
        if (signal == "STOP")
        {
            await Eventually.Holds(() => File.ReadAllText($"/proc/{_process.Id}/stat").Contains(") T ", StringComparison.Ordinal));
        }
    }

    public async ValueTask DisposeAsync()
    {
        if (!_process.HasExited)
        {
            await KillAsync();
        }
        _process.Dispose();
    }
}
