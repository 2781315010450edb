using System.Globalization;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.Hosting;
using Scheduler.Worker.Configuration;
using Scheduler.Worker.Hosting;

namespace Scheduler.Bench.History;

/// <summary>The real worker without jobs, whose operations address is asked for pages.</summary>
internal sealed class HistoryWorker : IAsyncDisposable
{
    private static readonly TimeSpan ReadyWithin = TimeSpan.FromSeconds(30);

    private readonly IHost _host;
    private readonly HttpClient _http;

    private HistoryWorker(IHost host, string url) =>
        (_host, _http) = (host, new HttpClient { BaseAddress = new Uri(url), Timeout = TimeSpan.FromSeconds(30) });

    /// <summary>Starts it on a State that is there.</summary>
    public static async Task<HistoryWorker> StartAsync(string store, string address)
    {
        var values = new Dictionary<string, string?>
        {
            ["Scheduler:Group"] = HistoryFill.Group,
            ["Scheduler:Locks:Backend"] = "memory",
            ["Scheduler:State:Backend"] = store,
            ["Scheduler:State:ConnectionString"] = address,
            ["Scheduler:Operations:Urls"] = "http://127.0.0.1:0",
            ["Logs:Folder"] = "",
        };
        var settings = Settings.Read(new ConfigurationBuilder().AddInMemoryCollection(values).Build());
        Addresses.TryParse(settings.Scheduler.Operations.Urls, out var operations);
        var addresses = BoundAddresses.Bind(operations, [], [], orFreePort: false);
        var host = WorkerHost.Build(settings, addresses, Serilog.Core.Logger.None);
        await host.StartAsync();
        var worker = new HistoryWorker(host, addresses.OperationsUrl);
        using var limit = new CancellationTokenSource(ReadyWithin);
        while (!await worker.IsReadyAsync(limit.Token))
        {
            await Task.Delay(TimeSpan.FromMilliseconds(20), TimeProvider.System, limit.Token);
        }
        return worker;
    }

    /// <summary>Gets a page and reads all of it.</summary>
    public async Task GetAsync(string query)
    {
        using var answer = await _http.GetAsync(new Uri($"/api/runs{query}", UriKind.Relative));
        var body = await answer.Content.ReadAsStringAsync();
        if (!answer.IsSuccessStatusCode)
        {
            throw new InvalidOperationException(
                string.Create(CultureInfo.InvariantCulture, $"/api/runs{query} answered {(int)answer.StatusCode}: {body}")
            );
        }
    }

    private async Task<bool> IsReadyAsync(CancellationToken cancellationToken)
    {
        using var answer = await _http.GetAsync(new Uri("/health/ready", UriKind.Relative), cancellationToken);
        return answer.IsSuccessStatusCode;
    }

    public async ValueTask DisposeAsync()
    {
        _http.Dispose();
        await _host.StopAsync();
        _host.Dispose();
    }
}
