using System.Net.Sockets;

namespace Scheduler.Testing.Servers.Faults;

/// <summary>One connection through a <see cref="FaultProxy"/>.</summary>
internal sealed class FaultLink(FaultProxy proxy, Socket client, Socket server) : IDisposable
{
    private const int BufferSize = 65_536;

    private FaultCut? _cutAnswer;
    private volatile bool _isAnswered = true;

    /// <summary>Carries bytes until both sides have ended or the connection is cut.</summary>
    public async Task RunAsync(CancellationToken stop)
    {
        await Task.WhenAll(UntilOverAsync(ToServerAsync(stop)), UntilOverAsync(ToClientAsync(stop)));
        Dispose();
    }

    /// <summary>Cuts the connection: both sides get a reset.</summary>
    public void Dispose()
    {
        Reset(client);
        Reset(server);
    }

    /// <summary>Ends a connection with a reset.</summary>
    public static void Reset(Socket socket)
    {
        try
        {
            socket.LingerState = new LingerOption(enable: true, seconds: 0);
        }
        catch (Exception gone) when (gone is SocketException or ObjectDisposedException)
        {
            // It has ended already.
        }
        socket.Dispose();
    }

    // Whichever side fails takes the other one with it.
    private async Task UntilOverAsync(Task direction)
    {
        try
        {
            await direction;
        }
        catch (Exception gone) when (gone is SocketException or ObjectDisposedException or OperationCanceledException)
        {
            Dispose();
        }
    }

    private async Task ToServerAsync(CancellationToken stop)
    {
        var buffer = new byte[BufferSize];
        // The end of what went before: a text may come in pieces.
        var tail = Array.Empty<byte>();
        while (true)
        {
            var read = await client.ReceiveAsync(buffer, SocketFlags.None, stop);
            if (read == 0)
            {
                await proxy.ToServer.UntilReleasedAsync(stop);
                server.Shutdown(SocketShutdown.Send);
                return;
            }
            if (_isAnswered)
            {
                _isAnswered = false;
                proxy.CountRoundTrip();
            }
            var request = buffer.AsMemory(0, read);
            if (proxy.FindCut(tail, request.Span, out var textEnds) is { } cut)
            {
                if (!cut.InTheAnswer)
                {
                    await proxy.ToServer.PassAsync(request[..proxy.Seed.Next(textEnds)], server, stop);
                    Dispose();
                    cut.SetDone();
                    return;
                }
                Volatile.Write(ref _cutAnswer, cut);
            }
            tail = proxy.TailOf(tail, request.Span);
            await proxy.ToServer.PassAsync(request, server, stop);
        }
    }

    private async Task ToClientAsync(CancellationToken stop)
    {
        var buffer = new byte[BufferSize];
        while (true)
        {
            var read = await server.ReceiveAsync(buffer, SocketFlags.None, stop);
            if (read == 0)
            {
                await proxy.ToClient.UntilReleasedAsync(stop);
                client.Shutdown(SocketShutdown.Send);
                return;
            }
            if (Volatile.Read(ref _cutAnswer) is { } cut)
            {
                await proxy.ToClient.PassAsync(buffer.AsMemory(0, proxy.Seed.Next(read)), client, stop);
                Dispose();
                cut.SetDone();
                return;
            }
            _isAnswered = true;
            await proxy.ToClient.PassAsync(buffer.AsMemory(0, read), client, stop);
        }
    }
}
