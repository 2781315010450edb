namespace Scheduler.Bench.Floors;

/// <summary>The simplest hand-written lock on a store: what a service would write for itself, with nothing around it.</summary>
internal interface IRawLock : IAsyncDisposable
{
    /// <summary>Takes the key if it is free.</summary>
    ValueTask<bool> TakeAsync(string key, string owner, TimeSpan duration);

    /// <summary>Frees the key if the owner has it.</summary>
    ValueTask<bool> FreeAsync(string key, string owner);

    /// <summary>Extends keys, as one call for all of them.</summary>
    ValueTask RenewAsync(IReadOnlyList<string> keys, string owner, TimeSpan duration);

    /// <summary>Takes a key, if it is free, in a way that ends with this process: for the take-over.</summary>
    /// <param name="key">The key.</param>
    /// <param name="duration">How long it stays after the last renewal, where the store has no better way.</param>
    ValueTask<bool> TakeForLifeAsync(string key, TimeSpan duration);
}

/// <summary>Two processes that pass one lock to and fro, and nobody else wants it.</summary>
internal interface IRawHandOff : IAsyncDisposable
{
    /// <summary>Waits for the other process to pass the lock on, and takes it.</summary>
    Task TakeAsync(CancellationToken cancellationToken);

    /// <summary>Frees the lock and wakes the other process.</summary>
    Task PassAsync();
}
