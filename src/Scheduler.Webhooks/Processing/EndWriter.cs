using Scheduler.Inbox;
using Scheduler.Runs;

namespace Scheduler.Webhooks.Processing;

/// <summary>
/// Writes the ends of attempts in groups: a lone one at once, and what comes while a commit is under way together behind it. No more wait
/// than handlers run. Thread-safe.
/// </summary>
internal sealed class EndWriter(StateGuard state)
{
    private readonly Lock _gate = new();
    private readonly Queue<Waiting> _queue = new();
    private bool _isUnderWay;

    /// <summary>Writes an end; durable when the task is done.</summary>
    /// <returns>Whether it was the newest attempt of its event.</returns>
    /// <exception cref="StateUnavailableException">There is no answer; the outcome is unknown.</exception>
    public Task<bool> WriteAsync(InboxEnd end)
    {
        var waiting = new Waiting(end);
        lock (_gate)
        {
            _queue.Enqueue(waiting);
            if (_isUnderWay)
            {
                return waiting.Task;
            }
            _isUnderWay = true;
        }
        _ = WriteGroupsAsync();
        return waiting.Task;
    }

    /// <summary>Writes what nobody waits for, in a group of its own.</summary>
    public Task WriteAsync(IReadOnlyList<InboxEnd> ends) => WriteAsync(ends.Select(e => new Waiting(e)).ToList());

    private async Task WriteGroupsAsync()
    {
        while (Next() is { } group)
        {
            await WriteAsync(group);
        }
    }

    private List<Waiting>? Next()
    {
        lock (_gate)
        {
            var group = new List<Waiting>();
            while (group.Count < IInbox.MaxBatch && _queue.TryDequeue(out var waiting))
            {
                group.Add(waiting);
            }
            _isUnderWay = group.Count > 0;
            return _isUnderWay ? group : null;
        }
    }

    private async Task WriteAsync(List<Waiting> group)
    {
        try
        {
            InboxEnd[] ends = [.. group.Select(w => w.End)];
            var written = await state.CallInboxAsync((inbox, token) => inbox.FinishAsync(ends, token), CancellationToken.None);
            for (var i = 0; i < group.Count; i++)
            {
                group[i].TrySetResult(written[i]);
            }
        }
        catch (Exception problem)
            when (group.Count > 1
                && problem is ArgumentException or StateUnavailableException { IsOfOneCall: true, InnerException: not null }
            )
        {
            // Nothing of the group is written: one has a row that somebody keeps locked, and it waits alone.
            await Task.WhenAll(group.Select(w => WriteAsync([w])));
        }
#pragma warning disable CA1031 // Whoever waits is told.
        catch (Exception problem)
#pragma warning restore CA1031
        {
            foreach (var waiting in group)
            {
                waiting.TrySetException(problem);
                // Observed here, for the case that nobody waits.
                _ = waiting.Task.Exception;
            }
        }
    }

    /// <summary>Continues whoever waits on the pool, not in the writer.</summary>
    private sealed class Waiting(InboxEnd end) : TaskCompletionSource<bool>(TaskCreationOptions.RunContinuationsAsynchronously)
    {
        public InboxEnd End { get; } = end;
    }
}
