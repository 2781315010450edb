namespace Scheduler.Inbox;

/// <summary>
/// What people and upkeep do with the inbox. Durable when a call returns. Thread-safe. Every member throws
/// <see cref="Runs.StateUnavailableException"/> when the State cannot answer; the outcome of a write is then unknown.
/// </summary>
public interface IInboxOperations
{
    /// <summary>Shows an event, or <see langword="null"/>.</summary>
    ValueTask<InboxEvent?> FindAsync(string id, CancellationToken cancellationToken);

    /// <summary>Lists events, the newest first.</summary>
    ValueTask<InboxPage> ListAsync(InboxQuery query, CancellationToken cancellationToken);

    /// <summary>
    /// Lets failed and dead events be tried again, and with force done ones too, with all their attempts before them. Their effects keep
    /// their guard: one that is there is not applied twice. An event of another state, or without its body, stays as it is.
    /// </summary>
    /// <param name="ids">1 to <see cref="IInbox.MaxBatch"/>.</param>
    /// <param name="force">Whether done events are replayed too.</param>
    /// <param name="cancellationToken">Ends the call.</param>
    /// <returns>How many were changed.</returns>
    ValueTask<int> ReplayAsync(IReadOnlyList<string> ids, bool force, CancellationToken cancellationToken);

    /// <summary>
    /// Ignores events that nobody will process: received, failed, dead or quarantined ones. Their orders go on; keys, body and the last
    /// error stay. An event of another state stays as it is.
    /// </summary>
    /// <param name="ids">1 to <see cref="IInbox.MaxBatch"/>.</param>
    /// <param name="cancellationToken">Ends the call.</param>
    /// <returns>How many were changed.</returns>
    ValueTask<int> IgnoreAsync(IReadOnlyList<string> ids, CancellationToken cancellationToken);

    /// <summary>Counts what waits, by source.</summary>
    /// <param name="sources">Which ones; at most <see cref="IInbox.MaxBatch"/>.</param>
    /// <param name="cancellationToken">Ends the call.</param>
    /// <returns>One for each of them, in their order.</returns>
    ValueTask<IReadOnlyList<InboxCounts>> CountAsync(IReadOnlyList<string> sources, CancellationToken cancellationToken);

    /// <summary>Ends a conflict.</summary>
    /// <param name="id">The event that contradicts another one.</param>
    /// <param name="accept">Whether it is processed as an event of its own; else it is ignored, and the first stands alone.</param>
    /// <param name="cancellationToken">Ends the call.</param>
    ValueTask<InboxChange> ResolveAsync(string id, bool accept, CancellationToken cancellationToken);

    /// <summary>Reads an event with its body, or <see langword="null"/>.</summary>
    ValueTask<InboxBody?> ReadAsync(string id, CancellationToken cancellationToken);

    /// <summary>
    /// Lets a quarantined or ignored event be processed, under the keys that its body has now. Not when another event has one of them, and
    /// not without its body.
    /// </summary>
    /// <param name="id">The event.</param>
    /// <param name="arrival">What its body is now: received; source, labels, body and time stay those of the event.</param>
    /// <param name="cancellationToken">Ends the call.</param>
    ValueTask<InboxReceived> ReceiveAsync(string id, InboxArrival arrival, CancellationToken cancellationToken);

    /// <summary>Drops bodies of finished events, the oldest first; keys, hashes and outcomes stay.</summary>
    /// <param name="finishedBefore">Of events that were finished before.</param>
    /// <param name="limit">1 to 10,000.</param>
    /// <param name="cancellationToken">Ends the call.</param>
    /// <returns>How many were dropped; less than the limit when none is left.</returns>
    ValueTask<int> DropBodiesAsync(DateTimeOffset finishedBefore, int limit, CancellationToken cancellationToken);

    /// <summary>Drops bodies of dead events, the first that came first; keys, outcome and last error stay, and so does their hold on
    /// their orders.</summary>
    /// <param name="receivedBefore">Of events that came before.</param>
    /// <param name="limit">1 to 10,000.</param>
    /// <param name="cancellationToken">Ends the call.</param>
    /// <returns>How many were dropped; less than the limit when none is left.</returns>
    ValueTask<int> DropDeadBodiesAsync(DateTimeOffset receivedBefore, int limit, CancellationToken cancellationToken);

    /// <summary>
    /// Deletes finished events that have no body any more, the oldest first, with the notes of what contradicted them; but none with a
    /// conflict that waits for a person. From then on their keys are new again.
    /// </summary>
    /// <param name="source">Of this source.</param>
    /// <param name="finishedBefore">Of events that were finished before.</param>
    /// <param name="limit">1 to 10,000.</param>
    /// <param name="cancellationToken">Ends the call.</param>
    /// <returns>How many were deleted; less than the limit when none is left.</returns>
    ValueTask<int> DeleteAsync(string source, DateTimeOffset finishedBefore, int limit, CancellationToken cancellationToken);

    /// <summary>Ignores quarantined events of a source beyond a number, the oldest ones, and drops their bodies; what they were
    /// quarantined for stays.</summary>
    /// <param name="source">Of this source.</param>
    /// <param name="keep">So many stay, the newest ones.</param>
    /// <param name="limit">1 to 10,000.</param>
    /// <param name="cancellationToken">Ends the call.</param>
    /// <returns>How many were ignored; less than the limit when none is left.</returns>
    ValueTask<int> DropQuarantinedAsync(string source, int keep, int limit, CancellationToken cancellationToken);
}
