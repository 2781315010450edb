using System.Buffers;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Mvc;
using Scheduler.Inbox;
using Scheduler.Webhooks;
using Scheduler.Worker.Telemetry;

namespace Scheduler.Worker.Ingress;

/// <summary>
/// <c>POST /webhooks/{source}</c>: verified over the raw bytes, durable before the answer. 2xx means stored; 4xx that nothing was kept and
/// sending it again is of no use; 503 that nothing is known to be stored. Nothing of a body, and no secret, is logged or answered.
/// Thread-safe.
/// </summary>
internal sealed class WebhookEndpoint(WebhookSources sources, InboxWriter inbox, RefusalLog refusals, TimeProvider time)
{
    private const string RetryAfterSeconds = "2";

    private WebhookSources Sources { get; } = sources;

    public static void Map(IEndpointRouteBuilder app) => app.MapPost("/webhooks/{source}", ReceiveAsync);

    private static async Task<IResult> ReceiveAsync(HttpContext context, string source, [FromServices] WebhookEndpoint? endpoint) =>
        endpoint?.Sources.Find(source) is { } intake
            ? await endpoint.ReadAsync(context, intake)
            : Refusal(StatusCodes.Status404NotFound, "No such source", "There is no webhook source of this name.");

    private async ValueTask<IResult> ReadAsync(HttpContext context, WebhookIntake intake)
    {
        if (context.Request.ContentLength > intake.MaxBodyBytes)
        {
            return TooLarge(intake);
        }
        if (context.Features.Get<IHttpMaxRequestBodySizeFeature>() is { IsReadOnly: false } limit)
        {
            // One more, so that it is we who find it too large.
            limit.MaxRequestBodySize = intake.MaxBodyBytes + 1L;
        }
        var (body, length) = await ReadAsync(context.Request, intake.MaxBodyBytes, context.RequestAborted);
        try
        {
            return length > intake.MaxBodyBytes ? TooLarge(intake) : await TakeAsync(context, intake, body.AsMemory(0, length));
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(body);
        }
    }

    private async ValueTask<IResult> TakeAsync(HttpContext context, WebhookIntake intake, ReadOnlyMemory<byte> body)
    {
        var verdict = intake.Examine(new WebhookHeaders(context.Request.Headers, Find), body.Span);
        if (verdict is WebhookVerdict.Refused refused)
        {
            refusals.Add(intake.Source, refused.Status, refused.Reason);
            WebhookMetrics.Add(intake.Source, "refused");
            return Refusal(refused.Status, "Refused", refused.Reason);
        }
        // Copied to its own size: a call to State that is given up may read it later, when the pooled buffer has another owner.
        var arrival = Sources.ArrivalOf(intake, verdict, body.ToArray(), time.GetUtcNow());
        // Not given up when the sender hangs up: what was taken in is stored, and the sender's next try finds it.
        var receipt = await inbox.AddAsync(arrival);
        if (receipt.Refusal is { } refusal)
        {
            refusals.Add(intake.Source, StatusCodes.Status503ServiceUnavailable, refusal);
            WebhookMetrics.Add(intake.Source, "notStored");
            context.Response.Headers.RetryAfter = RetryAfterSeconds;
            return Refusal(
                StatusCodes.Status503ServiceUnavailable,
                "Not stored",
                "The event is not known to be stored; send it again later."
            );
        }
        var view = ViewOf(intake, arrival, receipt.Answer);
        WebhookMetrics.Add(intake.Source, view.Status);
        // A copy of what is processed or contradicted is no news; what is stored, or kept for a person, is accepted.
        var isNews = view.Status is "accepted" or "ignored" or "quarantined";
        return TypedResults.Json(view, statusCode: isNews ? StatusCodes.Status202Accepted : StatusCodes.Status200OK);
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

    private static ProblemHttpResult TooLarge(WebhookIntake intake)
    {
        WebhookMetrics.Add(intake.Source, "refused");
        return Refusal(StatusCodes.Status413PayloadTooLarge, "Too large", $"The body is larger than {intake.MaxBodyBytes} bytes.");
    }

    private static ProblemHttpResult Refusal(int status, string title, string reason) =>
        TypedResults.Problem(reason, statusCode: status, title: title);

    private static WebhookHeader Find(object source, string name) =>
        ((IHeaderDictionary)source).TryGetValue(name, out var values)
            ? values.Count == 1
                ? WebhookHeader.One(values[0] ?? "")
                : WebhookHeader.Many(values.Count)
            : WebhookHeader.None;

    /// <summary>Reads the body into a pooled buffer; one byte more than the limit tells that it is too large.</summary>
    private static async ValueTask<(byte[] Body, int Length)> ReadAsync(HttpRequest request, int limit, CancellationToken cancellationToken)
    {
        const int FirstSize = 8 * 1024;
        var buffer = ArrayPool<byte>.Shared.Rent((int)Math.Min(request.ContentLength is { } known ? known + 1 : FirstSize, limit + 1L));
        var length = 0;
        try
        {
            while (true)
            {
                if (length == buffer.Length)
                {
                    var larger = ArrayPool<byte>.Shared.Rent((int)Math.Min(buffer.Length * 2L, limit + 1L));
                    buffer.AsSpan(0, length).CopyTo(larger);
                    ArrayPool<byte>.Shared.Return(buffer);
                    buffer = larger;
                }
                var read = await request.Body.ReadAsync(buffer.AsMemory(length), cancellationToken);
                length += read;
                if (read == 0 || length > limit)
                {
                    return (buffer, length);
                }
            }
        }
        catch
        {
            ArrayPool<byte>.Shared.Return(buffer);
            throw;
        }
    }
}

/// <summary>The answer to a delivery.</summary>
/// <param name="Status"><c>accepted</c>, <c>duplicate</c>, <c>conflict</c>, <c>quarantined</c> or <c>ignored</c>.</param>
/// <param name="Id">The event's id.</param>
/// <param name="Reason">Why it is quarantined.</param>
internal sealed record WebhookView(string Status, string Id, string? Reason);
