using System.Text.Json;

namespace Scheduler.Sqlite.Leases;

/// <summary>Which State a group's locks belong to, as the database of the leases keeps it among its own data.</summary>
/// <param name="Id">The State's id.</param>
/// <param name="Label">What an operator knows it by.</param>
/// <param name="Generation">The largest generation noted.</param>
/// <param name="Boot">The boot of the host in which it was confirmed last.</param>
/// <param name="ConfirmedAt">When, in nanoseconds of that boot's clock.</param>
internal sealed record StateNote(string Id, string Label, int Generation, string Boot, long ConfirmedAt)
{
    public static StateNote? Read(LeaseDatabase database, string group) =>
        database.ReadMeta(Name(group)) is { } text ? JsonSerializer.Deserialize<StateNote>(text) : null;

    public void Write(LeaseDatabase database, string group) => database.WriteMeta(Name(group), JsonSerializer.Serialize(this));

    private static string Name(string group) => $"state:{group}";
}
