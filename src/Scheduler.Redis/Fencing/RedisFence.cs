using System.Globalization;
using Scheduler.Fencing;
using Scheduler.Locking;
using StackExchange.Redis;

namespace Scheduler.Redis.Fencing;

/// <summary>Effects on a Redis server of the application that a holder with an older token cannot have. Thread-safe.</summary>
public static class RedisFence
{
    /// <summary>How many keys, and how many values, a script may have.</summary>
    public const int MostArguments = 1_000;

    /// <summary>For how long a fence is kept after it was raised last: only then is a holder's next token surely greater.</summary>
    public static readonly TimeSpan Kept = TimeSpan.FromDays(7);

    private const string SeenNewer = "FENCESEEN ";
    private const string OtherKey = "FENCEDBY ";
    private const string Unknown = "NOSCRIPT";

    private static readonly string Before = RedisScript.Load("fence").Text;
    private static readonly string After = RedisScript.Load("fence-end").Text;

    /// <summary>
    /// Runs a script that first raises the resource's fence to the token. Redis runs it as one, so nothing happens between the fence, what
    /// the script reads and what it writes; a holder with an older token writes nothing.
    /// </summary>
    /// <remarks>
    /// <para>One round trip, as a script without a fence has. The fence is the key <c>fence:&lt;resource&gt;</c>, which ends 7 days
    /// after it was raised last.</para>
    /// <para>Redis undoes nothing: what a script wrote before it failed stays. Fence and writes are kept, copied and lost together, so the
    /// server should sync every write (<c>appendfsync always</c>) where they must not be lost, and its eviction policy must be
    /// <c>noeviction</c>, or it may evict the fence alone.</para>
    /// </remarks>
    /// <param name="database">The application's database.</param>
    /// <param name="resource">What is protected, for example <c>payouts</c>; one name for everything that must not have two
    /// writers.</param>
    /// <param name="lockKey">The key that protects it; the fence remembers it and takes tokens of no other key.</param>
    /// <param name="token">The caller's token; an equal or greater one than the fence passes.</param>
    /// <param name="script">Lua, as for <c>EVAL</c>: <c>KEYS</c> and <c>ARGV</c> are those given here, and it may return something, as its
    /// last statement. Constant: the server keeps every text that it has seen; what differs from call to call are values.</param>
    /// <param name="keys">The keys that it uses; at most 1,000.</param>
    /// <param name="values">What it takes besides; at most 1,000.</param>
    /// <param name="cancellationToken">Ends the wait for the answer; whether the script was run is then unknown.</param>
    /// <returns>What the script returned.</returns>
    /// <exception cref="StaleLeaseException">A newer token has been seen; nothing was written.</exception>
    /// <exception cref="InvalidOperationException">Another lock key protects the resource; nothing was written.</exception>
    /// <exception cref="ArgumentException">The token is not positive, or there are too many keys or values.</exception>
    /// <exception cref="TimeoutException">There was no answer within the limit; whether the script was run is unknown.</exception>
    /// <exception cref="RedisException">The server cannot be used, or the script failed.</exception>
    public static Task<RedisResult> RunAsync(
        IDatabase database,
        string resource,
        LockKey lockKey,
        FencingToken token,
        string script,
        IReadOnlyList<RedisKey> keys,
        IReadOnlyList<RedisValue> values,
        CancellationToken cancellationToken
    ) => RunAsync(database, RedisFenceOptions.Default, resource, lockKey, token, script, keys, values, cancellationToken);

    /// <summary>The same with options.</summary>
    /// <param name="database">The application's database.</param>
    /// <param name="options">Limit, and what fences are called.</param>
    /// <param name="resource">What is protected.</param>
    /// <param name="lockKey">The key that protects it.</param>
    /// <param name="token">The caller's token.</param>
    /// <param name="script">Lua, as for <c>EVAL</c>.</param>
    /// <param name="keys">The keys that it uses; at most 1,000.</param>
    /// <param name="values">What it takes besides; at most 1,000.</param>
    /// <param name="cancellationToken">Ends the wait for the answer; whether the script was run is then unknown.</param>
    /// <returns>What the script returned.</returns>
    /// <exception cref="StaleLeaseException">A newer token has been seen; nothing was written.</exception>
    /// <exception cref="InvalidOperationException">Another lock key protects the resource; nothing was written.</exception>
    /// <exception cref="ArgumentException">An option or the token is outside its bounds, or there are too many keys or values.</exception>
    /// <exception cref="TimeoutException">There was no answer within the limit; whether the script was run is unknown.</exception>
    /// <exception cref="RedisException">The server cannot be used, or the script failed.</exception>
    public static async Task<RedisResult> RunAsync(
        IDatabase database,
        RedisFenceOptions options,
        string resource,
        LockKey lockKey,
        FencingToken token,
        string script,
        IReadOnlyList<RedisKey> keys,
        IReadOnlyList<RedisValue> values,
        CancellationToken cancellationToken
    )
    {
        ArgumentNullException.ThrowIfNull(database);
        RedisFenceOptions.Check(options);
        FenceRules.CheckArguments(resource, lockKey, token);
        ArgumentException.ThrowIfNullOrEmpty(script);
        ArgumentNullException.ThrowIfNull(keys);
        ArgumentNullException.ThrowIfNull(values);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(keys.Count, MostArguments, nameof(keys));
        ArgumentOutOfRangeException.ThrowIfGreaterThan(values.Count, MostArguments, nameof(values));
        cancellationToken.ThrowIfCancellationRequested();
        RedisKey[] allKeys = [options.Prefix + resource, .. keys];
        RedisValue[] allValues = [lockKey.Value, token.Value, (long)Kept.TotalSeconds, .. values];
        var bounded = new Bounded(options.Limit, TimeProvider.System);
        Task<RedisResult> CallAsync() =>
            bounded.WaitAsync(database.ScriptEvaluateAsync(Before + script + After, allKeys, allValues), cancellationToken);
        try
        {
            try
            {
                return await CallAsync();
            }
            catch (RedisServerException forgot) when (forgot.Message.StartsWith(Unknown, StringComparison.Ordinal))
            {
                // Restarted or flushed since the client sent it; the client sends it again now.
                return await CallAsync();
            }
        }
        catch (RedisServerException refused) when (refused.Message.StartsWith(SeenNewer, StringComparison.Ordinal))
        {
            var newest = long.Parse(refused.Message.AsSpan(SeenNewer.Length), CultureInfo.InvariantCulture);
            throw new StaleLeaseException(resource, lockKey, token, new FencingToken(newest));
        }
        catch (RedisServerException refused) when (refused.Message.StartsWith(OtherKey, StringComparison.Ordinal))
        {
            throw FenceRules.OtherKey(resource, lockKey, refused.Message[OtherKey.Length..]);
        }
        catch (TimeoutException late)
        {
            var endpoints = string.Join(", ", database.Multiplexer.GetEndPoints().Select(e => $"{e}"));
            throw new TimeoutException(
                $"The work on '{resource}' at Redis {endpoints} was not answered within {options.Limit}, and whether it is done is "
                    + "unknown. Look at the server and the network between.",
                late
            );
        }
    }
}
