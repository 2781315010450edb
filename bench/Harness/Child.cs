using System.Diagnostics;
using System.Globalization;
using System.Text.Json;

namespace Scheduler.Bench.Harness;

/// <summary>
/// Another process of this executable with an internal command. It prints lines, is told lines, and ends when its input ends, so that
/// none outlives the benchmark.
/// </summary>
internal sealed class Child : IAsyncDisposable
{
    /// <summary>The first argument of a child's command line.</summary>
    public const string Command = "child";

    private static readonly TimeSpan LongestWait = TimeSpan.FromSeconds(120);
    private readonly Process _process;
    private readonly string _what;

    private Child(Process process, string what)
    {
        _process = process;
        _what = what;
    }

    /// <summary>Starts one.</summary>
    /// <param name="arguments">The internal command and what it needs; numbers in invariant form.</param>
    public static Child Start(params object[] arguments) => Start(arguments, new Dictionary<string, string>(StringComparer.Ordinal));

    /// <summary>Starts one with variables of its own in its environment.</summary>
    /// <param name="arguments">The internal command and what it needs; numbers in invariant form.</param>
    /// <param name="environment">The variables.</param>
    public static Child Start(IReadOnlyList<object> arguments, IReadOnlyDictionary<string, string> environment)
    {
        var words = arguments.Select(a => Convert.ToString(a, CultureInfo.InvariantCulture)!).ToList();
        var start = new ProcessStartInfo("dotnet", [typeof(Child).Assembly.Location, Command, .. words])
        {
            UseShellExecute = false,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
        };
        foreach (var (name, value) in environment)
        {
            start.Environment[name] = value;
        }
        return new Child(Process.Start(start)!, words[0]);
    }

    /// <summary>The next line of its output.</summary>
    public async Task<string> LineAsync() =>
        await _process.StandardOutput.ReadLineAsync().WaitAsync(LongestWait, TimeProvider.System)
        ?? throw new InvalidOperationException($"The child process '{_what}' ended without an answer; its errors stand above.");

    /// <summary>Waits for one line and refuses any other.</summary>
    public async Task ExpectAsync(string expected)
    {
        var line = await LineAsync();
        if (line != expected)
        {
            throw new InvalidOperationException($"The child process '{_what}' said '{line}' instead of '{expected}'.");
        }
    }

    /// <summary>The next line, as what it was written from.</summary>
    public async Task<T> ResultAsync<T>() => JsonSerializer.Deserialize<T>(await LineAsync())!;

    /// <summary>Tells it a line.</summary>
    public async Task TellAsync(string line)
    {
        await _process.StandardInput.WriteLineAsync(line);
        await _process.StandardInput.FlushAsync();
    }

    /// <summary>
    /// In the child: the next line that it is told; <see langword="null"/> when its parent is gone. Waits on a thread of its own,
    /// because the console's reader blocks, and a thread of the pool would be missing in what is measured.
    /// </summary>
    public static Task<string?> HearAsync() =>
        Task.Factory.StartNew(Console.In.ReadLine, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);

    /// <summary>SIGKILL; returns when it is gone.</summary>
    public async Task KillAsync()
    {
        _process.Kill();
        await _process.WaitForExitAsync();
    }

    /// <summary>Lets it end in order, within a bound.</summary>
    public async Task EndAsync()
    {
        _process.StandardInput.Close();
        await _process.WaitForExitAsync().WaitAsync(LongestWait, TimeProvider.System);
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
