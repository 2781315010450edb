using Scheduler.Locking;

namespace Scheduler.Leases;

/// <summary>One renewal call: some leases, and what is known of its course.</summary>
internal sealed class RenewalBatch(LeaseState[] leases, RenewalItem[] items, long giveUpAt)
{
    private bool _givenUp;
    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public LeaseState[] Leases { get; } = leases;

    public RenewalItem[] Items { get; } = items;

    /// <summary>When the watchdog waits for the answer no more. A later answer still counts, as far as a deadline has not passed.</summary>
    public long GiveUpAt { get; } = giveUpAt;

    /// <summary>The timestamp before the command was sent.</summary>
    public long SentAt { get; set; }

    /// <summary>Whether the watchdog waits no more. Under the watchdog's lock.</summary>
    public bool GivenUp
    {
        get => Volatile.Read(ref _givenUp);
        set => Volatile.Write(ref _givenUp, value);
    }

    public CancellationTokenSource Cancel { get; } = new();

    /// <summary>Ends when the call has ended, whatever came of it.</summary>
    public Task Ended => _ended.Task;

    public void End() => _ended.TrySetResult();
}
