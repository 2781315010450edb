using Microsoft.Extensions.Logging.Abstractions;
using Scheduler.Bench.Harness;
using Scheduler.Hosting;
using Scheduler.Leases;
using Scheduler.Testing;
using Scheduler.Time;

namespace Scheduler.Bench.Locks;

/// <summary>One replica's lock provider, as an application has it.</summary>
internal static class Replica
{
    /// <summary>Opens and checks a provider. The server is declared new, or it would have to be up for the longest lease first.</summary>
    public static async Task<LockProvider> OpenAsync(LockStore store, string address, string group, TimeSpan? lease = null)
    {
        var replica = ReplicaIdentity.Create("bench");
        var options = Patience.Options();
        options.LeaseDuration = lease ?? options.LeaseDuration;
        var time = BootTimeProvider.Instance;
        var context = new BackendContext(group, replica, options, time, NullLoggerFactory.Instance);
        var provider = new LockProvider(store.Open(address, context), options, replica, time, pairing: new NewStore());
        await provider.StartAsync(CancellationToken.None);
        return provider;
    }

    /// <summary>The lease; anything else ends the measurement.</summary>
    public static Lease Granted(this LockAttempt attempt) =>
        attempt switch
        {
            LockAttempt.Granted granted => granted.Lease,
            LockAttempt.Held held => throw new InvalidOperationException($"The key is held by {held.Holder}; it should be free."),
            LockAttempt.Unavailable unavailable => throw new InvalidOperationException(unavailable.Reason, unavailable.Cause),
            _ => throw new InvalidOperationException("An attempt ended in an unknown way."),
        };
}
