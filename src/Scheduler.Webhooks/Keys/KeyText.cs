using System.Buffers;
using System.Text;
using Scheduler.Webhooks.Content;

namespace Scheduler.Webhooks.Keys;

/// <summary>
/// A key that is made of parts: each percent-encoded (all but A-Z, a-z, 0-9, '-', '.', '_' and '~', as RFC 3986 has it), with ':' between
/// them, so that no two different lists of parts give the same key. What would be longer than <see cref="MaxBytes"/> is
/// <c>sha256=</c> and the hash of it; '=' is in no other key. For one thread; dispose of it.
/// </summary>
internal ref struct KeyText
{
    /// <summary>The longest key; ASCII, so characters too. With <c>order:</c>, a source of 100 and ':' it fits a lock key.</summary>
    public const int MaxBytes = 400;

    private static readonly SearchValues<byte> Unreserved = SearchValues.Create(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"u8
    );

    private SpillingHash _text;
    private bool _hasParts;

    /// <summary>An empty key.</summary>
    /// <param name="buffer">At least <see cref="MaxBytes"/> bytes.</param>
    public KeyText(Span<byte> buffer) => _text = new SpillingHash(buffer[..MaxBytes]);

    /// <summary>Adds a part.</summary>
    /// <param name="part">Its bytes in UTF-8; empty for a part that is absent.</param>
    public void Add(scoped ReadOnlySpan<byte> part)
    {
        if (_hasParts)
        {
            _text.Write((byte)':');
        }
        _hasParts = true;
        while (!part.IsEmpty)
        {
            var plain = part.IndexOfAnyExcept(Unreserved);
            if (plain < 0)
            {
                _text.Write(part);
                return;
            }
            _text.Write(part[..plain]);
            _text.Write((byte)'%');
            _text.Write("0123456789ABCDEF"u8[part[plain] >> 4]);
            _text.Write("0123456789ABCDEF"u8[part[plain] & 15]);
            part = part[(plain + 1)..];
        }
    }

    /// <summary>The key. Called once, at the end.</summary>
    public readonly string Finish() => _text.IsSpilled ? $"sha256={_text.Finish()}" : Encoding.ASCII.GetString(_text.Text);

    /// <summary>Gives back what the hash took.</summary>
    public readonly void Dispose() => _text.Dispose();
}
