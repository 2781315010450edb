using System.Globalization;
using Scheduler.Runs;

namespace Scheduler.Tests.Runs;

/// <summary>When the next attempt of a failing run comes.</summary>
public sealed class RetryRuleTests
{
    [Theory]
    [InlineData(RetryBackoff.Fixed, "00:00:03 00:00:03 00:00:03 00:00:03 -")]
    [InlineData(RetryBackoff.Exponential, "00:00:03 00:00:06 00:00:12 00:00:20 -")]
    public void The_time_grows_as_the_rule_says_until_the_attempts_are_used_up(RetryBackoff backoff, string times)
    {
        var rule = new RetryRule
        {
            MaxAttempts = 5,
            Delay = TimeSpan.FromSeconds(3),
            MaxDelay = TimeSpan.FromSeconds(20),
            Backoff = backoff,
            Jitter = 0,
        };

        var said = Enumerable.Range(1, 5).Select(failures => rule.After(failures, 0.9)?.ToString("c", CultureInfo.InvariantCulture) ?? "-");

        Assert.Equal(times, string.Join(' ', said));
    }

    [Fact]
    public void Jitter_moves_it_both_ways_by_its_share()
    {
        var rule = new RetryRule { MaxAttempts = 2, Delay = TimeSpan.FromSeconds(10) };

        Assert.Equal([8, 10, 12], ((double[])[0, 0.5, 1]).Select(random => rule.After(1, random)!.Value.TotalSeconds));
    }

    [Fact]
    public void The_last_of_a_thousand_doublings_is_still_a_time()
    {
        var rule = new RetryRule
        {
            MaxAttempts = RetryRule.MostAttempts,
            Delay = RetryRule.LongestDelay,
            MaxDelay = RetryRule.LongestDelay,
            Backoff = RetryBackoff.Exponential,
            Jitter = 1,
        };

        Assert.Equal(2 * RetryRule.LongestDelay, rule.After(RetryRule.MostAttempts - 1, 1));
    }

    [Fact]
    public void A_rule_that_says_nothing_has_one_attempt() => Assert.Null(RetryRule.None.After(1, 0));
}
