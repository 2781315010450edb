using System.Globalization;
using System.Text;
using StackExchange.Redis;

namespace Scheduler.Redis;

/// <summary>
/// What a group's keys and its channel are called. The group is percent-encoded (letters, digits, '-', '_', '.' and '~' stay), so no
/// group's names can start with another group's prefix, whatever colons stand in either.
/// </summary>
/// <remarks>The layout is described in docs/redis.md.</remarks>
internal sealed class RedisNames
{
    private readonly string _lockPrefix;

    public RedisNames(string group, int database)
    {
        var prefix = Uri.EscapeDataString(group);
        _lockPrefix = $"{prefix}:lock:";
        Counter = $"{prefix}:token";
        Store = $"{prefix}:store";
        Node = $"{prefix}:node";
        Forgot = $"{prefix}:forgot";
        Redlock = $"{prefix}:redlock";
        State = $"{prefix}:state";
        // Channels are shared by all databases of a server.
        ReleasedChannel = string.Create(CultureInfo.InvariantCulture, $"{prefix}:released:{database}");
        Released = new RedisChannel(ReleasedChannel, RedisChannel.PatternMode.Literal);
    }

    /// <summary>The number of the last grant.</summary>
    public RedisKey Counter { get; }

    /// <summary>Hash: the store's random id, and whether every write reached the disk.</summary>
    public RedisKey Store { get; }

    /// <summary>The run id of the node that may grant.</summary>
    public RedisKey Node { get; }

    /// <summary>When it was noticed that the store forgot.</summary>
    public RedisKey Forgot { get; }

    /// <summary>Hash: the id on which the nodes of a Redlock agreed.</summary>
    public RedisKey Redlock { get; }

    /// <summary>Hash: which State the group's locks belong to.</summary>
    public RedisKey State { get; }

    public string ReleasedChannel { get; }

    public RedisChannel Released { get; }

    public RedisKey Lock(string key) => _lockPrefix + key;

    /// <summary>The number of the last grant among the keys that share one of several counters.</summary>
    public RedisKey CounterOf(int slot) => string.Create(CultureInfo.InvariantCulture, $"{(string?)Counter}:{slot}");

    /// <summary>The lock key in a name that a scan found.</summary>
    public string KeyOf(string name) => name[_lockPrefix.Length..];

    /// <summary>A glob pattern for the locks whose key starts with the prefix, taken literally.</summary>
    public string PatternFor(string prefix)
    {
        var pattern = new StringBuilder(_lockPrefix.Length + prefix.Length + 8);
        foreach (var c in _lockPrefix + prefix)
        {
            if (c is '*' or '?' or '[' or ']' or '\\' or '^')
            {
                pattern.Append('\\');
            }
            pattern.Append(c);
        }
        return pattern.Append('*').ToString();
    }
}
