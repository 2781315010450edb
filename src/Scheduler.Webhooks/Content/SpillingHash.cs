using System.Security.Cryptography;

namespace Scheduler.Webhooks.Content;

/// <summary>
/// Takes bytes one after another. What fits its buffer can be read; what is longer is known by its SHA-256 only, which is computed on the
/// way, so that nothing grows with the input. For one thread; dispose of it.
/// </summary>
/// <param name="buffer">Where the bytes are gathered.</param>
internal ref struct SpillingHash(Span<byte> buffer)
{
    private readonly Span<byte> _buffer = buffer;
    private int _used;
    private IncrementalHash? _hash;

    /// <summary>Whether more came than fits.</summary>
    public readonly bool IsSpilled => _hash is not null;

    /// <summary>All that came; only while it fits.</summary>
    public readonly ReadOnlySpan<byte> Text => _buffer[.._used];

    public void Write(byte value)
    {
        if (_used == _buffer.Length)
        {
            Spill();
        }
        _buffer[_used++] = value;
    }

    public void Write(scoped ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length > _buffer.Length - _used)
        {
            Spill();
        }
        if (bytes.Length > _buffer.Length)
        {
            _hash!.AppendData(bytes);
            return;
        }
        bytes.CopyTo(_buffer[_used..]);
        _used += bytes.Length;
    }

    /// <summary>The hash of all that came. Called once, at the end.</summary>
    public readonly ContentHash Finish()
    {
        if (_hash is null)
        {
            return ContentHash.Of(Text);
        }
        _hash.AppendData(Text);
        Span<byte> bytes = stackalloc byte[ContentHash.Bytes];
        _hash.GetHashAndReset(bytes);
        return ContentHash.From(bytes);
    }

    public readonly void Dispose() => _hash?.Dispose();

    private void Spill()
    {
        _hash ??= IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        _hash.AppendData(Text);
        _used = 0;
    }
}
