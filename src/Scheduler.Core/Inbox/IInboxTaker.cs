namespace Scheduler.Inbox;

/// <summary>What processes events on this replica, as far as the writer of the inbox knows it. Thread-safe; no member throws.</summary>
public interface IInboxTaker
{
    /// <summary>Keeps places for events that are about to be stored; each is then used by <see cref="Take"/> or given back.</summary>
    /// <param name="most">So many at most.</param>
    /// <returns>How many; perhaps 0.</returns>
    int Reserve(int most);

    /// <summary>Gives back places that were kept.</summary>
    void Return(int places);

    /// <summary>How an event of a source is taken.</summary>
    InboxTaking TakingOf(string source);

    /// <summary>Processes an event, in one of the places that were kept. Returns at once.</summary>
    void Take(InboxClaim claim);
}
