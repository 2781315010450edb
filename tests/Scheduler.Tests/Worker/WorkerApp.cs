using System.Collections.Concurrent;
using System.Globalization;
using System.Text;
using System.Text.Json;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Scheduler.Time;
using Scheduler.Worker.Configuration;
using Scheduler.Worker.Hosting;
using Scheduler.Worker.Ingress;
using Serilog.Core;
using Serilog.Events;
using Serilog.Formatting.Display;

namespace Scheduler.Tests.Worker;

/// <summary>The real worker host in this process, on free ports, with its files in a folder of its own.</summary>
internal sealed class WorkerApp : IAsyncDisposable
{
    private readonly IHost _host;
    private readonly HttpClient _http = new() { Timeout = TimeSpan.FromSeconds(20) };

    private WorkerApp(IHost host, BoundAddresses addresses, LogLines log)
    {
        (_host, Log) = (host, log);
        (Operations, Ingress) = (addresses.OperationsUrl, addresses.IngressUrl);
        Health = string.Create(CultureInfo.InvariantCulture, $"http://127.0.0.1:{addresses.HealthPorts.Single()}");
    }

    /// <summary>The operations address.</summary>
    public string Operations { get; }

    /// <summary>The address with health alone.</summary>
    public string Health { get; }

    /// <summary>The address for senders of webhooks; empty without sources.</summary>
    public string Ingress { get; }

    /// <summary>What the console would show.</summary>
    public LogLines Log { get; }

    public T Get<T>()
        where T : notnull => _host.Services.GetRequiredService<T>();

    /// <summary>Starts a worker named <c>w1</c> with SQLite in the folder, unless the settings say otherwise.</summary>
    public static Task<WorkerApp> StartAsync(string folder, params (string Key, string? Value)[] settings) =>
        StartAsync(folder, new IngressLimits(), settings);

    /// <summary>The same, with other limits of a request.</summary>
    public static async Task<WorkerApp> StartAsync(string folder, IngressLimits limits, params (string Key, string? Value)[] settings)
    {
        var values = new Dictionary<string, string?>(StringComparer.OrdinalIgnoreCase)
        {
            ["Scheduler:Replica:Name"] = "w1",
            ["Scheduler:Locks:ConnectionString"] = $"Data Source={folder}/locks.db",
            ["Scheduler:State:ConnectionString"] = $"Data Source={folder}/state.db",
            ["Scheduler:Operations:Urls"] = "http://127.0.0.1:0",
            ["Scheduler:Operations:HealthUrls"] = "http://127.0.0.1:0",
            ["Scheduler:JobAssemblies:0"] = typeof(WorkerApp).Assembly.GetName().Name,
            ["Scheduler:Stop:Grace"] = "00:00:00",
            ["Scheduler:Ingress:Urls"] = "http://127.0.0.1:0",
            ["Payments:Database"] = $"Data Source={folder}/payments.db",
            ["Logs:Folder"] = "",
        };
        foreach (var (key, value) in settings)
        {
            values[key] = value;
        }
        var read = Settings.Read(new ConfigurationBuilder().AddInMemoryCollection(values).Build());
        Addresses.TryParse(read.Scheduler.Operations.Urls, out var operations);
        Addresses.TryParse(read.Scheduler.Operations.HealthUrls, out var health);
        IReadOnlyList<System.Net.IPEndPoint> ingress = [];
        if (read.Scheduler.Webhooks.Sources.Count > 0)
        {
            Addresses.TryParse(read.Scheduler.Ingress.Urls, out ingress);
        }
        var addresses = BoundAddresses.Bind(operations, health, ingress, orFreePort: false);
        var log = new LogLines();
        var host = WorkerHost.Build(read, addresses, LogSetup.Create(read.Logs, "w1", BootTimeProvider.Instance, log), limits);
        await host.StartAsync(TestContext.Current.CancellationToken);
        return new WorkerApp(host, addresses, log);
    }

    /// <summary>Gets from the operations address.</summary>
    public Task<Answer> GetAsync(string path) => GetAsync(Operations, path);

    /// <summary>Gets from the address with health alone.</summary>
    public Task<Answer> GetHealthAsync(string path) => GetAsync(Health, path);

    /// <summary>Sends to the address for senders of webhooks.</summary>
    public async Task<Answer> SendAsync(HttpRequestMessage request)
    {
        using var response = await _http.SendAsync(request, TestContext.Current.CancellationToken);
        return await ReadAsync(response);
    }

    /// <summary>Posts to the operations address.</summary>
    public async Task<Answer> PostAsync(
        string path,
        string? body = null,
        string type = "application/json",
        params (string, string)[] headers
    )
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, new Uri(Operations + path));
        request.Content = body is null ? null : new StringContent(body, Encoding.UTF8, type);
        foreach (var (name, value) in headers)
        {
            request.Headers.TryAddWithoutValidation(name, value);
        }
        using var response = await _http.SendAsync(request, TestContext.Current.CancellationToken);
        return await ReadAsync(response);
    }

    /// <summary>The rows of a list, at least one, waited for.</summary>
    public async Task<IReadOnlyList<JsonElement>> ItemsAsync(string path, int atLeast = 1)
    {
        IReadOnlyList<JsonElement> items = [];
        await Testing.Eventually.Holds(
            async () => (items = (await GetAsync(path)).Items).Count >= atLeast,
            what: $"{path} has {atLeast} items"
        );
        return items;
    }

    /// <summary>Begins the host's stop.</summary>
    public Task StopAsync() => _host.StopAsync(CancellationToken.None);

    public async ValueTask DisposeAsync()
    {
        _http.Dispose();
        await _host.StopAsync(CancellationToken.None);
        await ((IAsyncDisposable)_host).DisposeAsync();
    }

    private async Task<Answer> GetAsync(string address, string path)
    {
        using var response = await _http.GetAsync(new Uri(address + path), TestContext.Current.CancellationToken);
        return await ReadAsync(response);
    }

    private static async Task<Answer> ReadAsync(HttpResponseMessage response)
    {
        var text = await response.Content.ReadAsStringAsync(TestContext.Current.CancellationToken);
        return new Answer((int)response.StatusCode, response.Content.Headers.ContentType?.MediaType, text)
        {
            Location = response.Headers.Location?.OriginalString,
            RetryAfter = response.Headers.RetryAfter?.Delta,
            Allow = string.Join(',', response.Content.Headers.Allow),
        };
    }
}

/// <summary>An answer of the HTTP interface.</summary>
internal sealed record Answer(int Status, string? MediaType, string Text)
{
    public string? Location { get; init; }

    public TimeSpan? RetryAfter { get; init; }

    public string Allow { get; init; } = "";

    public JsonElement Json => JsonDocument.Parse(Text).RootElement;

    public IReadOnlyList<JsonElement> Items => [.. Json.GetProperty("items").EnumerateArray()];

    public string? Next => Json.GetProperty("next").GetString();
}

/// <summary>Keeps log lines as the console would show them. Thread-safe.</summary>
internal sealed class LogLines : ILogEventSink
{
    private readonly MessageTemplateTextFormatter _formatter = new(LogSetup.Template, CultureInfo.InvariantCulture);
    private readonly ConcurrentQueue<string> _lines = new();

    public IReadOnlyCollection<string> Lines => _lines;

    public string Text => string.Concat(_lines);

    public bool Has(string part) => _lines.Any(l => l.Contains(part, StringComparison.Ordinal));

    public void Emit(LogEvent logEvent)
    {
        using var writer = new StringWriter(CultureInfo.InvariantCulture);
        _formatter.Format(logEvent, writer);
        _lines.Enqueue(writer.ToString());
    }
}
