namespace Payments.Jobs;

/// <summary>Where the payments jobs find and leave things: section <c>Payments</c> of the configuration.</summary>
/// <remarks>Relative paths are relative to the process's current directory. Replicas that share the work must name the same
/// places.</remarks>
public sealed class PaymentsOptions
{
    /// <summary>The section's name.</summary>
    public const string Section = "Payments";

    /// <summary>The SQLite database of the payments; default <c>Data Source=data/payments.db</c>. It is created when missing.</summary>
    public string Database { get; set; } = "Data Source=data/payments.db";

    /// <summary>Where files with payments arrive; default <c>data/inbox</c>.</summary>
    public string Inbox { get; set; } = "data/inbox";

    /// <summary>Where imported files go; default <c>data/done</c>. On the inbox's file system, so that the move is atomic.</summary>
    public string Done { get; set; } = "data/done";

    /// <summary>Where the lines that could not be taken are listed, and files that are no payments file go; default
    /// <c>data/rejects</c>.</summary>
    public string Rejects { get; set; } = "data/rejects";

    /// <summary>Where the daily reports are written; default <c>data/reports</c>.</summary>
    public string Reports { get; set; } = "data/reports";

    /// <summary>How long a file must have been left alone before it is imported, 0 to 1 hour; default 2 seconds.</summary>
    public TimeSpan InboxQuiet { get; set; } = TimeSpan.FromSeconds(2);

    /// <summary>How many lines one transaction of the import takes, 1 to 10,000; default 500.</summary>
    public int BatchSize { get; set; } = 500;
}
