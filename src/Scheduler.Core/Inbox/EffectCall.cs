namespace Scheduler.Inbox;

/// <summary>A call to a service outside that is about to be made. Immutable.</summary>
/// <param name="IdempotencyKey">To hand to the service: 64 lower-case hexadecimal digits, the same at every attempt.</param>
/// <param name="MayHaveHappened">Whether an attempt before this one intended the call and did not come to note that it is done: the service
/// may have had it. One that takes no idempotency key is to be asked first.</param>
public readonly record struct EffectCall(string IdempotencyKey, bool MayHaveHappened);
