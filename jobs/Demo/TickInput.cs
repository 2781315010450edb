using System.Globalization;

namespace Payments.Jobs.Demo;

/// <summary>The job data of <see cref="Tick"/>.</summary>
internal sealed record TickInput(
    string File,
    TimeSpan Work = default,
    bool IgnoreCancellation = false,
    bool Announce = false,
    string? Entries = null
)
{
    private const long MaxWorkMilliseconds = 86_400_000;

    /// <summary>Reads the data; values may be text (from the configuration) or typed.</summary>
    /// <param name="job">The job's name, for errors.</param>
    /// <param name="value">Gives the value of a name, or <see langword="null"/>.</param>
    /// <exception cref="ArgumentException">A value is missing or wrong; the message names job, key and value.</exception>
    public static TickInput Read(string job, Func<string, object?> value)
    {
        string? Text(string name) => value(name) is { } v ? Convert.ToString(v, CultureInfo.InvariantCulture) : null;

        bool Flag(string name) =>
            Text(name) switch
            {
                null or "" => false,
                var text when bool.TryParse(text, out var flag) => flag,
                var text => throw new ArgumentException(
                    $"Job '{job}': data '{name}' is '{text}'; allowed is true or false.",
                    nameof(value)
                ),
            };

        var file = Text("file");
        if (string.IsNullOrWhiteSpace(file))
        {
            throw new ArgumentException(
                $"Job '{job}': data 'file' is missing; it must be the path of the file to append to.",
                nameof(value)
            );
        }
        var work = 0L;
        var workText = Text("work");
        if (
            !string.IsNullOrEmpty(workText)
            && (!long.TryParse(workText, NumberStyles.None, CultureInfo.InvariantCulture, out work) || work is < 0 or > MaxWorkMilliseconds)
        )
        {
            throw new ArgumentException(
                $"Job '{job}': data 'work' is '{workText}'; allowed is 0 to {MaxWorkMilliseconds} milliseconds.",
                nameof(value)
            );
        }
        var entries = Text("entries") is { Length: > 0 } path ? path : null;
        return new TickInput(file, TimeSpan.FromMilliseconds(work), Flag("ignoreCancellation"), Flag("announce"), entries);
    }
}
