using Scheduler.Auditing;
using Scheduler.Inbox;
using Scheduler.Locking;

namespace Scheduler.Runs;

/// <summary>One trigger's definition as State keeps it.</summary>
/// <param name="Job">The job.</param>
/// <param name="Trigger">The trigger.</param>
/// <param name="Fingerprint">Identifies the definition.</param>
/// <param name="Since">When State first saw this definition; occurrences before it were never due.</param>
/// <param name="SettledUntil">Every due occurrence up to here has a row or was left out by policy; nothing before it is looked at
/// again.</param>
public sealed record ScheduleRecord(string Job, string Trigger, string Fingerprint, DateTimeOffset Since, DateTimeOffset SettledUntil);

/// <summary>A definition of a trigger.</summary>
/// <param name="Job">The job.</param>
/// <param name="Trigger">The trigger.</param>
/// <param name="Fingerprint">Identifies the definition.</param>
public readonly record struct ScheduleKey(string Job, string Trigger, string Fingerprint);

/// <summary>How far a definition of a trigger is settled.</summary>
/// <param name="Definition">The definition.</param>
/// <param name="Until">See <see cref="ScheduleRecord.SettledUntil"/>.</param>
public readonly record struct SettledSchedule(ScheduleKey Definition, DateTimeOffset Until);

/// <summary>The definitions of triggers that the group has used, and how far their past is settled. Thread-safe.</summary>
public interface IScheduleLedger
{
    /// <summary>How many definitions one call takes at most.</summary>
    public const int MaxBatch = 500;

    /// <summary>
    /// Reports that this replica has definitions; the first report creates one with since = settled until = <paramref name="now"/>, or 10 s
    /// later where a living replica has another one of the same trigger: until then that one counts. A report of one that is not the newest
    /// any more makes it the newest again, from now on, because the rows of the time before may have been pruned; but not while a living
    /// replica has a newer one.
    /// </summary>
    /// <param name="definitions">At most <see cref="MaxBatch"/>, each once.</param>
    /// <param name="now">The replica's wall clock.</param>
    /// <param name="cancellationToken">Ends the call.</param>
    /// <returns>What is recorded of each, in the same order.</returns>
    ValueTask<IReadOnlyList<ScheduleRecord>> ObserveAsync(
        IReadOnlyList<ScheduleKey> definitions,
        DateTimeOffset now,
        CancellationToken cancellationToken
    );

    /// <summary>Says which definitions a replica has, all of them; it lives as long as its heartbeat is younger than 6 s and says that it
    /// runs.</summary>
    /// <param name="replica">The replica's id.</param>
    /// <param name="definitions">Each trigger once.</param>
    /// <param name="now">The replica's wall clock.</param>
    /// <param name="cancellationToken">Ends the call.</param>
    ValueTask HoldAsync(string replica, IReadOnlyList<ScheduleKey> definitions, DateTimeOffset now, CancellationToken cancellationToken);

    /// <summary>Lists the definitions of triggers of which living replicas have different ones: for each trigger those that they have, the
    /// newest last. That one counts from its <see cref="ScheduleRecord.Since"/> on, the one before it until then.</summary>
    ValueTask<IReadOnlyList<ScheduleRecord>> ContestedAsync(CancellationToken cancellationToken);

    /// <summary>Moves <see cref="ScheduleRecord.SettledUntil"/> forward; an earlier time changes nothing.</summary>
    /// <param name="settled">At most <see cref="MaxBatch"/>, each definition once.</param>
    /// <param name="cancellationToken">Ends the call.</param>
    ValueTask SettleAsync(IReadOnlyList<SettledSchedule> settled, CancellationToken cancellationToken);

    /// <summary>Lists all definitions of the group.</summary>
    ValueTask<IReadOnlyList<ScheduleRecord>> ListAsync(CancellationToken cancellationToken);
}

/// <summary>A replica as the group sees it.</summary>
public sealed record MemberRecord
{
    /// <summary>The replica's id.</summary>
    public required string Id { get; init; }

    /// <summary>The replica's name.</summary>
    public required string Name { get; init; }

    /// <summary>When it started, by its own wall clock.</summary>
    public required DateTimeOffset StartedAt { get; init; }

    /// <summary>Its wall clock at the last heartbeat.</summary>
    public required DateTimeOffset WallClock { get; init; }

    /// <summary>Its boot clock at the last heartbeat, since the boot of its host.</summary>
    public required TimeSpan BootClock { get; init; }

    /// <summary>Where its operations address is, if it has one.</summary>
    public string? OperationsUrl { get; init; }

    /// <summary>The names of the jobs that it has.</summary>
    public IReadOnlyList<string> Jobs { get; init; } = [];

    /// <summary>The id of the lock store of which it may hold leases; <see langword="null"/> for none, or of a build that does not
    /// say.</summary>
    public string? LockStore { get; init; }

    /// <summary>What it does: <c>running</c>, <c>stopping</c>, <c>starting</c> before it has compared its wall clock, or
    /// <c>clockOff</c> while that is wrong and it fires nothing.</summary>
    public string Status { get; init; } = "running";

    /// <summary>How long ago State got the last heartbeat, by State's clock; set by State.</summary>
    public TimeSpan Age { get; init; }
}

/// <summary>Who is in the group.</summary>
/// <param name="Items">The members.</param>
/// <param name="Now">The clock of State when it answered, by which all members measure; where State has no clock of its own, this
/// replica's.</param>
public sealed record MemberList(IReadOnlyList<MemberRecord> Items, DateTimeOffset Now)
{
    /// <summary>The pauses of jobs that may still matter; they come with this list because every replica asks for it.</summary>
    public IReadOnlyList<JobPause> Pauses { get; init; } = [];

    /// <summary>The id of the lock store that the group is paired with, if it is.</summary>
    public string? LockStore { get; init; }

    /// <summary>Whether <see cref="Now"/> is of a clock of State's own, which tells the replicas which of theirs are wrong.</summary>
    public bool HasClock { get; init; }
}

/// <summary>The replicas of the group. Thread-safe.</summary>
public interface IMemberRegistry
{
    /// <summary>Writes this replica's row.</summary>
    ValueTask HeartbeatAsync(MemberRecord member, CancellationToken cancellationToken);

    /// <summary>
    /// Writes this replica's row and lists the members, as <see cref="HeartbeatAsync"/> and <see cref="ListAsync"/> do, for a networked
    /// State in one statement. The own row may be missing from the list, or be there as it was before. What has not changed of a member
    /// since the answer before may be that answer's: jobs that it got later are listed within a minute.
    /// </summary>
    ValueTask<MemberList> HeartbeatAndListAsync(MemberRecord member, TimeSpan maxAge, CancellationToken cancellationToken);

    /// <summary>Deletes a replica's row.</summary>
    ValueTask LeaveAsync(string id, CancellationToken cancellationToken);

    /// <summary>Lists the members whose last heartbeat is younger than <paramref name="maxAge"/>; deletes rows older than a day.</summary>
    ValueTask<MemberList> ListAsync(TimeSpan maxAge, CancellationToken cancellationToken);
}

/// <summary>
/// The records that outlive a run. One State serves one group per instance; its rows of other groups are not seen. Thread-safe.
/// </summary>
public interface IState : IAsyncDisposable
{
    /// <summary>The backend's name in the configuration, for example <c>sqlite</c>.</summary>
    string Name { get; }

    /// <summary>The level that it reaches; known when it has been opened.</summary>
    Level Level { get; }

    /// <summary>Why it reaches no better level and how it would, as a sentence of its server; <see langword="null"/> if that is not
    /// known, or it could not be better.</summary>
    string? Weakness => null;

    /// <summary>The run ledger.</summary>
    IRunLedger Runs { get; }

    /// <summary>What happened to runs beyond what the ledger tells.</summary>
    IRunEvents Events { get; }

    /// <summary>How often fires did nothing.</summary>
    IRunSkips Skips { get; }

    /// <summary>The schedules.</summary>
    IScheduleLedger Schedules { get; }

    /// <summary>The members.</summary>
    IMemberRegistry Members { get; }

    /// <summary>The events that senders of webhooks delivered.</summary>
    IInbox Inbox { get; }

    /// <summary>How replicas tell each other that the inbox may have something due; <see langword="null"/> where they have to look now and
    /// then.</summary>
    IInboxFeed? InboxFeed => null;

    /// <summary>The pauses of jobs.</summary>
    IJobPauses Pauses { get; }

    /// <summary>Who asked for which change.</summary>
    IAuditTrail Audit { get; }

    /// <summary>The lock store beside it.</summary>
    IPairLedger Pair { get; }

    /// <summary>Connects and applies migrations under a lock. Called once at start, again after a failure.</summary>
    /// <exception cref="StateUnavailableException">The State cannot be used; the message names place, value and remedy.</exception>
    ValueTask OpenAsync(CancellationToken cancellationToken);
}

/// <summary>The State could not answer in time, or must not be used. The message names the place and the remedy, never a secret.</summary>
public sealed class StateUnavailableException : Exception
{
    /// <summary>Creates the exception.</summary>
    /// <param name="message">Place, reason and remedy, without secrets.</param>
    /// <param name="innerException">What the driver threw, if anything.</param>
    /// <param name="permanent">Whether only a change of configuration or set-up helps, so that a starting host must stop.</param>
    /// <param name="ofOneCall">Whether the State answers other calls.</param>
    public StateUnavailableException(string message, Exception? innerException = null, bool permanent = false, bool ofOneCall = false)
        : base(message, innerException) => (IsPermanent, IsOfOneCall) = (permanent, ofOneCall);

    /// <summary>Whether only a change of configuration or set-up helps.</summary>
    public bool IsPermanent { get; }

    /// <summary>Whether it is about this call alone, for example for a row that somebody else has locked: the State is not down.</summary>
    public bool IsOfOneCall { get; }
}
