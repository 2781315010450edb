using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using Scheduler.Bench.Harness;
using Scheduler.Testing.Webhooks;

namespace Scheduler.Bench.Webhooks.Sending;

/// <summary>A process that sends: apart from the servers, so that neither pays for the other's garbage.</summary>
internal sealed class Sender : IAsyncDisposable
{
    public const string ChildCommand = "webhook-sender";

    // Bounds the memory of the samples.
    private const int MaxSamples = 4_000_000;

    private readonly Child _child;

    private Sender(Child child) => _child = child;

    /// <summary>Starts one.</summary>
    public static Sender Start() =>
        // Answers are handled where they are found: each change of threads costs the server, too.
        new(Child.Start([ChildCommand], new Dictionary<string, string> { ["DOTNET_SYSTEM_NET_SOCKETS_INLINE_COMPLETIONS"] = "1" }));

    /// <summary>Sends and tells what came of it.</summary>
    public async Task<LoadResult> SendAsync(Load load)
    {
        await _child.TellAsync(JsonSerializer.Serialize(load));
        return await _child.ResultAsync<LoadResult>();
    }

    public ValueTask DisposeAsync() => _child.DisposeAsync();

    /// <summary>The child process.</summary>
    public static async Task RunChildAsync()
    {
        while (await Child.HearAsync() is { } line)
        {
            var load = JsonSerializer.Deserialize<Load>(line)!;
            Console.WriteLine(JsonSerializer.Serialize(await new Sending(load).RunAsync()));
        }
    }

    /// <summary>One load under way.</summary>
    private sealed class Sending(Load load)
    {
        private static readonly TimeSpan AnswerWithin = TimeSpan.FromSeconds(10);

        private readonly Deliveries _deliveries = Deliveries.Sign(load.Prefix, load.Type, load.Events);
        private readonly long[] _times = load.WithTimes ? new long[load.Events] : [];
        private long _next = -1;
        private long _countFrom;
        private long _end;
        private long _last;
        private long _answered;
        private long _errors;
        private string? _firstError;

        public async Task<LoadResult> RunAsync()
        {
            using var limit = new CancellationTokenSource(load.WarmUp + load.Counted + AnswerWithin, TimeProvider.System);
            var connections = new List<HttpConnection>();
            for (var i = 0; i < load.Connections; i++)
            {
                connections.Add(await HttpConnection.OpenAsync(new Uri(load.Urls[i % load.Urls.Count]), limit.Token));
            }
            var start = Stopwatch.GetTimestamp();
            _countFrom = start + Ticks(load.WarmUp);
            _end = _countFrom + Ticks(load.Counted);
            var samples = await (load.Rate == 0 ? ClosedAsync(connections, limit.Token) : OpenAsync(connections, start, limit.Token));
            connections.ForEach(c => c.Dispose());
            samples.Sort();
            var seconds = Math.Max(_last - _countFrom, 0) / (double)Stopwatch.Frequency;
            return new LoadResult(
                _answered,
                _errors,
                _firstError,
                seconds,
                At(samples, 0.5),
                At(samples, 0.99),
                At(samples, 1),
                load.WithTimes ? _times : null
            );
        }

        private async Task<List<long>> ClosedAsync(List<HttpConnection> connections, CancellationToken cancellationToken)
        {
            var samples = await Task.WhenAll(connections.Select(c => Task.Run(() => LoopAsync(c), cancellationToken)));
            return [.. samples.SelectMany(s => s)];

            async Task<List<long>> LoopAsync(HttpConnection connection)
            {
                var own = new List<long>();
                var room = MaxSamples / connections.Count;
                while (
                    Stopwatch.GetTimestamp() is var now
                    && now < _end
                    && Interlocked.Increment(ref _next) is var index
                    && index < (long)load.Events * load.Copies
                )
                {
                    if (!await SendAsync(connection, index, now, own, room, cancellationToken))
                    {
                        break;
                    }
                }
                return own;
            }
        }

        /// <summary>Each request at its own time; one that finds no connection free waits, and its waiting counts.</summary>
        private async Task<List<long>> OpenAsync(List<HttpConnection> connections, long start, CancellationToken cancellationToken)
        {
            var samples = connections.ConvertAll(_ => new List<long>());
            var free = new ConcurrentStack<int>(Enumerable.Range(0, connections.Count));
            var waiting = new ConcurrentQueue<(long Index, long Due)>();
            var total = (long)((load.WarmUp + load.Counted).TotalSeconds * load.Rate);
            var done = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            var left = Math.Min(total, load.Events);
            // A thread of its own: the pool's timers would be late when it has work.
            var pacer = new Thread(Pace) { IsBackground = true, Name = "pacer" };
            pacer.Start();
            await done.Task.WaitAsync(cancellationToken);
            return [.. samples.SelectMany(s => s)];

            void Pace()
            {
                using var tick = new AutoResetEvent(false);
                for (var index = 0L; index < Math.Min(total, load.Events); )
                {
                    var due = start + (long)(index * (double)Stopwatch.Frequency / load.Rate);
                    if (Stopwatch.GetTimestamp() < due)
                    {
                        tick.WaitOne(1);
                        continue;
                    }
                    waiting.Enqueue((index++, due));
                    Go();
                }
            }

            void Go()
            {
                while (!waiting.IsEmpty && free.TryPop(out var connection))
                {
                    if (waiting.TryDequeue(out var request))
                    {
                        _ = OneAsync(connection, request.Index, request.Due);
                    }
                    else
                    {
                        free.Push(connection);
                    }
                }
            }

            async Task OneAsync(int connection, long index, long due)
            {
                await SendAsync(
                    connections[connection],
                    index,
                    due,
                    samples[connection],
                    MaxSamples / connections.Count,
                    cancellationToken
                );
                free.Push(connection);
                if (Interlocked.Decrement(ref left) == 0)
                {
                    done.TrySetResult();
                }
                Go();
            }
        }

        private async ValueTask<bool> SendAsync(
            HttpConnection connection,
            long index,
            long since,
            List<long> samples,
            int room,
            CancellationToken cancellationToken
        )
        {
            try
            {
                var status = await connection.SendAsync(_deliveries[index], cancellationToken);
                var after = Stopwatch.GetTimestamp();
                if (status is < 200 or > 299)
                {
                    Fail(Encoding.UTF8.GetString(connection.Answer));
                    return true;
                }
                if (after >= _countFrom)
                {
                    Interlocked.Increment(ref _answered);
                    Volatile.Write(ref _last, after);
                    if (samples.Count < room)
                    {
                        samples.Add(after - since);
                    }
                }
                if (load.WithTimes && index < load.Events)
                {
                    _times[index] = after;
                }
                return true;
            }
            catch (Exception broken) when (broken is SocketException or OperationCanceledException)
            {
                Fail(broken.Message);
                return false;
            }
        }

        private void Fail(string text)
        {
            Interlocked.Increment(ref _errors);
            Interlocked.CompareExchange(ref _firstError, text, null);
        }

        private static long Ticks(TimeSpan time) => (long)(time.TotalSeconds * Stopwatch.Frequency);

        private static double At(List<long> samples, double share) =>
            samples.Count == 0 ? 0 : Samples.Percentile(samples, share) * 1000.0 / Stopwatch.Frequency;
    }
}
