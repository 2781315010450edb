using Microsoft.Data.Sqlite;

namespace Scheduler.EndToEnd.Harness;

/// <summary>Reaches into SQLite files from outside, as another program would.</summary>
internal static class EmbeddedFile
{
    /// <summary>Keeps everybody else from writing until it is disposed of: claims and completions wait, and give up after a
    /// second.</summary>
    public static async Task<IAsyncDisposable> BlockWritesAsync(string path)
    {
        var connection = await OpenAsync(path);
        await using var begin = connection.CreateCommand();
        begin.CommandText = "PRAGMA busy_timeout = 5000; BEGIN IMMEDIATE";
        await begin.ExecuteNonQueryAsync();
        // Closing a connection that is not pooled rolls its transaction back.
        return connection;
    }

    /// <summary>Whether a write could begin within a moment.</summary>
    public static async Task<bool> IsWritableAsync(string path)
    {
        await using var connection = await OpenAsync(path);
        connection.DefaultTimeout = 1;
        await using var begin = connection.CreateCommand();
        begin.CommandText = "PRAGMA busy_timeout = 300; BEGIN IMMEDIATE; ROLLBACK";
        try
        {
            await begin.ExecuteNonQueryAsync(TestContext.Current.CancellationToken);
            return true;
        }
        catch (SqliteException busy) when (busy.SqliteErrorCode == 5)
        {
            return false;
        }
    }

    /// <summary>Reads one number.</summary>
    public static async Task<long> NumberAsync(string path, string sql)
    {
        await using var connection = await OpenAsync(path);
        await using var command = connection.CreateCommand();
        command.CommandText = sql;
        return (long)(await command.ExecuteScalarAsync(TestContext.Current.CancellationToken))!;
    }

    private static async Task<SqliteConnection> OpenAsync(string path)
    {
        var connection = new SqliteConnection($"Data Source={path};Pooling=False");
        await connection.OpenAsync(TestContext.Current.CancellationToken);
        return connection;
    }
}
