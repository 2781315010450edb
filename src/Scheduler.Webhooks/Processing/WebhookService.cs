using Microsoft.Extensions.Hosting;

namespace Scheduler.Webhooks.Processing;

/// <summary>
/// Runs the processor with the host. From the begin of a stop on it takes nothing new; handlers have the time of the stop that jobs have,
/// then they are cancelled, and what they had is put back.
/// </summary>
/// <param name="processor">The processor.</param>
/// <param name="grace">From the begin of a stop until handlers are cancelled.</param>
/// <param name="lifetime">Says that a stop begins before any service is told, so that the order of registration does not matter.</param>
/// <param name="time">The clocks.</param>
internal sealed class WebhookService(EventProcessor processor, TimeSpan grace, IHostApplicationLifetime lifetime, TimeProvider time)
    : IHostedLifecycleService,
        IDisposable
{
    // What a handler that was told to end gets to do so.
    private static readonly TimeSpan AfterGrace = TimeSpan.FromSeconds(3);

    private readonly CancellationTokenSource _stopping = new();
    private readonly CancellationTokenSource _ended = new(Timeout.InfiniteTimeSpan, time);
    private readonly Lock _gate = new();
    private CancellationTokenRegistration _onStopping;
    private Task _running = Task.CompletedTask;
    private long _since;
    private bool _begun;

    public Task StartingAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StartAsync(CancellationToken cancellationToken)
    {
        _onStopping = lifetime.ApplicationStopping.Register(Begin);
        _running = Task.Run(() => processor.RunAsync(_stopping.Token, _ended.Token), CancellationToken.None);
        return Task.CompletedTask;
    }

    public Task StartedAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <summary>Returns at once: jobs and handlers end beside each other.</summary>
    public Task StoppingAsync(CancellationToken cancellationToken)
    {
        Begin();
        return Task.CompletedTask;
    }

    public async Task StopAsync(CancellationToken cancellationToken)
    {
        Begin();
        var left = grace + AfterGrace - time.GetElapsedTime(_since);
        await _running
            .WaitAsync(left > TimeSpan.Zero ? left : TimeSpan.Zero, time, cancellationToken)
            .ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }

    public Task StoppedAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public void Dispose()
    {
        _onStopping.Dispose();
        _stopping.Dispose();
        _ended.Dispose();
    }

    private void Begin()
    {
        lock (_gate)
        {
            if (_begun)
            {
                return;
            }
            _begun = true;
            _since = time.GetTimestamp();
            _stopping.Cancel();
            _ended.CancelAfter(grace);
        }
        processor.Wake();
    }
}
