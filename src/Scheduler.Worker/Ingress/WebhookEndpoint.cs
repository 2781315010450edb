using System.Text;
using System.Text.Json;
using Microsoft.AspNetCore.Http.Features;
using Scheduler.Inbox;
using Scheduler.Jobs;
using Scheduler.Webhooks;
using Scheduler.Worker.Telemetry;

namespace Scheduler.Worker.Ingress;

/// <summary>
/// <c>POST /webhooks/{source}</c>: verified over the raw bytes, durable before the answer. 2xx means stored; 4xx that nothing was kept and
/// sending it again is of no use; 503 that nothing is known to be stored. Nothing of a body, and no secret, is logged or answered.
/// Thread-safe.
/// </summary>
internal sealed class WebhookEndpoint(
    WebhookSources sources,
    BodyReader bodies,
    InboxWriter inbox,
    ReplicaStatus replica,
    RefusalLog refusals,
    IngressLimits limits,
    TimeProvider time
)
{
    public static void Map(IEndpointRouteBuilder app)
    {
        // Without sources there is none.
        if (app.ServiceProvider.GetService<WebhookEndpoint>() is { } endpoint)
        {
            app.MapPost("/webhooks/{source}", endpoint.ReceiveAsync);
        }
    }

    private async Task ReceiveAsync(HttpContext context)
    {
        var result = sources.Find((string)context.Request.RouteValues["source"]!) is { } intake
            ? await ReadAsync(context, intake)
            : IngressErrors.Problem(StatusCodes.Status404NotFound, "No such source", "There is no webhook source of this name.");
        await result.ExecuteAsync(context);
    }

    private async ValueTask<IResult> ReadAsync(HttpContext context, WebhookIntake intake)
    {
        if (replica.IsClosing)
        {
            context.Response.Headers.Connection = "close";
            return Unavailable(intake, "the replica stops");
        }
        if (context.Request.ContentLength > intake.MaxBodyBytes)
        {
            return TooLarge(context, intake);
        }
        if (context.Features.Get<IHttpMaxRequestBodySizeFeature>() is { IsReadOnly: false } limit)
        {
            // More than we take, so that it is we who find it too large; of a chunked body the server counts the frames, too.
            limit.MaxRequestBodySize = context.Request.ContentLength is null ? intake.MaxBodyBytes * 8L : intake.MaxBodyBytes + 1L;
        }
        using var body = bodies.Rent();
        return await bodies.ReadAsync(context.Request, intake.MaxBodyBytes, body) switch
        {
            BodyEnd.TooLarge => TooLarge(context, intake),
            BodyEnd.TooSlow => TooSlow(context, intake),
            BodyEnd.NoRoom => Unavailable(intake, $"bodies of {limits.BytesInReading} bytes are being read already"),
            _ => await TakeAsync(context, intake, body),
        };
    }

    private async ValueTask<IResult> TakeAsync(HttpContext context, WebhookIntake intake, BodyReader.Buffer body)
    {
        var verdict = intake.Examine(new WebhookHeaders(context.Request.Headers, Find), body.Read.Span);
        if (verdict is WebhookVerdict.Refused refused)
        {
            return Refuse(intake, refused.Status, "Refused", refused.Reason);
        }
        // Copied to its own size: a call to State that is given up may read it later, when the pooled buffer has another owner.
        var arrival = sources.ArrivalOf(intake, verdict, body.Read.ToArray(), time.GetUtcNow());
        body.Dispose();
        // Not given up when the sender hangs up: what was taken in is stored, and the sender's next try finds it.
        var storing = inbox.AddAsync(arrival).AsTask();
        try
        {
            var receipt = await storing.WaitAsync(limits.StoreTime, time);
            return receipt.Refusal is { } refusal ? Unavailable(intake, refusal) : Answer(intake, ViewOf(intake, arrival, receipt.Answer));
        }
        catch (TimeoutException)
        {
            return Unavailable(intake, $"there was no commit within {limits.StoreTime.TotalSeconds:0.#} s");
        }
    }

    private static WebhookView Answer(WebhookIntake intake, WebhookView view)
    {
        WebhookMetrics.Add(intake.Source, view.Status);
        return view;
    }

    private WebhookView ViewOf(WebhookIntake intake, InboxArrival arrival, InboxAnswer answer)
    {
        var isNew = answer.Outcome == InboxOutcome.Stored;
        switch (answer)
        {
            case { Outcome: InboxOutcome.Conflict }:
                refusals.AddConflict(intake.Source, answer.Id);
                return new WebhookView("conflict", answer.Id, Reason: null);
            case { State: InboxState.Quarantined }:
                if (isNew)
                {
                    refusals.AddQuarantined(intake.Source, answer.Id, arrival.Reason ?? "");
                }
                return new WebhookView("quarantined", answer.Id, arrival.Reason);
            case { Outcome: InboxOutcome.Duplicate }:
                return new WebhookView("duplicate", answer.Id, Reason: null);
            default:
                return new WebhookView(answer.State == InboxState.Ignored ? "ignored" : "accepted", answer.Id, Reason: null);
        }
    }

    private IResult TooLarge(HttpContext context, WebhookIntake intake)
    {
        // The rest of it is not waited for.
        context.Response.Headers.Connection = "close";
        const int Status = StatusCodes.Status413PayloadTooLarge;
        return Refuse(intake, Status, "Too large", $"The body is larger than {intake.MaxBodyBytes} bytes.");
    }

    private IResult TooSlow(HttpContext context, WebhookIntake intake)
    {
        context.Response.Headers.Connection = "close";
        const int Status = StatusCodes.Status408RequestTimeout;
        return Refuse(intake, Status, "Too slow", $"The body did not come within {limits.BodyTime.TotalSeconds:0.#} s.");
    }

    private IResult Refuse(WebhookIntake intake, int status, string title, string reason)
    {
        refusals.Add(intake.Source, status, reason);
        WebhookMetrics.Add(intake.Source, "refused");
        return IngressErrors.Problem(status, title, reason);
    }

    private IResult Unavailable(WebhookIntake intake, string reason)
    {
        refusals.Add(intake.Source, StatusCodes.Status503ServiceUnavailable, reason);
        WebhookMetrics.Add(intake.Source, "notStored");
        return IngressErrors.Unavailable("The event is not known to be stored; send it again later.");
    }

    private static WebhookHeader Find(object source, string name) =>
        ((IHeaderDictionary)source).TryGetValue(name, out var values)
            ? values.Count == 1
                ? WebhookHeader.One(values[0] ?? "")
                : WebhookHeader.Many(values.Count)
            : WebhookHeader.None;
}

/// <summary>The answer to a delivery.</summary>
/// <param name="Status"><c>accepted</c>, <c>duplicate</c>, <c>conflict</c>, <c>quarantined</c> or <c>ignored</c>.</param>
/// <param name="Id">The event's id.</param>
/// <param name="Reason">Why it is quarantined.</param>
internal sealed record WebhookView(string Status, string Id, string? Reason) : IResult
{
    // A copy of what is processed or contradicted is no news; what is stored, or kept for a person, is accepted.
    private bool IsNews => Status is "accepted" or "ignored" or "quarantined";

    public Task ExecuteAsync(HttpContext httpContext)
    {
        // By hand, because it is written at each delivery: nothing but the reason may need an escape.
        var reason = Reason is null ? "" : $",\"reason\":{JsonSerializer.Serialize(Reason)}";
        var json = Encoding.UTF8.GetBytes($$"""{"status":"{{Status}}","id":"{{Id}}"{{reason}}}""");
        var response = httpContext.Response;
        response.StatusCode = IsNews ? StatusCodes.Status202Accepted : StatusCodes.Status200OK;
        response.ContentType = "application/json; charset=utf-8";
        response.ContentLength = json.Length;
        return response.Body.WriteAsync(json, 0, json.Length);
    }
}
