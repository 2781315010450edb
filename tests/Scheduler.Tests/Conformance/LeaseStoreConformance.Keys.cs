using Scheduler.Locking;

namespace Scheduler.Tests.Conformance;

/// <summary>Keys that break stores which build commands, patterns or paths of them.</summary>
public static class TestKeys
{
    public static TheoryData<string> Unusual =>
        [
            "ä\u00e9\u0301 combining",
            "\u20ac\u4e2d\u6587\uffdc",
            "\U0001F512\U00010348 plane one",
            "\U00020000 plane two \U0003134A three",
            "\U000E0041 plane fourteen",
            "\U00100001 the last plane \U0010FFFD",
            ":{}*?[]%\\",
            "{tag}:rest",
            "a b  c ",
            " leading",
            "quotes ' \" ` ;--",
            "$1 @p {0} %s %00 %2F",
            "../../etc/passwd",
            "_%",
            new string('k', LockKey.MaxBytes),
            string.Concat(Enumerable.Repeat("\U0001F512", LockKey.MaxBytes / 4)),
        ];
}

// Keys are compared byte by byte, whatever is in them.
public abstract partial class LeaseStoreConformance<TFixture>
{
    [Theory]
    [MemberData(nameof(TestKeys.Unusual), MemberType = typeof(TestKeys))]
    public async Task Every_key_can_be_locked_shown_renewed_revoked_and_released(string text)
    {
        var (first, second) = await ConnectTwoAsync();
        var key = LockKey.From(text);
        var pushed = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        await using var subscription = await second.Store.SubscribeAsync(
            free =>
            {
                if (free == key)
                {
                    pushed.TrySetResult();
                }
            },
            Stop
        );

        var grant = await first.AcquireAsync(key, Long);

        await second.ExpectHeldAsync(key);
        Assert.Equal(key, (await second.ReadAsync(key))!.Key);
        Assert.Equal(RenewalOutcome.Renewed, Assert.Single(await first.RenewAsync(Long, grant)));
        Assert.Equal(key, Assert.Single(await second.ListAsync(text)).Key);
        Assert.True((await second.RevokeAsync(grant)).Found);
        Assert.True((await first.ReleaseAsync(grant)).Released);
        if (second.Store.Traits.PushesReleases)
        {
            await pushed.Task.WaitAsync(Fixture.Slack, Stop);
        }
        Assert.Null(await second.ReadAsync(key));
        Assert.True((await second.AcquireAsync(key, Long)).Number > grant.Number);
    }

    [Theory]
    [InlineData("*")]
    [InlineData("?")]
    [InlineData("[a-z]")]
    [InlineData("%")]
    [InlineData("_")]
    [InlineData("\\")]
    [InlineData("\\*")]
    [InlineData("{")]
    [InlineData("^")]
    [InlineData("'")]
    [InlineData("\U0001F512")]
    public async Task A_prefix_is_taken_literally(string prefix)
    {
        var client = await ConnectAsync();
        foreach (var key in (string[])["a", "z", "\\", "*", $"{prefix}1", $"{prefix}2", $"x{prefix}", "\U0001F513"])
        {
            await client.TryAsync(LockKey.From(key), client.NewOwner(), Long);
        }

        var listed = await KeysAsync(client, prefix);

        string[] expected = ["a", "z", "\\", "*", $"{prefix}1", $"{prefix}2", $"x{prefix}", "\U0001F513"];
        Assert.Equal(
            expected
                .Distinct(StringComparer.Ordinal)
                .Where(k => k.StartsWith(prefix, StringComparison.Ordinal))
                .Order(StringComparer.Ordinal),
            listed
        );
    }

    [Fact]
    public async Task Equal_looking_keys_are_different_keys()
    {
        var client = await ConnectAsync();
        // Composed and decomposed, upper and lower case, with and without a trailing space.
        foreach (var key in (string[])["\u00e9", "e\u0301", "E\u0301", "K", "k", "\u212a", "k ", "ss", "\u00df"])
        {
            await client.AcquireAsync(LockKey.From(key), Long);
        }

        Assert.Equal(9, (await client.ListAsync("")).Count);
    }

    [Theory]
    [InlineData("a:b", "c", "a", "b:c")]
    [InlineData("a", "b:c", "a:b", "c")]
    [InlineData("g*", "k", "gg", "k")]
    [InlineData("{g}", "k", "g", "k")]
    public async Task Groups_with_unusual_names_never_touch_each_other(string group, string key, string otherGroup, string otherKey)
    {
        var here = await ConnectAsync($"{Group}-{group}");
        var there = await ConnectAsync($"{Group}-{otherGroup}");
        var grant = await here.AcquireAsync(LockKey.From(key), Long);

        Assert.Empty(await there.ListAsync(""));
        await there.AcquireAsync(LockKey.From(otherKey), Long);

        Assert.Equal(grant.Number, Assert.Single(await here.ListAsync("")).Number);
        Assert.Equal(otherKey, Assert.Single(await there.ListAsync("")).Key.Value);
    }
}
