using System.Data.Common;
using Microsoft.Data.Sqlite;

namespace Scheduler.Sqlite.Files;

/// <summary>Opens connections to one SQLite file, each set up alike. Thread-safe.</summary>
internal sealed class SqliteDataSource : DbDataSource
{
    // A batch that is larger than SQLite's own cache of 2 MB reads its pages again and again, and what undoes a savepoint would become a
    // file that is made and deleted.
    private const string Setup = """
        PRAGMA busy_timeout = 1000;
        PRAGMA journal_mode = WAL;
        PRAGMA synchronous = FULL;
        PRAGMA foreign_keys = ON;
        PRAGMA cache_size = -16384;
        PRAGMA temp_store = MEMORY;
        """;

    private readonly string _connectionString;

    static SqliteDataSource() => SQLitePCL.Batteries_V2.Init();

    /// <summary>Takes a connection string; opens nothing.</summary>
    /// <exception cref="ArgumentException">It is none or names no file. The message does not show it: it may hold a password.</exception>
    public SqliteDataSource(string connectionString, bool pooling)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(connectionString);
        var builder =
            Parse(connectionString)
            ?? throw new ArgumentException($"This is no SQLite connection string; {Expected}", nameof(connectionString));
        var source = builder.DataSource;
        if (
            string.IsNullOrWhiteSpace(source)
            || source == ":memory:"
            || source.StartsWith("file:", StringComparison.OrdinalIgnoreCase)
            || builder.Mode == SqliteOpenMode.Memory
        )
        {
            throw new ArgumentException($"The SQLite connection string names no file; {Expected}", nameof(connectionString));
        }
        if (!string.IsNullOrEmpty(builder.Password))
        {
            throw new ArgumentException(
                $"The SQLite connection string has a Password, but the file is not encrypted; {Expected}",
                nameof(connectionString)
            );
        }
        Path = System.IO.Path.GetFullPath(source);
        builder.DataSource = Path;
        builder.Cache = SqliteCacheMode.Private;
        builder.Pooling = pooling;
        // The driver repeats a busy statement for so many seconds; what is above it bounds its own retries.
        builder.DefaultTimeout = 1;
        _connectionString = builder.ConnectionString;
    }

    private const string Expected = "expected 'Data Source=' and the path of a file, such as 'Data Source=data/state.db'.";

    // Without the driver's exception: its message may repeat parts of the text.
    private static SqliteConnectionStringBuilder? Parse(string connectionString)
    {
        try
        {
            return new SqliteConnectionStringBuilder(connectionString);
        }
        catch (ArgumentException)
        {
            return null;
        }
    }

    /// <summary>The absolute path of the database.</summary>
    public string Path { get; }

    /// <summary>Shows the path only: the rest may hold a password.</summary>
    public override string ConnectionString => $"Data Source={Path}";

    /// <inheritdoc/>
    protected override DbConnection CreateDbConnection() => new SqliteConnection(_connectionString);

    /// <inheritdoc/>
    protected override DbConnection OpenDbConnection()
    {
        var connection = new SqliteConnection(_connectionString);
        try
        {
            connection.Open();
            using var command = connection.CreateCommand();
            command.CommandText = Setup;
            command.ExecuteNonQuery();
            return connection;
        }
        catch
        {
            connection.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    protected override ValueTask<DbConnection> OpenDbConnectionAsync(CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return new(OpenDbConnection());
    }
}
