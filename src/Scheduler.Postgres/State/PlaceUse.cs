namespace Scheduler.Postgres.State;

/// <summary>What a schema is used for: the names in messages and settings, and how it is told from those of others. Immutable.</summary>
internal sealed record PlaceUse
{
    private PlaceUse() { }

    /// <summary>The records.</summary>
    public static PlaceUse State { get; } =
        new()
        {
            Section = "Scheduler:State",
            What = "the State",
            Product = "scheduler-state",
            Migrations = "Scheduler.Postgres.State.Migrations.",
            LeastLimit = TimeSpan.FromSeconds(5),
            MostConnections = 8,
            WithoutSignals = "what they store is looked for every second",
            WhenDamaged = "Restore it from a backup; to begin with an empty State, drop the whole schema and start again.",
        };

    /// <summary>The leases. Their calls are short and hold up others of the same replica, so they are given up soon.</summary>
    public static PlaceUse Locks { get; } =
        new()
        {
            Section = "Scheduler:Locks",
            What = "the lock store",
            Product = "scheduler-locks",
            Migrations = "Scheduler.Postgres.Leases.Migrations.",
            PlansOnce = true,
            LeastLimit = TimeSpan.FromSeconds(1),
            MostConnections = 6,
            WithoutSignals = "who waits for a key looks every second",
            WhenDamaged = "It holds no records, only the leases of running jobs: stop all replicas, drop the whole schema and start again.",
        };

    /// <summary>What session locks need beside themselves.</summary>
    public static PlaceUse SessionLocks { get; } =
        new()
        {
            Section = "Scheduler:Locks",
            What = "the lock store",
            Product = "scheduler-session-locks",
            Migrations = "Scheduler.Postgres.SessionLeases.Migrations.",
            LeastLimit = TimeSpan.FromSeconds(1),
            MostConnections = 3,
            WithoutSignals = "who waits for a key looks every second",
            WhenDamaged = "It holds no records, only what running jobs hold: stop all replicas, drop the whole schema and start again.",
        };

    /// <summary>The section of the configuration.</summary>
    public required string Section { get; init; }

    /// <summary>What people call it, within a sentence.</summary>
    public required string What { get; init; }

    /// <summary>Whose the schema is, as it says itself.</summary>
    public required string Product { get; init; }

    /// <summary>What the names of its embedded migrations begin with.</summary>
    public required string Migrations { get; init; }

    /// <summary>
    /// Whether a prepared statement keeps one plan for all its values. Else the server makes a new one for lists of a single element, which
    /// it takes for the cheaper way; for statements that find rows by their keys whatever the plan it costs more than to run them.
    /// </summary>
    public bool PlansOnce { get; init; }

    /// <summary>The least time limit of a call.</summary>
    public required TimeSpan LeastLimit { get; init; }

    /// <summary>How many connections a replica uses at most, but for the one that listens.</summary>
    public required int MostConnections { get; init; }

    /// <summary>What replicas do while signals are not heard.</summary>
    public required string WithoutSignals { get; init; }

    /// <summary>What to do when something of the schema is gone.</summary>
    public required string WhenDamaged { get; init; }
}
