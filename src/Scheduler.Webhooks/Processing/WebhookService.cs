using Microsoft.Extensions.Hosting;

namespace Scheduler.Webhooks.Processing;

/// <summary>Runs the processor with the host: takes nothing new once it stops, lets handlers end within the grace time, then cancels
/// them.</summary>
internal sealed class WebhookService(EventProcessor processor, TimeSpan grace, TimeProvider time) : IHostedService, IDisposable
{
    // What a handler that was told to end gets to do so.
    private static readonly TimeSpan AfterGrace = TimeSpan.FromSeconds(3);

    private readonly CancellationTokenSource _stopping = new();
    private readonly CancellationTokenSource _ended = new();
    private Task _running = Task.CompletedTask;

    public Task StartAsync(CancellationToken cancellationToken)
    {
        _running = Task.Run(() => processor.RunAsync(_stopping.Token, _ended.Token), CancellationToken.None);
        return Task.CompletedTask;
    }

    public async Task StopAsync(CancellationToken cancellationToken)
    {
        await _stopping.CancelAsync();
        processor.Wake();
        await _running.WaitAsync(grace, time, cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await _ended.CancelAsync();
        await _running.WaitAsync(AfterGrace, time, cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }

    public void Dispose()
    {
        _stopping.Dispose();
        _ended.Dispose();
    }
}
