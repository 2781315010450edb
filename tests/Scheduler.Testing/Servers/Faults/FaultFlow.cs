using System.Net.Sockets;

namespace Scheduler.Testing.Servers.Faults;

/// <summary>
/// One direction of a <see cref="FaultProxy"/>: how its bytes are held up on the way, on all connections. Bytes that a test holds are not
/// lost but late, as TCP makes of lost packets once the way is there again. Thread-safe.
/// </summary>
public sealed class FaultFlow(FaultSeed seed)
{
    private static readonly TimeSpan Tick = TimeSpan.FromMilliseconds(10);

    private readonly Lock _gate = new();
    private TaskCompletionSource? _held;
    private long _passed;
    private int _waiting;

    /// <summary>How late bytes are at most; drawn anew for what arrives together.</summary>
    public TimeSpan Latency { get; set; }

    /// <summary>Bytes go on in pieces of 1 to so many, the size drawn for each.</summary>
    public int? LargestPiece { get; set; }

    /// <summary>So many bytes a second go on: whoever reads them reads slowly.</summary>
    public int? BytesPerSecond { get; set; }

    /// <summary>How many bytes have gone on.</summary>
    public long Passed => Volatile.Read(ref _passed);

    /// <summary>How many connections have bytes that are held.</summary>
    public int Waiting => Volatile.Read(ref _waiting);

    /// <summary>From now on nothing goes on.</summary>
    public void Hold()
    {
        lock (_gate)
        {
            _held ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        }
    }

    /// <summary>Everything goes on at once again, with what was held first.</summary>
    public void Heal()
    {
        (Latency, LargestPiece, BytesPerSecond) = (TimeSpan.Zero, null, null);
        TaskCompletionSource? held;
        lock (_gate)
        {
            (held, _held) = (_held, null);
        }
        held?.SetResult();
    }

    /// <summary>Sends bytes on, as late and in such pieces as is set.</summary>
    internal async Task PassAsync(ReadOnlyMemory<byte> bytes, Socket to, CancellationToken stop)
    {
        if (Latency is var latency && latency > TimeSpan.Zero)
        {
            await Eventually.Passes(seed.Next(latency), stop);
        }
        while (bytes.Length > 0)
        {
            await UntilReleasedAsync(stop);
            var piece = Math.Min(bytes.Length, PieceSize());
            await SendAsync(bytes[..piece], to, stop);
            bytes = bytes[piece..];
            if (BytesPerSecond is not null)
            {
                await Eventually.Passes(Tick, stop);
            }
        }
    }

    /// <summary>Waits while the direction is held.</summary>
    internal async Task UntilReleasedAsync(CancellationToken stop)
    {
        while (Held() is { } held)
        {
            Interlocked.Increment(ref _waiting);
            try
            {
                await held.Task.WaitAsync(stop);
            }
            finally
            {
                Interlocked.Decrement(ref _waiting);
            }
        }
    }

    private async Task SendAsync(ReadOnlyMemory<byte> piece, Socket to, CancellationToken stop)
    {
        for (var sent = 0; sent < piece.Length; )
        {
            sent += await to.SendAsync(piece[sent..], SocketFlags.None, stop);
        }
        Interlocked.Add(ref _passed, piece.Length);
    }

    private int PieceSize()
    {
        var largest = LargestPiece is { } bound ? seed.Next(bound) + 1 : int.MaxValue;
        return BytesPerSecond is { } rate ? Math.Min(largest, Math.Max(1, (int)(rate * Tick.TotalSeconds))) : largest;
    }

    private TaskCompletionSource? Held()
    {
        lock (_gate)
        {
            return _held;
        }
    }
}
