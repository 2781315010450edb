using System.Globalization;

namespace Scheduler.Redis;

/// <summary>What a server says about itself (the answer to INFO).</summary>
internal sealed class ServerInfo
{
    /// <summary>
    /// The oldest version that may be used. Before 7.0 loaded scripts were written to snapshots and append-only files and sent to
    /// replicas, so that a node that forgot grants could still know the acquire script.
    /// </summary>
    public static readonly Version OldestVersion = new(7, 0);

    private readonly Dictionary<string, string> _values = new(StringComparer.Ordinal);

    private ServerInfo() { }

    public string RunId => Get("run_id");

    public string Version => Get("redis_version");

    public bool IsCluster => Get("redis_mode") == "cluster" || Get("cluster_enabled") == "1";

    public bool IsSentinel => Get("redis_mode") == "sentinel";

    public bool IsMaster => Get("role") == "master";

    public bool IsLoading => Get("loading") == "1";

    public bool HasReplicas => Get("connected_slaves") is not ("" or "0");

    /// <summary>The eviction policy; empty where the server hides it.</summary>
    public string EvictionPolicy => Get("maxmemory_policy");

    public bool AppendOnly => Get("aof_enabled") == "1";

    public static ServerInfo Parse(string text)
    {
        var info = new ServerInfo();
        foreach (var line in text.Split('\n', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries))
        {
            var colon = line.IndexOf(':', StringComparison.Ordinal);
            if (colon > 0 && line[0] != '#')
            {
                info._values[line[..colon]] = line[(colon + 1)..];
            }
        }
        return info;
    }

    /// <summary>Says what only an operator can change before this server may keep locks, or <see langword="null"/>.</summary>
    public string? Problem()
    {
        if (RunId.Length == 0)
        {
            return "INFO shows no run_id, by which a restart is noticed; use a Redis server that is reached directly";
        }
        if (!System.Version.TryParse(Version, out var version) || version < OldestVersion)
        {
            return string.Create(
                CultureInfo.InvariantCulture,
                $"its version is '{Version}'; {OldestVersion} or later is needed, because older ones keep loaded scripts over a restart"
            );
        }
        if (IsSentinel)
        {
            return "it is a sentinel, which keeps no data; name the Redis server itself";
        }
        if (IsCluster)
        {
            return "it is a node of a Redis Cluster; the backend 'redis' needs a single server (cluster-enabled no)";
        }
        if (!IsMaster)
        {
            return "it is a replica; only the master can keep locks, so name the master";
        }
        return EvictionPolicy is "" or "noeviction"
            ? null
            : $"its maxmemory-policy is '{EvictionPolicy}', which may evict locks; run CONFIG SET maxmemory-policy noeviction "
                + "and set it in redis.conf";
    }

    private string Get(string name) => _values.TryGetValue(name, out var value) ? value : "";
}
