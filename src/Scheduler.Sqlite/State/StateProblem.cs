using Microsoft.Data.Sqlite;
using Scheduler.Runs;
using Scheduler.Sqlite.Files;

namespace Scheduler.Sqlite.State;

/// <summary>Says what a failure of SQLite or of the file system means for whoever runs the State, and what to do.</summary>
internal static class StateProblem
{
    /// <summary>Turns a failure of the place into what callers are told; others (wrong arguments) stay as they are.</summary>
    public static Exception Explain(string path, Exception problem) =>
        problem switch
        {
            SqliteException sqlite => new StateUnavailableException(
                $"The State '{path}' cannot be used: {Reason(path, sqlite)}",
                sqlite,
                permanent: sqlite.IsPermanent()
            ),
            IOException or UnauthorizedAccessException => new StateUnavailableException(
                $"The files of the State '{path}' cannot be used: {problem.Message} {Allow(path)}",
                problem,
                permanent: true
            ),
            _ => problem,
        };

    /// <summary>What a failure says of the rows of this call: that the table cannot keep one. Others are of the State, and stay as they
    /// are.</summary>
    public static Exception OfRows(string path, StateUnavailableException problem) =>
        problem.InnerException is SqliteException sqlite && sqlite.Fault() == SqliteFault.NotKept
#pragma warning disable MA0015 // Which of the values it was, nobody says.
            ? new ArgumentException($"The State '{path}' cannot keep a value of this call: {sqlite.Message}", sqlite)
#pragma warning restore MA0015
            : problem;

    /// <summary>Whether the disk is full.</summary>
    public static bool IsDiskFull(Exception problem) => problem is SqliteException sqlite && sqlite.Fault() == SqliteFault.DiskFull;

    /// <summary>Refuses a place on a file system of the network or of a user's program, where file locks do not hold.</summary>
    /// <param name="path">The absolute path of the database.</param>
    /// <param name="mountInfoFile">Where to read what is mounted; none for the host's own.</param>
    /// <exception cref="StateUnavailableException">It lies on such a one; permanent.</exception>
    public static void ThrowIfRemote(string path, string? mountInfoFile)
    {
        if (FileSystemRules.FindRefused(path, mountInfoFile) is { } refused)
        {
            throw new StateUnavailableException(
                $"The State '{path}' lies on the file system '{refused.Type}' (mounted on '{refused.MountPoint}'), where file locks do not "
                    + "keep processes apart reliably, so that records would be lost. Put it on a local disk of the one host that runs all "
                    + "replicas (Scheduler:State:ConnectionString).",
                permanent: true
            );
        }
    }

    /// <summary>Refuses to go on with a file that was deleted while in use.</summary>
    /// <exception cref="StateUnavailableException">It is not there.</exception>
    public static void ThrowIfDeleted(string path)
    {
        if (!File.Exists(path))
        {
            throw new StateUnavailableException(
                $"The file of the State '{path}' was deleted while in use, and the records with it. Stop all replicas, restore it from a "
                    + "backup and start them; without a backup they begin with an empty State."
            );
        }
    }

    private static string Reason(string path, SqliteException problem) =>
        problem.Fault() switch
        {
            SqliteFault.DiskFull =>
                $"the disk is full. Free space on the file system of '{Path.GetDirectoryName(path)}'; nothing else needs to be done.",
            SqliteFault.NotWritable => $"it cannot be opened for writing ({problem.Message}). {Allow(path)}",
            SqliteFault.InUse => "another program holds its lock. End shells and backups that write to it.",
            SqliteFault.NotADatabase =>
                $"it is no intact SQLite database ({problem.Message}). Stop all replicas and restore the file from a backup, or name "
                    + "another one in Scheduler:State:ConnectionString.",
            _ => problem.Describe(path),
        };

    private static string Allow(string path) =>
        $"Give the account that runs the replica write permission for the folder '{Path.GetDirectoryName(path)}' and the files in it, or "
        + "name another place in Scheduler:State:ConnectionString.";
}
