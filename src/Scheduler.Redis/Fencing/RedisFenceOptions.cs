using Scheduler.Fencing;

namespace Scheduler.Redis.Fencing;

/// <summary>How fenced scripts on a Redis server of the application are run. Immutable.</summary>
public sealed record RedisFenceOptions
{
    internal static readonly RedisFenceOptions Default = new();

    /// <summary>How long a call may take, 100 ms to 10 minutes; default 5 s.</summary>
    public TimeSpan Limit { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>What the names of fences begin with; the resource follows. Default <c>fence:</c>. On a cluster a resource such as
    /// <c>{order:1}</c> keeps fence and keys together.</summary>
    public string Prefix { get; init; } = "fence:";

    /// <summary>Refuses values out of their bounds.</summary>
    internal static void Check(RedisFenceOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(options.Prefix, nameof(options));
        FenceRules.CheckLimit(options.Limit);
    }
}
