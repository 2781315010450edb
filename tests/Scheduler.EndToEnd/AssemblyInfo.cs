// Mostly they wait: two at once share the machine, and those that judge in fractions of a second have it alone.
[assembly: CollectionBehavior(MaxParallelThreads = 2)]

namespace Scheduler.EndToEnd.Scenarios;

/// <summary>Tests that have the machine alone, because they judge in fractions of a second.</summary>
[CollectionDefinition(Name, DisableParallelization = true)]
public sealed class Alone
{
    public const string Name = "alone";
}
