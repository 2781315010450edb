using System.Collections.Concurrent;
using System.Net.Sockets;
using System.Text;

namespace Scheduler.Testing.Webhooks;

/// <summary>What became of one delivery.</summary>
/// <param name="Status">The status of the answer.</param>
/// <param name="Text">The answer.</param>
/// <param name="Unknown">How many tries before it may have been taken in: they had no answer, or 503, which may stand for a commit of
/// unknown outcome.</param>
public readonly record struct Receipt(int Status, string Text, int Unknown)
{
    /// <summary>What the answer says about the event, or its status.</summary>
    public string Word =>
        Status >= 400 ? Status.ToString(System.Globalization.CultureInfo.InvariantCulture)
        : Text.Split("\"status\":\"") is [_, var rest, ..] ? rest.Split('"')[0]
        : Text;
}

/// <summary>Delivers to replicas of which some are down: another one is tried until one answers, as senders do. Thread-safe.</summary>
/// <param name="urls">Where they are now.</param>
public sealed class Courier(Func<IReadOnlyList<string>> urls) : IDisposable
{
    private static readonly TimeSpan TryLimit = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(20);
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    private readonly ConcurrentDictionary<string, ConcurrentBag<HttpConnection>> _idle = new(StringComparer.Ordinal);
    private long _deliveries;
    private long _broken;
    private long _later;

    /// <summary>How many requests were answered, whatever the answer.</summary>
    public long Deliveries => Interlocked.Read(ref _deliveries);

    /// <summary>How many had no answer.</summary>
    public long Broken => Interlocked.Read(ref _broken);

    /// <summary>How many were to come again later (503).</summary>
    public long Later => Interlocked.Read(ref _later);

    /// <summary>Delivers.</summary>
    /// <param name="request">The whole request.</param>
    /// <param name="first">The replica to begin with.</param>
    /// <exception cref="TimeoutException">None answered with anything but 503 for a minute.</exception>
    public async Task<Receipt> DeliverAsync(byte[] request, int first)
    {
        using var patience = new CancellationTokenSource(Patience, TimeProvider.System);
        var unknown = 0;
        for (var attempt = 0; !patience.IsCancellationRequested; attempt++)
        {
            var all = urls();
            var url = all[(first + attempt) % all.Count];
            var idle = _idle.GetOrAdd(url, static _ => []);
            using var limit = new CancellationTokenSource(TryLimit, TimeProvider.System);
            HttpConnection? connection = null;
            try
            {
                if (!idle.TryTake(out connection))
                {
                    connection = await HttpConnection.OpenAsync(new Uri(url), limit.Token);
                }
                var status = await connection.SendAsync(request, limit.Token);
                var receipt = new Receipt(status, Encoding.UTF8.GetString(connection.Answer), unknown);
                if (status < 400)
                {
                    idle.Add(connection);
                }
                else
                {
                    // The server may close it.
                    connection.Dispose();
                }
                if (status != 503)
                {
                    Interlocked.Increment(ref _deliveries);
                    return receipt;
                }
                unknown++;
                Interlocked.Increment(ref _later);
            }
            catch (Exception away) when (away is SocketException or OperationCanceledException)
            {
                // Where none could be opened, nothing was sent.
                if (connection is not null)
                {
                    unknown++;
                    Interlocked.Increment(ref _broken);
                    connection.Dispose();
                }
            }
            // As senders do between two deliveries; the loop has its bound.
            await Eventually.Passes(Pause);
        }
        throw new TimeoutException($"No replica answered with anything but 503 for {Patience.TotalSeconds} s.");
    }

    public void Dispose()
    {
        foreach (var connection in _idle.Values.SelectMany(i => i))
        {
            connection.Dispose();
        }
    }
}
