namespace Scheduler.Testing.Webhooks;

/// <summary>One row of the inbox.</summary>
public sealed record InboxRow(long Number, string State, string? EventId, string? OrderKey);

/// <summary>One effect.</summary>
/// <param name="Seq">The order in which they were committed.</param>
/// <param name="OrderKey">The order.</param>
/// <param name="EventId">The sender's id of the event.</param>
/// <param name="Number">The event's number of arrival.</param>
/// <param name="Replica">Who applied it.</param>
public sealed record EffectRow(long Seq, string OrderKey, string EventId, long Number, string Replica);

/// <summary>What the tables say against what the senders were told.</summary>
/// <param name="Lost">Events that were answered and have no row, or no effect.</param>
/// <param name="Doubled">Events with more than one row, or more than one effect.</param>
/// <param name="OutOfOrder">Effects that were applied before one of an earlier event of their order, and events that have a smaller number
/// than one that was answered before they were sent.</param>
/// <param name="Unfounded">Rows and effects of events that nobody may have sent, or that were refused.</param>
/// <param name="Unanswered">Events of which more than one copy was answered as accepted, or none though each try was answered.</param>
/// <param name="Contradictions">Contradictions that are not kept once.</param>
public sealed record SoakCheck(int Lost, int Doubled, int OutOfOrder, int Unfounded, int Unanswered, int Contradictions)
{
    /// <summary>Compares.</summary>
    /// <param name="events">What was sent.</param>
    /// <param name="conflicts">The event ids or orders of the contradictions that were sent.</param>
    /// <param name="rows">The inbox.</param>
    /// <param name="effects">The effects in the order in which they were committed.</param>
    /// <param name="wrong">Told of each finding.</param>
    public static SoakCheck Compare(
        IReadOnlyCollection<SentEvent> events,
        IReadOnlyCollection<string> conflicts,
        IReadOnlyCollection<InboxRow> rows,
        IReadOnlyList<EffectRow> effects,
        Action<string> wrong
    )
    {
        var kept = rows.Where(r => r.State != "conflict").ToLookup(r => r.EventId, StringComparer.Ordinal);
        var applied = effects.ToLookup(e => e.EventId, StringComparer.Ordinal);
        var sent = events.ToDictionary(e => e.Id, StringComparer.Ordinal);
        var (lost, doubled, unanswered) = (0, 0, 0);
        foreach (var one in events)
        {
            var (stored, done) = (kept[one.Id].ToList(), applied[one.Id].ToList());
            lost += Count(stored.Count == 0 || done.Count == 0, $"Event {one.Id}: {stored.Count} rows, {done.Count} effects.");
            doubled += Count(stored.Count > 1 || done.Count > 1, $"Event {one.Id}: {stored.Count} rows, {done.Count} effects.");
            lost += Count(stored is [{ State: not "done" }], $"Event {one.Id} is {stored.FirstOrDefault()?.State}, not done.");
            unanswered += Count(
                one.Accepted > 1 || (one.Accepted == 0 && one.Unknown == 0),
                $"Event {one.Id} was answered as accepted {one.Accepted} times, {one.Unknown} tries are unknown."
            );
        }
        var unfounded = kept.SelectMany(k => k)
            .Sum(r => Count(r.EventId is null || !sent.ContainsKey(r.EventId), $"Row {r} is of nobody."));
        unfounded += effects.Sum(e => Count(!sent.ContainsKey(e.EventId), $"Effect {e} is of nobody."));
        return new SoakCheck(lost, doubled, Unordered() + Misnumbered(), unfounded, unanswered, Contradicting());

        int Unordered()
        {
            var last = new Dictionary<string, EffectRow>(StringComparer.Ordinal);
            var found = 0;
            foreach (var effect in effects)
            {
                if (last.TryGetValue(effect.OrderKey, out var before))
                {
                    found += Count(before.Number >= effect.Number, $"Effect {effect} follows {before}.");
                }
                last[effect.OrderKey] = effect;
            }
            return found;
        }

        int Misnumbered() =>
            events
                .GroupBy(e => e.Order, StringComparer.Ordinal)
                .SelectMany(order =>
                    order.OrderBy(e => e.Step).Select(e => kept[e.Id].FirstOrDefault()).OfType<InboxRow>().ToList() is var steps
                        ? steps.Zip(steps.Skip(1))
                        : []
                )
                .Sum(pair => Count(pair.First.Number >= pair.Second.Number, $"{pair.Second} was sent after {pair.First} was answered."));

        int Contradicting()
        {
            var contradictions = rows.Where(r => r.State == "conflict").ToList();
            var found = Count(
                contradictions.Count != conflicts.Count,
                $"{contradictions.Count} contradictions are kept of {conflicts.Count} that were sent."
            );
            return found
                + conflicts.Sum(c =>
                    contradictions.Count(r => r.EventId == c || r.OrderKey == c) is var times
                        ? Count(times != 1, $"The contradiction {c} is kept {times} times.")
                        : 0
                );
        }

        int Count(bool isWrong, string text)
        {
            if (isWrong)
            {
                wrong(text);
            }
            return isWrong ? 1 : 0;
        }
    }
}
