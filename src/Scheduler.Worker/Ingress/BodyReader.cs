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
        var reader = request.BodyReader;
        // Most bodies are there with their headers; only what is waited for needs a limit of time.
        Deadline? deadline = null;
        try
        {
            while (into.Length != request.ContentLength)
            {
                if (!reader.TryRead(out var read))
                {
                    deadline ??= new Deadline(limits.BodyTime, time, request.HttpContext.RequestAborted);
                    read = await reader.ReadAsync(deadline.Token);
                }
                var isTooLarge = read.Buffer.Length > limit - into.Length;
                var hasRoom = isTooLarge || into.TryAdd(read.Buffer, limit);
                reader.AdvanceTo(read.Buffer.End);
                if (isTooLarge)
                {
                    return BodyEnd.TooLarge;
                }
                if (!hasRoom)
                {
                    return BodyEnd.NoRoom;
                }
                if (read.IsCompleted)
                {
                    return BodyEnd.Whole;
                }
            }
            return BodyEnd.Whole;
        }
        catch (OperationCanceledException) when (deadline is { IsOver: true })
        {
            return BodyEnd.TooSlow;
        }
        finally
        {
            deadline?.Dispose();
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

        /// <summary>Takes bytes, as far as there is room for them.</summary>
        /// <returns>Whether there was.</returns>
        internal bool TryAdd(in ReadOnlySequence<byte> bytes, int limit)
        {
            foreach (var segment in bytes)
            {
                for (var rest = segment.Span; !rest.IsEmpty; )
                {
                    if (!HasRoom(limit))
                    {
                        return false;
                    }
                    var part = rest[..Math.Min(rest.Length, _bytes.Length - Length)];
                    part.CopyTo(_bytes.AsSpan(Length));
                    Length += part.Length;
                    rest = rest[part.Length..];
                }
            }
            return true;
        }

        /// <summary>Sees to it that there is room for one more byte.</summary>
        private bool HasRoom(int limit)
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

    /// <summary>Until when a body is waited for.</summary>
    private sealed class Deadline : IDisposable
    {
        private readonly CancellationToken _aborted;
        private readonly CancellationTokenSource _late;
        private readonly CancellationTokenSource _either;

        public Deadline(TimeSpan after, TimeProvider time, CancellationToken aborted)
        {
            _aborted = aborted;
            _late = new CancellationTokenSource(after, time);
            _either = CancellationTokenSource.CreateLinkedTokenSource(aborted, _late.Token);
        }

        public CancellationToken Token => _either.Token;

        public bool IsOver => _late.IsCancellationRequested && !_aborted.IsCancellationRequested;

        public void Dispose()
        {
            _either.Dispose();
            _late.Dispose();
        }
    }
}
