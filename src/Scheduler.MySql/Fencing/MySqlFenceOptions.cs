using System.Data;
using Scheduler.Fencing;

namespace Scheduler.MySql.Fencing;

/// <summary>How fenced transactions on a MySQL or MariaDB database of the application are run. Immutable.</summary>
public sealed record MySqlFenceOptions
{
    internal static readonly MySqlFenceOptions Default = new();

    /// <summary>How long a call may take with all its tries and waits, 100 ms to 10 minutes; default 10 s.</summary>
    public TimeSpan Limit { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>The isolation of the transaction; default <see cref="IsolationLevel.RepeatableRead"/>, as the server's. Its reads see what
    /// was committed when the fence was raised, because nothing is read before.</summary>
    public IsolationLevel Isolation { get; init; } = IsolationLevel.RepeatableRead;

    /// <summary>Refuses values out of their bounds.</summary>
    internal static void Check(MySqlFenceOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        FenceRules.CheckLimit(options.Limit);
        if (options.Isolation is IsolationLevel.Snapshot)
        {
            // Its snapshot would be taken before the fence is raised.
            throw new ArgumentException(
                $"The {nameof(Isolation)} of fenced transactions is {options.Isolation}, which reads what was there before the fence "
                    + $"stood. Use {IsolationLevel.RepeatableRead}.",
                nameof(options)
            );
        }
    }
}
