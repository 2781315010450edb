using System.Globalization;
using System.Net.Sockets;
using System.Text;

namespace Scheduler.Tests.Worker;

/// <summary>A TCP connection over which a test says what no HTTP client would.</summary>
internal sealed class RawConnection : IDisposable
{
    private static readonly TimeSpan Bound = TimeSpan.FromSeconds(30);

    private readonly Socket _socket = new(SocketType.Stream, ProtocolType.Tcp);

    private RawConnection() { }

    public static async Task<RawConnection> OpenAsync(string url)
    {
        var address = new Uri(url);
        var connection = new RawConnection();
        await connection._socket.ConnectAsync(address.Host, address.Port, TestContext.Current.CancellationToken);
        return connection;
    }

    /// <summary>Sends everything and reads the answer.</summary>
    public static async Task<RawAnswer> AskAsync(string url, string text)
    {
        using var connection = await OpenAsync(url);
        await connection.TrySendAsync(Encoding.Latin1.GetBytes(text));
        return await connection.AnswerAsync();
    }

    public Task<bool> TrySendAsync(string text) => TrySendAsync(Encoding.Latin1.GetBytes(text));

    /// <summary>Sends, and says whether the other side still took it.</summary>
    public async Task<bool> TrySendAsync(ReadOnlyMemory<byte> bytes)
    {
        try
        {
            while (bytes.Length > 0)
            {
                bytes = bytes[(await _socket.SendAsync(bytes, TestContext.Current.CancellationToken))..];
            }
            return true;
        }
        catch (SocketException)
        {
            return false;
        }
    }

    /// <summary>Sends nothing more; the other direction stays open.</summary>
    public void HalfClose() => _socket.Shutdown(SocketShutdown.Send);

    /// <summary>Reads one answer, as far as it comes before the other side closes.</summary>
    public async Task<RawAnswer> AnswerAsync()
    {
        using var limit = new CancellationTokenSource(Bound, TimeProvider.System);
        var text = new StringBuilder();
        var buffer = new byte[4096];
        while (!IsWhole(text.ToString()))
        {
            int read;
            try
            {
                read = await _socket.ReceiveAsync(buffer, limit.Token);
            }
            catch (SocketException)
            {
                read = 0;
            }
            if (read == 0)
            {
                return RawAnswer.Parse(text.ToString(), isClosed: true);
            }
            text.Append(Encoding.Latin1.GetString(buffer, 0, read));
        }
        return RawAnswer.Parse(text.ToString(), isClosed: false);
    }

    /// <summary>Waits until the other side closes.</summary>
    public async Task ClosedAsync()
    {
        using var limit = new CancellationTokenSource(Bound, TimeProvider.System);
        var buffer = new byte[4096];
        try
        {
            while (await _socket.ReceiveAsync(buffer, limit.Token) > 0) { }
        }
        catch (SocketException)
        {
            // Closed without a goodbye.
        }
    }

    public void Dispose() => _socket.Dispose();

    private static bool IsWhole(string text)
    {
        var end = text.IndexOf("\r\n\r\n", StringComparison.Ordinal);
        if (end < 0)
        {
            return false;
        }
        const string Length = "Content-Length: ";
        var at = text.IndexOf(Length, StringComparison.OrdinalIgnoreCase);
        if (at >= 0 && at < end)
        {
            var digits = text[(at + Length.Length)..text.IndexOf("\r\n", at, StringComparison.Ordinal)];
            return text.Length >= end + 4 + int.Parse(digits, CultureInfo.InvariantCulture);
        }
        return text.EndsWith("0\r\n\r\n", StringComparison.Ordinal);
    }
}

/// <summary>An answer as it came.</summary>
internal sealed record RawAnswer(int Status, string Text, bool IsClosed)
{
    public static RawAnswer Parse(string text, bool isClosed) =>
        new(text.Length < 12 ? 0 : int.Parse(text.AsSpan(9, 3), CultureInfo.InvariantCulture), text, isClosed);

    public bool Has(string part) => Text.Contains(part, StringComparison.OrdinalIgnoreCase);
}
