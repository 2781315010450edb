using Scheduler.Locking;

namespace Scheduler.Postgres.SessionLeases;

/// <summary>
/// Who has the locks that this replica was refused: tells soon when a holder's session has ended, with one question about all of them, and
/// knows since when a holder has shown no sign of life. Thread-safe.
/// </summary>
/// <param name="ended">Which of some sessions have ended; throws when it could not be asked.</param>
/// <param name="isWanted">Whether anybody wants to be told.</param>
/// <param name="mayBeFree">Is told.</param>
/// <param name="failed">Is told that it could not be asked.</param>
internal sealed class HolderWatch(
    Func<long[], ValueTask<long[]>> ended,
    Func<bool> isWanted,
    Action<LockKey> mayBeFree,
    Action<Exception> failed
)
{
    /// <summary>How often is asked while there is anything to ask.</summary>
    public static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(40);

    /// <summary>How many locks are watched at most; the others are found by polling.</summary>
    public const int MostLocks = 10_000;

    /// <summary>How much later than its end a holder must be before its session is ended: it lets go by itself.</summary>
    public static readonly TimeSpan Grace = TimeSpan.FromSeconds(1);

    private const long NoSession = -1;
    private static readonly TimeSpan GraceOfRevoked = TimeSpan.FromMilliseconds(250);
    private static readonly TimeSpan AfterFailure = TimeSpan.FromSeconds(1);

    private readonly Lock _gate = new();
    private readonly Dictionary<long, Seen> _byWord = [];
    private bool _runs;
    private bool _stopped;

    /// <summary>A lock was refused.</summary>
    /// <returns>Whether its holder must be ended: revoked and its time over, or unchanged for longer than it may last. For this only the
    /// time that passed here counts, so that no step of the server's clock ends anybody.</returns>
    public bool See(long word, LockKey key, HolderNote note)
    {
        var now = OwnGrants.Clock.GetTimestamp();
        lock (_gate)
        {
            var isSame =
                _byWord.TryGetValue(word, out var seen)
                && (seen.Session, seen.Number, seen.Until) == (note.Session, note.Number, note.Until);
            if (!isSame)
            {
                seen = new Seen(key, note.Session, note.Number, note.Until, now);
                if (_byWord.Count < MostLocks || _byWord.ContainsKey(word))
                {
                    _byWord[word] = seen;
                }
            }
            // Who waits for the end of a lease asks again then, and sees whether it has been renewed.
            seen!.ForgottenAt = now + (long)(((note.Lasts * 2) + (Grace * 2)).TotalSeconds * OwnGrants.Clock.TimestampFrequency);
            if (!_runs && !_stopped)
            {
                _runs = true;
                _ = Task.Run(RunAsync);
            }
            return note.IsRevoked ? note.Remaining < -GraceOfRevoked : OwnGrants.Clock.GetElapsedTime(seen.Since, now) > note.Lasts + Grace;
        }
    }

    /// <summary>A lock was refused, and there is no note: its holder froze right after it was granted, or is nobody of ours.</summary>
    /// <returns>Whether its holder must be ended: there was none for longer than any lease lasts.</returns>
    public bool SeeWithoutNote(long word, LockKey key, TimeSpan longestLease) =>
        See(word, key, new HolderNote("", "", NoSession, "", "", 0, 0, TimeSpan.Zero, longestLease, IsRevoked: false));

    /// <summary>Nobody has the lock, or this replica.</summary>
    public void Forget(long word)
    {
        lock (_gate)
        {
            _byWord.Remove(word);
        }
    }

    public void Stop()
    {
        lock (_gate)
        {
            _stopped = true;
            _byWord.Clear();
        }
    }

    private async Task RunAsync()
    {
        while (true)
        {
            long[] sessions;
            lock (_gate)
            {
                if (_byWord.Count == 0)
                {
                    _runs = false;
                    return;
                }
                sessions = isWanted() ? [.. _byWord.Values.Select(s => s.Session).Where(s => s != NoSession).Distinct()] : [];
            }
            var pause = Interval;
            try
            {
                Report(sessions.Length == 0 ? [] : await ended(sessions));
            }
#pragma warning disable CA1031 // Whatever it was, waiting goes on by polling.
            catch (Exception problem)
#pragma warning restore CA1031
            {
                failed(problem);
                pause = AfterFailure;
            }
            await Task.Delay(pause, TimeProvider.System);
        }
    }

    private void Report(long[] gone)
    {
        List<LockKey> free = [];
        lock (_gate)
        {
            var now = OwnGrants.Clock.GetTimestamp();
            foreach (var (word, seen) in _byWord.ToList())
            {
                var isGone = Array.IndexOf(gone, seen.Session) >= 0;
                if (isGone)
                {
                    free.Add(seen.Key);
                }
                if (isGone || seen.ForgottenAt < now)
                {
                    _byWord.Remove(word);
                }
            }
        }
        free.ForEach(mayBeFree);
    }

    private sealed record Seen(LockKey Key, long Session, long Number, long Until, long Since)
    {
        public long ForgottenAt { get; set; }
    }
}
