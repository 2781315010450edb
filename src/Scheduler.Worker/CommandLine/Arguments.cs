namespace Scheduler.Worker.CommandLine;

/// <summary>What follows a command: words, options with and without a value, and overrides of the configuration.</summary>
internal sealed class Arguments
{
    private readonly HashSet<string> _flags = new(StringComparer.Ordinal);
    private readonly Dictionary<string, string> _values = new(StringComparer.Ordinal);
    private readonly List<string> _words = [];
    private readonly List<string> _overrides = [];

    private Arguments() { }

    /// <summary>What is no option, in order.</summary>
    public IReadOnlyList<string> Words => _words;

    /// <summary>The overrides of the configuration, as they were given.</summary>
    public string[] Overrides => [.. _overrides];

    /// <summary>Whether an option without a value was given.</summary>
    public bool Has(string flag) => _flags.Contains(flag);

    /// <summary>The value of an option, or <see langword="null"/>.</summary>
    public string? Value(string option) => _values.GetValueOrDefault(option);

    /// <summary>Takes arguments apart.</summary>
    /// <param name="args">The arguments.</param>
    /// <param name="flags">The options without a value.</param>
    /// <param name="options">Those with one, behind <c>=</c> or as the next argument.</param>
    /// <exception cref="WrongUseException">An option is unknown, has no value, or one that it must not have.</exception>
    public static Arguments Parse(IReadOnlyList<string> args, IReadOnlyCollection<string> flags, IReadOnlyCollection<string> options)
    {
        var parsed = new Arguments();
        for (var i = 0; i < args.Count; i++)
        {
            var (name, value) = args[i].Split('=', 2) is [var left, var right] ? (left, right) : (args[i], null);
            if (!name.StartsWith('-'))
            {
                parsed._words.Add(args[i]);
            }
            else if (Commands.IsOverride(args[i]))
            {
                parsed._overrides.Add(args[i]);
            }
            else if (flags.Contains(name) && value is null)
            {
                parsed._flags.Add(name);
            }
            else if (!options.Contains(name))
            {
                // Only the name: the value may be a secret.
                throw new WrongUseException($"unknown option '{name}'; see --help");
            }
            else
            {
                parsed._values[name] =
                    value
                    ?? (
                        i + 1 < args.Count && !args[i + 1].StartsWith('-')
                            ? args[++i]
                            : throw new WrongUseException($"{name} needs a value")
                    );
            }
        }
        return parsed;
    }
}

/// <summary>The command line is wrong; the message says what is allowed.</summary>
internal sealed class WrongUseException(string message) : Exception(message);
