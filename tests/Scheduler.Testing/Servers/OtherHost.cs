using System.Diagnostics;
using System.Globalization;

namespace Scheduler.Testing.Servers;

/// <summary>
/// What looks like another host to this one: a network namespace of its own at the other end of a cable that can be pulled. Then neither
/// end is told anything. Only one at a time; it needs the program <c>ip</c> and the right to change the network.
/// </summary>
public sealed class OtherHost : IAsyncDisposable
{
    /// <summary>This host, as seen from the other one. Of a range that is kept for tests of networks (RFC 2544).</summary>
    public const string ThisAddress = "198.18.82.1";

    /// <summary>The addresses of both.</summary>
    public const string Network = "198.18.82.0/30";

    private const string OtherAddress = "198.18.82.2";
    private const string Near = "sched-near";
    private const string Far = "sched-far";
    private static readonly TimeSpan Bound = TimeSpan.FromSeconds(10);

    private readonly string _name;

    private OtherHost(string name) => _name = name;

    /// <summary>What stands before a command that runs there.</summary>
    public IReadOnlyList<string> Prefix => ["ip", "netns", "exec", _name];

    /// <summary>Makes one.</summary>
    /// <returns>It, or why there can be none on this machine.</returns>
    public static async Task<(OtherHost? Host, string? Problem)> TryCreateAsync()
    {
        var host = new OtherHost(string.Create(CultureInfo.InvariantCulture, $"scheduler-test-{Environment.ProcessId}"));
        var name = host._name;
        string[][] steps =
        [
            ["netns", "add", name],
            ["link", "add", Near, "type", "veth", "peer", "name", Far, "netns", name],
            ["address", "add", $"{ThisAddress}/30", "dev", Near],
            ["link", "set", Near, "up"],
            ["-n", name, "address", "add", $"{OtherAddress}/30", "dev", Far],
            ["-n", name, "link", "set", Far, "up"],
        ];
        foreach (var step in steps)
        {
            if (await RunAsync(step) is { } problem)
            {
                await host.DisposeAsync();
                return (null, $"ip {string.Join(' ', step)}: {problem}");
            }
        }
        return (host, null);
    }

    /// <summary>From now on nothing arrives at either end.</summary>
    public async Task PullAsync()
    {
        if (await RunAsync("-n", _name, "link", "set", Far, "down") is { } problem)
        {
            throw new InvalidOperationException($"The cable cannot be pulled: {problem}");
        }
    }

    public async ValueTask DisposeAsync()
    {
        await RunAsync("link", "delete", Near);
        await RunAsync("netns", "delete", _name);
    }

    private static async Task<string?> RunAsync(params string[] arguments)
    {
        try
        {
            using var process = Process.Start(
                new ProcessStartInfo("ip", arguments)
                {
                    UseShellExecute = false,
                    RedirectStandardError = true,
                    RedirectStandardOutput = true,
                }
            )!;
            var errors = await process.StandardError.ReadToEndAsync().WaitAsync(Bound);
            await process.WaitForExitAsync().WaitAsync(Bound);
            return process.ExitCode == 0 ? null : errors.Trim();
        }
        catch (System.ComponentModel.Win32Exception missing)
        {
            return missing.Message;
        }
    }
}
