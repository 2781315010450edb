using System.Text;
using Scheduler.Locking;

namespace Scheduler.Jobs;

/// <summary>A lock key with placeholders, for example <c>settle:{merchantId}</c>. Immutable and thread-safe.</summary>
internal sealed class KeyTemplate
{
    private readonly List<(string Text, bool IsPlaceholder)> _parts;

    private KeyTemplate(string text, List<(string Text, bool IsPlaceholder)> parts)
    {
        Text = text;
        _parts = parts;
    }

    /// <summary>The template as written.</summary>
    public string Text { get; }

    /// <summary>The names of the placeholders.</summary>
    public IEnumerable<string> Placeholders => _parts.Where(p => p.IsPlaceholder).Select(p => p.Text);

    /// <summary>Reads a template.</summary>
    /// <returns>The template, or what is wrong with it.</returns>
    public static (KeyTemplate? Template, string? Problem) Parse(string text)
    {
        var parts = new List<(string, bool)>();
        var rest = text.AsSpan();
        while (!rest.IsEmpty)
        {
            var open = rest.IndexOfAny('{', '}');
            if (open < 0)
            {
                parts.Add((rest.ToString(), false));
                break;
            }
            if (rest[open] == '}')
            {
                return (null, $"The key '{text}' has a '}}' without a '{{' before it.");
            }
            if (open > 0)
            {
                parts.Add((rest[..open].ToString(), false));
            }
            var close = rest[open..].IndexOf('}');
            var name = close < 0 ? [] : rest[(open + 1)..(open + close)];
            if (name.IsEmpty || name.Contains('{'))
            {
                return (null, $"The key '{text}' has a '{{' without a name and a '}}' after it.");
            }
            parts.Add((name.ToString(), true));
            rest = rest[(open + close + 1)..];
        }
        return parts.Count == 0 ? (null, LockKey.Problem(text)) : (new KeyTemplate(text, parts), null);
    }

    /// <summary>Fills the template; values are percent-encoded, so that no value can look like another part of the key.</summary>
    /// <param name="value">Gives the value of a placeholder, or <see langword="null"/> when the job data has none.</param>
    /// <returns>The key, or what is missing or too long.</returns>
    public (LockKey? Key, string? Problem) Fill(Func<string, string?> value)
    {
        var key = new StringBuilder();
        foreach (var (text, isPlaceholder) in _parts)
        {
            if (!isPlaceholder)
            {
                key.Append(text);
                continue;
            }
            if (value(text) is not { Length: > 0 } filled)
            {
                return (null, $"The key '{Text}' needs '{text}' in the job data, and it is missing or empty there.");
            }
            key.Append(Uri.EscapeDataString(filled));
        }
        var result = key.ToString();
        return LockKey.Problem(result) is { } problem ? (null, problem) : (LockKey.From(result), null);
    }
}
