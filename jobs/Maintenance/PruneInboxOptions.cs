namespace Payments.Jobs.Maintenance;

/// <summary>How long events of webhooks are kept.</summary>
public sealed class PruneInboxOptions
{
    /// <summary>The age at which a finished event loses its body, 1 hour to 36,500 days; default 30 days.</summary>
    public TimeSpan KeepBodies { get; set; } = TimeSpan.FromDays(30);

    /// <summary>The age at which a dead event loses its body, counted from its arrival, 1 to 36,500 days; default 90 days.</summary>
    public TimeSpan KeepDead { get; set; } = TimeSpan.FromDays(90);

    /// <summary>The age at which a finished event without its body is deleted, 400 to 36,500 days; default 400 days; 0: never.</summary>
    public TimeSpan KeepKeys { get; set; } = TimeSpan.FromDays(400);

    /// <summary>How many quarantined events of a source keep their body, the newest ones, 0 to 1,000,000; default 10,000.</summary>
    public int KeepQuarantined { get; set; } = 10_000;

    /// <summary>The sources; of others no quarantined event loses its body. Default: none.</summary>
    public IReadOnlyList<string> Sources { get; set; } = [];

    /// <summary>The sources whose signatures cover a time, so that an old delivery is refused for its age: only their events are ever
    /// deleted. Default: none.</summary>
    public IReadOnlyList<string> TimedSources { get; set; } = [];
}
