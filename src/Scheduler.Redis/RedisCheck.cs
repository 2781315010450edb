using Microsoft.Extensions.Logging;
using Scheduler.Hosting;
using Scheduler.Locking;
using Scheduler.Redis.Telemetry;
using StackExchange.Redis;

namespace Scheduler.Redis;

/// <summary>What a passed check is worth: which node it was, and over which connection it was asked.</summary>
internal sealed record CheckedNode(RedisValue RunId, RedisScript Acquire, int Epoch);

/// <summary>
/// Decides whether the node may grant (DESIGN section 4, rule 1), and only then makes the acquire script known to it. The decision
/// itself is made in check.lua, at once on the node, so that all replicas come to the same one.
/// </summary>
/// <param name="connection">The way to the node.</param>
/// <param name="names">The group's keys.</param>
/// <param name="context">The times.</param>
/// <param name="log">Where to log.</param>
/// <param name="acquire">The script that grants; default <see cref="RedisScript.Acquire"/>.</param>
/// <param name="harmless">The scripts that grant nothing; default <see cref="RedisScript.Harmless"/>.</param>
internal sealed class RedisCheck(
    RedisConnection connection,
    RedisNames names,
    BackendContext context,
    ILogger log,
    RedisScript? acquire = null,
    IReadOnlyList<RedisScript>? harmless = null
)
{
    private static readonly TimeSpan LogInterval = TimeSpan.FromSeconds(5);

    private readonly LogGate _waits = new(LogInterval, context.Time);
    private string? _storeId;
    private string? _lastFound;

    /// <summary>Which server process answered the last check, whatever came of it.</summary>
    public string? RunId { get; private set; }

    public async Task<(LeaseStoreInfo Info, CheckedNode Node)> RunAsync(LockStoreUse use, CancellationToken cancellationToken)
    {
        RunId = null;
        var epoch = connection.Epoch;
        var info = ServerInfo.Parse((string?)await connection.CommandAsync("INFO", [], cancellationToken) ?? "");
        RunId = info.RunId;
        if (info.IsLoading)
        {
            throw new StoreUnavailableException(
                $"Redis at {connection.Endpoint} still loads its data.",
                retryAfter: TimeSpan.FromSeconds(1)
            );
        }
        if (info.Problem() is { } problem)
        {
            throw connection.Errors.Refused(problem);
        }
        List<string> warnings = [];
        var durable = await IsDurableAsync(info, warnings, cancellationToken);
        await Task.WhenAll((harmless ?? RedisScript.Harmless).Select(script => connection.LoadAsync(script, cancellationToken)));
        var storeId = await DecideAsync(info.RunId, use, durable, warnings, cancellationToken);
        var known = (acquire ?? RedisScript.Acquire).ForNode(info.RunId);
        await connection.LoadAsync(known, cancellationToken);
        if (info.HasReplicas)
        {
            warnings.Add("Replicas of it are attached; they lag behind, so a failover can forget grants.");
        }
        return (new LeaseStoreInfo(storeId, Level.Efficiency, warnings), new CheckedNode(info.RunId, known, epoch));
    }

    private async Task<string> DecideAsync(
        string runId,
        LockStoreUse use,
        bool durable,
        List<string> warnings,
        CancellationToken cancellationToken
    )
    {
        // Whatever State knows: a store that this process has used is used.
        var known = _storeId is not null ? LockStoreUse.Used : use;
        var reply =
            (RedisResult[]?)
                await connection.CallAsync(
                    RedisScript.Check,
                    [names.Store, names.Node, names.Forgot, names.Redlock],
                    [
                        runId,
                        known switch
                        {
                            LockStoreUse.Used => "used",
                            LockStoreUse.Unused => "new",
                            _ => "unknown",
                        },
                        (long)context.Leases.LongestLease.TotalMilliseconds,
                        durable ? 1 : 0,
                        Guid.NewGuid().ToString("n"),
                    ],
                    cancellationToken
                )
            ?? [];
        var (storeId, found, left) = ((string?)reply[0] ?? "", (string?)reply[1] ?? "", TimeSpan.FromMilliseconds((long)reply[2]));
        if (left > TimeSpan.Zero)
        {
            var what = Explain(found);
            if (_waits.Opens(out _))
            {
                log.MayHaveForgotten(connection.Endpoint, what, left);
            }
            throw new StoreUnavailableException(
                $"Redis at {connection.Endpoint} may have forgotten grants ({what}); it grants nothing for another {left}, "
                    + $"until every lease of at most LongestLease = {context.Leases.LongestLease} is over.",
                retryAfter: left
            );
        }
        if (found == "unknown")
        {
            warnings.Add(
                "It knows nothing of this group. If the group has used it before, it forgot every grant; without State nobody can tell."
            );
        }
        if (_storeId is not null && _storeId != storeId)
        {
            warnings.Add($"Its id is {storeId} now and was {_storeId}: it forgot its past or is another store.");
        }
        Note(storeId, found, warnings);
        return storeId;
    }

    private void Note(string storeId, string found, List<string> warnings)
    {
        if (_storeId != storeId || _lastFound != found)
        {
            log.Checked(connection.Endpoint, storeId, Explain(found));
            foreach (var warning in warnings)
            {
                log.SetUpWarning(connection.Endpoint, warning);
            }
        }
        (_storeId, _lastFound) = (storeId, found);
    }

    // Only a node that syncs its append-only file before it answers has every grant again after a restart.
    private async Task<bool> IsDurableAsync(ServerInfo info, List<string> warnings, CancellationToken cancellationToken)
    {
        if (!info.AppendOnly && info.EvictionPolicy.Length > 0)
        {
            return false;
        }
        try
        {
            if (
                info.EvictionPolicy.Length == 0
                && await SettingAsync("maxmemory-policy", cancellationToken) is { } policy and not "noeviction"
            )
            {
                throw connection.Errors.Refused($"its maxmemory-policy is '{policy}', which may evict locks; set it to noeviction");
            }
            return info.AppendOnly && await SettingAsync("appendfsync", cancellationToken) == "always";
        }
        catch (RedisServerException forbidden)
        {
            warnings.Add(
                $"CONFIG GET is refused ({forbidden.Message.Split(' ')[0]}), so appendfsync is taken to be less than 'always'"
                    + (info.EvictionPolicy.Length == 0 ? ", and maxmemory-policy must be noeviction without being checked." : ".")
            );
            return false;
        }
    }

    private async Task<string?> SettingAsync(string name, CancellationToken cancellationToken)
    {
        var reply = (RedisResult[]?)await connection.CommandAsync("CONFIG", ["GET", name], cancellationToken);
        return reply is { Length: >= 2 } ? (string?)reply[1] : null;
    }

    private static string Explain(string found) =>
        found switch
        {
            "checked" => "checked before, not restarted since",
            "restarted" => "it was restarted",
            "promoted" => "another node served this group before, or its marker is gone",
            "forgot" => "its marker is gone although it was used",
            "unknown" => "it knows nothing of this group",
            _ => "new",
        };
}
