using System.Globalization;
using System.Text.Json;
using Microsoft.AspNetCore.Http.HttpResults;
using Scheduler.Inbox;
using Scheduler.Worker.Telemetry;

namespace Scheduler.Worker.Operations;

/// <summary>Shows the inbox, and lets a person decide about what waits for one. Nothing of a body.</summary>
internal static class InboxEndpoints
{
    public static void Map(IEndpointRouteBuilder app)
    {
        app.MapGet("/api/inbox", ListAsync);
        app.MapGet("/api/inbox/{id}", FindAsync);
        app.MapPost("/api/inbox/{id}/replay", ReplayAsync);
        app.MapPost("/api/inbox/{id}/resolve", ResolveAsync);
    }

    private static async Task<IResult> ListAsync(HttpContext context, OperationsReader reader)
    {
        var parameters = new Parameters(context, "source", "state", "limit", "cursor");
        var (source, state, limit) = (parameters.Name("source"), parameters.Word<InboxState>("state"), parameters.Limit());
        long? before = null;
        if (parameters.Text("cursor") is { } cursor)
        {
            before = long.TryParse(cursor, NumberStyles.None, CultureInfo.InvariantCulture, out var number) && number > 0 ? number : null;
            if (before is null)
            {
                parameters.Errors["cursor"] = ["must be the 'next' of the page before, unchanged"];
            }
        }
        return await OperationsEndpoints.RecordsAsync(
            parameters,
            reader,
            async guard =>
            {
                var events = await guard.CallAsync(
                    (s, token) => s.Inbox.ListAsync(source, state, limit, before, token),
                    context.RequestAborted
                );
                var next = events.Count == limit ? events[^1].Number.ToString(CultureInfo.InvariantCulture) : null;
                return new ListView<InboxEvent>(events, next);
            }
        );
    }

    private static async Task<IResult> FindAsync(HttpContext context, string id, OperationsReader reader)
    {
        if (reader.State is not { } state)
        {
            return TypedResults.Problem(OperationsEndpoints.NoState, statusCode: StatusCodes.Status404NotFound);
        }
        return await state.CallAsync((s, token) => s.Inbox.FindAsync(id, token), context.RequestAborted) is { } found
            ? TypedResults.Ok(found)
            : NoSuchEvent();
    }

    private static Task<IResult> ReplayAsync(HttpContext context, string id, OperationsReader reader, ILogger<OperationsReader> logger) =>
        ChangeAsync(
            context,
            id,
            reader,
            logger,
            "replayed",
            "Only a failed or dead event can be tried again.",
            (inbox, token) => inbox.ReplayAsync(id, token)
        );

    private static Task<IResult> ResolveAsync(HttpContext context, string id, OperationsReader reader, ILogger<OperationsReader> logger)
    {
        var parameters = new Parameters(context, "decision");
        var decision = parameters.Text("decision");
        if (decision is not ("keepFirst" or "accept"))
        {
            parameters.Errors["decision"] = ["must be keepFirst or accept"];
        }
        return parameters.Errors.Count > 0
            ? Task.FromResult<IResult>(TypedResults.ValidationProblem(parameters.Errors, title: "Bad parameters"))
            : ChangeAsync(
                context,
                id,
                reader,
                logger,
                $"resolved ({decision})",
                "Only a conflict can be resolved.",
                (inbox, token) => inbox.ResolveAsync(id, decision == "accept", token)
            );
    }

    private static async Task<IResult> ChangeAsync(
        HttpContext context,
        string id,
        OperationsReader reader,
        ILogger logger,
        string what,
        string only,
        Func<IInbox, CancellationToken, ValueTask<InboxChange>> change
    )
    {
        if (reader.State is not { } state)
        {
            return OperationsEndpoints.NoRecords();
        }
        var (found, isChanged) = await state.CallAsync((s, token) => change(s.Inbox, token), context.RequestAborted);
        if (found is null)
        {
            return NoSuchEvent();
        }
        if (!isChanged)
        {
            return TypedResults.Problem(
                $"{only} This one is {JsonNamingPolicy.CamelCase.ConvertName(found.State.ToString())}.",
                statusCode: StatusCodes.Status409Conflict,
                title: "Not possible now"
            );
        }
        Log.EventChanged(logger, id, found.Source, what, context.Connection.RemoteIpAddress?.ToString());
        return TypedResults.Ok(found);
    }

    private static ProblemHttpResult NoSuchEvent() =>
        TypedResults.Problem(
            "There is no event with this id in the group's inbox.",
            statusCode: StatusCodes.Status404NotFound,
            title: "No such event"
        );
}
