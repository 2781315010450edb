using Npgsql;
using Scheduler.Locking;
using Scheduler.Postgres.Leases;
using Scheduler.Postgres.State;
using Scheduler.Postgres.Telemetry;

namespace Scheduler.Postgres.SessionLeases;

// What is sent over the session, by one caller at a time.
internal sealed partial class LiveSession
{
    private const int LargestNotes = 256;
    private const int SignalBytes = 7_000;

    private async Task SendAllAsync(IReadOnlyList<SessionStep> steps)
    {
        List<EndStep>? ends = null;
        List<TakeStep>? takes = null;
        var closes = false;
        foreach (var step in steps)
        {
            switch (step)
            {
                case CloseStep:
                    closes = true;
                    break;
                case TakeStep take:
                    (takes ??= []).Add(take);
                    break;
                case EndStep end:
                    (ends ??= []).Add(end);
                    break;
                default:
                    await GuardAsync([step], () => SendOneAsync(step));
                    break;
            }
        }
        if (ends is not null || takes is not null)
        {
            List<SessionStep> changes = [.. ends ?? [], .. takes ?? []];
            await GuardAsync(changes, () => SendChangesAsync(ends ?? [], takes ?? []));
        }
        if (closes)
        {
            // A connection that is closed while a call uses it is never closed at all.
            End(StateProblem.NotOpen(_context.Place), Task.CompletedTask);
        }
    }

    private async Task GuardAsync(IReadOnlyList<SessionStep> steps, Func<Task> send)
    {
        try
        {
            await send();
        }
        catch (PostgresException refused) when (_session.IsOpen)
        {
            var problem = StateProblem.Explain(_context.Place, refused);
            foreach (var step in steps)
            {
                step.Error = problem;
            }
            _own.KeepOn(steps.OfType<EndStep>().Select(e => e.Grant));
        }
    }

    private async Task SendOneAsync(SessionStep step)
    {
        switch (step)
        {
            case NoteStep note:
                await SendNotesAsync(note.Age);
                break;
            case RenewStep renew:
                renew.Reply = await SendRenewalAsync(renew.Batch);
                break;
            case EndedStep ended:
                ended.Ended = await _session.EndedAsync(ended.Sessions);
                break;
            case ListenStep:
                await _session.ListenAsync(_context.Words.Listeners);
                break;
            default:
                throw new InvalidOperationException($"{step.GetType().Name} is no step that is sent alone.");
        }
    }

    private async Task SendChangesAsync(List<EndStep> ends, List<TakeStep> takes)
    {
        var (unlock, take) = (new long[ends.Count], new long[takes.Count]);
        List<Grant>? noted = null;
        for (var i = 0; i < unlock.Length; i++)
        {
            unlock[i] = ends[i].Grant.Word;
            if (_own.IsNoted(ends[i].Grant))
            {
                (noted ??= []).Add(ends[i].Grant);
            }
        }
        for (var i = 0; i < take.Length; i++)
        {
            take[i] = takes[i].Grant.Word;
        }
        var forgotten = noted is null ? null : await TryForgetAsync(noted);
        long[]? numbers = null;
        try
        {
            numbers =
                unlock.Length == 0
                    ? await _session.TakeAsync(take)
                    : await _session.EndAndTakeAsync(unlock, Signals(ends), _context.Channel, _context.Words.Listeners, take);
        }
        catch (PostgresException refused) when (take.Length > 0 && _session.IsOpen)
        {
            // Some of them may be locked: advisory locks of a session outlive the statement that fails.
            await _session.EndAndTakeAsync([.. unlock, .. take], Signals(ends), _context.Channel, _context.Words.Listeners, []);
            takes.ForEach(t => t.Error = StateProblem.Explain(_context.Place, refused));
        }
        _own.Remove(ends.Select(e => e.Grant));
        foreach (var end in ends)
        {
            var contended = false;
            // Another replica may have dropped a grant whose note is gone; its holder was not told yet.
            var was = forgotten is null || !end.Grant.IsNoted || forgotten.TryGetValue(end.Grant.Word, out contended);
            end.Result = was ? new ReleaseResult(Released: true, contended) : default;
        }
        if (numbers is not null)
        {
            await SettleAsync(takes, numbers);
        }
    }

    // A note too many means nothing once the lock is free; a lock too many keeps everybody out.
    private async Task<Dictionary<long, bool>?> TryForgetAsync(List<Grant> noted)
    {
        try
        {
            return await _session.ForgetAsync([.. noted.Select(g => g.Word)], [.. noted.Select(g => g.Number)]);
        }
        catch (PostgresException refused) when (_session.IsOpen)
        {
            Log.UpkeepFailed(_context.Log, _context.Place.Name, StateProblem.Short(refused));
            return null;
        }
    }

    private async Task SettleAsync(List<TakeStep> takes, long[] numbers)
    {
        List<Grant>? refused = null;
        for (var i = 0; i < numbers.Length; i++)
        {
            if (numbers[i] == 0)
            {
                (refused ??= []).Add(takes[i].Grant);
            }
            else
            {
                _own.Settle(takes[i].Grant, numbers[i]);
            }
        }
        if (refused is not null)
        {
            var notes = await _session.LookAsync([.. refused.Select(g => g.Word)], _context.Replica);
            for (var i = 0; i < notes.Length; i++)
            {
                refused[i].RefusedBy = notes[i];
                _own.Settle(refused[i], number: 0);
            }
        }
    }

    private async Task<bool> SendNotesAsync(long age)
    {
        var due = _own.TakeNotNoted(age, LargestNotes);
        if (due.Count == 0)
        {
            return false;
        }
        try
        {
            await _session.NoteAsync(_context.Group, due);
            return true;
        }
        catch (PostgresException)
        {
            _own.NotNoted(due);
            throw;
        }
    }

    private async Task<RenewalReply> SendRenewalAsync(IReadOnlyList<RenewalItem> batch)
    {
        var found = _own.Find(batch, _context.WordOf);
        // What is renewed has a note, or its holder could not be told of a revocation.
        while (Array.Exists(found, g => g is { IsNoted: false }) && await SendNotesAsync(age: 0)) { }
        var places = Enumerable.Range(0, found.Length).Where(i => found[i] is { IsNoted: true }).ToArray();
        var (withoutNote, revoked) = await _session.RenewAsync(
            Array.ConvertAll(places, i => found[i]!.Word),
            Array.ConvertAll(places, i => found[i]!.Number),
            Array.ConvertAll(places, i => Micros.Of(batch[i].Duration))
        );
        var outcomes = new RenewalOutcome[batch.Count];
        for (var i = 0; i < outcomes.Length; i++)
        {
            outcomes[i] = found[i] is null ? RenewalOutcome.Lost : RenewalOutcome.Unknown;
        }
        Array.ForEach(places, i => outcomes[i] = RenewalOutcome.Renewed);
        foreach (var place in revoked)
        {
            outcomes[places[place - 1]] = RenewalOutcome.Revoked;
        }
        if (withoutNote.Length > 0)
        {
            await DropAsync([.. withoutNote.Select(p => found[places[p - 1]]!)]);
            Array.ForEach(withoutNote, p => outcomes[places[p - 1]] = RenewalOutcome.Lost);
        }
        for (var i = 0; i < outcomes.Length; i++)
        {
            if (outcomes[i] == RenewalOutcome.Renewed && !_own.TryExtend(found[i]!, batch[i].Duration))
            {
                outcomes[i] = RenewalOutcome.Lost;
            }
        }
        return new RenewalReply(outcomes);
    }

    // Somebody has deleted their notes, which says that they are not wanted any more.
    private async Task DropAsync(List<Grant> dropped)
    {
        var ends = dropped.Select(g => _own.TryEnd(g.Word, g.Owner)).OfType<Grant>().Select(g => new EndStep(g)).ToList();
        if (ends.Count > 0)
        {
            await GuardAsync(ends, () => SendChangesAsync(ends, []));
        }
    }

    // PostgreSQL takes less than 8,000 bytes with a signal.
    private static string[] Signals(List<EndStep> ends)
    {
        if (ends.Count < 2)
        {
            return [.. ends.Select(e => e.Grant.Key.Value)];
        }
        var signals = new List<string>();
        var keys = new List<string>();
        var bytes = 0;
        foreach (var end in ends)
        {
            var key = end.Grant.Key.Value;
            bytes += LockKey.MaxBytes < key.Length * 3 ? LockKey.MaxBytes : key.Length * 3;
            if (bytes > SignalBytes)
            {
                signals.Add(string.Join('\n', keys));
                keys.Clear();
                bytes = LockKey.MaxBytes;
            }
            keys.Add(key);
        }
        signals.Add(string.Join('\n', keys));
        return [.. signals];
    }
}
