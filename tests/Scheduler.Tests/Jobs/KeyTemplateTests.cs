using FsCheck;
using FsCheck.Fluent;
using Scheduler.Jobs;

namespace Scheduler.Tests.Jobs;

public sealed class KeyTemplateTests
{
    [Fact]
    public void PlaceholdersAreFilledAndPercentEncoded()
    {
        var template = KeyTemplate.Parse("settle:{merchant}/{day}").Template!;

        var (key, problem) = template.Fill(name => name == "merchant" ? "a/b:{c} %é" : "2026-01-31");

        Assert.Null(problem);
        Assert.Equal("settle:a%2Fb%3A%7Bc%7D%20%25%C3%A9/2026-01-31", key!.Value.Value);
    }

    [Fact]
    public void TwoDifferentDataNeverShareAKey() =>
        Prop.ForAll<NonEmptyString[]>(values =>
            {
                if (values.Length < 4)
                {
                    return true;
                }
                var (a, b, c, d) = (values[0], values[1], values[2], values[3]);
                var template = KeyTemplate.Parse("k:{x}:{y}").Template!;
                var left = template.Fill(n => n == "x" ? a.Get : b.Get).Key;
                var right = template.Fill(n => n == "x" ? c.Get : d.Get).Key;
                return left is null || right is null || (left == right) == (a.Get == c.Get && b.Get == d.Get);
            })
            .QuickCheckThrowOnFailure();

    [Theory]
    [InlineData("a:{x", "without a name")]
    [InlineData("a:x}", "without a '{'")]
    [InlineData("a:{}", "without a name")]
    [InlineData("a:{x{y}}", "without a name")]
    [InlineData("", "empty")]
    public void ATemplateThatCannotBeReadIsRefused(string text, string says) => Assert.Contains(says, KeyTemplate.Parse(text).Problem);

    [Fact]
    public void AMissingValueIsNamed()
    {
        var (key, problem) = KeyTemplate.Parse("settle:{merchant}").Template!.Fill(_ => null);

        Assert.Null(key);
        Assert.Contains("'merchant'", problem);
    }

    [Fact]
    public void AKeyOver512BytesIsRefused() =>
        Assert.Contains("at most 512", KeyTemplate.Parse("k:{x}").Template!.Fill(_ => new string('x', 511)).Problem);
}
