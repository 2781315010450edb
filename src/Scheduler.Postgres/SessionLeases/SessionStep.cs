using Scheduler.Locking;

namespace Scheduler.Postgres.SessionLeases;

/// <summary>Something that is sent over the session, alone or with others; its answer is kept in it.</summary>
internal abstract class SessionStep
{
    /// <summary>Why it was refused by the server, if it was; the session goes on.</summary>
    public Exception? Error { get; set; }
}

/// <summary>Asks for a lock; the answer is in the grant.</summary>
internal sealed class TakeStep(Grant grant) : SessionStep
{
    public Grant Grant => grant;
}

/// <summary>Lets go of a lock.</summary>
internal sealed class EndStep(Grant grant) : SessionStep
{
    public Grant Grant => grant;

    public ReleaseResult Result { get; set; }
}

/// <summary>Notes what is held.</summary>
internal sealed class NoteStep(long age) : SessionStep
{
    /// <summary>How long a grant must have been held, by the clock of <see cref="OwnGrants"/>.</summary>
    public long Age => age;
}

/// <summary>Moves the ends of grants.</summary>
internal sealed class RenewStep(IReadOnlyList<RenewalItem> batch) : SessionStep
{
    public IReadOnlyList<RenewalItem> Batch => batch;

    public RenewalReply? Reply { get; set; }
}

/// <summary>Asks which of other sessions have ended; of none, only whether this one lives.</summary>
internal sealed class EndedStep(long[] sessions) : SessionStep
{
    public long[] Sessions => sessions;

    public long[] Ended { get; set; } = [];
}

/// <summary>Begins to listen.</summary>
internal sealed class ListenStep : SessionStep;

/// <summary>Ends the session, which nobody uses any more.</summary>
internal sealed class CloseStep : SessionStep;
