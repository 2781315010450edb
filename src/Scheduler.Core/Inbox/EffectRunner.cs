using System.Data.Common;

namespace Scheduler.Inbox;

/// <summary>What effects do alike, whatever database notes them: the order of the steps. Stateless and thread-safe.</summary>
internal abstract class EffectRunner
{
    /// <summary>Where an effect stands that is noted: a call outside that was intended, and everything that is done.</summary>
    public const string Intended = "intended";

    /// <summary>See <see cref="Intended"/>.</summary>
    public const string Done = "done";

    /// <summary>Applies an effect in the database that notes it: fence, note, work and the event's end commit together.</summary>
    /// <returns>Whether it was applied now; <see langword="false"/> when it was there.</returns>
    public async ValueTask<bool> ApplyAsync(
        Effect effect,
        Func<DbConnection, DbTransaction, CancellationToken, ValueTask> work,
        CancellationToken cancellationToken
    )
    {
        ArgumentNullException.ThrowIfNull(effect);
        ArgumentNullException.ThrowIfNull(work);
        return await EndedAsync(
            effect,
            Done,
            async (connection, transaction, before, cancel) =>
            {
                switch (before)
                {
                    case null:
                        await work(connection, transaction, cancel);
                        return (true, true);
                    case Done:
                        return (false, true);
                    default:
                        throw new InvalidOperationException(
                            $"The effect '{effect.Key.Name}' of '{effect.Key.DedupeKey}' was begun as a call outside and is not "
                                + "done. Go on with CallAsync, or give the effect in the database another name."
                        );
                }
            },
            cancellationToken
        );
    }

    /// <summary>Makes a call outside: noted as intended before and as done after, with no transaction in between.</summary>
    /// <returns>Whether it was made now; <see langword="false"/> when it was done.</returns>
    public async ValueTask<bool> CallAsync(
        Effect effect,
        Func<EffectCall, CancellationToken, ValueTask> call,
        CancellationToken cancellationToken
    )
    {
        ArgumentNullException.ThrowIfNull(effect);
        ArgumentNullException.ThrowIfNull(call);
        string? found = null;
        var isDone = await EndedAsync(
            effect,
            Intended,
            (_, _, before, _) =>
            {
                found = before;
                return new((before == Done, before == Done));
            },
            cancellationToken
        );
        if (isDone)
        {
            return false;
        }
        await call(new EffectCall(effect.IdempotencyKey, found is not null), cancellationToken);
        return await EndedAsync(
            effect,
            note: null,
            async (connection, transaction, _, cancel) =>
            {
                await CloseAsync(connection, transaction, effect, cancel);
                return (true, true);
            },
            cancellationToken
        );
    }

    /// <summary>Runs work in one transaction that first raises the fence of the effect's lock key, then notes the effect unless it is
    /// noted already, then commits.</summary>
    /// <param name="effect">The effect.</param>
    /// <param name="note">Where it stands then; <see langword="null"/> notes nothing.</param>
    /// <param name="work">Is told <see langword="null"/> when it is noted now, or where it stood.</param>
    /// <param name="cancellationToken">Ends the call.</param>
    protected abstract ValueTask<T> FencedAsync<T>(
        Effect effect,
        string? note,
        Func<DbConnection, DbTransaction, string?, CancellationToken, ValueTask<T>> work,
        CancellationToken cancellationToken
    );

    /// <summary>Notes that an effect which was intended is done.</summary>
    protected abstract ValueTask CloseAsync(
        DbConnection connection,
        DbTransaction transaction,
        Effect effect,
        CancellationToken cancellationToken
    );

    /// <summary>Runs work fenced; where it says that the effect is done, the event's end is in the same transaction.</summary>
    private async ValueTask<bool> EndedAsync(
        Effect effect,
        string? note,
        Func<DbConnection, DbTransaction, string?, CancellationToken, ValueTask<(bool Result, bool IsDone)>> work,
        CancellationToken cancellationToken
    )
    {
        var (result, ended) = await FencedAsync(
            effect,
            note,
            async (connection, transaction, before, cancel) =>
            {
                var (result, isDone) = await work(connection, transaction, before, cancel);
                return (result, isDone && effect.End is { } end && await end.WriteAsync(transaction, cancel));
            },
            cancellationToken
        );
        if (ended)
        {
            effect.End!.Committed();
        }
        return result;
    }
}
