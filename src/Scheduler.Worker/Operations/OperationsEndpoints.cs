using Microsoft.AspNetCore.Http.HttpResults;
using Scheduler.Auditing;
using Scheduler.Jobs;
using Scheduler.Runs;
using Scheduler.Worker.Configuration;
using Scheduler.Worker.Hosting;

namespace Scheduler.Worker.Operations;

/// <summary>The HTTP interface for operators.</summary>
internal static class OperationsEndpoints
{
    public const string NoState = "There are no records of runs: Scheduler:State:Backend is none.";

    public static void Map(IEndpointRouteBuilder app)
    {
        app.MapGet("/health/live", () => TypedResults.Ok(new HealthView("live", Reasons: null)));
        app.MapGet("/health/ready", Ready);
        app.MapGet("/api/jobs", JobsAsync);
        app.MapGet("/api/runs", RunsAsync);
        app.MapGet("/api/runs/{id}", RunAsync);
        app.MapGet("/api/skips", SkipsAsync);
        app.MapGet("/api/locks", LocksAsync);
        app.MapGet("/api/replicas", ReplicasAsync);
        app.MapGet("/api/audit", AuditAsync);
        app.MapGet("/api/inbox", InboxEndpoints.ListAsync);
        app.MapGet("/api/inbox/{id}", InboxEndpoints.FindAsync);
        // All that changes something is mapped here, and so audited.
        var changes = app.MapGroup("").AddEndpointFilter<RouteGroupBuilder, AuditFilter>();
        changes.MapPost("/api/jobs/{job}/trigger", TriggerEndpoint.TriggerAsync);
        changes.MapPost("/api/jobs/{job}/pause", PauseEndpoints.PauseAsync);
        changes.MapPost("/api/jobs/{job}/resume", PauseEndpoints.ResumeAsync);
        changes.MapPost("/api/runs/{id}/retry", TriggerEndpoint.RetryAsync);
        changes.MapPost("/api/inbox/replay", InboxReplayEndpoints.ReplayAllAsync);
        changes.MapPost("/api/inbox/{id}/replay", InboxReplayEndpoints.ReplayAsync);
        changes.MapPost("/api/inbox/resolve", InboxResolveEndpoints.ResolveAllAsync);
        changes.MapPost("/api/inbox/{id}/resolve", InboxResolveEndpoints.ResolveAsync);
    }

    private static IResult Ready(HttpContext context, ReplicaStatus status, BoundAddresses addresses)
    {
        if (status.IsReady)
        {
            return TypedResults.Ok(new HealthView("ready", Reasons: null));
        }
        var reasons = addresses.IsHealthOnly(context.Connection.LocalPort) ? null : status.NotReadyReasons;
        return TypedResults.Json(new HealthView("notReady", reasons), statusCode: StatusCodes.Status503ServiceUnavailable);
    }

    private static async Task<IResult> JobsAsync(HttpContext context, OperationsReader reader)
    {
        var parameters = new Parameters(context);
        return parameters.Errors.Count > 0 ? Bad(parameters) : TypedResults.Ok(await reader.JobsAsync(context.RequestAborted));
    }

    private static async Task<IResult> RunsAsync(HttpContext context, OperationsReader reader)
    {
        var parameters = new Parameters(context, "job", "trigger", "state", "replica", "key", "from", "to", "limit", "cursor");
        var (from, to) = parameters.Range();
        var query = new RunQuery(parameters.Name("job"), parameters.Word<RunState>("state"), parameters.Limit(), parameters.Text("cursor"))
        {
            Trigger = parameters.Name("trigger"),
            Replica = parameters.Name("replica"),
            LockKey = parameters.Key("key"),
            From = from,
            To = to,
        };
        return await RecordsAsync(
            parameters,
            reader,
            async state =>
            {
                var page = await state.CallAsync((s, token) => s.Runs.ListAsync(query, token), context.RequestAborted);
                return new ListView<RunView>(page.Items.Select(r => RunView.From(r)).ToList(), page.Next);
            }
        );
    }

    private static async Task<IResult> RunAsync(HttpContext context, string id, OperationsReader reader)
    {
        var parameters = new Parameters(context);
        if (parameters.Errors.Count > 0)
        {
            return Bad(parameters);
        }
        if (reader.State is not { } state)
        {
            return TypedResults.Problem(NoState, statusCode: StatusCodes.Status404NotFound);
        }
        if (await state.CallAsync((s, token) => s.Runs.FindAsync(id, token), context.RequestAborted) is not { } found)
        {
            return NoSuchRun();
        }
        var kept = await state.CallAsync((s, token) => s.Events.ListAsync(id, token), context.RequestAborted);
        return TypedResults.Ok(RunView.From(found.Run, found.Attempts, RunStory.Of(found, kept)));
    }

    private static async Task<IResult> SkipsAsync(HttpContext context, OperationsReader reader)
    {
        var parameters = new Parameters(context, "job", "from", "to", "limit", "cursor");
        var (from, to) = parameters.Range();
        var query = new SkipQuery(parameters.Name("job"), from, to, parameters.Limit(), parameters.Text("cursor"));
        return await RecordsAsync(
            parameters,
            reader,
            async state =>
            {
                var page = await state.CallAsync((s, token) => s.Skips.ListAsync(query, token), context.RequestAborted);
                return new ListView<SkipCount>(page.Items, page.Next);
            }
        );
    }

    private static async Task<IResult> AuditAsync(HttpContext context, OperationsReader reader)
    {
        var parameters = new Parameters(context, "limit", "before");
        var (limit, before) = (parameters.Limit(), parameters.Text("before"));
        return await RecordsAsync(
            parameters,
            reader,
            async state =>
            {
                var page = await state.CallAsync((s, token) => s.Audit.ListAsync(limit, before, token), context.RequestAborted);
                return new ListView<AuditEntry>(page.Items, page.Next);
            },
            cursor: "before"
        );
    }

    /// <summary>To what changes something and needs records.</summary>
    public static ProblemHttpResult NoRecords() =>
        TypedResults.Problem(NoState, statusCode: StatusCodes.Status409Conflict, title: "No records");

    public static ProblemHttpResult NoSuchJob(string job, IReadOnlyList<string> known) =>
        TypedResults.Problem(
            $"There is no job '{job}'; near: {Names.Near(job, known)}.",
            statusCode: StatusCodes.Status404NotFound,
            title: "No such job"
        );

    public static ProblemHttpResult NoSuchRun() =>
        TypedResults.Problem(
            "There is no run with this id in the group; runs are deleted after State:KeepRuns.",
            statusCode: StatusCodes.Status404NotFound,
            title: "No such run"
        );

    private static async Task<IResult> LocksAsync(HttpContext context, OperationsReader reader)
    {
        var parameters = new Parameters(context, "prefix", "limit", "cursor");
        var (prefix, limit, cursor) = (parameters.Text("prefix") ?? "", parameters.Limit(), parameters.Text("cursor"));
        return parameters.Errors.Count > 0
            ? Bad(parameters)
            : await PageAsync(parameters, () => reader.LocksAsync(prefix, limit, cursor, context.RequestAborted));
    }

    private static async Task<IResult> ReplicasAsync(HttpContext context, OperationsReader reader)
    {
        var parameters = new Parameters(context);
        return parameters.Errors.Count > 0 ? Bad(parameters) : TypedResults.Ok(await reader.ReplicasAsync(context.RequestAborted));
    }

    /// <summary>A page of what only a State has.</summary>
    public static async Task<IResult> RecordsAsync<T>(
        Parameters parameters,
        OperationsReader reader,
        Func<StateGuard, Task<ListView<T>>> list,
        string cursor = "cursor"
    )
    {
        if (parameters.Errors.Count > 0)
        {
            return Bad(parameters);
        }
        return reader.State is { } state
            ? await PageAsync(parameters, () => list(state), cursor)
            : TypedResults.Problem(NoState, statusCode: StatusCodes.Status404NotFound);
    }

    private static async Task<IResult> PageAsync<T>(Parameters parameters, Func<Task<ListView<T>>> list, string cursor = "cursor")
    {
        try
        {
            return TypedResults.Ok(await list());
        }
        catch (Exception e) when (e is ArgumentException or FormatException && parameters.Text(cursor) is not null)
        {
            parameters.Errors[cursor] = ["must be the 'next' of the page before, unchanged"];
            return Bad(parameters);
        }
    }

    private static ValidationProblem Bad(Parameters parameters) =>
        TypedResults.ValidationProblem(parameters.Errors, title: "Bad parameters");
}
