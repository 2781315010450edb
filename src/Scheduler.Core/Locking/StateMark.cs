namespace Scheduler.Locking;

/// <summary>Which State a lock store belongs to, as the store itself keeps it.</summary>
/// <param name="Id">The State's random id, or <see cref="NoState"/>.</param>
/// <param name="Label">What an operator knows the State by, without secrets; at most 200 characters.</param>
/// <param name="Generation">The largest generation of tokens that was noted, 0 to <see cref="FencingToken.MaxGeneration"/>.</param>
/// <param name="Age">How long ago a replica with this State last confirmed it, by the store's clock; set by the store.</param>
public sealed record StateMark(string Id, string Label, int Generation, TimeSpan Age = default)
{
    /// <summary>The id that stands for a group without State.</summary>
    public const string NoState = "none";
}
