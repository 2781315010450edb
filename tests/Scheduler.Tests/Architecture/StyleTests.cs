using System.Text.RegularExpressions;

namespace Scheduler.Tests.Architecture;

/// <summary>What neither the compiler nor the formatter checks.</summary>
public sealed partial class StyleTests
{
    private const int LongestFile = 350;
    private const int LongestLine = 140;

    [Fact]
    public void Files_of_the_product_stay_short()
    {
        var tooLong =
            from file in Repository.Files("*.cs", "src", "jobs", "bench")
            let lines = File.ReadLines(file).Count()
            where lines > LongestFile
            select $"{Repository.Relative(file)} has {lines} lines; at most {LongestFile} are allowed: split it by responsibility.";

        NoneOf(tooLong);
    }

    [Fact]
    public void Lines_stay_short() =>
        NoneOf(
            Lines("src", "jobs", "bench", "tests")
                .Where(l => l.Text.Length > LongestLine)
                .Select(l => $"{l.Place} has {l.Text.Length} characters; at most {LongestLine} are allowed.")
        );

    [Fact]
    public void Nothing_unfinished_is_left() =>
        NoneOf(Lines("src", "jobs", "bench", "tests").Where(l => Unfinished().IsMatch(l.Text)).Select(l => $"{l.Place}: {l.Text.Trim()}"));

    [Fact]
    public void Tests_wait_for_conditions_and_never_sleep() =>
        NoneOf(
            Lines("tests")
                .Where(l => !l.Place.StartsWith("tests/Scheduler.Testing/", StringComparison.Ordinal) && Sleeps().IsMatch(l.Text))
                .Select(l => $"{l.Place}: wait with Eventually.Holds or a signal instead of '{l.Text.Trim()}'.")
        );

    [Fact]
    public void The_rules_notice_what_they_are_for()
    {
        Assert.Matches(Unfinished(), "// TO" + "DO: later");
        Assert.Matches(Unfinished(), "throw new NotImplemented" + "Exception();");
        Assert.Matches(Sleeps(), "await Task" + ".Delay(100);");
        Assert.Matches(Sleeps(), "Thread" + ".Sleep(100);");
        // Waiting for nothing but a cancellation is no sleep.
        Assert.DoesNotMatch(Sleeps(), "await Task" + ".Delay(Timeout.InfiniteTimeSpan, time, token);");
        Assert.NotEmpty(Lines("tests"));
    }

    private static void NoneOf(IEnumerable<string> problems)
    {
        var all = problems.ToList();
        Assert.True(all.Count == 0, $"{all.Count} places:\n{string.Join('\n', all.Take(50))}");
    }

    private static IEnumerable<(string Place, string Text)> Lines(params string[] folders) =>
        from file in Repository.Files("*.cs", folders)
        from line in File.ReadLines(file).Select((text, index) => (Place: $"{Repository.Relative(file)}:{index + 1}", Text: text))
        select line;

    // The brackets keep these lines from finding themselves.
    [GeneratedRegex(@"\bTOD[O]\b|\bFIXM[E]\b|NotImplemented[E]xception", RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 1_000)]
    private static partial Regex Unfinished();

    [GeneratedRegex(
        @"\bThread\.[S]leep\(|\bTask\.[D]elay\((?!Timeout\.Infinite)",
        RegexOptions.ExplicitCapture,
        matchTimeoutMilliseconds: 1_000
    )]
    private static partial Regex Sleeps();
}
