using Scheduler.Leases;

namespace Scheduler.Runs;

/// <summary>How occurrences are remembered: in the ledger, or without State as leases that outlive the body.</summary>
internal interface IRunClaims
{
    /// <summary>Records that the holder of the lease runs this fire now.</summary>
    /// <exception cref="StateUnavailableException">No answer in time: the outcome is unknown; hand the fire to
    /// <see cref="ResolveAsync"/>.</exception>
    ValueTask<ClaimAnswer> ClaimAsync(FireRequest fire, Lease lease, CancellationToken cancellationToken);

    /// <summary>Records the end of an attempt.</summary>
    /// <returns>Whether it was accepted; refused when the attempt is not the newest claim any more.</returns>
    /// <exception cref="StateUnavailableException">No answer in time: try again.</exception>
    ValueTask<bool> CompleteAsync(ClaimAnswer.Claimed claim, Completion completion, CancellationToken cancellationToken);

    /// <summary>Finds out whether a claim without an answer took effect, and hands the run back if it did.</summary>
    /// <exception cref="StateUnavailableException">No answer in time: try again.</exception>
    ValueTask ResolveAsync(FireRequest fire, Lease lease, CancellationToken cancellationToken);
}

/// <summary>The answer to a claim.</summary>
internal abstract record ClaimAnswer
{
    private ClaimAnswer() { }

    /// <summary>The body may run.</summary>
    /// <param name="RunId">The run's id.</param>
    /// <param name="Attempt">The number of this attempt.</param>
    /// <param name="Failures">How many attempts have failed before.</param>
    /// <param name="OccurrenceLease">Without State: the lease that remembers the occurrence.</param>
    public sealed record Claimed(string RunId, int Attempt, int Failures = 0, Lease? OccurrenceLease = null) : ClaimAnswer;

    /// <summary>There is nothing to run.</summary>
    /// <param name="Reason">Why, for people.</param>
    /// <param name="Holder">The replica that has or had the run.</param>
    /// <param name="Event">What the claim did to the run, if anything.</param>
    public sealed record NotOurs(string Reason, string? Holder, RunEvent? Event = null) : ClaimAnswer;

    /// <summary>The store behind the claims did not answer and nothing was recorded.</summary>
    /// <param name="Reason">Why.</param>
    public sealed record Unavailable(string Reason) : ClaimAnswer;
}
