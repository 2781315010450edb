using System.Reflection;

namespace Scheduler.Tests.Architecture;

/// <summary>The public surface of each library is a reviewed text file: no change of it goes unseen.</summary>
public sealed class PublicApiTests
{
    private const string AcceptVariable = "ACCEPT_API";

    public static TheoryData<string> Libraries => [.. Repository.Libraries.Select(a => a.GetName().Name!)];

    [Theory]
    [MemberData(nameof(Libraries))]
    public void The_public_surface_is_the_reviewed_one(string library)
    {
        var actual = ApiText.Of(Assembly.Load(library));
        var file = Path.Combine(Repository.Root, "tests/Scheduler.Tests/Architecture/PublicApi", $"{library}.txt");
        if (Environment.GetEnvironmentVariable(AcceptVariable) == "1")
        {
            File.WriteAllText(file, actual);
        }
        var reviewed = File.Exists(file) ? File.ReadAllText(file).ReplaceLineEndings("\n") : "";
        if (actual == reviewed)
        {
            return;
        }
        var (before, now) = (reviewed.Split('\n'), actual.Split('\n'));
        Assert.Fail(
            $"""
            The public surface of {library} is not what {Repository.Relative(file)} says.
            Gone:
            {Show(before.Except(now, StringComparer.Ordinal))}
            New:
            {Show(now.Except(before, StringComparer.Ordinal))}
            If that is meant, run this test with {AcceptVariable}=1 in the environment and commit the file.
            """
        );
    }

    [Fact]
    public void Each_reviewed_file_has_its_library() =>
        Assert.Empty(
            Repository
                .Files("*.txt", "tests/Scheduler.Tests/Architecture/PublicApi")
                .Select(f => Path.GetFileNameWithoutExtension(f))
                .Except(Repository.Libraries.Select(a => a.GetName().Name!), StringComparer.Ordinal)
        );

    [Fact]
    public void The_text_shows_what_matters()
    {
        var text = ApiText.Of(typeof(Locking.ILeaseStore).Assembly);

        Assert.Contains("interface Scheduler.Locking.ILeaseStore : System.IAsyncDisposable", text, StringComparison.Ordinal);
        Assert.Contains("    const long MaxNumber = 9007199254740991", text, StringComparison.Ordinal);
        Assert.Contains("    Efficiency = 0", text, StringComparison.Ordinal);
        Assert.Contains(
            "    ValueTask<LeasePage> ListAsync(string prefix, int limit, string cursor = null, "
                + "CancellationToken cancellationToken = default)",
            text,
            StringComparison.Ordinal
        );
        Assert.DoesNotContain("InMemoryGroup", text, StringComparison.Ordinal);
        Assert.DoesNotContain("PrintMembers", text, StringComparison.Ordinal);
    }

    private static string Show(IEnumerable<string> lines) =>
        string.Join('\n', lines.Where(l => l.Length > 0).Select(l => $"  {l}").DefaultIfEmpty("  (nothing, or only the order)"));
}
