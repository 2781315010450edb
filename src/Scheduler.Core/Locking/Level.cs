namespace Scheduler.Locking;

/// <summary>What a store, or a job, takes exclusion to be worth. The order counts: a weaker level is a smaller value.</summary>
public enum Level
{
    /// <summary>A rare double run costs money only: the store may forget a grant when it loses a node.</summary>
    Efficiency = 0,

    /// <summary>The store survives the loss of a node without forgetting a grant.</summary>
    Correctness = 1,
}
