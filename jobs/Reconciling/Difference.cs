namespace Payments.Jobs.Reconciling;

/// <summary>What inbox and payments disagree about, or what waits for a person.</summary>
/// <param name="Kind">What is wrong.</param>
/// <param name="Event">The event's id in the inbox; empty when it has none.</param>
/// <param name="Type">The event's type.</param>
/// <param name="Order">The order's key.</param>
/// <param name="At">When the event came, or the effect was applied.</param>
internal sealed record Difference(string Kind, string Event, string Type, string Order, string At)
{
    /// <summary>The event is done, and its effect is not there: the payments database was replaced or restored.</summary>
    public const string NoEffect = "done without effect";

    /// <summary>The effect is there, and neither payment nor refund: somebody changed the tables.</summary>
    public const string NoPayment = "effect without payment";

    /// <summary>The effect is there, and no event of the time that was compared: the inbox was replaced or restored.</summary>
    public const string NoEvent = "effect without event";

    /// <summary>The event is older than the patience and still not done.</summary>
    public const string Late = "not done yet";

    /// <summary>The event waits for a person.</summary>
    public const string Waiting = "waits for a person";
}

/// <summary>What a reconciliation found.</summary>
/// <param name="Events">How many events were compared.</param>
/// <param name="IsWhole">Whether all events of the time were; not when there were more than the bound.</param>
/// <param name="Differences">What is wrong, the newest first.</param>
internal sealed record Reconciliation(int Events, bool IsWhole, IReadOnlyList<Difference> Differences);
