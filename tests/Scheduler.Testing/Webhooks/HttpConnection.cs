using System.Net;
using System.Net.Sockets;

namespace Scheduler.Testing.Webhooks;

/// <summary>
/// One connection of HTTP/1.1 that sends requests whose bytes are ready, one after another: client and server share the processors, so
/// what an ordinary client costs would be missing in what is measured. For one request at a time.
/// </summary>
public sealed class HttpConnection : IDisposable
{
    private const int StatusAt = 9;
    private readonly Socket _socket = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
    private readonly byte[] _buffer = new byte[8 * 1024];
    private int _length;

    /// <summary>The last answer, head and body.</summary>
    public ReadOnlySpan<byte> Answer => _buffer.AsSpan(0, _length);

    public static async Task<HttpConnection> OpenAsync(Uri url, CancellationToken cancellationToken)
    {
        var connection = new HttpConnection();
        try
        {
            await connection._socket.ConnectAsync(new IPEndPoint(IPAddress.Parse(url.Host), url.Port), cancellationToken);
            return connection;
        }
        catch
        {
            connection.Dispose();
            throw;
        }
    }

    /// <summary>Sends a request and reads its answer to the end.</summary>
    /// <returns>The status.</returns>
    /// <exception cref="SocketException">The connection broke; whether the request was worked on is unknown.</exception>
    public async ValueTask<int> SendAsync(ReadOnlyMemory<byte> request, CancellationToken cancellationToken)
    {
        while (!request.IsEmpty)
        {
            request = request[await _socket.SendAsync(request, SocketFlags.None, cancellationToken)..];
        }
        _length = 0;
        while (true)
        {
            var read = await _socket.ReceiveAsync(_buffer.AsMemory(_length), SocketFlags.None, cancellationToken);
            if (read == 0)
            {
                // Closed before the end of the answer, or an answer that does not fit, which none of ours does.
                throw new SocketException((int)SocketError.ConnectionReset);
            }
            _length += read;
            if (IsWhole(Answer))
            {
                return ((Answer[StatusAt] - '0') * 100) + ((Answer[StatusAt + 1] - '0') * 10) + (Answer[StatusAt + 2] - '0');
            }
        }
    }

    public void Dispose() => _socket.Dispose();

    private static bool IsWhole(ReadOnlySpan<byte> answer)
    {
        var head = answer.IndexOf("\r\n\r\n"u8);
        if (head < 0)
        {
            return false;
        }
        var body = answer[(head + 4)..];
        var length = answer[..head].IndexOf("Content-Length: "u8);
        if (length < 0)
        {
            return body.EndsWith("0\r\n\r\n"u8);
        }
        var digits = answer[(length + "Content-Length: ".Length)..head];
        var expected = 0;
        foreach (var digit in digits)
        {
            if (digit is < (byte)'0' or > (byte)'9')
            {
                break;
            }
            expected = (expected * 10) + (digit - '0');
        }
        return body.Length >= expected;
    }
}
