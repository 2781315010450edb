using Scheduler.Worker.Telemetry;

namespace Scheduler.Worker.Ingress;

/// <summary>
/// What goes wrong around a delivery is an RFC 9457 problem: 4xx for what the sender can mend, else 503 with <c>Retry-After</c>, so that it
/// sends the event again.
/// </summary>
internal sealed class IngressErrors(RequestDelegate next, ILogger<IngressErrors> logger)
{
    private const string RetryAfterSeconds = "2";

    public async Task InvokeAsync(HttpContext context)
    {
        try
        {
            await next(context);
            if (context.Response is { HasStarted: false, StatusCode: >= 400, ContentType: null } response)
            {
                const string Address = "Webhooks are delivered by POST to /webhooks/{source}; there is nothing else at this address.";
                var title = response.StatusCode == StatusCodes.Status405MethodNotAllowed ? "Not a POST" : "There is nothing here";
                await Problem(response.StatusCode, title, Address).ExecuteAsync(context);
            }
        }
#pragma warning disable CA1031 // Whatever happened, the sender is told nothing but that, and nothing of a body.
        catch (Exception problem)
#pragma warning restore CA1031
        {
            if (context.RequestAborted.IsCancellationRequested)
            {
                return;
            }
            // What the server finds wrong while a body is read: too large, too slow, broken off.
            if (problem is BadHttpRequestException { StatusCode: < 500 } bad && !context.Response.HasStarted)
            {
                await Problem(bad.StatusCode, "Bad request", bad.Message).ExecuteAsync(context);
                return;
            }
            Log.RequestFailed(logger, problem, context.Request.Method, context.Request.Path);
            if (context.Response.HasStarted)
            {
                context.Abort();
                return;
            }
            await Unavailable("The delivery could not be handled; send it again later.").ExecuteAsync(context);
        }
    }

    /// <summary>A refusal that sending it again does not mend.</summary>
    public static IResult Problem(int status, string title, string detail) =>
        TypedResults.Problem(detail, statusCode: status, title: title);

    /// <summary>Nothing is known to be stored: the sender is to send it again.</summary>
    public static IResult Unavailable(string detail) => new RetryLater(detail);

    private sealed class RetryLater(string detail) : IResult
    {
        public Task ExecuteAsync(HttpContext httpContext)
        {
            httpContext.Response.Headers.RetryAfter = RetryAfterSeconds;
            return Problem(StatusCodes.Status503ServiceUnavailable, "Not stored", detail).ExecuteAsync(httpContext);
        }
    }
}
