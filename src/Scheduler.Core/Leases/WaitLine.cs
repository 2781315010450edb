using Scheduler.Locking;

namespace Scheduler.Leases;

/// <summary>Those who wait for one key. Everything is under the lock of <see cref="WaitLines"/>.</summary>
internal sealed class WaitLine(LockKey key)
{
    public LockKey Key { get; } = key;

    public LinkedList<Waiter> Waiters { get; } = new();

    public LockAttempt.Held? LastHeld { get; set; }

    public long LastHeldAt { get; set; }

    public TaskCompletionSource Signal { get; set; } = NewSignal();

    public static TaskCompletionSource NewSignal() => new(TaskCreationOptions.RunContinuationsAsynchronously);
}

/// <summary>One who waits in a <see cref="WaitLine"/>.</summary>
internal sealed class Waiter
{
    public Waiter(string purpose, TimeSpan duration, CancellationToken cancellationToken)
    {
        Purpose = purpose;
        Duration = duration;
        CancellationToken = cancellationToken;
        Node = new LinkedListNode<Waiter>(this);
    }

    public string Purpose { get; }

    public TimeSpan Duration { get; }

    public CancellationToken CancellationToken { get; }

    public LinkedListNode<Waiter> Node { get; }

    public TaskCompletionSource<LockAttempt> Answer { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>A question to the store is on its way for this one.</summary>
    public bool Asking { get; set; }

    /// <summary>Its time is over; the next answer, whatever it is, is its own.</summary>
    public bool Expired { get; set; }

    public bool IsWaiting => Node.List is not null;

    public void Leave() => Node.List?.Remove(Node);
}
