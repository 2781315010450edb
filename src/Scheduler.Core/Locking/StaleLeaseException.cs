namespace Scheduler.Locking;

/// <summary>The resource has seen a newer token: the writer's lease is not the newest, and nothing that it wanted was written.</summary>
public sealed class StaleLeaseException : Exception
{
    /// <summary>Creates the exception.</summary>
    /// <param name="resource">What refused the writer.</param>
    /// <param name="key">The lock key that protects it.</param>
    /// <param name="token">The writer's token.</param>
    /// <param name="newest">The newest token that the resource has seen.</param>
    public StaleLeaseException(string resource, LockKey key, FencingToken token, FencingToken newest)
        : base(
            $"'{resource}' refused the token {token} of '{key}': it has seen {newest}, so a newer holder is at work. "
                + "Nothing was written; the work that holds the old token must stop."
        )
    {
        Resource = resource;
        Key = key;
        Token = token;
        Newest = newest;
    }

    /// <summary>What refused the writer.</summary>
    public string Resource { get; }

    /// <summary>The lock key that protects the resource.</summary>
    public LockKey Key { get; }

    /// <summary>The writer's token.</summary>
    public FencingToken Token { get; }

    /// <summary>The newest token that the resource has seen.</summary>
    public FencingToken Newest { get; }
}
