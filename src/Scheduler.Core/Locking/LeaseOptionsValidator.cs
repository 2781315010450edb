namespace Scheduler.Locking;

/// <summary>Checks <see cref="LeaseOptions"/> and the leases of single jobs; names both values where a ratio is wrong.</summary>
public static class LeaseOptionsValidator
{
    /// <summary>The shortest lease that options may ask for; the port itself takes shorter ones.</summary>
    public static readonly TimeSpan ShortestLease = TimeSpan.FromSeconds(1);

    /// <summary>The largest part of a lease that may pass between two renewals, so that one lost renewal never loses the lease.</summary>
    public const double LargestRenewalShare = 0.4;

    /// <summary>Finds everything that is wrong.</summary>
    /// <param name="options">The options in question.</param>
    /// <param name="section">Where they stand in the configuration, for example <c>Scheduler:Locks</c>.</param>
    /// <returns>One sentence per error: key, value, what is allowed.</returns>
    public static IEnumerable<string> Validate(LeaseOptions options, string section)
    {
        ArgumentNullException.ThrowIfNull(options);
        if (options.LongestLease < ShortestLease || options.LongestLease > TimeSpan.FromMinutes(10))
        {
            yield return $"{section}:LongestLease is {options.LongestLease}; allowed is 00:00:01 to 00:10:00.";
        }
        foreach (var problem in ValidateLease(options.LeaseDuration, options, $"{section}:LeaseDuration"))
        {
            yield return problem;
        }
        if (options.RenewalInterval is { } interval && interval < TimeSpan.FromMilliseconds(100))
        {
            yield return $"{section}:RenewalInterval is {interval}; it must be at least 00:00:00.1.";
        }
        if (options.CallTimeout < TimeSpan.FromMilliseconds(10) || options.CallTimeout > TimeSpan.FromSeconds(10))
        {
            yield return $"{section}:CallTimeout is {options.CallTimeout}; allowed is 00:00:00.01 to 00:00:10.";
        }
        if (options.ProbeInterval < TimeSpan.FromMilliseconds(10) || options.ProbeInterval > TimeSpan.FromMinutes(1))
        {
            yield return $"{section}:ProbeInterval is {options.ProbeInterval}; allowed is 00:00:00.01 to 00:01:00.";
        }
        if (options.MaxPendingDrops is < 1 or > 1_000_000)
        {
            yield return $"{section}:MaxPendingDrops is {options.MaxPendingDrops}; allowed is 1 to 1000000.";
        }
        if (options.MaxNotifierThreads is < 1 or > 1_000)
        {
            yield return $"{section}:MaxNotifierThreads is {options.MaxNotifierThreads}; allowed is 1 to 1000.";
        }
    }

    /// <summary>Checks one lease duration against the options: the shortest, the longest, and the renewal interval.</summary>
    /// <param name="lease">The duration.</param>
    /// <param name="options">The options that it must fit.</param>
    /// <param name="setting">The key in the configuration that carries the duration.</param>
    public static IEnumerable<string> ValidateLease(TimeSpan lease, LeaseOptions options, string setting)
    {
        ArgumentNullException.ThrowIfNull(options);
        if (lease < ShortestLease)
        {
            yield return $"{setting} is {lease}; a lease must last at least {ShortestLease}.";
        }
        if (lease > options.LongestLease)
        {
            yield return $"{setting} is {lease}, longer than LongestLease = {options.LongestLease}; "
                + "shorten the lease or raise LongestLease.";
        }
        if (options.RenewalInterval is { } interval && interval > lease * LargestRenewalShare)
        {
            yield return $"{setting} is {lease}, too short for RenewalInterval = {interval}: the interval may be at most "
                + $"{LargestRenewalShare:P0} of the lease ({lease * LargestRenewalShare}), so that one lost renewal does not lose it.";
        }
    }
}
