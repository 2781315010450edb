using System.Threading.Channels;
using Microsoft.Extensions.Logging;
using Scheduler.Telemetry;

namespace Scheduler.Runs;

/// <summary>
/// Writes events of runs in the background, so that nothing that tells of one waits for the State. One loop, a bounded queue; a State that
/// is away is tried again, and what cannot be written is logged and left out. Thread-safe.
/// </summary>
internal sealed class RunEventWriter : IAsyncDisposable
{
    /// <summary>How many events may wait to be written.</summary>
    public const int Capacity = 1_000;

    // What a stop waits for what is not written yet.
    private static readonly TimeSpan LastWrite = TimeSpan.FromSeconds(1);

    private readonly StateGuard _state;
    private readonly TimeSpan _retryInterval;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly Channel<RunEvent> _queue = Channel.CreateBounded<RunEvent>(Capacity);
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _loop;

    public RunEventWriter(StateGuard state, TimeSpan retryInterval, TimeProvider time, ILogger logger)
    {
        _state = state;
        _retryInterval = retryInterval;
        _time = time;
        _logger = logger;
        _loop = Task.Run(LoopAsync);
    }

    /// <summary>Takes an event over; returns at once and never throws.</summary>
    public void Add(RunEvent happened)
    {
        if (!_queue.Writer.TryWrite(happened))
        {
            RunLog.EventsLost(_logger, 1, _queue.Reader.Count < Capacity ? "the replica stopped" : $"{Capacity} wait already");
        }
    }

    /// <summary>Writes what waits, if the State answers within a second, and ends the loop.</summary>
    public async ValueTask DisposeAsync()
    {
        if (!_queue.Writer.TryComplete())
        {
            return;
        }
        _stop.CancelAfter(LastWrite);
        await _loop;
        _stop.Dispose();
    }

    private async Task LoopAsync()
    {
        var batch = new List<RunEvent>();
        try
        {
            while (await _queue.Reader.WaitToReadAsync(_stop.Token))
            {
                while (batch.Count < IRunEvents.MaxBatch && _queue.Reader.TryRead(out var next))
                {
                    batch.Add(next);
                }
                await WriteAsync(batch);
                batch.Clear();
            }
        }
#pragma warning disable CA1031 // However a call ended: the replica stops, and does not wait for a State that is away.
        catch (Exception) when (_stop.IsCancellationRequested)
#pragma warning restore CA1031
        {
            RunLog.EventsLost(_logger, batch.Count + _queue.Reader.Count, "the replica stopped");
        }
    }

    private async Task WriteAsync(List<RunEvent> batch)
    {
        while (true)
        {
            try
            {
                await _state.CallAsync((s, token) => s.Events.AddAsync(batch, token), _stop.Token);
                return;
            }
            catch (StateUnavailableException) when (!_stop.IsCancellationRequested)
            {
                await Task.Delay(_retryInterval, _time, _stop.Token);
            }
#pragma warning disable CA1031 // Events that cannot be written must not keep all later ones from being written.
            catch (Exception e) when (!_stop.IsCancellationRequested)
#pragma warning restore CA1031
            {
                RunLog.EventsLost(_logger, batch.Count, Verdict.Describe(e));
                return;
            }
        }
    }
}
