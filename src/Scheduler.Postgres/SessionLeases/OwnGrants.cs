using Scheduler.Locking;
using Scheduler.Time;

namespace Scheduler.Postgres.SessionLeases;

/// <summary>
/// The locks of one session as this replica knows them: advisory locks can be taken by their own session again and again, so who has one
/// here is decided here. Thread-safe.
/// </summary>
internal sealed class OwnGrants
{
    /// <summary>Counts suspend. Not a test's clock: the server's locks end in real time.</summary>
    public static readonly TimeProvider Clock = BootTimeProvider.Instance;

    private readonly Lock _gate = new();
    private readonly Dictionary<long, Grant> _byWord = [];
    private readonly Queue<Grant> _notNoted = new();
    private long _nextEnd = long.MaxValue;
    private bool _isOver;

    /// <summary>How many locks there are, in any phase.</summary>
    public int Count
    {
        get
        {
            lock (_gate)
            {
                return _byWord.Count;
            }
        }
    }

    /// <summary>Reserves a lock for a question to the server.</summary>
    /// <returns>Who has or asks for it here already, or <see langword="null"/>.</returns>
    public Grant? TryReserve(Grant asked)
    {
        lock (_gate)
        {
            if (_byWord.TryGetValue(asked.Word, out var present))
            {
                if (present.Phase == GrantPhase.Asking)
                {
                    present.Answered ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
                }
                return present;
            }
            _byWord.Add(asked.Word, asked);
            return null;
        }
    }

    /// <summary>Notes what the server answered: a number, or 0 for a refusal.</summary>
    public void Settle(Grant asked, long number)
    {
        TaskCompletionSource? answered;
        lock (_gate)
        {
            if (number == 0 || _isOver)
            {
                _byWord.Remove(asked.Word);
                asked.Phase = GrantPhase.Ending;
            }
            else
            {
                (asked.Phase, asked.Number, asked.Since) = (GrantPhase.Held, number, Clock.GetTimestamp());
                SetEnd(asked, asked.Duration);
                _notNoted.Enqueue(asked);
            }
            answered = asked.Answered;
        }
        answered?.TrySetResult();
    }

    /// <summary>Begins to let go of a grant.</summary>
    /// <returns>It, if it is held by that owner and not over.</returns>
    public Grant? TryEnd(long word, LeaseOwner owner)
    {
        lock (_gate)
        {
            if (
                !_byWord.TryGetValue(word, out var grant)
                || grant.Owner != owner
                || grant.Phase != GrantPhase.Held
                || grant.End <= Clock.GetTimestamp()
            )
            {
                return null;
            }
            grant.Phase = GrantPhase.Ending;
            return grant;
        }
    }

    /// <summary>Whether the note of a grant that ends was sent, so that it must be deleted.</summary>
    public bool IsNoted(Grant grant)
    {
        lock (_gate)
        {
            return grant.IsNoted;
        }
    }

    /// <summary>The server has let go of them.</summary>
    public void Remove(IEnumerable<Grant> ended)
    {
        lock (_gate)
        {
            foreach (var grant in ended)
            {
                if (_byWord.TryGetValue(grant.Word, out var present) && present == grant)
                {
                    _byWord.Remove(grant.Word);
                }
            }
        }
    }

    /// <summary>The server has not let go of them: their time decides again.</summary>
    public void KeepOn(IEnumerable<Grant> grants)
    {
        lock (_gate)
        {
            foreach (var grant in grants.Where(g => g.Phase == GrantPhase.Ending && !_isOver))
            {
                grant.Phase = GrantPhase.Held;
                _nextEnd = Math.Min(_nextEnd, grant.End);
            }
        }
    }

    /// <summary>Begins to let go of what is over.</summary>
    public List<Grant> TakeEnded()
    {
        lock (_gate)
        {
            var ended = new List<Grant>();
            var now = Clock.GetTimestamp();
            if (now < _nextEnd)
            {
                return ended;
            }
            _nextEnd = long.MaxValue;
            foreach (var grant in _byWord.Values)
            {
                if (grant.Phase != GrantPhase.Held)
                {
                    continue;
                }
                if (grant.End <= now)
                {
                    grant.Phase = GrantPhase.Ending;
                    ended.Add(grant);
                }
                else
                {
                    _nextEnd = Math.Min(_nextEnd, grant.End);
                }
            }
            return ended;
        }
    }

    /// <summary>Those whose note is to be sent: held for long enough.</summary>
    /// <param name="age">How long, in ticks of the clock.</param>
    /// <param name="most">How many at most.</param>
    public List<Grant> TakeNotNoted(long age, int most)
    {
        lock (_gate)
        {
            var due = new List<Grant>();
            var before = Clock.GetTimestamp() - age;
            while (due.Count < most && _notNoted.TryPeek(out var grant) && (grant.Phase != GrantPhase.Held || grant.Since <= before))
            {
                _notNoted.Dequeue();
                if (grant.Phase == GrantPhase.Held && !grant.IsNoted)
                {
                    grant.IsNoted = true;
                    due.Add(grant);
                }
            }
            return due;
        }
    }

    /// <summary>Notes have not arrived after all.</summary>
    public void NotNoted(IEnumerable<Grant> grants)
    {
        lock (_gate)
        {
            foreach (var grant in grants)
            {
                grant.IsNoted = false;
                _notNoted.Enqueue(grant);
            }
        }
    }

    /// <summary>What is to be renewed of a batch; <see langword="null"/> for each that is not held any more.</summary>
    public Grant?[] Find(IReadOnlyList<RenewalItem> batch, Func<LockKey, long> wordOf)
    {
        var found = new Grant?[batch.Count];
        lock (_gate)
        {
            var now = Clock.GetTimestamp();
            for (var i = 0; i < found.Length; i++)
            {
                var item = batch[i];
                if (
                    _byWord.TryGetValue(wordOf(item.Key), out var grant)
                    && grant.Phase == GrantPhase.Held
                    && grant.Owner == item.Owner
                    && grant.Number == item.Number
                    && grant.End > now
                )
                {
                    found[i] = grant;
                }
            }
        }
        return found;
    }

    /// <summary>Moves the end of a grant, unless it is over or being let go.</summary>
    public bool TryExtend(Grant grant, TimeSpan duration)
    {
        lock (_gate)
        {
            if (grant.Phase != GrantPhase.Held || _isOver)
            {
                return false;
            }
            grant.Duration = duration;
            SetEnd(grant, duration);
            return true;
        }
    }

    /// <summary>When the next one ends, and when the next one came that has no note; by the clock.</summary>
    public (long End, long NotNoted) Next()
    {
        lock (_gate)
        {
            while (_notNoted.TryPeek(out var grant) && grant.Phase != GrantPhase.Held)
            {
                _notNoted.Dequeue();
            }
            return (_nextEnd, _notNoted.TryPeek(out var first) ? first.Since : long.MaxValue);
        }
    }

    /// <summary>The session has ended, and all with it.</summary>
    /// <returns>How many were held.</returns>
    public int Lose()
    {
        List<TaskCompletionSource> answered;
        int held;
        lock (_gate)
        {
            _isOver = true;
            held = _byWord.Values.Count(g => g.Phase == GrantPhase.Held);
            answered = [.. _byWord.Values.Select(g => g.Answered).OfType<TaskCompletionSource>()];
            foreach (var grant in _byWord.Values)
            {
                grant.Phase = GrantPhase.Ending;
            }
            _byWord.Clear();
            _notNoted.Clear();
        }
        answered.ForEach(a => a.TrySetResult());
        return held;
    }

    /// <summary>How many microseconds a grant still lasts.</summary>
    public static long MicrosLeft(Grant grant) => (grant.End - Clock.GetTimestamp()) * 1_000_000 / Clock.TimestampFrequency;

    private void SetEnd(Grant grant, TimeSpan duration)
    {
        grant.End = Clock.GetTimestamp() + (long)(duration.TotalSeconds * Clock.TimestampFrequency);
        _nextEnd = Math.Min(_nextEnd, grant.End);
    }
}
