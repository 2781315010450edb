using Scheduler.Runs;
using Scheduler.Webhooks.Keys;
using Scheduler.Webhooks.Verification;

namespace Scheduler.Webhooks.Sources;

/// <summary>Checks <see cref="WebhookSourceOptions"/>.</summary>
public static class WebhookSourceOptionsValidator
{
    /// <summary>The most that <see cref="WebhookSourceOptions.MaxBodyBytes"/> may be: 8 MiB.</summary>
    public const int MaxBodyBytes = 8 * 1024 * 1024;

    private const int MaxNameLength = 100;
    private const int MaxSecrets = 10;
    private const int MaxKeyParts = 8;
    private const int MaxIgnored = 32;
    private const int MinBodyBytes = 1024;
    private const int MaxHeaderName = 100;
    private static readonly TimeSpan MinTolerance = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan MaxTolerance = TimeSpan.FromHours(1);
    private static readonly TimeSpan MinRetryDelay = TimeSpan.FromMilliseconds(100);

    /// <summary>Finds everything that is wrong with a source. Reads its secret files.</summary>
    /// <param name="name">The source's name.</param>
    /// <param name="options">Its options.</param>
    /// <param name="section">Where the sources stand in the configuration, for example <c>Scheduler:Webhooks:Sources</c>.</param>
    /// <returns>One sentence per error: key, value, what is allowed. Never a secret.</returns>
    public static IEnumerable<string> Validate(string name, WebhookSourceOptions options, string section)
    {
        ArgumentNullException.ThrowIfNull(options);
        var place = $"{section}:{name}";
        var scheme = Scheme.Find(options.Scheme);
        return
        [
            .. NameProblems(name, section),
            .. scheme is null
                ? [$"{place}:Scheme is '{options.Scheme}'; allowed is {string.Join(", ", Scheme.All.Select(s => s.Name))}."]
                : Array.Empty<string>(),
            .. scheme is null ? [] : SecretProblems(options, scheme, place),
            .. PlaceProblems(options, scheme, place),
            .. options.MaxBodyBytes is < MinBodyBytes or > MaxBodyBytes
                ? [$"{place}:MaxBodyBytes is {options.MaxBodyBytes}; allowed is {MinBodyBytes} to {MaxBodyBytes}."]
                : Array.Empty<string>(),
            .. options.Tolerance < MinTolerance || options.Tolerance > MaxTolerance
                ? [$"{place}:Tolerance is {options.Tolerance}; allowed is {MinTolerance} to {MaxTolerance}."]
                : Array.Empty<string>(),
            .. options.MaxAttempts is < 1 or > RetryRule.MostAttempts
                ? [$"{place}:MaxAttempts is {options.MaxAttempts}; allowed is 1 to {RetryRule.MostAttempts}."]
                : Array.Empty<string>(),
            .. options.RetryMaxDelay < MinRetryDelay || options.RetryMaxDelay > RetryRule.LongestDelay
                ? [$"{place}:RetryMaxDelay is {options.RetryMaxDelay}; allowed is {MinRetryDelay} to {RetryRule.LongestDelay}."]
                : Array.Empty<string>(),
            .. options.RetryDelay < MinRetryDelay || options.RetryDelay > options.RetryMaxDelay
                ? [$"{place}:RetryDelay is {options.RetryDelay}; allowed is {MinRetryDelay} to RetryMaxDelay = {options.RetryMaxDelay}."]
                : Array.Empty<string>(),
            .. scheme?.Name == Scheme.Hmac ? HmacProblems(options, place) : HmacOnly(options, place),
        ];
    }

    /// <summary>What is allowed, but should be said at every start.</summary>
    /// <param name="name">The source's name.</param>
    /// <param name="options">Its options; without errors.</param>
    /// <param name="section">Where the sources stand in the configuration.</param>
    /// <returns>Whole sentences.</returns>
    public static IEnumerable<string> Warnings(string name, WebhookSourceOptions options, string section)
    {
        ArgumentNullException.ThrowIfNull(options);
        if (options.Scheme == Scheme.None)
        {
            yield return $"{section}:{name}:Scheme is 'none' and AllowUnsigned is true: anybody who can reach the address may send events.";
        }
        if (options.Hash == SignatureHash.Sha1)
        {
            yield return $"{section}:{name}:Hash is sha1, which is meant for senders that know nothing newer; ask the sender for sha256.";
        }
    }

    private static IEnumerable<string> NameProblems(string name, string section)
    {
        // The rule of job names: it stands in addresses and lock keys as it is.
        if (name is not { Length: > 0 and <= MaxNameLength } || !name.All(c => char.IsAsciiLetterOrDigit(c) || c is '.' or '_' or '-'))
        {
            yield return $"{section} has a source named '{name}'; allowed is 1 to {MaxNameLength} of A-Z, a-z, 0-9, '.', '_' and '-'.";
        }
    }

    private static IEnumerable<string> SecretProblems(WebhookSourceOptions options, Scheme scheme, string place)
    {
        var count = (options.Secrets?.Count ?? 0) + (options.SecretFiles?.Count ?? 0);
        if (scheme.Name == Scheme.None)
        {
            return
            [
                .. options.AllowUnsigned
                    ? Array.Empty<string>()
                    :
                    [
                        $"{place}:Scheme is 'none' and AllowUnsigned is False; with 'none' anybody who can reach the address may send "
                            + "events: choose a scheme with a secret, or set AllowUnsigned to true.",
                    ],
                .. count == 0 ? Array.Empty<string>() : [$"{place} has {count} secrets, which Scheme 'none' does not use; remove them."],
            ];
        }
        var unsigned = options.AllowUnsigned
            ? (string[])
                [
                    $"{place}:AllowUnsigned is True, but with Scheme '{scheme.Name}' every delivery must be signed; remove it, or choose "
                        + "'none'.",
                ]
            : [];
        if (count == 0)
        {
            return
            [
                .. unsigned,
                $"{place} has no secret, so nobody could tell a genuine delivery from a forged one; give the one that the sender shows in "
                    + "Secrets or SecretFiles.",
            ];
        }
        return count > MaxSecrets
            ? [.. unsigned, $"{place} has {count} secrets; allowed is 1 to {MaxSecrets} in Secrets and SecretFiles together."]
            : [.. unsigned, .. SourceSecrets.Read(options, place).Problems];
    }

    private static IEnumerable<string> PlaceProblems(WebhookSourceOptions options, Scheme? scheme, string place)
    {
        if (!string.IsNullOrEmpty(options.EventIdFrom) && scheme is { Name: Scheme.StandardWebhooks or Scheme.None })
        {
            yield return $"{place}:EventIdFrom is '{options.EventIdFrom}', but with Scheme '{scheme.Name}' "
                + (scheme.Name == Scheme.None ? "nothing is signed, so no id can be trusted" : "the id is in a signed header")
                + "; remove it.";
        }
        var typeHeader = TypePlace.HeaderOf(options.TypeFrom);
        if (typeHeader is not null && !IsHeaderName(typeHeader))
        {
            yield return $"{place}:TypeFrom is '{options.TypeFrom}'; behind 'header:' stands the name of a header, for example "
                + "header:X-GitHub-Event.";
        }
        (string Name, string? Value)[] single =
        [
            (nameof(options.TypeFrom), typeHeader is null ? options.TypeFrom : null),
            (nameof(options.EventIdFrom), options.EventIdFrom),
        ];
        foreach (var (name, value) in single.Where(s => !string.IsNullOrEmpty(s.Value)))
        {
            if (JsonPointer.Problem(value) is { } problem)
            {
                yield return $"{place}:{name} is '{value}', which {problem}";
            }
        }
        (string Name, List<string>? Values, int Least, int Most)[] lists =
        [
            (nameof(options.DedupeBy), options.DedupeBy, 1, MaxKeyParts),
            (nameof(options.OrderBy), options.OrderBy, 1, MaxKeyParts),
            (nameof(options.IgnoreInBody), options.IgnoreInBody ?? [], 0, MaxIgnored),
        ];
        foreach (var (name, values, least, most) in lists)
        {
            if (values is null || values.Count < least || values.Count > most)
            {
                yield return $"{place}:{name} has {values?.Count ?? 0} entries; allowed is {least} to {most}.";
                continue;
            }
            for (var i = 0; i < values.Count; i++)
            {
                if (JsonPointer.Problem(values[i]) is { } problem)
                {
                    yield return $"{place}:{name}:{i} is '{values[i]}', which {problem}";
                }
            }
        }
    }

    private static IEnumerable<string> HmacProblems(WebhookSourceOptions options, string place)
    {
        (string Name, string? Value)[] headers =
        [
            (nameof(options.Header), options.Header ?? ""),
            (nameof(options.TimestampHeader), options.TimestampHeader),
        ];
        foreach (var (name, value) in headers)
        {
            if (value is not null && !IsHeaderName(value))
            {
                yield return $"{place}:{name} is '{value}'; with Scheme 'hmac' it must be a header name of 1 to {MaxHeaderName} letters, "
                    + "digits and any of !#$%&'*+-.^_`|~";
            }
        }
        if (options.Header is not null && string.Equals(options.Header, options.TimestampHeader, StringComparison.OrdinalIgnoreCase))
        {
            yield return $"{place}:TimestampHeader is '{options.TimestampHeader}', the same as Header; a time has a header of its own.";
        }
        if (options.Hash is { } hash && !Enum.IsDefined(hash))
        {
            yield return $"{place}:Hash is {hash}; allowed: {string.Join(", ", Enum.GetNames<SignatureHash>())}.";
        }
        if (options.Encoding is { } encoding && !Enum.IsDefined(encoding))
        {
            yield return $"{place}:Encoding is {encoding}; allowed: {string.Join(", ", Enum.GetNames<SignatureEncoding>())}.";
        }
        if (options.Prefix is { } prefix && (prefix.Length > HeaderVerifier.MaxAround || !IsVisibleAscii(prefix)))
        {
            yield return $"{place}:Prefix is '{prefix}'; allowed is at most {HeaderVerifier.MaxAround} visible ASCII characters.";
        }
        if (options.SignedPrefix is { } signed && SignedPrefixProblem(signed, options.TimestampHeader is not null) is { } problem)
        {
            yield return $"{place}:SignedPrefix is '{signed}'; {problem}";
        }
    }

    private static string? SignedPrefixProblem(string signed, bool hasTimestamp)
    {
        if (!hasTimestamp)
        {
            return "it needs TimestampHeader, the header with the time; give that too, or remove it.";
        }
        var (before, after) = SignedPrefix.Split(signed);
        // Otherwise the end of the time could be moved under one signature.
        return
            after is not { Length: > 0 }
            || char.IsAsciiDigit(after[0])
            || after.Contains(SignedPrefix.Time, StringComparison.Ordinal)
            || before!.Length + after.Length > HeaderVerifier.MaxAround
            || !IsVisibleAscii(before + after)
            ? $"allowed is {SignedPrefix.Time} once and at most {HeaderVerifier.MaxAround} visible ASCII characters around it, of which "
                + "the one right behind it is there and no digit."
            : null;
    }

    private static IEnumerable<string> HmacOnly(WebhookSourceOptions options, string place) =>
        new (string Name, object? Value)[]
        {
            (nameof(options.Header), options.Header),
            (nameof(options.Hash), options.Hash),
            (nameof(options.Encoding), options.Encoding),
            (nameof(options.Prefix), options.Prefix),
            (nameof(options.TimestampHeader), options.TimestampHeader),
            (nameof(options.SignedPrefix), options.SignedPrefix),
        }
            .Where(o => o.Value is not null)
            .Select(o => $"{place}:{o.Name} is '{o.Value}', which only Scheme 'hmac' has; this one is '{options.Scheme}': remove it.");

    private static bool IsHeaderName(string? name) =>
        name is { Length: > 0 and <= MaxHeaderName } && name.All(c => char.IsAsciiLetterOrDigit(c) || "!#$%&'*+-.^_`|~".Contains(c));

    private static bool IsVisibleAscii(string text) => !text.AsSpan().ContainsAnyExceptInRange('!', '~');
}
