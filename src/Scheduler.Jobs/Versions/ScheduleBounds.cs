using System.Collections.Concurrent;
using Scheduler.Runs;

namespace Scheduler.Jobs.Versions;

/// <summary>
/// Between which times this replica's definitions of triggers count: from when State saw one on, and, while a living replica has a newer
/// one, until that counts. Fires outside of them claim nothing. Triggers that came to Quartz after the start have no bounds. Thread-safe.
/// </summary>
internal sealed class ScheduleBounds
{
    private readonly ConcurrentDictionary<(string Job, string Trigger), Bound> _bounds = new();

    /// <summary>Expects definitions: until State was asked they count for nothing.</summary>
    public void Expect(IEnumerable<ScheduleKey> definitions)
    {
        foreach (var definition in definitions)
        {
            _bounds[(definition.Job, definition.Trigger)] = new Bound(definition.Fingerprint, IsKnown: false, From: null, Until: null);
        }
    }

    /// <summary>Takes what State says of a definition of this replica.</summary>
    /// <param name="record">What it says.</param>
    /// <param name="now">This replica's wall clock: only what is announced, and does not count yet, has a first instant. Any other is not
    /// asked about again, so that a clock that is set back stops nothing.</param>
    public void Begin(ScheduleRecord record, DateTimeOffset now) =>
        Change(record.Job, record.Trigger, b => b with { IsKnown = true, From = record.Since > now ? record.Since : null });

    /// <summary>Takes which definitions living replicas disagree about.</summary>
    /// <param name="contested">For each trigger those that they have, the newest last.</param>
    /// <returns>What changed: the definition, and until when it counts; no time when it counts again.</returns>
    public IReadOnlyList<(ScheduleKey Definition, DateTimeOffset? Until)> Observe(IReadOnlyList<ScheduleRecord> contested)
    {
        var newest = contested.GroupBy(r => (r.Job, r.Trigger)).ToDictionary(g => g.Key, g => g.Last());
        // What State has not seen yet is not among them, though the set that it belongs to may be: it is no older than any.
        var seen = contested.Select(r => new ScheduleKey(r.Job, r.Trigger, r.Fingerprint)).ToHashSet();
        var changed = new List<(ScheduleKey, DateTimeOffset?)>();
        foreach (var ((job, trigger), bound) in _bounds)
        {
            DateTimeOffset? until =
                newest.TryGetValue((job, trigger), out var rival)
                && rival.Fingerprint != bound.Fingerprint
                && seen.Contains(new ScheduleKey(job, trigger, bound.Fingerprint))
                    ? rival.Since
                    : null;
            if (until == bound.Until)
            {
                continue;
            }
            // When the newer one is gone, this one counts from its return: what was due meanwhile was never due under it.
            Change(job, trigger, b => b with { Until = until, IsKnown = b.IsKnown && until is not null });
            changed.Add((new ScheduleKey(job, trigger, bound.Fingerprint), until));
        }
        return changed;
    }

    /// <summary>Whether State is to be asked for a definition, again or for the first time.</summary>
    public bool IsUnknown(ScheduleKey definition) =>
        _bounds.TryGetValue((definition.Job, definition.Trigger), out var bound) && !bound.IsKnown;

    /// <summary>Until when a definition counts; the end of time while no other is known.</summary>
    public DateTimeOffset UntilOf(ScheduleKey definition) =>
        _bounds.TryGetValue((definition.Job, definition.Trigger), out var bound)
            ? bound.Until ?? DateTimeOffset.MaxValue
            : DateTimeOffset.MaxValue;

    /// <summary>How many of this replica's definitions do not count, or will not soon, because a living replica has a newer one.</summary>
    public int SupersededCount => _bounds.Count(b => b.Value.Until is not null);

    /// <summary>Since when the definition of a trigger does not count here, if it does not.</summary>
    public DateTimeOffset? Superseded(string job, string trigger) =>
        _bounds.TryGetValue((job, trigger), out var bound) ? bound.Until : null;

    /// <summary>Why a fire of this replica's schedule stands for nothing; <see langword="null"/> when it does.</summary>
    public string? WhyNot(Occurrence occurrence)
    {
        if (!_bounds.TryGetValue((occurrence.Job, occurrence.Trigger), out var bound))
        {
            return null;
        }
        return !bound.IsKnown ? "State was not asked yet whether this definition of the trigger counts"
            : occurrence.ScheduledAt <= bound.From ? $"this definition of the trigger counts for what is due after {bound.From:O}"
            : occurrence.ScheduledAt > bound.Until
                ? $"a living replica has a newer definition of the trigger, which counts since {bound.Until:O}"
            : null;
    }

    private void Change(string job, string trigger, Func<Bound, Bound> change)
    {
        while (_bounds.TryGetValue((job, trigger), out var before) && !_bounds.TryUpdate((job, trigger), change(before), before))
        {
            // Another thread was quicker.
        }
    }

    private sealed record Bound(string Fingerprint, bool IsKnown, DateTimeOffset? From, DateTimeOffset? Until);
}
