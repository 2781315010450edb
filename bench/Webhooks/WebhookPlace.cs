namespace Scheduler.Bench.Webhooks;

/// <summary>Where one group keeps its locks, events and effects; empty at first.</summary>
/// <param name="Group">A name of its own.</param>
/// <param name="Locks">The lock store's name in the configuration.</param>
/// <param name="LocksAddress">Its connection string.</param>
/// <param name="State">The State's name in the configuration.</param>
/// <param name="StateAddress">Its connection string; the floors have a database beside it.</param>
/// <param name="Folder">A folder of its own.</param>
internal sealed record WebhookPlace(string Group, string Locks, string LocksAddress, string State, string StateAddress, string Folder);
