using System.Globalization;
using Scheduler.Bench.Harness;
using Scheduler.Testing.Servers;

namespace Scheduler.Bench.Webhooks;

/// <summary>Some replicas of one group; one that is killed comes back at its address.</summary>
internal sealed class ReplicaSet : IAsyncDisposable
{
    private static readonly TimeSpan Look = TimeSpan.FromMilliseconds(50);

    private readonly List<(ReplicaSetup Setup, Child Child)> _replicas = [];

    /// <summary>Where they take webhooks.</summary>
    public IReadOnlyList<string> Urls => [.. _replicas.Select(r => r.Setup.Url)];

    /// <summary>Starts them and waits until all are ready.</summary>
    public static async Task<ReplicaSet> StartAsync(WebhookPlace place, int count)
    {
        var set = new ReplicaSet();
        for (var i = 0; i < count; i++)
        {
            var setup = new ReplicaSetup(string.Create(CultureInfo.InvariantCulture, $"replica-{i}"), FreePort.Next(), place);
            set._replicas.Add((setup, WebhookReplica.Start(setup)));
        }
        foreach (var (_, child) in set._replicas)
        {
            await child.ExpectAsync("ready");
        }
        return set;
    }

    /// <summary>SIGKILL, and a new process in its place; returns when that is ready.</summary>
    public async Task KillAndStartAsync(int replica)
    {
        var (setup, child) = _replicas[replica];
        await child.KillAsync();
        await child.DisposeAsync();
        _replicas[replica] = (setup, WebhookReplica.Start(setup));
        await _replicas[replica].Child.ExpectAsync("ready");
    }

    /// <summary>Waits until these events have their effect, at most for a while; then gives all effects.</summary>
    public async Task<IReadOnlyList<AppliedEffect>> EffectsAsync(IReadOnlyCollection<long> events, TimeSpan longest)
    {
        using var limit = new CancellationTokenSource(longest, TimeProvider.System);
        while (true)
        {
            while (await CountAsync() < events.Count && !limit.IsCancellationRequested)
            {
                await Task.Delay(Look, TimeProvider.System);
            }
            var all = new List<AppliedEffect>();
            foreach (var (_, child) in _replicas)
            {
                await child.TellAsync("effects");
                all.AddRange(await child.ResultAsync<List<AppliedEffect>>());
            }
            // An event that was answered with 503 may have its effect, too.
            var applied = all.Select(e => e.Index).ToHashSet();
            if (limit.IsCancellationRequested || events.All(applied.Contains))
            {
                return all;
            }
            await Task.Delay(Look, TimeProvider.System);
        }
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var (_, child) in _replicas)
        {
            await child.DisposeAsync();
        }
    }

    private async Task<int> CountAsync()
    {
        var sum = 0;
        foreach (var (_, child) in _replicas)
        {
            await child.TellAsync("count");
            sum += int.Parse(await child.LineAsync(), CultureInfo.InvariantCulture);
        }
        return sum;
    }
}
