using Scheduler.Locking;

namespace Scheduler.Leases;

/// <summary>Says what a call of the store without an answer means.</summary>
internal static class StoreFailure
{
    /// <summary>The error of a call that failed or had no answer.</summary>
    /// <param name="name">The store's name.</param>
    /// <param name="what">The call's name.</param>
    /// <param name="call">How it ended.</param>
    /// <param name="limit">Its time limit.</param>
    public static StoreUnavailableException Of<T>(string name, string what, BoundedCall<T> call, TimeSpan limit) =>
        call switch
        {
            { Error: StoreUnavailableException known } => known,
            { Error: { } error } => new StoreUnavailableException(
                $"The {name} lock store failed at '{what}' with {error.GetType().Name}; the cause is in the log.",
                error
            ),
            _ => new StoreUnavailableException(
                $"The {name} lock store did not answer '{what}' within {limit}. Check that it runs and is reachable."
            ),
        };
}
