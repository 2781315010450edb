using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using Scheduler.Locking;

namespace Scheduler.Postgres.SessionLeases;

/// <summary>
/// The numbers of a group's advisory locks, 63 bits each: 15 that all its keys share, so that they can be found among the locks of others,
/// and 48 of the key. Immutable and thread-safe.
/// </summary>
internal sealed class LockWords
{
    /// <summary>How far the part of the group is shifted.</summary>
    public const int KeyBits = 48;

    private const long KeyMask = (1L << KeyBits) - 1;

    private readonly byte[] _start;

    public LockWords(string schema, string group)
    {
        _start = [.. Encoding.UTF8.GetBytes(schema), 0xFF, .. Encoding.UTF8.GetBytes(group), 0xFF];
        Tag = Hash("") & 0x7FFF;
        // No key begins with a control character.
        Listeners = Hash("\u0001listeners") & long.MaxValue;
    }

    /// <summary>The part that all keys share.</summary>
    public long Tag { get; }

    /// <summary>What those who want to hear of releases hold together.</summary>
    public long Listeners { get; }

    /// <summary>The number of a key.</summary>
    public long Of(LockKey key) => (Tag << KeyBits) | (Hash(key.Value) & KeyMask);

    /// <summary>A new number for a session.</summary>
    public static long NewSession() => BinaryPrimitives.ReadInt64LittleEndian(RandomNumberGenerator.GetBytes(8)) & long.MaxValue;

    private long Hash(string text)
    {
        var length = _start.Length + Encoding.UTF8.GetByteCount(text);
        var bytes = length <= 1_024 ? stackalloc byte[length] : new byte[length];
        _start.CopyTo(bytes);
        Encoding.UTF8.GetBytes(text, bytes[_start.Length..]);
        Span<byte> hash = stackalloc byte[SHA256.HashSizeInBytes];
        SHA256.HashData(bytes, hash);
        return BinaryPrimitives.ReadInt64LittleEndian(hash);
    }
}
