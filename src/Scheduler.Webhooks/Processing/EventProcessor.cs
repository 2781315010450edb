using System.Collections.Concurrent;
using System.Text.Json;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Scheduler.Inbox;
using Scheduler.Leases;
using Scheduler.Runs;
using Scheduler.Webhooks.Keys;
using Scheduler.Webhooks.Telemetry;

namespace Scheduler.Webhooks.Processing;

/// <summary>
/// Takes events as they are stored on this replica or come due, as many at once as its degree, and has each handled under the lock of its
/// order. An event is this replica's for a lease's time, renewed while its handler runs: what a dead replica had is taken up within that.
/// Thread-safe.
/// </summary>
internal sealed partial class EventProcessor(
    StateGuard state,
    ILockProvider locks,
    WebhookRoutes routes,
    IReadOnlyList<ProcessingRule> rules,
    ProcessingTimes times,
    ReplicaIdentity replica,
    IServiceScopeFactory scopes,
    TimeProvider time,
    ILogger<EventProcessor> logger
) : IInboxTaker
{
    private readonly ConcurrentDictionary<string, InboxEvent> _running = new(StringComparer.Ordinal);
    private readonly Dictionary<string, ProcessingRule> _rules = rules.ToDictionary(r => r.Source, StringComparer.OrdinalIgnoreCase);
    private readonly InboxKind[] _kinds =
    [
        .. rules.SelectMany(r => routes.TypesOf(r.Source).Select(t => new InboxKind(r.Source, t, r.OnDead == OnDead.Continue))),
    ];
    private readonly EndWriter _ends = new(state);

    private async Task ProcessAsync(InboxClaim claim, CancellationToken ended)
    {
        var stored = claim.Event;
        _running[stored.Id] = stored;
        try
        {
            var key = OrderLock.KeyOf(stored.Source, stored.OrderKey!);
            var attempt = await locks.AcquireAsync(key, $"event {stored.Id}", times.LockWait, cancellationToken: CancellationToken.None);
            if (attempt is LockAttempt.Granted granted)
            {
                try
                {
                    if (await HandleAsync(claim, granted.Lease, ended) is { } end)
                    {
                        await FinishAsync(stored, end);
                    }
                }
                finally
                {
                    // Else it would be renewed for as long as the process lives.
                    await granted.Lease.ReleaseAsync(CancellationToken.None);
                }
                return;
            }
            // Its last holder may still be at work, or has died a moment ago; or the store is away.
            await FinishAsync(stored, Back(stored, times.Poll));
        }
#pragma warning disable CA1031 // A defect of ours, or a disposed provider at the end of a stop; the event is due again after its time.
        catch (Exception problem)
#pragma warning restore CA1031
        {
            logger.EventNotEnded(stored.Id, problem.Message);
        }
        finally
        {
            _running.TryRemove(stored.Id, out _);
        }
    }

    /// <summary>Handles an event.</summary>
    /// <returns>The end to write; <see langword="null"/> when there is none, because it is written or another attempt has begun.</returns>
    private async Task<InboxEnd?> HandleAsync(InboxClaim claim, Lease lease, CancellationToken ended)
    {
        var stored = claim.Event;
        var end = new EventEnd(state, stored);
        using var limit = new CancellationTokenSource(times.Handler, time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, lease.Lost, ended);
        try
        {
            var route = routes.Find(stored.Source, stored.Type)!;
            await using var scope = scopes.CreateAsyncScope();
            var result = await route(scope.ServiceProvider, claim.Body, new WebhookEvent(stored, lease, end), either.Token);
            if (end.IsCommitted)
            {
                return null;
            }
            return result.After is { } after ? Back(stored, after) : new InboxEnd(stored.Id, stored.Attempts, InboxState.Done);
        }
#pragma warning disable CA1031 // Whatever a handler throws is how its attempt ended.
        catch (Exception problem)
#pragma warning restore CA1031
        {
            if (end.IsCommitted)
            {
                logger.EventFailedAfterItsEnd(stored.Id, stored.Source, Describe(problem));
                return null;
            }
            if (problem is EventTakenUpException)
            {
                logger.EventTakenUp(stored.Id, stored.Attempts);
                return null;
            }
            if (lease.Lost.IsCancellationRequested || ended.IsCancellationRequested)
            {
                return Back(stored, TimeSpan.Zero);
            }
            var late = limit.IsCancellationRequested && problem is OperationCanceledException;
            return Failed(
                stored,
                late ? $"It was not done within {times.Handler}." : Describe(problem),
                problem is UnreadableBodyException
            );
        }
    }

    private InboxEnd Failed(InboxEvent stored, string error, bool isHopeless)
    {
        var retry = _rules[stored.Source].Retry;
        var after = isHopeless ? null : retry.After(stored.Counted, Random.Shared.NextDouble());
        if (after is { } delay)
        {
            logger.EventFailed(stored.Id, stored.Source, stored.Counted, error, delay);
            return new InboxEnd(stored.Id, stored.Attempts, InboxState.Failed, delay, error);
        }
        logger.EventDead(stored.Id, stored.Source, stored.Counted, error);
        return new InboxEnd(stored.Id, stored.Attempts, InboxState.Dead, default, error);
    }

    private async ValueTask FinishAsync(InboxEvent stored, InboxEnd end)
    {
        try
        {
            // Before the lock of the order is released.
            if (!await _ends.WriteAsync(end))
            {
                logger.EventTakenUp(stored.Id, stored.Attempts);
            }
            else if (end.After > TimeSpan.Zero && end.After < times.PollWhenHeard)
            {
                _ = WakeAsync(end.After);
            }
        }
        catch (StateUnavailableException problem)
        {
            // It is due again after its time, and finds its effect applied.
            logger.EventNotEnded(stored.Id, problem.Message);
        }
    }

    /// <summary>Keeps the events of the handlers that run, until all have ended.</summary>
    private async Task KeepAsync(CancellationToken done)
    {
        while (!done.IsCancellationRequested)
        {
            await Task.Delay(times.Hold / 3, time, done).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            InboxEnd[] kept = [.. _running.Values.Select(e => new InboxEnd(e.Id, e.Attempts, InboxState.Processing, times.Hold))];
            if (kept.Length > 0)
            {
                // Where that fails another replica may take them up; the lock of the order keeps it from working on them.
                await _ends.WriteAsync(kept);
            }
        }
    }

    private static InboxEnd Back(InboxEvent stored, TimeSpan after) =>
        new(stored.Id, stored.Attempts, InboxState.Received, after, stored.Error, Counts: false);

    // What a handler throws is its author's word, but the words of a JSON reader may quote what it read.
    private static string Describe(Exception problem) =>
        problem switch
        {
            UnreadableBodyException => problem.Message,
            JsonException json => $"{nameof(JsonException)}: {WebhookRoutes.Place(json)}",
            _ => $"{problem.GetType().Name}: {problem.Message}",
        };
}

/// <summary>The times of a processor.</summary>
/// <param name="Degree">How many handlers run at once; 1 to <see cref="IInbox.MaxBatch"/>.</param>
/// <param name="Hold">For how long an event is this replica's without a sign of life.</param>
/// <param name="Poll">The longest time between two looks.</param>
/// <param name="PollWhenHeard">The same while this replica hears of what others store.</param>
/// <param name="LockWait">How long a handler waits for the lock of its order.</param>
/// <param name="Handler">How long a handler may take.</param>
internal sealed record ProcessingTimes(
    int Degree,
    TimeSpan Hold,
    TimeSpan Poll,
    TimeSpan PollWhenHeard,
    TimeSpan LockWait,
    TimeSpan Handler
);
