using Scheduler.Locking;

namespace Scheduler.Postgres.SessionLeases;

/// <summary>What a lock of this replica's session is for. Everything that changes is under the lock of <see cref="OwnGrants"/>.</summary>
internal sealed class Grant(long word, in AcquireRequest request)
{
    /// <summary>The number of the advisory lock.</summary>
    public long Word => word;

    public LockKey Key { get; } = request.Key;

    public LeaseOwner Owner { get; } = request.Owner;

    public string Purpose { get; } = request.Purpose;

    public TimeSpan Duration { get; set; } = request.Duration;

    public GrantPhase Phase { get; set; }

    /// <summary>The grant's number, once it is held.</summary>
    public long Number { get; set; }

    /// <summary>When it was granted and when its session lets go of it, by the clock of <see cref="OwnGrants"/>.</summary>
    public long Since { get; set; }

    public long End { get; set; }

    /// <summary>Whether its note was sent.</summary>
    public bool IsNoted { get; set; }

    /// <summary>Who has the lock, when the question was refused and its holder's note was there.</summary>
    public HolderNote? RefusedBy { get; set; }

    /// <summary>Ends the wait of those of this replica who asked for the same lock meanwhile; made when there is one.</summary>
    public TaskCompletionSource? Answered { get; set; }
}

/// <summary>How far a lock is.</summary>
internal enum GrantPhase
{
    /// <summary>The server is asked for it.</summary>
    Asking = 0,

    /// <summary>The session has it.</summary>
    Held,

    /// <summary>It is being let go.</summary>
    Ending,
}

/// <summary>What a note tells of a lock that another session has.</summary>
/// <param name="Group">The group of the key.</param>
/// <param name="Key">The key; another one than was asked for when both have the same number.</param>
/// <param name="Session">The lock that the holder's session keeps.</param>
/// <param name="Replica">The holder.</param>
/// <param name="Purpose">What the grant serves.</param>
/// <param name="Number">The grant's number.</param>
/// <param name="Until">Its end by the server's clock, in microseconds since 1970; each renewal changes it.</param>
/// <param name="Remaining">How long it lasts; negative when it should have ended.</param>
/// <param name="Lasts">How long a renewal lets it last.</param>
/// <param name="IsRevoked">Whether a forced release was asked for.</param>
internal sealed record HolderNote(
    string Group,
    string Key,
    long Session,
    string Replica,
    string Purpose,
    long Number,
    long Until,
    TimeSpan Remaining,
    TimeSpan Lasts,
    bool IsRevoked
);
