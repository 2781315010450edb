using Scheduler.Inbox;
using Scheduler.Runs;
using Scheduler.Worker.Telemetry;

namespace Scheduler.Worker.Operations;

/// <summary><c>POST /api/inbox/{id}/resolve</c> and <c>POST /api/inbox/resolve</c>: a person's decision about events that wait for
/// one.</summary>
internal static class InboxResolveEndpoints
{
    private const string KeepFirst = "keepFirst";
    private const string Accept = "accept";
    private const string Ignore = "ignore";

    // So many rows are changed in one statement, which an insert or a claim may wait for.
    private const int AtOnce = 200;

    /// <summary>Answers 200 with the event as it is now.</summary>
    public static async Task<IResult> ResolveAsync(
        HttpContext context,
        string id,
        OperationsReader reader,
        ILogger<OperationsReader> logger
    )
    {
        var parameters = new Parameters(context, "decision");
        var decision = DecisionOf(parameters, KeepFirst, Accept, Ignore);
        if (parameters.Errors.Count > 0)
        {
            return TypedResults.ValidationProblem(parameters.Errors, title: "Bad parameters");
        }
        if (reader.State is not { } state)
        {
            return OperationsEndpoints.NoRecords();
        }
        var (found, isChanged) =
            decision == Ignore
                ? await IgnoreAsync(state, id, context.RequestAborted)
                : await state.CallAsync((s, token) => s.Inbox.ResolveAsync(id, decision == Accept, token), context.RequestAborted);
        if (found is null)
        {
            return InboxEndpoints.NoSuchEvent();
        }
        if (!isChanged)
        {
            return InboxEndpoints.NotNow(Problem(found, decision));
        }
        state.InboxFeed?.Send();
        Log.EventChanged(logger, id, found.Source, $"resolved ({decision})", Caller.Of(context));
        return TypedResults.Ok(found);
    }

    /// <summary>Ignores a page of events; answers 200 with how many, and where to go on.</summary>
    public static async Task<IResult> ResolveAllAsync(HttpContext context, OperationsReader reader, ILogger<OperationsReader> logger)
    {
        var parameters = new Parameters(context, "decision", "source", "state", "type", "from", "to", "limit", "cursor");
        DecisionOf(parameters, Ignore);
        var of = parameters.Word<InboxState>("state");
        if (of is not (InboxState.Received or InboxState.Failed or InboxState.Dead or InboxState.Quarantined))
        {
            parameters.Errors.TryAdd("state", ["must be received, failed, dead or quarantined"]);
        }
        var query = InboxEndpoints.QueryOf(parameters, of);
        if (parameters.Errors.Count > 0)
        {
            return TypedResults.ValidationProblem(parameters.Errors, title: "Bad parameters");
        }
        if (reader.State is not { } state)
        {
            return OperationsEndpoints.NoRecords();
        }
        var page = await state.CallAsync((s, token) => s.Inbox.ListAsync(query, token), context.RequestAborted);
        var changed = 0;
        foreach (var part in page.Items.Select(e => e.Id).Chunk(AtOnce))
        {
            changed += await state.CallAsync((s, token) => s.Inbox.IgnoreAsync(part, token), context.RequestAborted);
        }
        state.InboxFeed?.Send();
        Log.EventsIgnored(logger, changed, query.Source, InboxEndpoints.WordOf(of!.Value), Caller.Of(context));
        return TypedResults.Ok(new ReplayView(changed, page.Items.Count - changed, InboxEndpoints.CursorOf(page.Next)));
    }

    private static async Task<InboxChange> IgnoreAsync(StateGuard state, string id, CancellationToken cancellationToken)
    {
        var changed = await state.CallAsync((s, token) => s.Inbox.IgnoreAsync([id], token), cancellationToken);
        return new InboxChange(await state.CallAsync((s, token) => s.Inbox.FindAsync(id, token), cancellationToken), changed > 0);
    }

    private static string? DecisionOf(Parameters parameters, params string[] allowed)
    {
        var decision = parameters.Text("decision");
        if (!allowed.Contains(decision))
        {
            parameters.Errors["decision"] = [$"must be {string.Join(" or ", allowed)}"];
        }
        return decision;
    }

    private static string Problem(InboxEvent found, string? decision) =>
        (decision, found.State) switch
        {
            (Ignore, InboxState.Conflict) => "It is a conflict: decide keepFirst, which ignores it, or accept.",
            (Ignore, InboxState.Processing) => "A replica works at it in this moment; look at it again.",
            (Ignore, _) => "Only an event that is received, failed, dead or quarantined can be ignored. This one is "
                + $"{InboxEndpoints.WordOf(found.State)}.",
            _ => $"Only a conflict can be resolved so. This one is {InboxEndpoints.WordOf(found.State)}; what nobody will process is "
                + "ignored with decision=ignore.",
        };
}
