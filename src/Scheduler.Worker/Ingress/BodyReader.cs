using System.Buffers;

namespace Scheduler.Worker.Ingress;

/// <summary>How the reading of a body ended.</summary>
internal enum BodyEnd
{
    /// <summary>It is there.</summary>
    Whole,

    /// <summary>It is larger than allowed.</summary>
    TooLarge,

    /// <summary>It took too long.</summary>
    TooSlow,

    /// <summary>All bodies together would need more than is allowed for them.</summary>
    NoRoom,
}

/// <summary>
/// Reads bodies into pooled buffers that grow with what has come, not with what was announced, and not beyond a sum over all requests.
/// Thread-safe.
/// </summary>
internal sealed class BodyReader(IngressLimits limits, TimeProvider time)
{
    private const int FirstSize = 16 * 1024;

    private long _rented;

    /// <summary>Bytes of the buffers in use.</summary>
    public long Rented => Volatile.Read(ref _rented);

    /// <summary>Reads a body. The buffer is the caller's, to be disposed of, whatever the end.</summary>
    /// <param name="request">The request.</param>
    /// <param name="limit">The largest body, in bytes.</param>
    /// <param name="into">Takes the bytes; from <see cref="Rent"/>.</param>
    /// <exception cref="BadHttpRequestException">The body is malformed, broken off, or slower than the server's rate.</exception>
    public async ValueTask<BodyEnd> ReadAsync(HttpRequest request, int limit, Buffer into)
    {
        var aborted = request.HttpContext.RequestAborted;
        using var late = new CancellationTokenSource(limits.BodyTime, time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(aborted, late.Token);
        try
        {
            while (into.Length != request.ContentLength)
            {
                if (into.Length == limit)
                {
                    // Whether there is one more byte, without room for it.
                    return await request.Body.ReadAsync(new byte[1], either.Token) > 0 ? BodyEnd.TooLarge : BodyEnd.Whole;
                }
                if (!into.HasRoom(limit))
                {
                    return BodyEnd.NoRoom;
                }
                var read = await request.Body.ReadAsync(into.Free, either.Token);
                if (read == 0)
                {
                    return BodyEnd.Whole;
                }
                into.Advance(read);
                if (into.Length > limit)
                {
                    return BodyEnd.TooLarge;
                }
            }
            return BodyEnd.Whole;
        }
        catch (OperationCanceledException) when (late.IsCancellationRequested && !aborted.IsCancellationRequested)
        {
            return BodyEnd.TooSlow;
        }
    }

    /// <summary>An empty buffer.</summary>
    public Buffer Rent() => new(this);

    /// <summary>The bytes of one body; not thread-safe.</summary>
    internal sealed class Buffer(BodyReader owner) : IDisposable
    {
        private byte[] _bytes = [];

        /// <summary>How many bytes have come.</summary>
        public int Length { get; private set; }

        /// <summary>What has come.</summary>
        public ReadOnlyMemory<byte> Read => _bytes.AsMemory(0, Length);

        internal Memory<byte> Free => _bytes.AsMemory(Length);

        internal void Advance(int read) => Length += read;

        /// <summary>Sees to it that there is room for one more byte.</summary>
        internal bool HasRoom(int limit)
        {
            if (Length < _bytes.Length)
            {
                return true;
            }
            var larger = ArrayPool<byte>.Shared.Rent(Math.Min(limit, Math.Max(FirstSize, _bytes.Length * 2)));
            if (Interlocked.Add(ref owner._rented, larger.Length) > owner.Limit)
            {
                Interlocked.Add(ref owner._rented, -larger.Length);
                ArrayPool<byte>.Shared.Return(larger);
                return false;
            }
            Read.CopyTo(larger);
            Return();
            _bytes = larger;
            return true;
        }

        public void Dispose()
        {
            Return();
            Length = 0;
        }

        private void Return()
        {
            if (_bytes.Length > 0)
            {
                Interlocked.Add(ref owner._rented, -_bytes.Length);
                ArrayPool<byte>.Shared.Return(_bytes);
                _bytes = [];
            }
        }
    }

    private long Limit => limits.BytesInReading;
}
