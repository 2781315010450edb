using System.Buffers;
using System.Text;

namespace Scheduler.Webhooks.Verification;

/// <summary>
/// The signatures that a delivery came with, as the bytes of their text. They are not decoded: the right one is encoded instead and
/// compared with each, so nothing that is malformed needs a rule of its own, and no signature has a second spelling (but for the case of
/// hexadecimal digits).
/// </summary>
/// <param name="slots">Room for <see cref="Most"/> texts of the given length.</param>
/// <param name="length">How long a signature's text is.</param>
/// <param name="isHex">Whether case does not matter.</param>
internal ref struct SignatureSet(Span<byte> slots, int length, bool isHex)
{
    /// <summary>How many signatures are looked at; a delivery with more is refused.</summary>
    public const int Most = 16;

    private readonly Span<byte> _slots = slots;

    /// <summary>How many came, of whatever form.</summary>
    public int Seen { get; private set; }

    /// <summary>How many have the length and are ASCII, so that they may be the right one.</summary>
    public int Count { get; private set; }

    public readonly ReadOnlySpan<byte> this[int index] => _slots.Slice(index * length, length);

    public void Add(scoped ReadOnlySpan<char> text)
    {
        Seen++;
        if (text.Length != length || Count == Most)
        {
            return;
        }
        var slot = _slots.Slice(Count * length, length);
        if (Ascii.FromUtf16(text, slot, out _) != OperationStatus.Done)
        {
            return;
        }
        if (isHex)
        {
            Ascii.ToLowerInPlace(slot, out _);
        }
        Count++;
    }
}
