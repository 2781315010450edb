using System.Buffers;
using System.Text;

namespace Scheduler.Webhooks.Sources;

/// <summary>Reads the secrets of a source from its options and files. No problem shows a secret.</summary>
internal static class SourceSecrets
{
    private const int MaxFileBytes = 4_096;
    private const int MinBytes = 8;
    private const int MaxBytes = 1_024;

    // The bounds of the specification, version 1.0.0.
    private const int MinStandardBytes = 24;
    private const int MaxStandardBytes = 64;
    private const string StandardPrefix = "whsec_";

    private static readonly UTF8Encoding Strict = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    /// <summary>Reads them all.</summary>
    /// <param name="options">The source's options.</param>
    /// <param name="place">Where they stand in the configuration.</param>
    /// <returns>The keys of those that are right, and a sentence for each that is not.</returns>
    public static (List<byte[]> Keys, List<string> Problems) Read(WebhookSourceOptions options, string place)
    {
        var keys = new List<byte[]>();
        var problems = new List<string>();
        var index = 0;
        foreach (var secret in options.Secrets ?? [])
        {
            Add($"{place}:Secrets:{index++} (not shown here)", secret ?? "");
        }
        index = 0;
        foreach (var file in options.SecretFiles ?? [])
        {
            var (text, problem) = ReadFile(file ?? "");
            if (problem is null)
            {
                Add($"{place}:SecretFiles:{index++} is '{file}', whose content (not shown here)", text);
            }
            else
            {
                problems.Add($"{place}:SecretFiles:{index++} is '{file}', {problem}.");
            }
        }
        return (keys, problems);

        void Add(string what, string secret)
        {
            var (key, problem) = ToKey(secret, options.Scheme == Scheme.StandardWebhooks);
            if (problem is null)
            {
                keys.Add(key);
            }
            else
            {
                problems.Add($"{what} {problem}.");
            }
        }
    }

    private static (byte[] Key, string? Problem) ToKey(string secret, bool isStandard)
    {
        if (secret.Length == 0)
        {
            return ([], "is empty; write the secret that the sender shows");
        }
        if (secret.Any(char.IsControl) || char.IsWhiteSpace(secret[0]) || char.IsWhiteSpace(secret[^1]))
        {
            return ([], "has a control character, or white space at an end; write the secret alone, on one line");
        }
        if (isStandard)
        {
            return ToStandardKey(secret);
        }
        try
        {
            var key = Strict.GetBytes(secret);
            return key.Length is >= MinBytes and <= MaxBytes
                ? (key, null)
                : ([], $"has {key.Length} bytes; allowed is {MinBytes} to {MaxBytes}, because a shorter one can be guessed");
        }
        catch (EncoderFallbackException)
        {
            return ([], "has an unpaired surrogate; write the secret that the sender shows");
        }
    }

    private static (byte[] Key, string? Problem) ToStandardKey(string secret)
    {
        const string Allowed = $"allowed is '{StandardPrefix}' and then base64";
        if (!secret.StartsWith(StandardPrefix, StringComparison.Ordinal))
        {
            return ([], $"does not begin with '{StandardPrefix}'; {Allowed}");
        }
        // Some senders leave the padding out.
        var text = secret[StandardPrefix.Length..].TrimEnd('=');
        var key = new byte[text.Length];
        if (
            text.AsSpan().ContainsAnyExcept(Base64Letters)
            || !Convert.TryFromBase64String(text.PadRight((text.Length + 3) / 4 * 4, '='), key, out var length)
        )
        {
            return ([], $"is no base64 after '{StandardPrefix}'; {Allowed}");
        }
        return length is >= MinStandardBytes and <= MaxStandardBytes
            ? (key[..length], null)
            : ([], $"is base64 of {length} bytes; allowed is {MinStandardBytes} to {MaxStandardBytes}");
    }

    private static (string Text, string? Problem) ReadFile(string path)
    {
        if (string.IsNullOrWhiteSpace(path) || path.Contains('\0'))
        {
            return ("", "which is no path; write the path of a file with one secret");
        }
        try
        {
            // Not the length that the file system tells: a pipe or a mounted secret may have none.
            using var file = File.OpenRead(path);
            var bytes = new byte[MaxFileBytes + 1];
            var length = file.ReadAtLeast(bytes, bytes.Length, throwOnEndOfStream: false);
            if (length > MaxFileBytes)
            {
                return ("", $"which has more than {MaxFileBytes} bytes; write one secret into it");
            }
            var text = Strict.GetString(bytes, 0, length);
            return (
                text.EndsWith("\r\n", StringComparison.Ordinal) ? text[..^2]
                : text.EndsWith('\n') ? text[..^1]
                : text,
                null
            );
        }
        catch (DecoderFallbackException)
        {
            return ("", "which is not in UTF-8; write one secret into it");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or NotSupportedException or ArgumentException)
        {
            return ("", $"which cannot be read ({e.GetType().Name}); it must be a file that this process may read");
        }
    }

    private static readonly SearchValues<char> Base64Letters = SearchValues.Create(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    );
}
