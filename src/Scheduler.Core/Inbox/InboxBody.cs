namespace Scheduler.Inbox;

/// <summary>An event with its body.</summary>
/// <param name="Event">The event.</param>
/// <param name="Body">The body as it came; <see langword="null"/> when it is no longer kept.</param>
public sealed record InboxBody(InboxEvent Event, byte[]? Body);

/// <summary>What became of an event that was to be received after all.</summary>
/// <param name="IsChanged">Whether it is received now.</param>
/// <param name="Other">The event that has its keys, where one is in the way.</param>
public readonly record struct InboxReceived(bool IsChanged, string? Other);
