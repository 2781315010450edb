using Scheduler.Inbox;
using Scheduler.Leases;
using Scheduler.Locking;

namespace Scheduler.Webhooks.Processing;

/// <summary>An event as its handler sees it. Thread-safe.</summary>
public sealed class WebhookEvent
{
    private readonly Lease _lease;

    internal WebhookEvent(InboxEvent stored, Lease lease) => (Stored, _lease) = (stored, lease);

    /// <summary>The row of the inbox.</summary>
    public InboxEvent Stored { get; }

    /// <summary>The key that is locked while the handler runs: that of the order.</summary>
    public LockKey LockKey => _lease.Key;

    /// <summary>The fencing token; hand it to everything that can refuse a stale writer.</summary>
    public FencingToken Token => _lease.Token;

    /// <summary>Whether the handler may still act, by comparing clocks now.</summary>
    public bool IsHeld => _lease.IsHeld;

    /// <summary>Throws when the lease is lost.</summary>
    /// <exception cref="LeaseLostException">The lease is lost.</exception>
    public void ThrowIfLost() => _lease.ThrowIfLost();

    /// <summary>Names an effect of this event: the same at every attempt and for every copy of the event.</summary>
    /// <param name="name">What is done, for example <c>payment</c>; one name for each thing that the handler does.</param>
    public EffectKey EffectOf(string name)
    {
        ArgumentException.ThrowIfNullOrEmpty(name);
        return new EffectKey(Stored.Source, Stored.DedupeKey!, name);
    }
}
