using Scheduler.Runs;

namespace Scheduler.Jobs;

/// <summary>Which jobs are paused, as this replica knew it at its last look at State. Thread-safe.</summary>
internal sealed class PausedJobs
{
    // A pause may have ended before the look without showing in it: the end is drawn first, and its commit takes a while. Far more than
    // State gives a call.
    private static readonly TimeSpan Unseen = TimeSpan.FromSeconds(15);

    private readonly Lock _gate = new();
    private volatile View? _view;

    /// <summary>Whether State has been asked at all; before that nothing may begin.</summary>
    public bool IsKnown => _view is not null;

    /// <summary>Takes what State said.</summary>
    /// <param name="members">The list of members, with which it comes; one that is older than the last changes nothing.</param>
    public void Observe(MemberList members)
    {
        ArgumentNullException.ThrowIfNull(members);
        lock (_gate)
        {
            if (_view is null || members.Now >= _view.At)
            {
                _view = new View(members.Now, members.Pauses.ToLookup(p => p.Job, StringComparer.Ordinal));
            }
        }
    }

    /// <summary>Asks State now.</summary>
    /// <exception cref="StateUnavailableException">State does not answer.</exception>
    public async ValueTask RefreshAsync(StateGuard state, CancellationToken cancellationToken) =>
        Observe(await state.CallAsync((s, token) => s.Members.ListAsync(TimeSpan.Zero, token), cancellationToken));

    /// <summary>Whether what is due at a time is left out.</summary>
    public bool Covers(string job, DateTimeOffset due) => _view?.Pauses[job].Any(p => p.Covers(due)) == true;

    /// <summary>The pause that lasts, or <see langword="null"/>.</summary>
    public JobPause? Find(string job) => _view?.Pauses[job].FirstOrDefault(p => p.Until is null);

    /// <summary>Up to which due time it is certain what is left out: while a pause lasts, it may have ended since the look.</summary>
    public DateTimeOffset CertainUntil(string job) =>
        _view is not { } view ? DateTimeOffset.MinValue
        : view.Pauses[job].Any(p => p.Until is null) ? view.At - Unseen
        : DateTimeOffset.MaxValue;

    private sealed record View(DateTimeOffset At, ILookup<string, JobPause> Pauses);
}
