using Microsoft.Data.Sqlite;

namespace Scheduler.Sqlite.Files;

/// <summary>What a failure of SQLite means for whoever runs the file.</summary>
internal enum SqliteFault
{
    /// <summary>None of the others.</summary>
    Other = 0,

    /// <summary>There is no space left.</summary>
    DiskFull,

    /// <summary>The file or its folder may not be written.</summary>
    NotWritable,

    /// <summary>Another program holds SQLite's own lock.</summary>
    InUse,

    /// <summary>The file is damaged or of another kind.</summary>
    NotADatabase,

    /// <summary>A value is too large, or breaks a rule of its table.</summary>
    NotKept,
}

/// <summary>Sorts failures of SQLite by its result codes (https://sqlite.org/rescode.html). Stateless and thread-safe.</summary>
internal static class SqliteFaults
{
    /// <summary>What it means.</summary>
    public static SqliteFault Fault(this SqliteException problem) =>
        problem.SqliteErrorCode switch
        {
            13 => SqliteFault.DiskFull,
            3 or 8 or 14 => SqliteFault.NotWritable,
            5 or 6 => SqliteFault.InUse,
            11 or 26 => SqliteFault.NotADatabase,
            18 or 19 => SqliteFault.NotKept,
            _ => SqliteFault.Other,
        };

    /// <summary>Whether waiting does not mend it.</summary>
    public static bool IsPermanent(this SqliteException problem) => problem.Fault() is SqliteFault.NotWritable or SqliteFault.NotADatabase;

    /// <summary>What is left to say about one that is none of the known: SQLite's own words.</summary>
    public static string Describe(this SqliteException problem, string path) =>
        $"{problem.Message} (code {problem.SqliteExtendedErrorCode}). Look at the disk under '{Path.GetDirectoryName(path)}'.";
}
