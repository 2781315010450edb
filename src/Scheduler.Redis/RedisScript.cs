using System.Reflection;
using System.Security.Cryptography;
using System.Text;

namespace Scheduler.Redis;

/// <summary>One embedded script and the hash that it is called by. A script is never sent along with a call.</summary>
internal sealed class RedisScript
{
    /// <summary>The one that grants; what nodes know is <see cref="ForNode"/> of it.</summary>
    public static readonly RedisScript Acquire = Load("acquire", "ending");
    public static readonly RedisScript Renew = Load("renew");
    public static readonly RedisScript Release = Load("release", "ending");
    public static readonly RedisScript Revoke = Load("revoke");
    public static readonly RedisScript Read = Load("read");
    public static readonly RedisScript List = Load("list");
    public static readonly RedisScript Check = Load("check");
    public static readonly RedisScript Pair = Load("pair");

    /// <summary>Those that grant nothing, so that they may be loaded into any node at any time.</summary>
    public static readonly IReadOnlyList<RedisScript> Harmless = [Renew, Release, Revoke, Read, List, Check, Pair];

    private RedisScript(string text, string name)
    {
        Name = name;
        Text = text;
#pragma warning disable CA5350 // The hash that Redis names scripts by; nothing secret depends on it.
        Hash = SHA1.HashData(Encoding.UTF8.GetBytes(Text));
#pragma warning restore CA5350
    }

    public string Name { get; }

    public string Text { get; }

    public byte[] Hash { get; }

    /// <summary>
    /// The same script under a hash of one node's own. A node that was restarted, or another that took over, does not know that hash,
    /// even when the check of another group or replica has made its own known there: it answers NOSCRIPT.
    /// </summary>
    public RedisScript ForNode(string runId) => new($"{Text}-- {runId}\n", Name);

    /// <summary>Reads an embedded script, behind another one that it uses parts of.</summary>
    public static RedisScript Load(string name, string part = "") => new((part.Length > 0 ? TextOf(part) : "") + TextOf(name), name);

    private static string TextOf(string name)
    {
        using var stream =
            Assembly.GetExecutingAssembly().GetManifestResourceStream($"Scheduler.Redis.Lua.{name}.lua")
            ?? throw new InvalidOperationException($"The script {name}.lua is not embedded in Scheduler.Redis.");
        using var reader = new StreamReader(stream, Encoding.UTF8);
        return reader.ReadToEnd();
    }
}
