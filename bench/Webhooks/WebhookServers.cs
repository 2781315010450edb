using System.Globalization;
using Scheduler.Bench.Harness;
using Scheduler.Testing.Servers;

namespace Scheduler.Bench.Webhooks;

/// <summary>One way to keep locks and records whose webhooks can be measured.</summary>
/// <param name="Name">What the tables call it.</param>
/// <param name="IsNetworked">Whether it needs Redis and PostgreSQL; else everything is in SQLite files.</param>
internal sealed record WebhookStore(string Name, bool IsNetworked)
{
    public static IReadOnlyList<WebhookStore> All { get; } = [new("redis+postgres", IsNetworked: true), new("sqlite", IsNetworked: false)];

    /// <summary>The State's name in the configuration.</summary>
    public string State => IsNetworked ? "postgres" : "sqlite";

    /// <summary>How durable both sides are.</summary>
    public string Durable => IsNetworked ? "fsync and synchronous_commit on" : "WAL, synchronous=FULL";
}

/// <summary>The servers of one store for the whole run, and places in them.</summary>
internal sealed class WebhookServers : IAsyncDisposable
{
    private readonly WebhookStore _store;
    private readonly RedisServer? _redis;
    private readonly PostgresServer? _postgres;
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("scheduler-bench-");
    private int _places;

    private WebhookServers(WebhookStore store, RedisServer? redis, PostgresServer? postgres) =>
        (_store, _redis, _postgres) = (store, redis, postgres);

    public static async Task<WebhookServers> StartAsync(WebhookStore store, Report report)
    {
        if (!store.IsNetworked)
        {
            return new WebhookServers(store, null, null);
        }
        var postgres = await PostgresServer.StartAsync("max_connections=400");
        report.Version("PostgreSQL server", await postgres.AskAsync<string>("SHOW server_version"));
        report.Version("PostgreSQL fsync", await postgres.AskAsync<string>("SHOW fsync"));
        return new WebhookServers(store, await RedisServer.StartAsync(), postgres);
    }

    /// <summary>An empty place.</summary>
    public async Task<WebhookPlace> PlaceAsync()
    {
        var group = string.Create(CultureInfo.InvariantCulture, $"bench-{++_places}");
        var folder = _folder.CreateSubdirectory(group).FullName;
        var place = _store.IsNetworked
            ? new WebhookPlace(group, "redis", _redis!.ConnectionString, "postgres", await _postgres!.CreateDatabaseAsync(), folder)
            : new WebhookPlace(group, "sqlite", FileOf(folder, "locks.db"), "sqlite", FileOf(folder, "state.db"), folder);
        using var effects = new EffectStore(place);
        await effects.CreateAsync();
        return place;
    }

    /// <summary>Where a hand-written receiver keeps what comes: a database or file of its own.</summary>
    public async Task<string> RawAddressAsync() =>
        _store.IsNetworked
            ? await _postgres!.CreateDatabaseAsync()
            : Path.Combine(_folder.FullName, string.Create(CultureInfo.InvariantCulture, $"raw-{++_places}.db"));

    public async ValueTask DisposeAsync()
    {
        if (_redis is not null)
        {
            await _redis.DisposeAsync();
        }
        if (_postgres is not null)
        {
            await _postgres.DisposeAsync();
        }
        _folder.Delete(recursive: true);
    }

    private static string FileOf(string folder, string name) => $"Data Source={Path.Combine(folder, name)}";
}
