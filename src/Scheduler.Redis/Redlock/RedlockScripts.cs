namespace Scheduler.Redis.Redlock;

/// <summary>The scripts of a Redlock's nodes; what is the same on a single node is used from there.</summary>
internal static class RedlockScripts
{
    /// <summary>The one that grants a vote; what nodes know is <see cref="RedisScript.ForNode"/> of it.</summary>
    public static readonly RedisScript Acquire = RedisScript.Load("redlock-acquire");
    public static readonly RedisScript Raise = RedisScript.Load("redlock-raise");
    public static readonly RedisScript Id = RedisScript.Load("redlock-id");
    public static readonly RedisScript Show = RedisScript.Load("redlock-show");

    /// <summary>Those that grant nothing.</summary>
    public static readonly IReadOnlyList<RedisScript> Harmless = [.. RedisScript.Harmless, Raise, Id, Show];
}
