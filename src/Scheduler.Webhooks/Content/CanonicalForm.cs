using System.Buffers;
using Scheduler.Webhooks.Keys;

namespace Scheduler.Webhooks.Content;

/// <summary>
/// The canonical form of a JSON document: no white space, members in the order of RFC 8785, each text with the escapes of RFC 8785. Unlike
/// there, a number stands as the sender wrote it, so 1 and 1.0 are different: taking them for equal would need a double, and two large
/// amounts could then become the same. What is ignored is left out, its name with it.
/// </summary>
internal static class CanonicalForm
{
    private const int BufferBytes = 2_048;

    private static readonly SearchValues<byte> Escaped = SearchValues.Create([
        .. Enumerable.Range(0, 0x20).Select(c => (byte)c),
        .. "\"\\"u8,
    ]);

    /// <summary>The hash of the form; it is never in memory as a whole.</summary>
    public static ContentHash Hash(scoped ref JsonTape tape)
    {
        var buffer = ArrayPool<byte>.Shared.Rent(BufferBytes);
        var hash = new SpillingHash(buffer);
        try
        {
            Write(ref hash, ref tape, JsonTape.Root);
            return hash.Finish();
        }
        finally
        {
            hash.Dispose();
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    // As deep as the document, which has a bound.
    private static void Write(scoped ref SpillingHash hash, scoped ref JsonTape tape, int at)
    {
        switch (tape.Kind(at))
        {
            case NodeKind.Object:
                WriteObject(ref hash, ref tape, at);
                break;
            case NodeKind.Array:
                WriteArray(ref hash, ref tape, at);
                break;
            case NodeKind.String:
                WriteText(ref hash, tape.Text(at));
                break;
            default:
                hash.Write(tape.Text(at));
                break;
        }
    }

    private static void WriteObject(scoped ref SpillingHash hash, scoped ref JsonTape tape, int at)
    {
        var separator = (byte)'{';
        for (var member = tape.FirstMember(at); member >= 0; member = tape.NextMember(member))
        {
            if (tape.IsIgnored(member + 1))
            {
                continue;
            }
            hash.Write(separator);
            separator = (byte)',';
            WriteText(ref hash, tape.Text(member));
            hash.Write((byte)':');
            Write(ref hash, ref tape, member + 1);
        }
        if (separator == (byte)'{')
        {
            hash.Write(separator);
        }
        hash.Write((byte)'}');
    }

    private static void WriteArray(scoped ref SpillingHash hash, scoped ref JsonTape tape, int at)
    {
        var separator = (byte)'[';
        for (var element = at + 1; element < tape.After(at); element = tape.After(element))
        {
            if (tape.IsIgnored(element))
            {
                continue;
            }
            hash.Write(separator);
            separator = (byte)',';
            Write(ref hash, ref tape, element);
        }
        if (separator == (byte)'[')
        {
            hash.Write(separator);
        }
        hash.Write((byte)']');
    }

    private static void WriteText(scoped ref SpillingHash hash, scoped ReadOnlySpan<byte> text)
    {
        hash.Write((byte)'"');
        for (var next = text.IndexOfAny(Escaped); next >= 0; next = text.IndexOfAny(Escaped))
        {
            hash.Write(text[..next]);
            WriteEscaped(ref hash, text[next]);
            text = text[(next + 1)..];
        }
        hash.Write(text);
        hash.Write((byte)'"');
    }

    private static void WriteEscaped(scoped ref SpillingHash hash, byte character)
    {
        var letter = character switch
        {
            (byte)'\b' => (byte)'b',
            (byte)'\t' => (byte)'t',
            (byte)'\n' => (byte)'n',
            (byte)'\f' => (byte)'f',
            (byte)'\r' => (byte)'r',
            (byte)'"' or (byte)'\\' => character,
            _ => (byte)'u',
        };
        hash.Write((byte)'\\');
        hash.Write(letter);
        if (letter == (byte)'u')
        {
            hash.Write("00"u8);
            hash.Write("0123456789abcdef"u8[character >> 4]);
            hash.Write("0123456789abcdef"u8[character & 15]);
        }
    }
}
