using System.Data.Common;

namespace Scheduler.Inbox;

/// <summary>
/// The events that senders delivered, each kept once. Durable when a call returns. Thread-safe. Every member throws
/// <see cref="Runs.StateUnavailableException"/> when the State cannot answer; the outcome of a write is then unknown.
/// </summary>
public interface IInbox : IInboxOperations
{
    /// <summary>How many arrivals or ends one call takes at most.</summary>
    public const int MaxBatch = 500;

    /// <summary>How many conflicts with one event are kept; what comes after that is answered as a conflict and not kept.</summary>
    public const int MaxConflicts = 100;

    /// <summary>
    /// Stores arrivals, numbered in the given order. One whose event id, dedupe key or (where that is a key) body is known
    /// is a duplicate when its content is that of the known row, also when that is a conflict that was kept before; else a conflict. One
    /// whose keys hit two different rows is a conflict, too. One with <see cref="InboxArrival.Taking"/> is taken at once, unless an event
    /// of its order that is stored, or before it among the arrivals, is not finished.
    /// </summary>
    /// <param name="arrivals">1 to <see cref="MaxBatch"/>; may have copies among them.</param>
    /// <param name="answered">Gets answers by the place of the arrival as soon as they are known, before those that take longer; returns at
    /// once and never throws.</param>
    /// <param name="cancellationToken">Ends the call.</param>
    /// <returns>All answers, in the same order.</returns>
    /// <exception cref="ArgumentException">One of them cannot be kept; then none is.</exception>
    ValueTask<IReadOnlyList<InboxAnswer>> AddAsync(
        IReadOnlyList<InboxArrival> arrivals,
        Action<int, InboxAnswer>? answered,
        CancellationToken cancellationToken
    );

    /// <summary>Stores arrivals for who needs the answers together.</summary>
    sealed ValueTask<IReadOnlyList<InboxAnswer>> AddAsync(IReadOnlyList<InboxArrival> arrivals, CancellationToken cancellationToken) =>
        AddAsync(arrivals, answered: null, cancellationToken);

    /// <summary>Takes due events: of each order the first that is not finished, so that no two of an order are taken at once.</summary>
    ValueTask<IReadOnlyList<InboxClaim>> ClaimAsync(InboxClaimRequest request, CancellationToken cancellationToken);

    /// <summary>Writes how attempts ended.</summary>
    /// <param name="ends">1 to <see cref="MaxBatch"/>, each event once.</param>
    /// <param name="cancellationToken">Ends the call.</param>
    /// <returns>Whether each was the newest attempt of its event, in the same order; of another one nothing is written.</returns>
    ValueTask<IReadOnlyList<bool>> FinishAsync(IReadOnlyList<InboxEnd> ends, CancellationToken cancellationToken);

    /// <summary>
    /// Writes how an attempt ended in a transaction of the caller's, where that is on the State's own database: the same file of SQLite, or
    /// of PostgreSQL the same host, port, database and user as the State's. It counts when the caller commits, who bounds the call.
    /// </summary>
    /// <returns>Whether it is written; <see langword="false"/> when the transaction is on another database.</returns>
    /// <exception cref="EventTakenUpException">It was not the newest attempt; the caller rolls back.</exception>
    ValueTask<bool> FinishWithinAsync(DbTransaction transaction, InboxEnd end, CancellationToken cancellationToken);
}
