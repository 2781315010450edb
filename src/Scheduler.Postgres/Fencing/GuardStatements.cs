using Npgsql;
using Scheduler.Fencing;
using Scheduler.Inbox;
using Scheduler.Locking;
using Scheduler.Postgres.State;

namespace Scheduler.Postgres.Fencing;

/// <summary>What a fenced transaction sends before its work. For one transaction.</summary>
internal sealed class GuardStatements(NpgsqlConnection connection, NpgsqlTransaction transaction, PostgresFenceOptions options)
{
    /// <summary>Raises a fence as the first thing of a transaction; an equal token passes. With it, unless it is noted already, notes an
    /// effect, in the same round trip: where the fence refuses, the note is rolled back with everything else.</summary>
    /// <returns>Where the effect stood, or <see langword="null"/> when it is noted now or there is none.</returns>
    /// <exception cref="StaleLeaseException">A newer token has been seen.</exception>
    /// <exception cref="InvalidOperationException">Another lock key protects the resource.</exception>
    public async Task<string?> RaiseAsync(
        string resource,
        LockKey lockKey,
        FencingToken token,
        EffectNote? note,
        CancellationToken cancellationToken
    )
    {
        await using var batch = new NpgsqlBatch(connection, transaction);
        AddFence(batch, resource, lockKey, token);
        if (note is not null)
        {
            AddNote(batch, note, token);
        }
        await OwnSessions.PrepareAsync(batch, cancellationToken);
        await using (var reader = await batch.ExecuteReaderAsync(cancellationToken))
        {
            await reader.ReadAsync(cancellationToken);
            FenceRules.ThrowIfRefused(resource, lockKey, token, reader.GetString(0), reader.GetInt64(1));
            OwnSessions.Learn(connection, reader.GetInt32(2));
            await reader.NextResultAsync(cancellationToken);
            if (note is null || await reader.ReadAsync(cancellationToken))
            {
                return null;
            }
        }
        return await StateOfAsync(note.Key, cancellationToken);
    }

    private void AddFence(NpgsqlBatch batch, string resource, LockKey lockKey, FencingToken token)
    {
        batch
            .Add(
                $"""
                INSERT INTO "{options.Schema}".fences AS f (group_name, resource, lock_key, token, raised_at)
                VALUES ('', $1, $2, $3, clock_timestamp())
                ON CONFLICT (group_name, resource) DO UPDATE SET token = excluded.token, raised_at = excluded.raised_at
                WHERE f.token <= excluded.token AND f.lock_key = excluded.lock_key
                """
            )
            .Text(resource)
            .Text(lockKey.Value)
            .Number(token.Value);
        // With it the limits of the transaction: a commit that may be forgotten would let an effect be had twice, or never.
        batch
            .Add(
                $"""
                SELECT f.lock_key, f.token, pg_backend_pid(), set_config('idle_in_transaction_session_timeout', $2, true),
                  CASE WHEN current_setting('synchronous_commit') NOT IN ('on', 'remote_apply')
                    THEN set_config('synchronous_commit', 'on', true) END
                FROM "{options.Schema}".fences f WHERE f.group_name = '' AND f.resource = $1
                """
            )
            .Text(resource)
            .Text(StatePlace.Milliseconds(options.Limit));
    }

    private void AddNote(NpgsqlBatch batch, EffectNote note, FencingToken token) =>
        GuardTables
            .AddKey(
                batch,
                $"""
                INSERT INTO "{options.Schema}".webhook_effects (source, dedupe_key, effect, state, token) VALUES ($1, $2, $3, $4, $5)
                ON CONFLICT DO NOTHING RETURNING 1
                """,
                note.Key
            )
            .Text(note.State)
            .Number(token.Value);

    private async Task<string> StateOfAsync(EffectKey key, CancellationToken cancellationToken)
    {
        await using var read = new NpgsqlBatch(connection, transaction);
        GuardTables.AddKey(
            read,
            $"""
            SELECT state FROM "{options.Schema}".webhook_effects WHERE source = $1 AND dedupe_key = $2 AND effect = $3
            """,
            key
        );
        return (string?)await read.ExecuteScalarAsync(cancellationToken) ?? EffectRunner.Done;
    }
}

/// <summary>An effect that a transaction notes.</summary>
/// <param name="Key">Names it.</param>
/// <param name="State">Where it stands then.</param>
internal sealed record EffectNote(EffectKey Key, string State);
