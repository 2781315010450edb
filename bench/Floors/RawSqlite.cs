using System.Collections.Concurrent;
using Microsoft.Data.Sqlite;

namespace Scheduler.Bench.Floors;

/// <summary>
/// One row per lock, written by an immediate transaction each, in the journal mode of the product's lock file (WAL, synchronous=NORMAL).
/// One connection behind one semaphore: SQLite has one writer anyway.
/// </summary>
internal sealed class RawSqlite : IRawLock, IRawHandOff
{
    private static readonly TimeSpan Poll = TimeSpan.FromMilliseconds(1);

    private readonly SqliteConnection _connection;
    private readonly SqliteCommand _take;
    private readonly SqliteCommand _free;
    private readonly SemaphoreSlim _one = new(1, 1);
    private readonly string _folder;
    private readonly long _me;
    private readonly ConcurrentBag<FileStream> _lives = [];

    static RawSqlite() => SQLitePCL.Batteries_V2.Init();

    /// <param name="folder">Where the file is; made if it is missing.</param>
    /// <param name="me">For the hand-off: 0 or 1; 0 begins.</param>
    public RawSqlite(string folder, int me = 0)
    {
        _folder = folder;
        _me = me;
        _connection = Open(Path.Combine(folder, "raw.db"), "NORMAL");
        Execute(
            """
            CREATE TABLE IF NOT EXISTS locks (key TEXT PRIMARY KEY, owner TEXT NOT NULL, until INTEGER NOT NULL) WITHOUT ROWID;
            CREATE TABLE IF NOT EXISTS turn (id INTEGER PRIMARY KEY, player INTEGER NOT NULL);
            INSERT OR IGNORE INTO turn VALUES (1, 0);
            """
        );
        _take = Command(
            """
            INSERT INTO locks VALUES ($key, $owner, $until)
            ON CONFLICT (key) DO UPDATE SET owner = excluded.owner, until = excluded.until WHERE locks.until < $now
            """,
            "$key",
            "$owner",
            "$until",
            "$now"
        );
        _free = Command("DELETE FROM locks WHERE key = $key AND owner = $owner", "$key", "$owner");
    }

    /// <summary>The library's version.</summary>
    public static string Version()
    {
        using var connection = new SqliteConnection("Data Source=:memory:");
        connection.Open();
        return connection.ServerVersion;
    }

    /// <summary>Opens a file in WAL mode.</summary>
    public static SqliteConnection Open(string file, string synchronous)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(file)!);
        var connection = new SqliteConnection($"Data Source={file};Pooling=False");
        connection.Open();
        using var setUp = connection.CreateCommand();
        setUp.CommandText = $"PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; PRAGMA synchronous = {synchronous};";
        setUp.ExecuteNonQuery();
        return connection;
    }

    public ValueTask<bool> TakeAsync(string key, string owner, TimeSpan duration)
    {
        var now = TimeProvider.System.GetUtcNow();
        return WriteAsync(_take, key, owner, (now + duration).ToUnixTimeMilliseconds(), now.ToUnixTimeMilliseconds());
    }

    public ValueTask<bool> FreeAsync(string key, string owner) => WriteAsync(_free, key, owner);

    public async ValueTask RenewAsync(IReadOnlyList<string> keys, string owner, TimeSpan duration)
    {
        await _one.WaitAsync();
        try
        {
            using var transaction = _connection.BeginTransaction(deferred: false);
            using var renew = Command("UPDATE locks SET until = $until WHERE key = $key AND owner = $owner", "$until", "$key", "$owner");
            renew.Transaction = transaction;
            foreach (var key in keys)
            {
                Fill(renew, (TimeProvider.System.GetUtcNow() + duration).ToUnixTimeMilliseconds(), key, owner);
                renew.ExecuteNonQuery();
            }
            transaction.Commit();
        }
        finally
        {
            _one.Release();
        }
    }

    /// <summary>An open file with an operating system's lock: gone when the process is.</summary>
    public ValueTask<bool> TakeForLifeAsync(string key, TimeSpan duration)
    {
        try
        {
            _lives.Add(new FileStream(Path.Combine(_folder, $"{key}.life"), FileMode.OpenOrCreate, FileAccess.Write, FileShare.None));
            return new(true);
        }
        catch (IOException)
        {
            return new(false);
        }
    }

    public async Task TakeAsync(CancellationToken cancellationToken)
    {
        using var turn = Command("SELECT player FROM turn WHERE id = 1");
        while ((long)turn.ExecuteScalar()! != _me)
        {
            await Task.Delay(Poll, TimeProvider.System, cancellationToken);
        }
    }

    public Task PassAsync()
    {
        using var pass = Command("UPDATE turn SET player = $player WHERE id = 1", "$player");
        Fill(pass, 1 - _me);
        pass.ExecuteNonQuery();
        return Task.CompletedTask;
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var life in _lives)
        {
            await life.DisposeAsync();
        }
        await _take.DisposeAsync();
        await _free.DisposeAsync();
        await _connection.DisposeAsync();
        _one.Dispose();
    }

    private async ValueTask<bool> WriteAsync(SqliteCommand command, params object[] values)
    {
        await _one.WaitAsync();
        try
        {
            // A single statement is an immediate transaction of its own: it takes the write lock before it reads.
            Fill(command, values);
            return command.ExecuteNonQuery() == 1;
        }
        finally
        {
            _one.Release();
        }
    }

    private SqliteCommand Command(string sql, params string[] parameters)
    {
        var command = _connection.CreateCommand();
        command.CommandText = sql;
        foreach (var name in parameters)
        {
            command.Parameters.Add(new SqliteParameter { ParameterName = name });
        }
        return command;
    }

    private static void Fill(SqliteCommand command, params object[] values)
    {
        for (var i = 0; i < values.Length; i++)
        {
            command.Parameters[i].Value = values[i];
        }
    }

    private void Execute(string sql)
    {
        using var command = Command(sql);
        command.ExecuteNonQuery();
    }
}
