using System.Net;
using System.Net.Sockets;

namespace Scheduler.Testing.Servers;

/// <summary>
/// A way to a server over TCP that counts round trips, and that can be cut for what flows to the client without anybody noticing. A round
/// trip begins when a client sends something after an answer. Thread-safe.
/// </summary>
public sealed class CountingRelay : IAsyncDisposable
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly CancellationTokenSource _end = new();
    private readonly int _port;
    private readonly Task _accepting;
    private volatile TaskCompletionSource _open = Completed();
    private long _roundTrips;

    public CountingRelay(int port)
    {
        _port = port;
        _listener.Start();
        _accepting = AcceptAsync();
    }

    /// <summary>Where it listens, on the loopback address.</summary>
    public int Port => ((IPEndPoint)_listener.LocalEndpoint).Port;

    public long RoundTrips => Interlocked.Read(ref _roundTrips);

    /// <summary>Keeps back what servers send from now on; connections stay open.</summary>
    public void HoldAnswers() => _open = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Lets it flow again.</summary>
    public void LetAnswersFlow() => _open.TrySetResult();

    public async ValueTask DisposeAsync()
    {
        await _end.CancelAsync();
        _listener.Stop();
        await _accepting;
        _end.Dispose();
    }

    private static TaskCompletionSource Completed()
    {
        var completed = new TaskCompletionSource();
        completed.SetResult();
        return completed;
    }

    private async Task AcceptAsync()
    {
        var connections = new List<Task>();
        try
        {
            while (true)
            {
                connections.Add(RelayAsync(await _listener.AcceptTcpClientAsync(_end.Token)));
            }
        }
        catch (Exception ended) when (ended is OperationCanceledException or SocketException or ObjectDisposedException)
        {
            await Task.WhenAll(connections);
        }
    }

    private async Task RelayAsync(TcpClient client)
    {
        using var server = new TcpClient();
        using var end = CancellationTokenSource.CreateLinkedTokenSource(_end.Token);
        var isAnswered = true;
        using (client)
        {
            try
            {
                await server.ConnectAsync(IPAddress.Loopback, _port, end.Token);
                (client.NoDelay, server.NoDelay) = (true, true);
                await Task.WhenAny(
                    CopyAsync(
                        client,
                        server,
                        () =>
                        {
                            if (isAnswered)
                            {
                                isAnswered = false;
                                Interlocked.Increment(ref _roundTrips);
                            }
                            return Task.CompletedTask;
                        },
                        end.Token
                    ),
                    CopyAsync(
                        server,
                        client,
                        async () =>
                        {
                            await _open.Task.WaitAsync(end.Token);
                            isAnswered = true;
                        },
                        end.Token
                    )
                );
            }
            catch (Exception gone) when (gone is SocketException or OperationCanceledException)
            {
                // The client sees it.
            }
            await end.CancelAsync();
        }
    }

    private static async Task CopyAsync(TcpClient from, TcpClient to, Func<Task> before, CancellationToken cancellationToken)
    {
        var buffer = new byte[64 * 1024];
        try
        {
            while (await from.GetStream().ReadAsync(buffer, cancellationToken) is > 0 and var count)
            {
                await before();
                await to.GetStream().WriteAsync(buffer.AsMemory(0, count), cancellationToken);
            }
        }
        catch (Exception gone) when (gone is IOException or OperationCanceledException or ObjectDisposedException)
        {
            // Either end has gone.
        }
    }
}
