using Scheduler.Jobs;
using Scheduler.Jobs.Reconciliation;
using Scheduler.Runs;

namespace Scheduler.Tests.Jobs;

// What policies and pauses make of what was missed or overlapped.
public sealed partial class SettlementTests
{
    [Theory]
    // Due at 100, 200, 300 and 400, and looked at shortly after: the newest, and not when one that was due later is recorded.
    [InlineData(CatchUp.Latest, null, 410, 0, "400", "100 200 300")]
    [InlineData(CatchUp.Latest, null, 410, 400, "", "100 200 300")]
    [InlineData(CatchUp.Latest, null, 410, 200, "400", "100 300")]
    // By default within a period, which is 100.
    [InlineData(CatchUp.Latest, null, 500, 0, "400", "100 200 300")]
    [InlineData(CatchUp.Latest, null, 501, 0, "", "100 200 300 400")]
    [InlineData(CatchUp.Latest, 10, 410, 0, "400", "100 200 300")]
    [InlineData(CatchUp.Latest, 10, 411, 0, "", "100 200 300 400")]
    [InlineData(CatchUp.Latest, 1_000, 900, 0, "400", "100 200 300")]
    [InlineData(CatchUp.None, null, 410, 0, "", "100 200 300 400")]
    // As late as a fire of its own may be: not missed yet.
    [InlineData(CatchUp.None, null, 405, 0, "400", "100 200 300")]
    [InlineData(CatchUp.None, 1_000, 406, 0, "", "100 200 300 400")]
    [InlineData(CatchUp.All, null, 99_999, 0, "100 200 300 400", "")]
    [InlineData(CatchUp.All, null, 410, 300, "100 200 400", "")]
    [InlineData(CatchUp.All, 210, 410, 0, "200 300 400", "100")]
    public void ThePolicyChoosesWhichOfTheMissedOnesRun(CatchUp policy, int? within, int now, int recorded, string run, string leftOut)
    {
        var rule = new CatchUpRule(policy, within is { } seconds ? TimeSpan.FromSeconds(seconds) : null, CatchUpRule.DefaultLimit);

        var result = JudgeBy(rule, now, Due(100, 200, 300, 400), recorded == 0 ? [] : [Row(recorded)]);

        Assert.Equal(run, Text(result.Missing));
        Assert.Equal(leftOut, Text(result.LeftOut));
        // Everything in front of the first one to run is settled, and nothing from it on.
        var first = result.Missing.Count == 0 ? At(500) : result.Missing[0];
        Assert.Equal(first == At(100) ? null : first.AddSeconds(-100), result.SettledUntil);
    }

    [Theory]
    // The run of 100 ends at 350: the last that came due meanwhile is 300, however long ago that is.
    [InlineData(360, 350, 0, "200", "300", "400")]
    [InlineData(9_999, 350, 0, "200", "300", "400")]
    // 400 was run on its own: it stands for 300 as well.
    [InlineData(410, 350, 400, "200 300", "", "")]
    // It ends at 450: the last is 400.
    [InlineData(460, 450, 0, "200 300", "400", "")]
    public void TheLastThatCameDueMeanwhileRunsAfterItWhereThatIsWanted(
        int now,
        double end,
        int recorded,
        string overlapped,
        string after,
        string missing
    )
    {
        var rule = new CatchUpRule(CatchUp.All, null, CatchUpRule.DefaultLimit);
        List<RecordedOccurrence> rows = [Row(100, from: 100, to: end), .. recorded == 0 ? [] : new[] { Row(recorded) }];

        var result = Settlement.Of(Due(100, 200, 300, 400), rows, null, At(500), OnOverlap.RunAfter, rule, At(now));

        Assert.Equal(overlapped, Text(result.Overlapped));
        Assert.Equal(after, Text(result.After));
        Assert.Equal(missing, Text(result.Missing));
        Assert.Equal(after.Length == 0 ? At(400) : result.After[0].AddSeconds(-100), result.SettledUntil);
    }

    [Fact]
    public void OneThatIsNotKnownToBeTheLastIsOverlapped()
    {
        // The run of 100 ended at 450; looked at up to 300.
        var rule = new CatchUpRule(CatchUp.All, null, CatchUpRule.DefaultLimit);

        var result = Settlement.Of(Due(100, 200, 300), [Row(100, from: 100, to: 450)], null, At(400), OnOverlap.RunAfter, rule, At(451));

        Assert.Equal("200 300", Text(result.Overlapped));
        Assert.Empty(result.After);
    }

    [Fact]
    public void WhatOverlapsOrCannotBeSaidYetIsNotLeftOut()
    {
        var rule = new CatchUpRule(CatchUp.None, null, CatchUpRule.DefaultLimit);

        var overlapped = JudgeBy(rule, 1_000, Due(100, 200), Row(100, from: 100, to: 250));
        var undecided = JudgeBy(rule, 1_000, Due(100, 200), Row(100, state: RunState.Running, from: 100));

        Assert.Equal("200", Text(overlapped.Overlapped));
        Assert.Empty(overlapped.LeftOut);
        Assert.Empty(undecided.Missing.Concat(undecided.LeftOut));
        Assert.Equal(At(100), undecided.SettledUntil);
    }

    [Fact]
    public void What_came_due_in_a_pause_is_nothing_and_the_missed_one_before_it_is_the_newest()
    {
        var rule = new CatchUpRule(CatchUp.Latest, TimeSpan.FromDays(1), CatchUpRule.DefaultLimit);

        var result = Settlement.Of(Due(100, 200, 300, 400), [], null, At(500), OnOverlap.Skip, rule, At(450), t => t > At(200));
        var then = Settlement.Of(Due(100, 200, 300, 400), [Row(200)], null, At(500), OnOverlap.Skip, rule, At(450), t => t > At(200));

        Assert.Equal(("200", "100", At(100)), (Text(result.Missing), Text(result.LeftOut), result.SettledUntil));
        Assert.Equal(("", "100", At(400)), (Text(then.Missing), Text(then.LeftOut), then.SettledUntil));
    }

    [Fact]
    public void A_run_that_lasts_through_a_pause_overlaps_what_comes_due_behind_it()
    {
        var rule = new CatchUpRule(CatchUp.All, null, CatchUpRule.DefaultLimit);
        RecordedOccurrence[] rows = [Row(100, from: 100, to: 410)];

        var result = Settlement.Of(
            Due(100, 200, 300, 400),
            rows,
            null,
            At(500),
            OnOverlap.Skip,
            rule,
            At(450),
            t => t > At(150) && t < At(350)
        );

        Assert.Equal(("400", "", At(400)), (Text(result.Overlapped), Text(result.Missing), result.SettledUntil));
    }
}
