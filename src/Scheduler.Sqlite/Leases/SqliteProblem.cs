using Microsoft.Data.Sqlite;
using Scheduler.Locking;
using Scheduler.Sqlite.Files;

namespace Scheduler.Sqlite.Leases;

/// <summary>Says what a failure of SQLite or of the file system means for whoever runs the locks, and what to do.</summary>
internal static class SqliteProblem
{
    /// <summary>Wraps a failure.</summary>
    /// <param name="path">The database.</param>
    /// <param name="problem">What was thrown.</param>
    public static StoreUnavailableException Explain(string path, Exception problem) =>
        problem switch
        {
            StoreUnavailableException known => known,
            SqliteException sqlite => new StoreUnavailableException(
                $"The SQLite locks '{path}' cannot be used: {Reason(path, sqlite)}",
                sqlite,
                permanent: sqlite.IsPermanent()
            ),
            IOException or UnauthorizedAccessException => new StoreUnavailableException(
                $"The files of the SQLite locks '{path}' cannot be used: {problem.Message} The account that runs the replica needs write "
                    + $"permission for the folder '{Path.GetDirectoryName(path)}' and the files in it, or name another place in "
                    + "Scheduler:Locks:ConnectionString.",
                problem,
                permanent: true
            ),
            _ => new StoreUnavailableException($"The SQLite locks '{path}' failed: {problem.Message}", problem),
        };

    private static string Reason(string path, SqliteException problem) =>
        problem.Fault() switch
        {
            SqliteFault.DiskFull => $"the disk is full. Free some space on the file system of '{Path.GetDirectoryName(path)}'.",
            SqliteFault.NotWritable =>
                $"the file cannot be opened for writing ({problem.Message}). Give the account that runs the replica write permission for "
                    + $"the folder '{Path.GetDirectoryName(path)}' and the files in it.",
            SqliteFault.InUse =>
                "another program holds a lock on the file. Only the replicas of this host may use it: end shells and backups that have "
                    + "it open.",
            SqliteFault.NotADatabase =>
                $"the file is no intact SQLite database ({problem.Message}). Stop all replicas and delete it; it holds no records, only "
                    + "the leases of running jobs.",
            _ => problem.Describe(path),
        };
}
