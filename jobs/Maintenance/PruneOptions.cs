namespace Payments.Jobs.Maintenance;

/// <summary>How long the history of runs is kept.</summary>
public sealed class PruneOptions
{
    /// <summary>The age at which a finished run is deleted, 1 minute to 36,500 days; default 30 days.</summary>
    public TimeSpan KeepRuns { get; set; } = TimeSpan.FromDays(30);
}
