using System.Buffers.Text;
using System.Security.Cryptography;
using Scheduler.Webhooks.Sources;

namespace Scheduler.Webhooks.Verification;

/// <summary>The secrets of a source, as the keys of its HMAC (RFC 2104). Thread-safe.</summary>
internal sealed class SigningKeys
{
    /// <summary>The longest text of a signature: SHA-512 in hexadecimal.</summary>
    public const int MaxTextLength = 2 * HMACSHA512.HashSizeInBytes;

    // Making the native object costs more than hashing a small body, so a few are kept for each key.
    private const int Spares = 4;

    private readonly byte[][] _keys;
    private readonly IncrementalHash?[][] _spare;
    private readonly HashAlgorithmName _algorithm;
    private readonly SignatureEncoding _encoding;
    private readonly int _hashLength;

    public SigningKeys(SignatureHash hash, SignatureEncoding encoding, IEnumerable<byte[]> keys)
    {
        _keys = [.. keys];
        _spare = [.. _keys.Select(_ => new IncrementalHash?[Spares])];
        _encoding = encoding;
        (_algorithm, _hashLength) = hash switch
        {
            SignatureHash.Sha1 => (HashAlgorithmName.SHA1, HMACSHA1.HashSizeInBytes),
            SignatureHash.Sha512 => (HashAlgorithmName.SHA512, HMACSHA512.HashSizeInBytes),
            _ => (HashAlgorithmName.SHA256, HMACSHA256.HashSizeInBytes),
        };
        TextLength = encoding == SignatureEncoding.Hex ? 2 * _hashLength : Base64.GetMaxEncodedToUtf8Length(_hashLength);
    }

    /// <summary>How long a signature's text is.</summary>
    public int TextLength { get; }

    /// <summary>An empty set of signatures as these keys make them.</summary>
    /// <param name="room">At least <see cref="SignatureSet.Most"/> times <see cref="MaxTextLength"/> bytes.</param>
    public SignatureSet NewSet(Span<byte> room) => new(room, TextLength, _encoding == SignatureEncoding.Hex);

    /// <summary>Says why none of the signatures is right. Every key is tried with every signature, in constant time, so the time that it
    /// takes does not tell which was right.</summary>
    /// <param name="header">The header that they came in.</param>
    /// <param name="prefix">What is signed before the body.</param>
    /// <param name="body">The body as it came.</param>
    /// <param name="signatures">What came.</param>
    public string? Problem(string header, scoped ReadOnlySpan<byte> prefix, ReadOnlySpan<byte> body, SignatureSet signatures)
    {
        if (signatures.Seen > SignatureSet.Most)
        {
            return $"the header {header} has {signatures.Seen} signatures; at most {SignatureSet.Most} are looked at";
        }
        if (signatures.Count == 0)
        {
            return $"the header {header} has no signature of {TextLength} characters in {_encoding}";
        }
        Span<byte> hash = stackalloc byte[HMACSHA512.HashSizeInBytes];
        Span<byte> text = stackalloc byte[MaxTextLength];
        hash = hash[.._hashLength];
        text = text[..TextLength];
        var found = false;
        for (var key = 0; key < _keys.Length; key++)
        {
            Sign(key, prefix, body, hash);
            if (_encoding == SignatureEncoding.Hex)
            {
                Convert.TryToHexStringLower(hash, text, out _);
            }
            else
            {
                Base64.EncodeToUtf8(hash, text, out _, out _);
            }
            for (var i = 0; i < signatures.Count; i++)
            {
                found |= CryptographicOperations.FixedTimeEquals(text, signatures[i]);
            }
        }
        CryptographicOperations.ZeroMemory(text);
        return found
            ? null
            : $"no signature in the header {header} is right for this body: another secret, or the body was changed on the way";
    }

    private void Sign(int key, scoped ReadOnlySpan<byte> prefix, ReadOnlySpan<byte> body, scoped Span<byte> hash)
    {
        var hmac = Take(key);
        hmac.AppendData(prefix);
        hmac.AppendData(body);
        hmac.GetHashAndReset(hash);
        Keep(key, hmac);
    }

    private IncrementalHash Take(int key)
    {
        var spare = _spare[key];
        for (var i = 0; i < spare.Length; i++)
        {
            if (Interlocked.Exchange(ref spare[i], null) is { } hmac)
            {
                return hmac;
            }
        }
        return IncrementalHash.CreateHMAC(_algorithm, _keys[key]);
    }

    private void Keep(int key, IncrementalHash hmac)
    {
        var spare = _spare[key];
        for (var i = 0; i < spare.Length; i++)
        {
            if (Interlocked.CompareExchange(ref spare[i], hmac, null) is null)
            {
                return;
            }
        }
        hmac.Dispose();
    }
}
