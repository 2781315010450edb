using Microsoft.AspNetCore.Mvc;
using Scheduler.Auditing;
using Scheduler.Inbox;
using Scheduler.Runs;
using Scheduler.Worker.Telemetry;

namespace Scheduler.Worker.Operations;

/// <summary>
/// Writes who asked for a change before it is made, so that none is made without an entry, and what became of it behind it. With no State
/// there is nothing to change.
/// </summary>
internal sealed class AuditFilter(OperationsReader reader, ReplicaIdentity replica, TimeProvider time, ILogger<AuditFilter> logger)
    : IEndpointFilter
{
    public async ValueTask<object?> InvokeAsync(EndpointFilterInvocationContext context, EndpointFilterDelegate next)
    {
        if (reader.State is not { } state)
        {
            return await next(context);
        }
        var http = context.HttpContext;
        var entry = EntryOf(http);
        await state.CallAsync((s, token) => s.Audit.AddAsync(entry, token), http.RequestAborted);
        var result = await next(context);
        var (outcome, detail) = (StatusOf(result), DetailOf(result));
        try
        {
            // Also when nobody waits for the answer any more; State has a limit of its own.
            await state.CallAsync((s, token) => s.Audit.EndAsync(entry.Id, outcome, detail, token), CancellationToken.None);
        }
        catch (StateUnavailableException problem)
        {
            Log.NotAudited(logger, entry.Action, entry.Target, entry.Who, outcome, problem.Message);
        }
        return result;
    }

    private AuditEntry EntryOf(HttpContext context)
    {
        var now = time.GetUtcNow();
        var path = context.Request.Path.Value!.TrimEnd('/');
        return new AuditEntry
        {
            Id = Guid.CreateVersion7(now).ToString("N"),
            At = now,
            Who = Caller.Of(context),
            Action = path[(path.LastIndexOf('/') + 1)..],
            Target = TargetOf(context.Request.RouteValues, path),
            Parameters = context.Request.QueryString.Value is { Length: > 1 } query ? query[1..] : null,
            Replica = replica.Id,
        };
    }

    private static string TargetOf(RouteValueDictionary values, string path) =>
        values["job"] is { } job ? $"job {job}"
        : values["id"] is not { } id ? "inbox"
        : path.StartsWith("/api/runs/", StringComparison.OrdinalIgnoreCase) ? $"run {id}"
        : $"event {id}";

    private static int StatusOf(object? result) => (result as IStatusCodeHttpResult)?.StatusCode ?? StatusCodes.Status200OK;

    private static string? DetailOf(object? result) =>
        (result as IValueHttpResult)?.Value switch
        {
            HttpValidationProblemDetails problem => string.Join("; ", problem.Errors.Select(e => $"{e.Key} {string.Join(", ", e.Value)}")),
            ProblemDetails problem => problem.Detail,
            RunView run => $"run {run.Id}",
            ReplayView replay => $"{replay.Changed} events",
            InboxEvent found => found.Source,
            _ => null,
        };
}

/// <summary>Who asks for something.</summary>
internal static class Caller
{
    /// <summary>The address that a request comes from: operations have no tokens, so nothing else is known.</summary>
    public static string Of(HttpContext context) => context.Connection.RemoteIpAddress?.ToString() ?? "unknown";
}
