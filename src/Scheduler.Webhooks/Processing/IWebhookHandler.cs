namespace Scheduler.Webhooks.Processing;

/// <summary>Processes the events of one source and type. Made once for each event by the host's services.</summary>
/// <typeparam name="T">What the body reads as, by System.Text.Json with its defaults for the web.</typeparam>
public interface IWebhookHandler<in T>
{
    /// <summary>
    /// Applies an event. Called again when it throws, when the replica dies, and when its end could not be recorded: what it changes is
    /// guarded by an effect (<see cref="WebhookEvent.EffectOf"/>) or by the stable key that it hands to others.
    /// </summary>
    /// <param name="payload">The body.</param>
    /// <param name="received">The event.</param>
    /// <param name="cancellationToken">Fires when the lease of the order is lost, when the time for an attempt is up, and at the end of the
    /// stop grace.</param>
    ValueTask<WebhookResult> HandleAsync(T payload, WebhookEvent received, CancellationToken cancellationToken);
}

/// <summary>What a handler made of an event.</summary>
public readonly record struct WebhookResult
{
    private WebhookResult(TimeSpan? after) => After = after;

    /// <summary>Its effect is there.</summary>
    public static WebhookResult Done { get; } = new(null);

    /// <summary>For one that is to come again, when.</summary>
    internal TimeSpan? After { get; }

    /// <summary>It cannot be applied yet: it comes again, and its order waits. That counts as no failure.</summary>
    /// <param name="after">When; 100 ms to 7 days.</param>
    /// <exception cref="ArgumentOutOfRangeException">The time is outside its bounds.</exception>
    public static WebhookResult NotYet(TimeSpan after)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(after, TimeSpan.FromMilliseconds(100));
        ArgumentOutOfRangeException.ThrowIfGreaterThan(after, TimeSpan.FromDays(7));
        return new WebhookResult(after);
    }
}
