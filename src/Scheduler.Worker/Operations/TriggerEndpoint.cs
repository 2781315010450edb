using System.Text.Json;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Http.HttpResults;
using Scheduler.Jobs;
using Scheduler.Runs;
using Scheduler.Worker.Telemetry;

namespace Scheduler.Worker.Operations;

/// <summary><c>POST /api/jobs/{job}/trigger</c> and <c>POST /api/runs/{id}/retry</c>: ask the group for a run.</summary>
internal static class TriggerEndpoint
{
    private const string KeyHeader = "Idempotency-Key";
    private const string BodyName = "body";
    private const int LargestBody = 128 * 1024;
    private const int Deepest = 4;

    /// <summary>Answers 202 with the run once its row is committed.</summary>
    public static async Task<IResult> TriggerAsync(
        HttpContext context,
        string job,
        OperationsReader reader,
        ILogger<OperationsReader> logger
    )
    {
        if (reader.Requests is not { } requests)
        {
            return OperationsEndpoints.NoRecords();
        }
        var errors = new Parameters(context).Errors;
        var key = ReadKey(context, errors);
        IReadOnlyDictionary<string, string>? data = null;
        if (context.Features.Get<IHttpRequestBodyDetectionFeature>()?.CanHaveBody == true)
        {
            if (!context.Request.HasJsonContentType())
            {
                return Problem(StatusCodes.Status415UnsupportedMediaType, "Wrong content type", "A body must be application/json.");
            }
            try
            {
                data = await ReadDataAsync(context, errors);
            }
            catch (BadHttpRequestException e)
            {
                var why = e.StatusCode == StatusCodes.Status413PayloadTooLarge ? $"A body has at most {LargestBody} bytes." : e.Message;
                return Problem(e.StatusCode, "The body cannot be read", why);
            }
        }
        if (errors.Count > 0)
        {
            return TypedResults.ValidationProblem(errors, title: "Bad parameters");
        }
        switch (await requests.RequestAsync(job, data, key, context.RequestAborted))
        {
            case RunRequestAnswer.Accepted { Run: var run }:
                return Accepted(context, run, logger);
            case RunRequestAnswer.UnknownJob { Known: var known }:
                return OperationsEndpoints.NoSuchJob(job, known);
            case RunRequestAnswer.Paused { Pause: var pause }:
                return Problem(
                    StatusCodes.Status409Conflict,
                    "Paused",
                    $"Job '{job}' is paused since {pause.Since:O}; POST /api/jobs/{job}/resume ends that."
                );
            case RunRequestAnswer.KeyReused { Run: var first }:
                return Problem(
                    StatusCodes.Status422UnprocessableEntity,
                    "Idempotency key reused",
                    $"{KeyHeader} '{key}' was used for run {first.Id} with other data; use a new one for another run."
                );
            case RunRequestAnswer.TooMany { Reason: var reason }:
                return Problem(StatusCodes.Status429TooManyRequests, "Too many open runs", reason);
            case var refused:
                return Problem(StatusCodes.Status422UnprocessableEntity, "Cannot run", ((RunRequestAnswer.Refused)refused).Reason);
        }
    }

    /// <summary>Answers 202 with a failed or dead run once it is open again.</summary>
    public static async Task<IResult> RetryAsync(HttpContext context, string id, OperationsReader reader, ILogger<OperationsReader> logger)
    {
        if (reader.Requests is not { } requests)
        {
            return OperationsEndpoints.NoRecords();
        }
        if (new Parameters(context).Errors is { Count: > 0 } errors)
        {
            return TypedResults.ValidationProblem(errors, title: "Bad parameters");
        }
        return await requests.ReopenAsync(id, context.RequestAborted) switch
        {
            RunRequestAnswer.Accepted { Run: var run } => Accepted(context, run, logger),
            RunRequestAnswer.Refused { Reason: var reason } => Problem(StatusCodes.Status409Conflict, "Cannot run again", reason),
            _ => OperationsEndpoints.NoSuchRun(),
        };
    }

    private static Accepted<RunView> Accepted(HttpContext context, RunRecord run, ILogger logger)
    {
        Log.RunAsked(logger, run.Id, run.Job, Caller.Of(context));
        return TypedResults.Accepted($"/api/runs/{run.Id}", RunView.From(run));
    }

    private static string? ReadKey(HttpContext context, Dictionary<string, string[]> errors)
    {
        var values = context.Request.Headers[KeyHeader];
        if (values.Count == 0)
        {
            return null;
        }
        if (values is [{ Length: >= 1 and <= RunRequests.LongestKey } key] && key.All(c => c is > ' ' and <= '~'))
        {
            return key;
        }
        errors[KeyHeader] = [$"must be given once, with 1 to {RunRequests.LongestKey} visible ASCII characters"];
        return null;
    }

    // {"data": {"name": "text", ...}}, and nothing else: a mistyped member must not silently do nothing.
    private static async Task<IReadOnlyDictionary<string, string>> ReadDataAsync(HttpContext context, Dictionary<string, string[]> errors)
    {
        var data = new Dictionary<string, string>(StringComparer.Ordinal);
        if (context.Features.Get<IHttpMaxRequestBodySizeFeature>() is { IsReadOnly: false } size)
        {
            size.MaxRequestBodySize = LargestBody;
        }
        try
        {
            using var document = await JsonDocument.ParseAsync(
                context.Request.Body,
                new JsonDocumentOptions { MaxDepth = Deepest, AllowDuplicateProperties = false },
                context.RequestAborted
            );
            ReadMembers(document.RootElement, data, errors);
        }
        catch (JsonException e)
        {
            errors[BodyName] = [$"is no JSON: line {e.LineNumber + 1}, byte {e.BytePositionInLine + 1}"];
        }
        catch (InvalidOperationException)
        {
            // Half of a surrogate pair, which only the escapes of JSON can write.
            errors[BodyName] = ["has a text that is no Unicode"];
        }
        return data;
    }

    private static void ReadMembers(JsonElement root, Dictionary<string, string> data, Dictionary<string, string[]> errors)
    {
        if (root.ValueKind != JsonValueKind.Object)
        {
            errors[BodyName] = ["must be an object such as {\"data\": {\"merchantId\": \"17\"}}"];
            return;
        }
        foreach (var member in root.EnumerateObject())
        {
            if (member.Name != "data")
            {
                errors[member.Name] = ["is not known; known: data"];
            }
            else if (member.Value.ValueKind != JsonValueKind.Object)
            {
                errors["data"] = ["must be an object of texts"];
            }
            else
            {
                ReadTexts(member.Value, data, errors);
            }
        }
    }

    private static void ReadTexts(JsonElement texts, Dictionary<string, string> data, Dictionary<string, string[]> errors)
    {
        foreach (var text in texts.EnumerateObject())
        {
            if (text.Value.ValueKind == JsonValueKind.String)
            {
                data[text.Name] = text.Value.GetString()!;
            }
            else
            {
                errors[$"data.{text.Name}"] = ["must be a text"];
            }
        }
    }

    private static ProblemHttpResult Problem(int status, string title, string detail) =>
        TypedResults.Problem(detail, statusCode: status, title: title);
}
