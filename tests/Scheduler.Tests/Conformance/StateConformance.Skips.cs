using Scheduler.Runs;

namespace Scheduler.Tests.Conformance;

// How often fires did nothing.
public abstract partial class StateConformance
{
    [Fact]
    public async Task Skips_are_kept_once_listed_by_job_and_time_in_pages_and_pruned()
    {
        SkipCount[] counts =
        [
            .. from minute in Enumerable.Range(0, 5)
            from job in (string[])["a", "a/b_c", "ä"]
            from replica in (string[])["r1", "r2"]
            from reason in Enum.GetValues<SkipReason>()
            select new SkipCount(Noon.AddMinutes(minute), job, replica, reason, minute + 1),
        ];
        await _state.Skips.AddAsync(counts, Cancel);
        // Its answer was lost, so it is sent again; also with another count nothing is added up twice.
        await _state.Skips.AddAsync([.. counts.Reverse().Select(c => c with { Count = 99 })], Cancel);
        await _state.Skips.AddAsync([], Cancel);

        SkipQuery[] queries =
        [
            new(Limit: 7),
            new("a/b_c", Limit: 7),
            new("a", Noon.AddMinutes(1), Noon.AddMinutes(3), Limit: 5),
            new(From: Noon.AddMinutes(1).AddTicks(1), To: Noon.AddMinutes(3).AddTicks(1), Limit: 1_000),
            new("none"),
        ];
        foreach (var query in queries)
        {
            var seen = new List<SkipCount>();
            for (string? cursor = null; ; )
            {
                var page = await _state.Skips.ListAsync(query with { Cursor = cursor }, Cancel);
                Assert.True(page.Items.Count <= query.Limit);
                seen.AddRange(page.Items);
                if ((cursor = page.Next) is null)
                {
                    break;
                }
            }
            var expected = counts.Where(c =>
                (query.Job is null || c.Job == query.Job)
                && (query.From is null || c.Minute >= query.From)
                && (query.To is null || c.Minute < query.To)
            );
            Assert.Equal(expected.OrderBy(Place), seen.OrderBy(Place));
            Assert.Equal(seen.OrderByDescending(c => c.Minute).Select(c => c.Minute), seen.Select(c => c.Minute));
        }
        Assert.Empty((await (await OpenAsync("b")).Skips.ListAsync(new SkipQuery(), Cancel)).Items);
        await Assert.ThrowsAsync<ArgumentException>(async () => await _state.Skips.ListAsync(new SkipQuery(Cursor: "x/y"), Cancel));

        await _state.Runs.PruneAsync(Noon.AddMinutes(2), 100, Cancel);
        var left = (await _state.Skips.ListAsync(new SkipQuery(Limit: 1_000), Cancel)).Items;
        Assert.Equal(counts.Where(c => c.Minute >= Noon.AddMinutes(2)).OrderBy(Place), left.OrderBy(Place));

        static (DateTimeOffset, string, string, SkipReason) Place(SkipCount count) =>
            (count.Minute, count.Job, count.Replica, count.Reason);
    }
}
