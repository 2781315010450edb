using Scheduler.Inbox;
using Scheduler.Leases;
using Scheduler.Locking;

namespace Scheduler.Webhooks.Processing;

/// <summary>An event as its handler sees it. Thread-safe.</summary>
public sealed class WebhookEvent
{
    private readonly Lease _lease;
    private readonly EventEnd _end;

    internal WebhookEvent(InboxEvent stored, Lease lease, EventEnd end) => (Stored, _lease, _end) = (stored, lease, end);

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

    /// <summary>
    /// An effect of this event under its lease, for <c>SqliteEffect</c> or <c>PostgresEffect</c>: the same at every attempt and for every
    /// copy of the event.
    /// </summary>
    /// <param name="name">What is done, for example <c>payment</c>; one name for each thing that the handler does.</param>
    public Effect EffectOf(string name)
    {
        ArgumentException.ThrowIfNullOrEmpty(name);
        return new Effect(new EffectKey(Stored.Source, Stored.DedupeKey!, name), LockKey, Token);
    }

    /// <summary>
    /// The same for the last thing that the handler does: where the effect's database is the State's, the event is done in the effect's
    /// transaction, whatever the handler does afterwards. Elsewhere that follows when the handler returns.
    /// </summary>
    /// <param name="name">What is done.</param>
    public Effect LastEffectOf(string name) => EffectOf(name) with { End = _end };
}
