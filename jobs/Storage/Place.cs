using Microsoft.Data.Sqlite;

namespace Payments.Jobs.Storage;

/// <summary>A folder or file with the setting that names it: turns the system's errors into ones that say where and what to do.</summary>
/// <param name="What">What it is for, for example <c>inbox folder</c>.</param>
/// <param name="Path">Where it is.</param>
/// <param name="Setting">The configuration key that names it.</param>
internal sealed record Place(string What, string Path, string Setting)
{
    private const int NoSpaceOnUnix = 28;
    private const int QuotaOnUnix = 122;
    private const int ReadOnlyFileSystemOnUnix = 30;
    private const int DiskFullOnWindows = unchecked((int)0x80070070);

    // Result codes of SQLite (sqlite.org/rescode.html).
    private const int SqliteReadOnly = 8;
    private const int SqliteInputOutput = 10;
    private const int SqliteCorrupt = 11;
    private const int SqliteFull = 13;
    private const int SqliteCannotOpen = 14;
    private const int SqliteNotADatabase = 26;

    /// <summary>Creates the folder when it is missing.</summary>
    /// <exception cref="PaymentsStorageException">It cannot be created.</exception>
    public void EnsureFolder() => Guard(() => Directory.CreateDirectory(Path));

    /// <summary>Runs an action on the place.</summary>
    /// <exception cref="PaymentsStorageException">The system refused it.</exception>
    public T Guard<T>(Func<T> action)
    {
        try
        {
            return action();
        }
        catch (Exception e) when (Cause(e) is not null)
        {
            throw Explained(e);
        }
    }

    /// <summary>Runs an action on the place.</summary>
    /// <exception cref="PaymentsStorageException">The system refused it.</exception>
    public async ValueTask<T> GuardAsync<T>(Func<ValueTask<T>> action)
    {
        try
        {
            return await action();
        }
        catch (Exception e) when (Cause(e) is not null)
        {
            throw Explained(e);
        }
    }

    /// <summary>Runs an action on the place.</summary>
    /// <exception cref="PaymentsStorageException">The system refused it.</exception>
    public async ValueTask GuardAsync(Func<ValueTask> action) =>
        await GuardAsync(async () =>
        {
            await action();
            return true;
        });

    private PaymentsStorageException Explained(Exception e)
    {
        var (reason, remedy) = Cause(e)!.Value;
        return new PaymentsStorageException($"The {What} '{Path}' cannot be used: {reason.TrimEnd('.')}. Remedy: {remedy}.", e);
    }

    private (string Reason, string Remedy)? Cause(Exception e) =>
        e switch
        {
            UnauthorizedAccessException => ("access is denied", $"give the worker's user read and write permission, or change {Setting}"),
            IOException { HResult: NoSpaceOnUnix or QuotaOnUnix or DiskFullOnWindows } => (
                "the disk or quota is full",
                "free space; nothing is lost, the next run goes on"
            ),
            IOException { HResult: ReadOnlyFileSystemOnUnix } => (
                "the file system is read-only",
                $"mount it writable, or change {Setting}"
            ),
            DirectoryNotFoundException => ("the folder does not exist", $"create it, or change {Setting}"),
            IOException => (e.Message, $"repair it, or change {Setting}"),
            SqliteException { SqliteErrorCode: SqliteFull } => (
                "the disk is full",
                "free space; the transaction was rolled back and the next run goes on"
            ),
            SqliteException { SqliteErrorCode: SqliteReadOnly or SqliteCannotOpen } => (
                "it cannot be opened for writing",
                $"give the worker's user write permission for the file and its folder, or change {Setting}"
            ),
            SqliteException { SqliteErrorCode: SqliteInputOutput or SqliteCorrupt or SqliteNotADatabase } => (
                e.Message,
                $"check the disk and the file, restore it if needed, or change {Setting}"
            ),
            _ => null,
        };
}
