using Npgsql;
using NpgsqlTypes;
using Scheduler.Postgres.Leases;

namespace Scheduler.Postgres.SessionLeases;

/// <summary>
/// The one connection that has a replica's advisory locks, with its statements prepared. One call at a time. When it ends, for whatever
/// reason, its locks are free; it is never opened again.
/// </summary>
internal sealed class LockSession : IAsyncDisposable
{
    private readonly NpgsqlConnection _connection;
    private readonly NpgsqlCommand _take;
    private readonly NpgsqlCommand _takeOne;
    private readonly NpgsqlCommand _endAndTake;
    private readonly NpgsqlCommand _endOne;
    private readonly NpgsqlCommand _forget;
    private readonly NpgsqlCommand _look;
    private readonly NpgsqlCommand _note;
    private readonly NpgsqlCommand _renew;
    private readonly NpgsqlCommand _ended;
    private readonly NpgsqlCommand _listen;
    private bool _listens;

    private LockSession(NpgsqlConnection connection, SessionStatements statements)
    {
        _connection = connection;
        _take = Command(statements.Take, Longs);
        _takeOne = Command(statements.TakeOne, NpgsqlDbType.Bigint);
        _endAndTake = Command(statements.EndAndTake, Longs, Texts, NpgsqlDbType.Text, NpgsqlDbType.Bigint, Longs, NpgsqlDbType.Boolean);
        _endOne = Command(
            statements.EndOne,
            NpgsqlDbType.Bigint,
            NpgsqlDbType.Text,
            NpgsqlDbType.Text,
            NpgsqlDbType.Bigint,
            NpgsqlDbType.Boolean
        );
        _forget = Command(statements.Forget, Longs, Longs, NpgsqlDbType.Bigint);
        _look = Command(statements.Look, Longs, NpgsqlDbType.Text, NpgsqlDbType.Bigint);
        _note = Command(statements.Note, NpgsqlDbType.Text, NpgsqlDbType.Bigint, Longs, Texts, Texts, Longs, Texts, Longs, Longs, Longs);
        _renew = Command(statements.Renew, NpgsqlDbType.Bigint, Longs, Longs, Longs);
        _ended = Command(statements.Ended, Longs);
        _listen = Command(statements.Listen, NpgsqlDbType.Bigint);
    }

    private const NpgsqlDbType Longs = NpgsqlDbType.Array | NpgsqlDbType.Bigint;
    private const NpgsqlDbType Texts = NpgsqlDbType.Array | NpgsqlDbType.Text;

    /// <summary>The advisory lock that it keeps as long as it lives.</summary>
    public long Word { get; } = LockWords.NewSession();

    /// <summary>Whether the driver still has the connection: after some errors it closes it.</summary>
    public bool IsOpen => _connection.State == System.Data.ConnectionState.Open;

    /// <summary>The process that serves it.</summary>
    public int ProcessId => _connection.ProcessID;

    /// <summary>Opens a session.</summary>
    /// <param name="connection">Not open.</param>
    /// <param name="statements">What is sent.</param>
    /// <param name="schema">The quoted name of the schema.</param>
    public static async Task<LockSession> OpenAsync(NpgsqlConnection connection, SessionStatements statements, string schema)
    {
        var session = new LockSession(connection, statements);
        try
        {
            await connection.OpenAsync();
            await using (var begin = session.Command($"SELECT {schema}.begin_session($1)", NpgsqlDbType.Bigint))
            {
                begin.Parameters[0].Value = session.Word;
                await begin.ExecuteNonQueryAsync();
            }
            await using (var sweep = session.Command(statements.Sweep))
            {
                await sweep.ExecuteNonQueryAsync();
            }
            foreach (var command in session.Commands)
            {
                await command.PrepareAsync();
            }
            return session;
        }
        catch
        {
            await session.DisposeAsync();
            throw;
        }
    }

    /// <summary>Locks; answers for each the grant's number or 0.</summary>
    public async Task<long[]> TakeAsync(long[] words)
    {
        if (words.Length > 1)
        {
            return await LongsAsync(_take, words);
        }
        Set(_takeOne, words[0]);
        return [(long)(await _takeOne.ExecuteScalarAsync())!];
    }

    /// <summary>Unlocks, tells those who listen, then locks; answers for each the grant's number or 0.</summary>
    public async Task<long[]> EndAndTakeAsync(long[] unlock, string[] signals, string channel, long listeners, long[] take)
    {
        if (unlock.Length == 1 && take.Length == 0)
        {
            Set(_endOne, unlock[0], signals[0], channel, listeners, _listens);
            await _endOne.ExecuteNonQueryAsync();
            return [];
        }
        Set(_endAndTake, unlock, signals, channel, listeners, take, _listens);
        await using var reader = await _endAndTake.ExecuteReaderAsync();
        await reader.ReadAsync();
        return reader.GetFieldValue<long[]>(2);
    }

    /// <summary>Deletes notes; answers which locks' notes were there, and whether another replica was refused.</summary>
    public async Task<Dictionary<long, bool>> ForgetAsync(long[] words, long[] numbers)
    {
        Set(_forget, words, numbers, Word);
        var forgotten = new Dictionary<long, bool>(words.Length);
        await using var reader = await _forget.ExecuteReaderAsync();
        while (await reader.ReadAsync())
        {
            forgotten[reader.GetInt64(0)] = reader.GetBoolean(1);
        }
        return forgotten;
    }

    /// <summary>The notes of locks that were refused; none where there is none yet.</summary>
    public async Task<HolderNote?[]> LookAsync(long[] words, string replica)
    {
        Set(_look, words, replica, Word);
        var notes = new HolderNote?[words.Length];
        await using var reader = await _look.ExecuteReaderAsync();
        while (await reader.ReadAsync())
        {
            notes[reader.GetInt64(0) - 1] = ReadNote(reader, 1);
        }
        return notes;
    }

    /// <summary>Notes grants.</summary>
    public async Task NoteAsync(string group, IReadOnlyList<Grant> grants)
    {
        Set(
            _note,
            group,
            Word,
            grants.Select(g => g.Word).ToArray(),
            grants.Select(g => g.Key.Value).ToArray(),
            grants.Select(g => g.Owner.Replica).ToArray(),
            grants.Select(g => g.Owner.Acquisition).ToArray(),
            grants.Select(g => State.Texts.Keepable(g.Purpose)!).ToArray(),
            grants.Select(g => g.Number).ToArray(),
            grants.Select(OwnGrants.MicrosLeft).ToArray(),
            grants.Select(g => Micros.Of(g.Duration)).ToArray()
        );
        await _note.ExecuteNonQueryAsync();
    }

    /// <summary>Moves ends; answers the places, from 1, of those without a note and of those that are revoked.</summary>
    public async Task<(long[] WithoutNote, long[] Revoked)> RenewAsync(long[] words, long[] numbers, long[] lasts)
    {
        Set(_renew, Word, words, numbers, lasts);
        await using var reader = await _renew.ExecuteReaderAsync();
        await reader.ReadAsync();
        return (reader.GetFieldValue<long[]>(0), reader.GetFieldValue<long[]>(1));
    }

    /// <summary>Which of other sessions have ended.</summary>
    public Task<long[]> EndedAsync(long[] sessions) => LongsAsync(_ended, sessions);

    /// <summary>Lets those who unlock know that somebody listens, as long as this session lives.</summary>
    public async Task ListenAsync(long listeners)
    {
        Set(_listen, listeners);
        await _listen.ExecuteNonQueryAsync();
        _listens = true;
    }

    /// <summary>Ends the session.</summary>
    public async ValueTask DisposeAsync()
    {
        foreach (var command in Commands)
        {
            await command.DisposeAsync();
        }
        await _connection.DisposeAsync();
    }

    /// <summary>Reads a note whose columns begin with the group.</summary>
    public static HolderNote ReadNote(NpgsqlDataReader row, int first) =>
        new(
            row.GetString(first),
            row.GetString(first + 1),
            row.GetInt64(first + 2),
            row.GetString(first + 3),
            row.GetString(first + 4),
            row.GetInt64(first + 5),
            row.GetInt64(first + 6),
            TimeSpan.FromMicroseconds(row.GetInt64(first + 7)),
            TimeSpan.FromMicroseconds(row.GetInt64(first + 8)),
            row.GetBoolean(first + 9)
        );

    private NpgsqlCommand[] Commands => [_take, _takeOne, _endAndTake, _endOne, _forget, _look, _note, _renew, _ended, _listen];

    private static async Task<long[]> LongsAsync(NpgsqlCommand command, long[] values)
    {
        Set(command, values);
        await using var reader = await command.ExecuteReaderAsync();
        await reader.ReadAsync();
        return reader.GetFieldValue<long[]>(0);
    }

    private static void Set(NpgsqlCommand command, params ReadOnlySpan<object> values)
    {
        for (var i = 0; i < values.Length; i++)
        {
            command.Parameters[i].Value = values[i];
        }
    }

    // Texts of SessionStatements, with the name of a schema that was checked.
#pragma warning disable CA2100
    private NpgsqlCommand Command(string sql, params ReadOnlySpan<NpgsqlDbType> parameters)
    {
        var command = new NpgsqlCommand(sql, _connection);
        foreach (var type in parameters)
        {
            command.Parameters.Add(new NpgsqlParameter { NpgsqlDbType = type });
        }
        return command;
    }
#pragma warning restore CA2100
}
