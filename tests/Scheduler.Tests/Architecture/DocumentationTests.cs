using System.Text.RegularExpressions;

namespace Scheduler.Tests.Architecture;

/// <summary>What the documents point at exists: files, tests by name, commands.</summary>
public sealed partial class DocumentationTests
{
    public static TheoryData<string> Documents =>
        [
            .. Directory
                .GetFiles(Repository.Root, "*.md")
                .Concat(Directory.GetFiles(Path.Combine(Repository.Root, "docs"), "*.md"))
                .Select(Repository.Relative),
        ];

    [Theory]
    [MemberData(nameof(Documents))]
    public void Every_link_leads_somewhere_and_every_named_test_is_there(string document)
    {
        var file = Path.Combine(Repository.Root, document);
        var wrong = new List<string>();
        foreach (Match link in Links().Matches(File.ReadAllText(file)))
        {
            var (text, target) = (link.Groups["text"].Value, link.Groups["target"].Value);
            var path = Path.GetFullPath(Path.Combine(Path.GetDirectoryName(file)!, target));
            if (!Path.Exists(path))
            {
                wrong.Add($"{target} does not exist");
            }
            else if (path.EndsWith("Tests.cs", StringComparison.Ordinal) || path.Contains("/Conformance/", StringComparison.Ordinal))
            {
                if (!File.ReadAllText(path).Contains(text, StringComparison.Ordinal))
                {
                    wrong.Add($"{target} has no {text}");
                }
            }
        }
        Assert.True(wrong.Count == 0, string.Join('\n', wrong));
    }

    [Fact]
    public void Every_promise_names_a_test()
    {
        var promises = File.ReadAllLines(Path.Combine(Repository.Root, "docs", "guarantees.md"))
            .SkipWhile(l => l != "## Promised")
            .TakeWhile(l => l != "## Levels")
            .Where(l => l.StartsWith("| ", StringComparison.Ordinal) && !l.StartsWith("| promise", StringComparison.Ordinal))
            .ToList();

        Assert.True(promises.Count > 30);
        Assert.All(promises, p => Assert.Matches(Links(), p));
    }

    [Fact]
    public void The_first_lines_of_the_README_are_the_two_commands_and_what_they_print()
    {
        var lines = File.ReadAllLines(Path.Combine(Repository.Root, "README.md")).Take(20).ToList();

        Assert.Contains(lines, l => l.Contains("./run", StringComparison.Ordinal));
        Assert.Contains(lines, l => l.Contains("./test", StringComparison.Ordinal));
        Assert.Contains(lines, l => l.Contains("passed, 0 failed", StringComparison.Ordinal));
    }

    [GeneratedRegex(@"\[(?<text>[^\]\n]+)\]\((?<target>[^)#:\s]+)\)", RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 1_000)]
    private static partial Regex Links();
}
