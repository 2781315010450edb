using System.Buffers;
using System.Globalization;
using System.Text;
using System.Text.Unicode;

namespace Scheduler.Webhooks.Keys;

/// <summary>
/// The place of a value in a JSON document (RFC 6901), for example <c>/data/object/id</c> or <c>/items/0</c>; <c>~1</c> stands for
/// <c>/</c> and <c>~0</c> for <c>~</c>. Immutable and thread-safe.
/// </summary>
internal sealed class JsonPointer
{
    /// <summary>The longest pointer, in characters.</summary>
    public const int MaxLength = 256;

    private JsonPointer(string text, Step[] steps)
    {
        Text = text;
        Steps = steps;
    }

    /// <summary>As it was written.</summary>
    public string Text { get; }

    /// <summary>The way from the document's value to this one; at least one step.</summary>
    public IReadOnlyList<Step> Steps { get; }

    /// <summary>One step of the way.</summary>
    /// <param name="Name">The name of a member, in UTF-8 without escapes.</param>
    /// <param name="Index">The same as an array's index; -1 when it is none (<c>-</c>, <c>01</c> and <c>x</c> are names only).</param>
    public readonly record struct Step(byte[] Name, int Index);

    /// <summary>Reads a pointer that was checked.</summary>
    /// <exception cref="ArgumentException">It is none; see <see cref="Problem"/>.</exception>
    public static JsonPointer From(string text)
    {
        if (Problem(text) is { } problem)
        {
            throw new ArgumentException($"'{text}' {problem}", nameof(text));
        }
        // ~1 first, so that ~01 becomes ~1 and not '/'.
        var names = text[1..]
            .Split('/')
            .Select(n => n.Replace("~1", "/", StringComparison.Ordinal).Replace("~0", "~", StringComparison.Ordinal));
        return new JsonPointer(text, [.. names.Select(n => new Step(Encoding.UTF8.GetBytes(n), IndexOf(n)))]);
    }

    /// <summary>Says why a text is no pointer to a value within a document.</summary>
    /// <returns>What is wrong and what is allowed, to stand after the text; or <see langword="null"/>.</returns>
    public static string? Problem(string? text)
    {
        if (string.IsNullOrEmpty(text) || text[0] != '/')
        {
            return "is no JSON Pointer; it begins with '/', for example /orderId or /data/object/id.";
        }
        if (text.Length > MaxLength)
        {
            return $"has {text.Length} characters; a JSON Pointer may have at most {MaxLength}.";
        }
        if (text.Split('/').Length - 1 > JsonTape.MaxDepth)
        {
            return $"leads deeper than {JsonTape.MaxDepth} levels; no document may be that deep.";
        }
        for (var i = text.IndexOf('~'); i >= 0; i = text.IndexOf('~', i + 1))
        {
            if (i + 1 == text.Length || text[i + 1] is not ('0' or '1'))
            {
                return "has a '~' that is not followed by 0 or 1; write ~0 for '~' and ~1 for '/'.";
            }
        }
        return Utf8.FromUtf16(text, stackalloc byte[MaxLength * 3], out _, out _, replaceInvalidSequences: false) == OperationStatus.Done
            ? null
            : "has an unpaired surrogate, so no name can be equal to it.";
    }

    /// <inheritdoc/>
    public override string ToString() => Text;

    private static int IndexOf(string name) =>
        name.Length is > 0 and < 10 && name.All(char.IsAsciiDigit) && (name.Length == 1 || name[0] != '0')
            ? int.Parse(name, NumberStyles.None, CultureInfo.InvariantCulture)
            : -1;
}
