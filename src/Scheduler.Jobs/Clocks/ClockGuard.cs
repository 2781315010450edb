using System.Globalization;
using Microsoft.Extensions.Logging;
using Scheduler.Jobs.Hosting;
using Scheduler.Jobs.Telemetry;
using Scheduler.Runs;

namespace Scheduler.Jobs.Clocks;

/// <summary>
/// Says whether this replica's wall clock is one to fire by. Each heartbeat compares it with State's, or with those of the other members
/// where State has none; between heartbeats every question compares it with the boot clock, so that a clock that is set tells nobody the
/// wrong time, not even once. Thread-safe.
/// </summary>
/// <param name="replica">This process.</param>
/// <param name="time">Its clocks, and the time that it fires by, which follows each comparison.</param>
/// <param name="maxOffset">How far it may be off.</param>
/// <param name="isWatched">Whether there is a State to compare with; without one it always is.</param>
/// <param name="logger">Where it is said.</param>
internal sealed class ClockGuard(ReplicaIdentity replica, GroupTime time, TimeSpan maxOffset, bool isWatched, ILogger<ClockGuard> logger)
{
    private const string NotCompared = "its wall clock has not been compared with the group's yet";

    // Three heartbeats: a row that is older says nothing of what its member's clock shows now.
    private static readonly TimeSpan Life = 3 * Heartbeat.Interval;

    // Less than this delays Quartz by no more than itself.
    private static readonly TimeSpan Leap = TimeSpan.FromSeconds(1);

    private readonly AlertMetrics _metrics = new(replica);
    private readonly Lock _gate = new();
    private ClockReference? _reference;
    private string? _problem = isWatched ? NotCompared : null;
    private DateTimeOffset? _seen;
    private bool _setBack;

    /// <summary>How far the clock may be off.</summary>
    public TimeSpan MaxOffset => maxOffset;

    /// <summary>Why this replica fires nothing now, or <see langword="null"/> when its clock is right; looks at the clock.</summary>
    public string? Problem
    {
        get
        {
            lock (_gate)
            {
                Judge(ClockReading.Take(time.Own));
                return _problem;
            }
        }
    }

    /// <summary>The group's time; also where the wall clock is off, as far as the right one is known. For rows that other replicas go
    /// by.</summary>
    public DateTimeOffset Now
    {
        get
        {
            lock (_gate)
            {
                var reading = ClockReading.Take(time.Own);
                Judge(reading);
                return _problem is null
                    ? time.BootedAt(reading) + reading.Boot
                    : reading.Wall - (_reference?.OffsetOf(reading) ?? TimeSpan.Zero);
            }
        }
    }

    /// <summary>What a heartbeat says of the replica, as far as its clock is concerned.</summary>
    public string Activity =>
        Problem switch
        {
            null => ReplicaStatus.Running,
            NotCompared => ReplicaStatus.Starting,
            _ => ReplicaStatus.ClockOff,
        };

    /// <summary>Whether the time that Quartz goes by was set back since this was asked for the last time.</summary>
    public bool TakeSetBack()
    {
        lock (_gate)
        {
            var setBack = _setBack;
            _setBack = false;
            return setBack;
        }
    }

    /// <summary>Compares the clock.</summary>
    /// <param name="members">The newest list of members.</param>
    /// <param name="asked">This replica's timestamp before it was asked for.</param>
    public void Observe(MemberList members, long asked)
    {
        ArgumentNullException.ThrowIfNull(members);
        lock (_gate)
        {
            var reading = ClockReading.Take(time.Own);
            // First by what was known: in a tie it counts what this replica takes its clock for.
            Judge(reading);
            _reference = members.HasClock
                ? ClockReference.OfState(members.Now, reading, time.GetElapsedTime(asked))
                : ClockReference.OfMembers(
                    new ClockWitness(replica.Id, replica.Name, reading.BootedAt, _problem is null),
                    [.. members.Items.Where(m => m.Id != replica.Id && m.Age < Life).Select(ClockWitness.Of)],
                    maxOffset
                );
            time.Follow(_reference, reading);
            if (_problem == NotCompared)
            {
                _problem = null;
            }
            Judge(reading);
            _metrics.Clock(_reference?.OffsetOf(reading) ?? TimeSpan.Zero, _problem is not null);
        }
    }

    // What is not sure changes nothing.
    private void Judge(ClockReading reading)
    {
        var shown = time.BootedAt(reading);
        _setBack |= _seen is { } seen && seen - shown > Leap;
        _seen = shown;
        if (_problem == NotCompared)
        {
            return;
        }
        if (_reference is { } reference && reference.OffsetOf(reading) is var offset && offset.Duration() > maxOffset)
        {
            var begins = _problem is null;
            _problem = Describe(offset, reference);
            if (begins)
            {
                JobLog.ClockOff(logger, _problem);
            }
        }
        else if (_problem is not null && (_reference?.IsNear(reading, maxOffset) ?? true))
        {
            _problem = null;
            JobLog.ClockRight(logger);
        }
    }

    private string Describe(TimeSpan offset, ClockReference reference) =>
        string.Create(
            CultureInfo.InvariantCulture,
            $"its wall clock is {offset.Duration().TotalSeconds:0.0} s {(offset > TimeSpan.Zero ? "ahead of" : "behind")} {reference.Of}, "
                + $"and {maxOffset.TotalSeconds:0.###} s are allowed (Scheduler:MaxClockOffset): it fires nothing; set the clock"
        );
}
