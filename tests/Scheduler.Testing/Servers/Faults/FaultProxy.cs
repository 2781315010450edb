using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;

namespace Scheduler.Testing.Servers.Faults;

/// <summary>
/// A TCP proxy in front of a test's server that breaks as networks do: latency, silence of both directions or of one, slow readers,
/// pieces, resets, refused connections, and connections cut in the middle of a request or of an answer. It knows no protocol. Thread-safe.
/// </summary>
public sealed class FaultProxy : IAsyncDisposable
{
    private readonly DnsEndPoint _server;
    private readonly Socket _listener = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
    private readonly ConcurrentDictionary<FaultLink, byte> _links = new();
    private readonly ConcurrentDictionary<Task, byte> _running = new();
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _accepting;
    private volatile FaultCut? _cut;
    private long _roundTrips;
    private volatile bool _refuses;

    private FaultProxy(DnsEndPoint server, FaultSeed seed)
    {
        _server = server;
        Seed = seed;
        ToServer = new FaultFlow(seed);
        ToClient = new FaultFlow(seed);
        _listener.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        _listener.Listen();
        EndPoint = new DnsEndPoint("127.0.0.1", ((IPEndPoint)_listener.LocalEndPoint!).Port);
        _accepting = AcceptAsync();
    }

    /// <summary>Where it listens, on the loopback address.</summary>
    public DnsEndPoint EndPoint { get; }

    /// <summary>Where its draws come from.</summary>
    public FaultSeed Seed { get; }

    /// <summary>What the client sends.</summary>
    public FaultFlow ToServer { get; }

    /// <summary>What the server sends.</summary>
    public FaultFlow ToClient { get; }

    /// <summary>How many connections there are.</summary>
    public int Connections => _links.Count;

    /// <summary>How many round trips there were: one begins when a client sends something after an answer.</summary>
    public long RoundTrips => Interlocked.Read(ref _roundTrips);

    /// <summary>New connections are reset at once, as by a host without the server.</summary>
    public bool RefusesConnections
    {
        get => _refuses;
        set => _refuses = value;
    }

    /// <summary>Starts one; it connects to the server when a client connects to it.</summary>
    public static FaultProxy Start(DnsEndPoint server, FaultSeed seed) => new(server, seed);

    /// <summary>From now on neither side hears anything; connections stay open.</summary>
    public void Blackhole()
    {
        ToServer.Hold();
        ToClient.Hold();
    }

    /// <summary>Cuts every connection.</summary>
    public void ResetAll()
    {
        foreach (var link in _links.Keys)
        {
            link.Dispose();
        }
    }

    /// <summary>
    /// The next request that contains a text arrives whole; its answer is cut somewhere, perhaps before its first byte, and with it the
    /// connection.
    /// </summary>
    /// <returns>Ends when that has happened.</returns>
    public Task CutAnswerAsync(string text) => (_cut = new FaultCut(text, inTheAnswer: true)).Done;

    /// <summary>The connection of the next request that contains a text is cut before the server has the whole text.</summary>
    /// <returns>Ends when that has happened.</returns>
    public Task CutRequestAsync(string text) => (_cut = new FaultCut(text, inTheAnswer: false)).Done;

    /// <summary>Ends all faults; what is held goes on.</summary>
    public void Heal()
    {
        _cut = null;
        _refuses = false;
        ToServer.Heal();
        ToClient.Heal();
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        _listener.Dispose();
        await _accepting;
        ResetAll();
        await Task.WhenAll(_running.Keys);
        _stop.Dispose();
    }

    internal void CountRoundTrip() => Interlocked.Increment(ref _roundTrips);

    /// <summary>The cut that this request is for, if any.</summary>
    /// <param name="tail">What <see cref="TailOf"/> gave last.</param>
    /// <param name="request">What came now.</param>
    /// <param name="textEnds">Where the text ends in it.</param>
    internal FaultCut? FindCut(byte[] tail, ReadOnlySpan<byte> request, out int textEnds)
    {
        textEnds = 0;
        if (_cut is not { } cut)
        {
            return null;
        }
        // Of the tail only what can be the beginning of a text that ends in the request.
        var before = tail.AsSpan(Math.Max(0, tail.Length - cut.Text.Length + 1));
        byte[] all = [.. before, .. request];
        var at = all.AsSpan().IndexOf(cut.Text);
        textEnds = at + cut.Text.Length - before.Length;
        return at >= 0 && cut.TryTake() ? cut : null;
    }

    /// <summary>What of the bytes so far a cut may need: as much as the text of the present one.</summary>
    internal byte[] TailOf(byte[] tail, ReadOnlySpan<byte> request)
    {
        var length = (_cut?.Text.Length ?? 1) - 1;
        return length == 0 ? []
            : request.Length >= length ? request[^length..].ToArray()
            : [.. tail.AsSpan(Math.Max(0, tail.Length + request.Length - length)), .. request];
    }

    private async Task AcceptAsync()
    {
        while (true)
        {
            try
            {
                var client = await _listener.AcceptAsync(_stop.Token);
                var running = CarryAsync(client);
                _running.TryAdd(running, 0);
                _ = running.ContinueWith(
                    ended => _running.TryRemove(ended, out _),
                    CancellationToken.None,
                    TaskContinuationOptions.None,
                    TaskScheduler.Default
                );
            }
            catch (Exception stopped) when (stopped is OperationCanceledException or ObjectDisposedException)
            {
                return;
            }
            catch (SocketException)
            {
                // This client has gone again.
            }
        }
    }

    private async Task CarryAsync(Socket client)
    {
        var server = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            if (!_refuses)
            {
                client.NoDelay = true;
                await server.ConnectAsync(_server, _stop.Token);
                using var link = new FaultLink(this, client, server);
                _links.TryAdd(link, 0);
                await link.RunAsync(_stop.Token);
                _links.TryRemove(link, out _);
            }
        }
        catch (Exception unreachable) when (unreachable is SocketException or OperationCanceledException)
        {
            // The client learns of it by the reset.
        }
        finally
        {
            FaultLink.Reset(client);
            FaultLink.Reset(server);
        }
    }
}
