namespace Scheduler.Bench;

/// <summary>What was asked for on the command line.</summary>
/// <param name="Command"><c>locks</c>, <c>ledger</c>, <c>history</c>, <c>fires</c>, <c>members</c> or <c>webhooks</c>.</param>
/// <param name="Stores">Which stores, in the order of the tables.</param>
/// <param name="JsonFile">Where to write everything, or <see langword="null"/>.</param>
/// <param name="Quick">Whether only the mechanics count: everything short.</param>
/// <param name="Rounds">How often each measurement is repeated.</param>
/// <param name="Processes">With how many processes <c>fires</c> measures.</param>
/// <param name="Replicas">With how many replicas <c>members</c> measures.</param>
/// <param name="Parts">What of <c>webhooks</c> is measured.</param>
/// <param name="CommandLine">The command as it was given.</param>
internal sealed record Plan(
    string Command,
    IReadOnlyList<string> Stores,
    string? JsonFile,
    bool Quick,
    int Rounds,
    IReadOnlyList<int> Processes,
    int Replicas,
    IReadOnlyList<string> Parts,
    string CommandLine
)
{
    /// <summary>How long cycles run before the first measurement, until the compiler has done with them.</summary>
    public TimeSpan Compile => Quick ? TimeSpan.Zero : TimeSpan.FromSeconds(3);

    /// <summary>How long one closed loop runs before it counts.</summary>
    public TimeSpan WarmUp => Quick ? TimeSpan.FromMilliseconds(100) : TimeSpan.FromMilliseconds(700);

    /// <summary>How long one closed loop is counted.</summary>
    public TimeSpan Counted => Quick ? TimeSpan.FromMilliseconds(200) : TimeSpan.FromSeconds(3);
}

/// <summary>The command line is wrong; the message says what is allowed.</summary>
internal sealed class UsageException(string message) : Exception(message);
