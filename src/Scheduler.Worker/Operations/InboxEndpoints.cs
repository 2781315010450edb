using System.Globalization;
using System.Text.Json;
using Microsoft.AspNetCore.Http.HttpResults;
using Scheduler.Inbox;

namespace Scheduler.Worker.Operations;

/// <summary>Shows the inbox, and lets a person decide about what waits for one. Nothing of a body.</summary>
internal static class InboxEndpoints
{
    public static async Task<IResult> ListAsync(HttpContext context, OperationsReader reader)
    {
        var parameters = new Parameters(context, "source", "state", "type", "from", "to", "limit", "cursor");
        var query = QueryOf(parameters, parameters.Word<InboxState>("state"));
        return await OperationsEndpoints.RecordsAsync(
            parameters,
            reader,
            async guard =>
            {
                var page = await guard.CallAsync((s, token) => s.Inbox.ListAsync(query, token), context.RequestAborted);
                return new ListView<InboxEvent>(page.Items, CursorOf(page.Next));
            }
        );
    }

    public static async Task<IResult> FindAsync(HttpContext context, string id, OperationsReader reader)
    {
        if (reader.State is not { } state)
        {
            return TypedResults.Problem(OperationsEndpoints.NoState, statusCode: StatusCodes.Status404NotFound);
        }
        return await state.CallAsync((s, token) => s.Inbox.FindAsync(id, token), context.RequestAborted) is { } found
            ? TypedResults.Ok(found)
            : NoSuchEvent();
    }

    /// <summary>The filters of a list of events.</summary>
    public static InboxQuery QueryOf(Parameters parameters, InboxState? state)
    {
        var (from, to) = parameters.Range();
        return new InboxQuery(parameters.Name("source"), state, parameters.Limit(), parameters.Number())
        {
            Type = parameters.Name("type"),
            From = from,
            To = to,
        };
    }

    /// <summary>Where the next page begins.</summary>
    public static string? CursorOf(long? next) => next?.ToString(CultureInfo.InvariantCulture);

    /// <summary>A state as the interface writes it.</summary>
    public static string WordOf(InboxState state) => JsonNamingPolicy.CamelCase.ConvertName(state.ToString());

    /// <summary>To a change that the event's state does not allow.</summary>
    public static ProblemHttpResult NotNow(string reason) =>
        TypedResults.Problem(reason, statusCode: StatusCodes.Status409Conflict, title: "Not possible now");

    public static ProblemHttpResult NoSuchEvent() =>
        TypedResults.Problem(
            "There is no event with this id in the group's inbox.",
            statusCode: StatusCodes.Status404NotFound,
            title: "No such event"
        );
}
