using System.Globalization;
using Scheduler.Inbox;

namespace Scheduler.Worker.Operations;

/// <summary>Shows the inbox. Nothing of a body.</summary>
internal static class InboxEndpoints
{
    public static void Map(IEndpointRouteBuilder app)
    {
        app.MapGet("/api/inbox", ListAsync);
        app.MapGet("/api/inbox/{id}", FindAsync);
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
            : TypedResults.Problem(
                "There is no event with this id in the group's inbox.",
                statusCode: StatusCodes.Status404NotFound,
                title: "No such event"
            );
    }
}
