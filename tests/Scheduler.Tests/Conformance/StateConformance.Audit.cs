using Scheduler.Auditing;
using Scheduler.Runs;

namespace Scheduler.Tests.Conformance;

// Who asked for which change.
public abstract partial class StateConformance
{
    [Fact]
    public async Task Audit_entries_are_kept_once_listed_in_pages_and_pruned()
    {
        var entries = Enumerable.Range(0, 5).Select(i => Entry(Noon.AddMinutes(i), $"job j{i}")).ToList();
        foreach (var entry in entries)
        {
            await _state.Audit.AddAsync(entry, Cancel);
        }
        // Its answer was lost, so it is sent again.
        await _state.Audit.AddAsync(entries[0] with { Who = "other" }, Cancel);
        await _state.Audit.EndAsync(entries[1].Id, 409, "it runs", Cancel);
        entries[1] = entries[1] with { Outcome = 409, Detail = "it runs" };

        var seen = new List<AuditEntry>();
        for (string? before = null; ; )
        {
            var page = await _state.Audit.ListAsync(2, before, Cancel);
            Assert.True(page.Items.Count <= 2);
            seen.AddRange(page.Items);
            if ((before = page.Next) is null)
            {
                break;
            }
        }
        Assert.Equal(entries.AsEnumerable().Reverse(), seen);
        Assert.Empty((await (await OpenAsync("b")).Audit.ListAsync(10, null, Cancel)).Items);
        await Assert.ThrowsAsync<ArgumentException>(async () => await _state.Audit.ListAsync(10, "x", Cancel));

        await _state.Runs.PruneAsync(Noon.AddMinutes(3), 100, Cancel);
        Assert.Equal([entries[4], entries[3]], (await _state.Audit.ListAsync(10, null, Cancel)).Items);
    }

    [Fact]
    public async Task An_audit_entry_is_cut_to_what_every_State_keeps()
    {
        var entry = Entry(Noon, "job a\0b\u0001" + new string('x', 600)) with { Parameters = "limit=1", Detail = new string('y', 3_000) };
        await _state.Audit.AddAsync(entry, Cancel);
        await _state.Audit.EndAsync(entry.Id, 200, "a\0" + new string('y', 3_000), Cancel);

        var kept = Assert.Single((await _state.Audit.ListAsync(10, null, Cancel)).Items);
        Assert.StartsWith("job a b x", kept.Target, StringComparison.Ordinal);
        Assert.Equal((500, "limit=1", 2_000), (kept.Target.Length, kept.Parameters, kept.Detail!.Length));
        Assert.StartsWith("a y", kept.Detail, StringComparison.Ordinal);
    }

    private static AuditEntry Entry(DateTimeOffset at, string target) =>
        new()
        {
            Id = LedgerRules.NewId(at).ToString("N"),
            At = at,
            Who = "127.0.0.1",
            Action = "pause",
            Target = target,
            Replica = "r1",
        };
}
