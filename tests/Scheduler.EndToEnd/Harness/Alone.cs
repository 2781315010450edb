namespace Scheduler.EndToEnd.Harness;

/// <summary>
/// The scenarios that judge times, count on bodies that are not held up (of an every-second job none may overlap the next), or build:
/// they have the machine to themselves, after all others. The others run two at once, since most of what they do is to wait for a lease
/// to end.
/// </summary>
[CollectionDefinition(Name, DisableParallelization = true)]
public sealed class Alone
{
    public const string Name = "alone";
}
