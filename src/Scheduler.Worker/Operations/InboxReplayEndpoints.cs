using Microsoft.AspNetCore.Mvc;
using Scheduler.Inbox;
using Scheduler.Runs;
using Scheduler.Worker.Ingress;
using Scheduler.Worker.Telemetry;

namespace Scheduler.Worker.Operations;

/// <summary><c>POST /api/inbox/{id}/replay</c> and <c>POST /api/inbox/replay</c>: let events be processed again.</summary>
internal static class InboxReplayEndpoints
{
    // So many rows are changed in one statement, which an insert or a claim may wait for.
    private const int AtOnce = 200;

    // Events that were set aside are looked at one by one; within the request's limit the rest of them is another call's.
    private static readonly TimeSpan LongestLook = OperationsErrors.Limit / 2;

    private const string Guarded = "an effect that is there is not applied twice";

    /// <summary>Answers 200 with the event as it is now.</summary>
    public static async Task<IResult> ReplayAsync(
        HttpContext context,
        string id,
        OperationsReader reader,
        ILogger<OperationsReader> logger,
        [FromServices] Reexamination? reexamination
    )
    {
        var parameters = new Parameters(context, "force");
        var force = parameters.Flag("force");
        if (parameters.Errors.Count > 0)
        {
            return TypedResults.ValidationProblem(parameters.Errors, title: "Bad parameters");
        }
        if (reader.State is not { } state)
        {
            return OperationsEndpoints.NoRecords();
        }
        var changed = await state.CallAsync((s, token) => s.Inbox.ReplayAsync([id], force, token), context.RequestAborted);
        if (await state.CallAsync((s, token) => s.Inbox.FindAsync(id, token), context.RequestAborted) is not { } found)
        {
            return InboxEndpoints.NoSuchEvent();
        }
        if (changed == 0)
        {
            var problem = force && IsAside(found.State) ? await ReceiveAsync(reexamination, found, context.RequestAborted) : Problem(found);
            if (problem is not null)
            {
                return InboxEndpoints.NotNow(problem);
            }
            found = await state.CallAsync((s, token) => s.Inbox.FindAsync(id, token), context.RequestAborted) ?? found;
        }
        state.InboxFeed?.Send();
        Log.EventChanged(logger, id, found.Source, force ? "replayed (force)" : "replayed", Caller.Of(context));
        return TypedResults.Ok(found);
    }

    /// <summary>Answers 200 with how many events are tried again and where to go on.</summary>
    public static async Task<IResult> ReplayAllAsync(
        HttpContext context,
        OperationsReader reader,
        ILogger<OperationsReader> logger,
        TimeProvider time,
        [FromServices] Reexamination? reexamination
    )
    {
        var parameters = new Parameters(context, "source", "state", "type", "from", "to", "limit", "cursor", "force");
        var (of, force) = (parameters.Word<InboxState>("state") ?? InboxState.Dead, parameters.Flag("force"));
        if (of is InboxState.Received or InboxState.Processing or InboxState.Conflict)
        {
            parameters.Errors.TryAdd("state", ["must be failed, dead, done, quarantined or ignored"]);
        }
        var query = InboxEndpoints.QueryOf(parameters, of);
        if (parameters.Errors.Count > 0)
        {
            return TypedResults.ValidationProblem(parameters.Errors, title: "Bad parameters");
        }
        if (of is not (InboxState.Failed or InboxState.Dead) && !force)
        {
            return InboxEndpoints.NotNow($"Events that are {InboxEndpoints.WordOf(of)} are replayed only with force=true; {Guarded}.");
        }
        if (reader.State is not { } state)
        {
            return OperationsEndpoints.NoRecords();
        }
        var page = await state.CallAsync((s, token) => s.Inbox.ListAsync(query, token), context.RequestAborted);
        var view = IsAside(of)
            ? await ReceiveAllAsync(reexamination, page, time, context.RequestAborted)
            : await ReplayAllAsync(state, page, force, context.RequestAborted);
        state.InboxFeed?.Send();
        Log.EventsReplayed(logger, view.Changed, query.Source, InboxEndpoints.WordOf(of), Caller.Of(context));
        return TypedResults.Ok(view);
    }

    private static async Task<ReplayView> ReplayAllAsync(StateGuard state, InboxPage page, bool force, CancellationToken cancellationToken)
    {
        var changed = 0;
        foreach (var part in page.Items.Select(e => e.Id).Chunk(AtOnce))
        {
            changed += await state.CallAsync((s, token) => s.Inbox.ReplayAsync(part, force, token), cancellationToken);
        }
        return new ReplayView(changed, page.Items.Count - changed, InboxEndpoints.CursorOf(page.Next));
    }

    private static async Task<ReplayView> ReceiveAllAsync(
        Reexamination? reexamination,
        InboxPage page,
        TimeProvider time,
        CancellationToken cancellationToken
    )
    {
        var (start, changed) = (time.GetTimestamp(), 0);
        for (var i = 0; i < page.Items.Count; i++)
        {
            changed += await ReceiveAsync(reexamination, page.Items[i], cancellationToken) is null ? 1 : 0;
            var seen = i + 1;
            if (seen < page.Items.Count && time.GetElapsedTime(start) > LongestLook)
            {
                return new ReplayView(changed, seen - changed, InboxEndpoints.CursorOf(page.Items[i].Number));
            }
        }
        return new ReplayView(changed, page.Items.Count - changed, InboxEndpoints.CursorOf(page.Next));
    }

    private static async Task<string?> ReceiveAsync(Reexamination? reexamination, InboxEvent found, CancellationToken cancellationToken) =>
        reexamination is null ? Reexamination.NoSource(found.Source) : await reexamination.ReceiveAsync(found.Id, cancellationToken);

    private static bool IsAside(InboxState state) => state is InboxState.Quarantined or InboxState.Ignored;

    private static string Problem(InboxEvent found) =>
        found switch
        {
            { HasBody: false } => Reexamination.NoBody,
            _ when IsAside(found.State) =>
                $"It is {InboxEndpoints.WordOf(found.State)}; with force=true it is looked at again by the present options and handlers.",
            { State: InboxState.Done } => $"It is done; replay it with force=true if it must be processed again: {Guarded}.",
            _ => $"Only a failed or dead event can be tried again, or with force=true one that is done. This one is "
                + $"{InboxEndpoints.WordOf(found.State)}.",
        };
}

/// <summary>What a replay of many did. <paramref name="Left"/>: those of the page that had changed meanwhile, whose body is no longer kept,
/// or that are still what they were; <paramref name="Next"/>: the cursor of what was not looked at yet, or null.</summary>
internal sealed record ReplayView(int Changed, int Left, string? Next);
