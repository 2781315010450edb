namespace Scheduler.Worker.Telemetry;

/// <summary>What the worker logs; event ids 4000 to 4099.</summary>
internal static partial class Log
{
    [LoggerMessage(4001, LogLevel.Information, "Look here: {Url}/api/runs  {Url}/api/jobs  {Url}/api/locks  {Url}/health/ready")]
    public static partial void Listening(ILogger logger, string url);

    [LoggerMessage(4002, LogLevel.Warning, "{Warning}")]
    public static partial void Setting(ILogger logger, string warning);

    [LoggerMessage(4004, LogLevel.Information, "{Summary}")]
    public static partial void Summary(ILogger logger, string summary);

    [LoggerMessage(4005, LogLevel.Information, "{Address} is taken; the free port {Port} is used")]
    public static partial void OtherPort(ILogger logger, string address, int port);

    [LoggerMessage(4006, LogLevel.Debug, "No summary yet: {Reason}")]
    public static partial void NoSummary(ILogger logger, string reason);

    [LoggerMessage(4007, LogLevel.Error, "{Method} {Path} failed")]
    public static partial void RequestFailed(ILogger logger, Exception exception, string method, string path);

    [LoggerMessage(4009, LogLevel.Information, "Run {RunId} of job {Job} was asked for by {Client}")]
    public static partial void RunAsked(ILogger logger, string runId, string job, string? client);

    [LoggerMessage(4010, LogLevel.Information, "Job '{Job}' was {Change} on request from {Client}")]
    public static partial void PauseChanged(ILogger logger, string job, string change, string? client);

    [LoggerMessage(
        4020,
        LogLevel.Warning,
        "Deliveries to webhook source {Source} were answered with {Status}, {Count} since this was said last: {Reason}"
    )]
    public static partial void WebhookRefused(this ILogger logger, string source, int status, int count, string reason);

    [LoggerMessage(
        4022,
        LogLevel.Error,
        "An event of webhook source {Source} contradicts event {InboxId}: its keys, other content; a person decides ({Count} since this "
            + "was said last)"
    )]
    public static partial void WebhookConflict(this ILogger logger, string source, string inboxId, int count);

    [LoggerMessage(
        4023,
        LogLevel.Error,
        "Event {InboxId} of webhook source {Source} is quarantined ({Count} since this was said last): {Reason}"
    )]
    public static partial void WebhookQuarantined(this ILogger logger, string inboxId, string source, int count, string reason);

    [LoggerMessage(4024, LogLevel.Information, "Webhooks: {Url}/webhooks/{Sources}")]
    public static partial void Ingress(ILogger logger, string url, string sources);

    [LoggerMessage(4025, LogLevel.Information, "Event {InboxId} of webhook source {Source} was {Change} on request from {Client}")]
    public static partial void EventChanged(ILogger logger, string inboxId, string source, string change, string? client);

    [LoggerMessage(4026, LogLevel.Information, "{Count} events (source {Source}, state {State}) were replayed on request from {Client}")]
    public static partial void EventsReplayed(ILogger logger, int count, string? source, string state, string? client);

    [LoggerMessage(4028, LogLevel.Information, "{Count} events (source {Source}, state {State}) were ignored on request from {Client}")]
    public static partial void EventsIgnored(ILogger logger, int count, string? source, string state, string? client);

    [LoggerMessage(
        4027,
        LogLevel.Warning,
        "{Action} of {Target} by {Client} was answered with {Status}; the audit trail does not say so: {Reason}"
    )]
    public static partial void NotAudited(ILogger logger, string action, string target, string client, int status, string reason);

    [LoggerMessage(4008, LogLevel.Information, "Replica {ReplicaName} has stopped")]
    public static partial void Stopped(ILogger logger, string replicaName);
}
