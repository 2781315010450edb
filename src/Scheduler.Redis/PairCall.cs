using Scheduler.Locking;
using StackExchange.Redis;

namespace Scheduler.Redis;

/// <summary>The arguments and the answer of pair.lua.</summary>
internal static class PairCall
{
    public static RedisKey[] Keys(RedisNames names) => [names.State, names.Node];

    public static RedisValue[] Values(string runId, StateMark? mark, TimeSpan replaceAfter) =>
        mark is null
            ? [runId, (long)replaceAfter.TotalMilliseconds]
            : [runId, (long)replaceAfter.TotalMilliseconds, mark.Id, mark.Label, mark.Generation];

    public static StateMark? Read(RedisResult answer) =>
        (RedisResult[])answer! is { Length: 4 } parts
            ? new StateMark((string)parts[0]!, (string)parts[1]!, (int)parts[2], TimeSpan.FromMilliseconds((long)parts[3]))
            : null;
}
