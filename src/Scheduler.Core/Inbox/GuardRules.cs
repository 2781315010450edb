namespace Scheduler.Inbox;

/// <summary>How long fences and notes of effects are kept at least, in every database.</summary>
internal static class GuardRules
{
    /// <summary>How many rows one step of pruning looks at; each step is a transaction of its own.</summary>
    public const int PruneStep = 1_000;

    private static readonly TimeSpan LeastFence = TimeSpan.FromDays(7);
    private static readonly TimeSpan LeastEffect = TimeSpan.FromDays(400);

    /// <summary>Refuses to forget a fence whose old holder may still be about: the token that a lock store gives next is greater only
    /// when the last one is a week old.</summary>
    public static void CheckFenceAge(TimeSpan idle) => ArgumentOutOfRangeException.ThrowIfLessThan(idle, LeastFence);

    /// <summary>Refuses to forget an effect whose event a person may still let come again.</summary>
    public static void CheckEffectAge(TimeSpan age) => ArgumentOutOfRangeException.ThrowIfLessThan(age, LeastEffect);
}
