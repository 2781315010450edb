namespace Scheduler.Runs;

/// <summary>How the time between the attempts of a failing run grows.</summary>
public enum RetryBackoff
{
    /// <summary>It stays the same (default).</summary>
    Fixed = 0,

    /// <summary>It doubles with each failure.</summary>
    Exponential,
}

/// <summary>How often a run is tried whose body fails, and when. Immutable and thread-safe.</summary>
public sealed record RetryRule
{
    /// <summary>The largest <see cref="MaxAttempts"/>.</summary>
    public const int MostAttempts = 1_000;

    /// <summary>The largest <see cref="Delay"/> and <see cref="MaxDelay"/>.</summary>
    public static readonly TimeSpan LongestDelay = TimeSpan.FromDays(7);

    /// <summary>One attempt, and a failure is final.</summary>
    public static RetryRule None { get; } = new();

    /// <summary>How many attempts may fail; the last one makes the run dead. 1 (default): the first failure is final; at most
    /// <see cref="MostAttempts"/>.</summary>
    public int MaxAttempts { get; init; } = 1;

    /// <summary>The time from a failure to the next attempt. Default 10 s; 0 to <see cref="LongestDelay"/>.</summary>
    public TimeSpan Delay { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>How it grows. Default: not at all.</summary>
    public RetryBackoff Backoff { get; init; }

    /// <summary>Where it ends to grow. Default 1 h; <see cref="Delay"/> to <see cref="LongestDelay"/>.</summary>
    public TimeSpan MaxDelay { get; init; } = TimeSpan.FromHours(1);

    /// <summary>By which share of itself it is longer or shorter at random, so that what failed together is not tried together. Default
    /// 0.2; 0 to 1.</summary>
    public double Jitter { get; init; } = 0.2;

    /// <summary>Whether a run is tried again at all.</summary>
    public bool IsConfigured => MaxAttempts > 1;

    /// <summary>How long to wait after a failure.</summary>
    /// <param name="failures">How many attempts have failed, with this one.</param>
    /// <param name="random">A number from 0 to 1.</param>
    /// <returns>The time, or <see langword="null"/> when the attempts are used up.</returns>
    public TimeSpan? After(int failures, double random)
    {
        if (failures >= MaxAttempts)
        {
            return null;
        }
        var seconds =
            Backoff == RetryBackoff.Fixed
                ? Delay.TotalSeconds
                : Math.Min(Delay.TotalSeconds * Math.Pow(2, failures - 1), MaxDelay.TotalSeconds);
        return TimeSpan.FromSeconds(seconds * (1 + (Jitter * ((2 * random) - 1))));
    }
}
