namespace Scheduler.EndToEnd.Harness;

/// <summary>
/// The scenarios that judge times or count on processes that are not held up: they have the machine to themselves, after all others.
/// The others run two at once, since most of what they do is to wait for a lease to end.
/// </summary>
[CollectionDefinition(Name, DisableParallelization = true)]
public sealed class Alone
{
    public const string Name = "alone";
}
