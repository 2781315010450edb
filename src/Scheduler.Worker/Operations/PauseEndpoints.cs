using Microsoft.AspNetCore.Http.HttpResults;
using Scheduler.Jobs;
using Scheduler.Worker.Telemetry;

namespace Scheduler.Worker.Operations;

/// <summary><c>POST /api/jobs/{job}/pause</c> and <c>resume</c>: stop and start the schedules of a job on the whole group.</summary>
internal static class PauseEndpoints
{
    public static async Task<IResult> PauseAsync(
        HttpContext context,
        string job,
        OperationsReader reader,
        ILogger<OperationsReader> logger
    ) => await ChangeAsync(context, job, reader, static (pauses, name, token) => pauses.PauseAsync(name, token), logger, isPaused: true);

    public static async Task<IResult> ResumeAsync(
        HttpContext context,
        string job,
        OperationsReader reader,
        ILogger<OperationsReader> logger
    ) => await ChangeAsync(context, job, reader, static (pauses, name, token) => pauses.ResumeAsync(name, token), logger, isPaused: false);

    private static async Task<IResult> ChangeAsync(
        HttpContext context,
        string job,
        OperationsReader reader,
        Func<PauseRequests, string, CancellationToken, ValueTask<PauseAnswer>> change,
        ILogger logger,
        bool isPaused
    )
    {
        if (reader.Pauses is not { } pauses)
        {
            return OperationsEndpoints.NoRecords();
        }
        if (new Parameters(context).Errors is { Count: > 0 } errors)
        {
            return TypedResults.ValidationProblem(errors, title: "Bad parameters");
        }
        switch (await change(pauses, job, context.RequestAborted))
        {
            case PauseAnswer.Done { Pause: var pause }:
                Log.PauseChanged(logger, job, isPaused ? "paused" : "resumed", Caller.Of(context));
                return TypedResults.Ok(new PauseView(job, isPaused, pause?.Since, pause?.Until));
            case PauseAnswer.UnknownJob { Known: var known }:
                return OperationsEndpoints.NoSuchJob(job, known);
            case var refused:
                return Problem(StatusCodes.Status422UnprocessableEntity, "Cannot be paused", ((PauseAnswer.Refused)refused).Reason);
        }
    }

    private static ProblemHttpResult Problem(int status, string title, string detail) =>
        TypedResults.Problem(detail, statusCode: status, title: title);
}
