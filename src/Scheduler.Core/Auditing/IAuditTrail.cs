namespace Scheduler.Auditing;

/// <summary>
/// Who asked for which change, and what became of it; pruned with the runs. An entry is written before the change, so that none is made
/// without one. Durable when a call returns. Thread-safe. Every member throws <see cref="Runs.StateUnavailableException"/> when the State
/// cannot answer.
/// </summary>
public interface IAuditTrail
{
    /// <summary>Writes an entry; one of its id that is there already stays as it is, so that a call may be repeated.</summary>
    ValueTask AddAsync(AuditEntry entry, CancellationToken cancellationToken);

    /// <summary>Writes what became of a call.</summary>
    /// <param name="id">The entry.</param>
    /// <param name="outcome">See <see cref="AuditEntry.Outcome"/>.</param>
    /// <param name="detail">See <see cref="AuditEntry.Detail"/>.</param>
    /// <param name="cancellationToken">Ends the call.</param>
    ValueTask EndAsync(string id, int outcome, string? detail, CancellationToken cancellationToken);

    /// <summary>Lists entries.</summary>
    /// <param name="limit">1 to 1,000.</param>
    /// <param name="before"><see cref="AuditPage.Next"/> of the page before.</param>
    /// <param name="cancellationToken">Ends the call.</param>
    ValueTask<AuditPage> ListAsync(int limit, string? before, CancellationToken cancellationToken);
}
