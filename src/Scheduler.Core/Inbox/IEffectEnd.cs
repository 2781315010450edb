using System.Data.Common;

namespace Scheduler.Inbox;

/// <summary>The end of an event, for the transaction of its last effect.</summary>
public interface IEffectEnd
{
    /// <summary>Writes it in the effect's transaction, after everything else and before the commit; called again when the transaction is
    /// run again.</summary>
    /// <returns>Whether it is written; <see langword="false"/> when the transaction is on another database.</returns>
    /// <exception cref="EventTakenUpException">Another attempt has begun: the transaction must be rolled back.</exception>
    ValueTask<bool> WriteAsync(DbTransaction transaction, CancellationToken cancellationToken);

    /// <summary>The transaction in which it was written is committed.</summary>
    void Committed();
}
