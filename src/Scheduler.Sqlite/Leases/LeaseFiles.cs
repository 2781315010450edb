using Microsoft.Data.Sqlite;
using Scheduler.Locking;
using Scheduler.Sqlite.Files;

namespace Scheduler.Sqlite.Leases;

/// <summary>Where the leases are: the database and the files beside it. Immutable and thread-safe.</summary>
internal sealed class LeaseFiles
{
    private LeaseFiles(string database, string connectionString)
    {
        Database = database;
        ConnectionString = connectionString;
    }

    /// <summary>The absolute path of the database.</summary>
    public string Database { get; }

    /// <summary>How the driver opens it. May hold a password: never shown.</summary>
    public string ConnectionString { get; }

    public string Folder => Path.GetDirectoryName(Database)!;

    /// <summary>
    /// What writers of all processes queue at. A file of its own: closing any descriptor of the database would lift SQLite's locks.
    /// </summary>
    public string WriterLock => Database + ".lock";

    /// <summary>Where the lock files of living replicas are.</summary>
    public string Replicas => Database + ".replicas";

    /// <summary>Reads a connection string.</summary>
    /// <exception cref="ArgumentException">It is none, or names no file.</exception>
    public static LeaseFiles Parse(string connectionString)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(connectionString);
        SqliteConnectionStringBuilder builder;
        try
        {
            builder = new SqliteConnectionStringBuilder(connectionString);
        }
        catch (ArgumentException)
        {
            // Without the driver's exception, whose message may repeat parts of the text, such as a password.
#pragma warning disable MA0054
            throw new ArgumentException($"This is no SQLite connection string; {Expected}", nameof(connectionString));
#pragma warning restore MA0054
        }
        var source = builder.DataSource;
        if (
            string.IsNullOrWhiteSpace(source)
            || source == ":memory:"
            || source.StartsWith("file:", StringComparison.OrdinalIgnoreCase)
            || builder.Mode == SqliteOpenMode.Memory
        )
        {
            throw new ArgumentException($"The SQLite connection string of the locks names no file; {Expected}", nameof(connectionString));
        }
        builder.DataSource = Path.GetFullPath(source);
        builder.Mode = SqliteOpenMode.ReadWriteCreate;
        builder.Cache = SqliteCacheMode.Private;
        // A pooled connection would keep the file open after the store is gone.
        builder.Pooling = false;
        builder.DefaultTimeout = 1;
        return new LeaseFiles(builder.DataSource, builder.ConnectionString);
    }

    /// <summary>Makes the folder, unless it lies on a file system where locks of files do not hold.</summary>
    /// <exception cref="StoreUnavailableException">It lies on such a one.</exception>
    /// <exception cref="IOException">It cannot be made.</exception>
    /// <exception cref="UnauthorizedAccessException">It must not be made.</exception>
    public void Prepare()
    {
        if (FileSystemRules.FindRefused(Database) is { } refused)
        {
            throw new StoreUnavailableException(
                $"The SQLite locks '{Database}' lie on the file system '{refused.Type}' (mounted on '{refused.MountPoint}'), where file "
                    + "locks do not keep processes apart reliably. Put them on a local disk of the one host that runs all replicas "
                    + "(Scheduler:Locks:ConnectionString), or use a networked lock store such as 'redis'.",
                permanent: true
            );
        }
        Directory.CreateDirectory(Folder);
    }

    private const string Expected = "expected 'Data Source=' and the path of a file, such as 'Data Source=data/locks.db'.";
}
