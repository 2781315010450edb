using Scheduler.Locking;
using Scheduler.Runs;
using Scheduler.Worker.Hosting;
using Scheduler.Worker.Telemetry;

namespace Scheduler.Worker.Operations;

/// <summary>
/// Every request has a time limit, and every error is an RFC 9457 problem; where only health is served, all else does not exist.
/// </summary>
internal sealed class OperationsErrors(RequestDelegate next, BoundAddresses addresses, TimeProvider time, ILogger<OperationsErrors> logger)
{
    /// <summary>How long a request may take.</summary>
    public static readonly TimeSpan Limit = TimeSpan.FromSeconds(5);

    public async Task InvokeAsync(HttpContext context)
    {
        if (
            addresses.IsHealthOnly(context.Connection.LocalPort)
            && !context.Request.Path.StartsWithSegments("/health", StringComparison.OrdinalIgnoreCase)
        )
        {
            await ProblemAsync(context, StatusCodes.Status404NotFound, "Not found", "This address serves health only.");
            return;
        }
        if (!HttpMethods.IsGet(context.Request.Method) && !HttpMethods.IsHead(context.Request.Method) && IsOfAnotherSite(context))
        {
            await ProblemAsync(context, StatusCodes.Status403Forbidden, "Refused", "A page of another site must not change anything here.");
            return;
        }
        var client = context.RequestAborted;
        using var limit = new CancellationTokenSource(Limit, time);
        using var linked = CancellationTokenSource.CreateLinkedTokenSource(client, limit.Token);
        context.RequestAborted = linked.Token;
        try
        {
            // To its end: a handler that was left behind would write to a context that serves somebody else by then. What a handler
            // waits for has limits of its own.
            await next(context);
            if (context.Response is { HasStarted: false, StatusCode: >= 400, ContentLength: null, ContentType: null })
            {
                await ProblemAsync(
                    context,
                    context.Response.StatusCode,
                    "There is nothing here",
                    "See /api/jobs, /api/runs, /api/skips, /api/inbox, /api/locks, /api/replicas, /api/audit."
                );
            }
        }
        catch (Exception e) when (!context.Response.HasStarted)
        {
            context.RequestAborted = client;
            if (!client.IsCancellationRequested)
            {
                await ExplainAsync(context, e);
            }
        }
    }

    // A browser says where a request comes from; the loopback address is open to every page that it shows. (Fetch Metadata, W3C)
    private static bool IsOfAnotherSite(HttpContext context) =>
        context.Request.Headers["Sec-Fetch-Site"] is { Count: > 0 } site && site != "same-origin" && site != "none";

    private Task ExplainAsync(HttpContext context, Exception exception)
    {
        switch (exception)
        {
            case StateUnavailableException:
                return ProblemAsync(context, StatusCodes.Status503ServiceUnavailable, "State does not answer", exception.Message);
            case StoreUnavailableException:
                return ProblemAsync(context, StatusCodes.Status503ServiceUnavailable, "The lock store does not answer", exception.Message);
            // What the server finds wrong while a body is read: too large, too slow, broken off.
            case BadHttpRequestException bad:
                return ProblemAsync(context, bad.StatusCode, "Bad request", bad.Message);
            case OperationCanceledException or TimeoutException:
                var late = $"There was no answer within {Limit.TotalSeconds:0} s.";
                return ProblemAsync(context, StatusCodes.Status503ServiceUnavailable, "Time is up", late);
            default:
                Log.RequestFailed(logger, exception, context.Request.Method, context.Request.Path);
                return ProblemAsync(context, StatusCodes.Status500InternalServerError, "The request failed", "The replica's log says why.");
        }
    }

    private static Task ProblemAsync(HttpContext context, int status, string title, string detail) =>
        TypedResults.Problem(detail, statusCode: status, title: title).ExecuteAsync(context);
}
