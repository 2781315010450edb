using System.Globalization;
using Microsoft.Data.Sqlite;
using Scheduler.Locking;

namespace Scheduler.Sqlite.Leases;

/// <summary>
/// An open connection to the database of the leases, of the right kind and version, with its statements. Made and used while holding
/// the writer lock only, so SQLite's own locks are always free. Not thread-safe.
/// </summary>
internal sealed class LeaseDatabase : IDisposable
{
    /// <summary>The version of the schema that this release writes.</summary>
    public const int SchemaVersion = 1;

    // "SCLK"; keeps the locks out of databases of other applications, and State out of this one.
    private const long ApplicationId = 1396919371;

    private readonly SqliteConnection _connection;
    private readonly SqliteCommand _begin;
    private readonly SqliteCommand _commit;

    static LeaseDatabase() => SQLitePCL.Batteries_V2.Init();

    /// <summary>Opens the database, and makes its tables when it is new.</summary>
    /// <param name="files">Where it is.</param>
    /// <param name="whenNew">What else to write into a new one, in the same transaction.</param>
    /// <exception cref="SqliteException">SQLite cannot open it.</exception>
    /// <exception cref="StoreUnavailableException">It is of another kind or a newer version.</exception>
    public LeaseDatabase(LeaseFiles files, Action<LeaseDatabase> whenNew)
    {
        _connection = new SqliteConnection(files.ConnectionString);
        _begin = Command("BEGIN IMMEDIATE");
        _commit = Command("COMMIT");
        try
        {
            _connection.Open();
            // The writer lock makes SQLite wait for nobody but foreign programs, and not long for these.
            Execute("PRAGMA busy_timeout = 500");
            var isNew = IsNew(files.Database);
            // A power failure may take the last commits, never the file: enough, since leases are void after a boot, and numbers go on
            // above the wall clock's microseconds, which no store reaches by counting.
            Execute("PRAGMA journal_mode = WAL");
            Execute("PRAGMA synchronous = NORMAL");
            if (isNew)
            {
                Create(whenNew);
            }
            Find = new Statement(_connection, "find", "$group", "$key");
            List = new Statement(_connection, "list", "$group", "$prefix", "$after");
            Grant = new Statement(
                _connection,
                "grant",
                "$group",
                "$key",
                "$replica",
                "$acquisition",
                "$number",
                "$purpose",
                "$boot",
                "$ends_at"
            );
            Renew = new Statement(_connection, "renew", "$group", "$key", "$ends_at");
            Contend = new Statement(_connection, "contend", "$group", "$key");
            Revoke = new Statement(_connection, "revoke", "$group", "$key");
            Release = new Statement(_connection, "release", "$group", "$key");
            ReadNumber = new Statement(_connection, "read_number");
            WriteNumber = new Statement(_connection, "write_number", "$last");
            Sweep = new Statement(_connection, "sweep", "$boot", "$now");
            DropReplica = new Statement(_connection, "drop_replica", "$replica");
            CountOwn = new Statement(_connection, "count_own", "$replica", "$boot", "$now");
            Id = ReadMeta("id") ?? throw new InvalidOperationException("The lock database has no id.");
        }
        catch
        {
            _connection.Dispose();
            throw;
        }
    }

    /// <summary>The random id of this file.</summary>
    public string Id { get; }

    public Statement Find { get; }
    public Statement List { get; }
    public Statement Grant { get; }
    public Statement Renew { get; }
    public Statement Contend { get; }
    public Statement Revoke { get; }
    public Statement Release { get; }
    public Statement ReadNumber { get; }
    public Statement WriteNumber { get; }
    public Statement Sweep { get; }
    public Statement DropReplica { get; }
    public Statement CountOwn { get; }

    public void Begin() => _begin.ExecuteNonQuery();

    public void Commit() => _commit.ExecuteNonQuery();

    public string? ReadMeta(string name)
    {
        using var statement = new Statement(_connection, "read_meta", "$name");
        return (string?)statement.With(name).ExecuteScalar();
    }

    public void WriteMeta(string name, string value)
    {
        using var statement = new Statement(_connection, "write_meta", "$name", "$value");
        statement.With(name, value).ExecuteNonQuery();
    }

    /// <summary>Closes the connection; a transaction that was not committed is rolled back.</summary>
    public void Dispose()
    {
        foreach (
            var statement in (Statement?[])
                [Find, List, Grant, Renew, Contend, Revoke, Release, ReadNumber, WriteNumber, Sweep, DropReplica, CountOwn]
        )
        {
            statement?.Dispose();
        }
        _begin.Dispose();
        _commit.Dispose();
        _connection.Dispose();
    }

    private bool IsNew(string path)
    {
        var (kind, version) = (Number("PRAGMA application_id"), Number("PRAGMA user_version"));
        var foreign = kind != ApplicationId && (kind != 0 || version != 0 || Number("SELECT count(*) FROM sqlite_master") != 0);
        if (foreign)
        {
            throw new StoreUnavailableException(
                $"'{path}' is a database of something else, and leases have a file of their own. Name another path in "
                    + "Scheduler:Locks:ConnectionString.",
                permanent: true
            );
        }
        if (version > SchemaVersion)
        {
            throw new StoreUnavailableException(
                $"The SQLite locks '{path}' have schema version {version}, and this release knows version {SchemaVersion} at most. Run "
                    + "the newer release, or stop all replicas and delete the file; it holds no records, only the leases of running jobs.",
                permanent: true
            );
        }
        return version == 0;
    }

    private void Create(Action<LeaseDatabase> whenNew)
    {
        Begin();
        Execute(Statement.TextOf("schema"));
        WriteMeta("id", Guid.NewGuid().ToString("n"));
        whenNew(this);
        Commit();
    }

    private long Number(string sql)
    {
        using var command = Command(sql);
        return Convert.ToInt64(command.ExecuteScalar(), CultureInfo.InvariantCulture);
    }

    private void Execute(string sql)
    {
        using var command = Command(sql);
        command.ExecuteNonQuery();
    }

    // Texts of this class and of embedded files only.
#pragma warning disable CA2100
    private SqliteCommand Command(string sql) => new(sql, _connection);
#pragma warning restore CA2100
}
