using Scheduler.Inbox;
using Scheduler.Runs;

namespace Scheduler.Webhooks.Processing;

// What it takes, and when: as it is stored while there are places and nobody waits for one, and else by looks at what is due.
internal sealed partial class EventProcessor
{
    // A lone event is looked for at once: so much has passed since the last look.
    private static readonly TimeSpan BetweenLooks = TimeSpan.FromMilliseconds(4);

    private readonly HandlerPlaces _places = new(times.Degree);
    private TaskCompletionSource _wake = NewSignal();
    private CancellationToken _ended;
    private volatile bool _isTaking;

    // Whether the last look took all that was due and nothing has been stored since that waits.
    private volatile bool _isCaughtUp;
    private long _lastLook;

    // What is stored takes these only while nothing waits: it would keep the place from what came before it.
    private int PlacesOfLooks => (times.Degree + 1) / 2;

    // While so many are free a look takes only the others: most find little, and what is stored meanwhile finds places, too.
    private int PlacesBesideALook => times.Degree * 3 / 4;

    // Nobody tells that the lock store is back.
    private TimeSpan Poll => state.InboxFeed is { IsHeard: true } && locks.Health.IsUp ? times.PollWhenHeard : times.Poll;

    /// <summary>There may be something to do; returns at once and never throws.</summary>
    public void Wake() => Volatile.Read(ref _wake).TrySetResult();

    /// <summary>This replica has stored something that waits. It takes that itself as far as it has room, and tells the others only when it
    /// has none: were all told, all would look for the same rows. Returns at once and never throws.</summary>
    public void Stored()
    {
        _isCaughtUp = false;
        Wake();
        if (!_isTaking || !locks.Health.IsUp || _running.Count >= times.Degree)
        {
            state.InboxFeed?.Send();
        }
    }

    /// <inheritdoc/>
    public int Reserve(int most) => _isTaking && locks.Health.IsUp ? _places.Take(most, leaving: _isCaughtUp ? 0 : PlacesOfLooks) : 0;

    /// <inheritdoc/>
    public void Return(int places)
    {
        _places.Return(places);
        // A look may have found none, because they were kept.
        if (!_isCaughtUp)
        {
            Wake();
        }
    }

    /// <inheritdoc/>
    public InboxTaking TakingOf(string source) => new(replica.Id, times.Hold, _rules[source].OnDead == OnDead.Continue);

    /// <inheritdoc/>
    public void Take(InboxClaim claim) =>
        _ = Task.Run(() => _isTaking ? RunOneAsync(claim) : PutBackAsync([claim]), CancellationToken.None);

    /// <summary>Works until it is told to stop; then ends the handlers that run, within the grace time.</summary>
    /// <param name="stopping">Takes no new events.</param>
    /// <param name="ended">Cancels the handlers that still run.</param>
    public async Task RunAsync(CancellationToken stopping, CancellationToken ended)
    {
        _ended = ended;
        using var done = new CancellationTokenSource();
        var keeping = KeepAsync(done.Token);
        var feed = state.InboxFeed;
        if (feed is not null)
        {
            feed.Heard += Wake;
        }
        _isTaking = true;
        using var stopped = stopping.Register(() => _isTaking = false);
        while (!stopping.IsCancellationRequested)
        {
            await Volatile
                .Read(ref _wake)
                .Task.WaitAsync(Poll, time, CancellationToken.None)
                .ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            // What comes and what ends within a moment is looked for together: with many at once a look costs more than the wait.
            await PauseAsync();
            // Before the look: whoever wakes from now on has something that it may have missed.
            Volatile.Write(ref _wake, NewSignal());
            while (!stopping.IsCancellationRequested && await LookAsync(stopping)) { }
        }
        await _places.AllFreeAsync();
        if (feed is not null)
        {
            feed.Heard -= Wake;
        }
        await done.CancelAsync();
        await keeping;
    }

    private static TaskCompletionSource NewSignal() => new(TaskCreationOptions.RunContinuationsAsynchronously);

    // What is put off comes due without anybody telling.
    private async Task WakeAsync(TimeSpan after)
    {
        await Task.Delay(after, time, CancellationToken.None);
        Wake();
    }

    private async ValueTask PauseAsync()
    {
        var left = BetweenLooks - TimeProvider.System.GetElapsedTime(_lastLook);
        if (left > TimeSpan.Zero)
        {
            await Task.Delay(left, TimeProvider.System);
        }
        _lastLook = TimeProvider.System.GetTimestamp();
    }

    /// <summary>Takes what is due, as far as there is room.</summary>
    /// <returns>Whether there may be more.</returns>
    private async Task<bool> LookAsync(CancellationToken stopping)
    {
        if (!locks.Health.IsUp)
        {
            return false;
        }
        var room = _places.Take(IInbox.MaxBatch, leaving: PlacesBesideALook);
        if (room == 0)
        {
            // Before it tries: whoever gives places back after that wakes it.
            _isCaughtUp = false;
            room = _places.Take(IInbox.MaxBatch);
        }
        if (room == 0)
        {
            return false;
        }
        IReadOnlyList<InboxClaim> claims;
        try
        {
            var request = new InboxClaimRequest(replica.Id, _kinds, room, times.Hold);
            claims = await state.CallInboxAsync((inbox, token) => inbox.ClaimAsync(request, token), CancellationToken.None);
        }
        catch (StateUnavailableException)
        {
            // The guard has said so; what was taken without an answer is due again after its time.
            _places.Return(room);
            return false;
        }
        _places.Return(room - claims.Count);
        if (stopping.IsCancellationRequested)
        {
            await PutBackAsync(claims);
            return false;
        }
        foreach (var claim in claims)
        {
            _ = Task.Run(() => RunOneAsync(claim), CancellationToken.None);
        }
        _isCaughtUp = claims.Count < room;
        if (!_isCaughtUp && _places.AreUsed)
        {
            // More may be due than there is room for.
            state.InboxFeed?.Send();
        }
        return !_isCaughtUp;
    }

    private async Task RunOneAsync(InboxClaim claim)
    {
        try
        {
            await ProcessAsync(claim, _ended);
        }
        finally
        {
            _places.Return(1);
            // The next of its order is due now, or there is room for others.
            Wake();
        }
    }

    // Taken while the stop began: another replica is to have them now, not when their time is over.
    private async Task PutBackAsync(IReadOnlyList<InboxClaim> claims)
    {
        if (claims.Count > 0)
        {
            await _ends.WriteAsync([.. claims.Select(c => Back(c.Event, TimeSpan.Zero))]);
            _places.Return(claims.Count);
        }
    }
}
