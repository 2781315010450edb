using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace Scheduler.Webhooks.Content;

/// <summary>A SHA-256 hash, as a value. Immutable and thread-safe.</summary>
[StructLayout(LayoutKind.Sequential)]
public readonly record struct ContentHash
{
    /// <summary>Its length in bytes.</summary>
    public const int Bytes = 32;

    private readonly ulong _a;
    private readonly ulong _b;
    private readonly ulong _c;
    private readonly ulong _d;

    private ContentHash(ReadOnlySpan<byte> bytes)
    {
        _a = BinaryPrimitives.ReadUInt64BigEndian(bytes);
        _b = BinaryPrimitives.ReadUInt64BigEndian(bytes[8..]);
        _c = BinaryPrimitives.ReadUInt64BigEndian(bytes[16..]);
        _d = BinaryPrimitives.ReadUInt64BigEndian(bytes[24..]);
    }

    /// <summary>The hash of some bytes.</summary>
    /// <param name="content">The bytes; any number.</param>
    public static ContentHash Of(ReadOnlySpan<byte> content)
    {
        Span<byte> bytes = stackalloc byte[Bytes];
        SHA256.HashData(content, bytes);
        return new ContentHash(bytes);
    }

    /// <summary>A hash that was stored.</summary>
    /// <param name="bytes">Its 32 bytes.</param>
    /// <exception cref="ArgumentException">These are not 32 bytes.</exception>
    public static ContentHash From(ReadOnlySpan<byte> bytes) =>
        bytes.Length == Bytes
            ? new ContentHash(bytes)
            : throw new ArgumentException($"A hash has {Bytes} bytes; these are {bytes.Length}.", nameof(bytes));

    /// <summary>Writes its bytes.</summary>
    /// <param name="destination">At least 32 bytes.</param>
    /// <exception cref="ArgumentOutOfRangeException">The destination is shorter.</exception>
    public void CopyTo(Span<byte> destination)
    {
        BinaryPrimitives.WriteUInt64BigEndian(destination, _a);
        BinaryPrimitives.WriteUInt64BigEndian(destination[8..], _b);
        BinaryPrimitives.WriteUInt64BigEndian(destination[16..], _c);
        BinaryPrimitives.WriteUInt64BigEndian(destination[24..], _d);
    }

    /// <summary>Its 32 bytes, for a database.</summary>
    public byte[] ToArray()
    {
        var bytes = new byte[Bytes];
        CopyTo(bytes);
        return bytes;
    }

    /// <summary>64 lower-case hexadecimal digits.</summary>
    public override string ToString()
    {
        Span<byte> bytes = stackalloc byte[Bytes];
        CopyTo(bytes);
        return Convert.ToHexStringLower(bytes);
    }
}
