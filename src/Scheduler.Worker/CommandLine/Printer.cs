using System.Text;
using System.Text.Json;

namespace Scheduler.Worker.CommandLine;

/// <summary>Writes what a command found: for a person at a terminal in columns, for a pipe one line each with tabs between, or as
/// JSON.</summary>
/// <param name="output">Where to.</param>
/// <param name="isTerminal">Whether a person reads it.</param>
/// <param name="isJson">Whether JSON is wanted.</param>
internal sealed class Printer(TextWriter output, bool isTerminal, bool isJson)
{
    private const int Widest = 60;

    /// <summary>Whether JSON is wanted.</summary>
    public bool IsJson => isJson;

    /// <summary>Writes an answer as it is.</summary>
    public Task JsonAsync(JsonElement answer) => output.WriteLineAsync(answer.GetRawText());

    /// <summary>Writes a sentence, for a person.</summary>
    public Task SayAsync(string text) => output.WriteLineAsync(text);

    /// <summary>Writes names and values of one thing.</summary>
    public async Task ThingAsync(JsonElement thing)
    {
        foreach (var property in thing.EnumerateObject().Where(p => p.Value.ValueKind != JsonValueKind.Null))
        {
            await output.WriteLineAsync(
                isTerminal ? $"{property.Name, -14} {Text(property.Value)}" : $"{property.Name}\t{Text(property.Value)}"
            );
        }
    }

    /// <summary>Writes some properties of each of several things.</summary>
    public async Task TableAsync(IReadOnlyList<JsonElement> things, params string[] columns)
    {
        var rows = things.Select(t => columns.Select(c => t.TryGetProperty(c, out var value) ? Text(value) : "").ToArray()).ToList();
        if (!isTerminal)
        {
            foreach (var row in rows)
            {
                await output.WriteLineAsync(string.Join('\t', row));
            }
            return;
        }
        rows.Insert(0, [.. columns.Select(c => c.ToUpperInvariant())]);
        var widths = columns.Select((_, i) => Math.Min(Widest, rows.Max(r => r[i].Length))).ToArray();
        foreach (var row in rows)
        {
            await output.WriteLineAsync(string.Join("  ", row.Select((text, i) => Cut(text).PadRight(widths[i]))).TrimEnd());
        }
    }

    private static string Cut(string text) => text.Length > Widest ? string.Concat(text.AsSpan(0, Widest - 1), "…") : text;

    // Without control characters: what senders and handlers wrote must not steer a terminal.
    private static string Text(JsonElement value)
    {
        var text = value.ValueKind switch
        {
            JsonValueKind.Null => "",
            JsonValueKind.String => value.GetString()!,
            _ => value.GetRawText(),
        };
        if (!text.Any(char.IsControl))
        {
            return text;
        }
        var clean = new StringBuilder(text.Length);
        foreach (var c in text)
        {
            clean.Append(char.IsControl(c) ? ' ' : c);
        }
        return clean.ToString();
    }
}
