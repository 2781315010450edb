using Dapper;
using Scheduler.Inbox;

namespace Scheduler.Tests.Sqlite;

/// <summary>The inbox on SQLite: what its table refuses, what a claim costs, and the build before.</summary>
public sealed class SqliteInboxTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_row_that_the_table_refuses_is_no_fault_of_the_state()
    {
        await using var files = new StateFolder();
        var state = await files.OpenAsync();
        await state.Database.WriteAsync(
            c => c.Execute("CREATE TRIGGER no BEFORE INSERT ON inbox WHEN new.order_key = 'no' BEGIN SELECT RAISE(ABORT, 'no'); END"),
            Cancel
        );
        var arrival = new InboxArrival
        {
            Source = "payments",
            DedupeKey = "1",
            OrderKey = "no",
            BodyHash = new byte[32],
            ContentHash = new byte[32],
            Body = new byte[2],
            ReceivedAt = StateFolder.Noon,
        };
        await Assert.ThrowsAsync<ArgumentException>(async () => await state.Inbox.AddAsync([arrival], Cancel));
        var kept = await state.Inbox.AddAsync([arrival with { OrderKey = "yes" }], Cancel);
        Assert.Equal(InboxOutcome.Stored, kept[0].Outcome);
    }

    [Fact]
    public async Task A_claim_takes_few_steps_however_many_events_an_order_holds_back()
    {
        await using var files = new StateFolder();
        var state = await files.OpenAsync();
        await state.Database.WriteAsync(
            c =>
                c.Execute(
                    """
                    INSERT INTO inbox (group_name, id, source, state, keyed, body_keyed, event_type, dedupe_key, order_key, body_hash,
                      content_hash, received_at, due_at, body_bytes, body)
                    SELECT 'test', 'e' || value, 'payments', 'received', 1, 0, 'paid', value,
                      iif(value <= 20000, 'long', value), x'', x'', 0, 0, 2, x'7b7d' FROM
                      (WITH RECURSIVE n (value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < 20100) SELECT value FROM n)
                    """
                ),
            Cancel
        );
        // Each of the long order is looked at once, and no other waits for that.
        var taken = await ClaimAsync(11);
        Assert.Equal(1, taken.Count(c => c.Event.OrderKey == "long"));
        Assert.Equal(11, taken.Count);

        const int Unit = 100;
        var units = 0;
        await state.Database.WriteAsync(
            c =>
            {
                SQLitePCL.raw.sqlite3_progress_handler(c.Handle, Unit, _ => (units++, 0).Item2, null);
                return true;
            },
            Cancel
        );
        for (var i = 0; i < 20; i++)
        {
            await EndAsync(taken[0], InboxState.Done);
            taken = await ClaimAsync(1);
            Assert.Equal($"e{i + 2}", taken[0].Event.Id);
        }
        await EndAsync(taken[0], InboxState.Dead);
        Assert.Equal(90, (await ClaimAsync(100)).Count);
        var before = units;
        for (var i = 0; i < 20; i++)
        {
            Assert.Empty(await ClaimAsync(100));
        }
        // The index alone has 20,000 entries of the order.
        Assert.InRange(units - before, 0, 20 * 2_000 / Unit);
        Assert.InRange(before, 1, (20 * 2_000 / Unit) + (100 * 2_000 / Unit));

        async Task<IReadOnlyList<InboxClaim>> ClaimAsync(int limit) =>
            await state.Inbox.ClaimAsync(new("replica", [new("payments", "paid", false)], limit, TimeSpan.FromMinutes(10)), Cancel);

        async Task EndAsync(InboxClaim claim, InboxState end) =>
            Assert.Equal([true], await state.Inbox.FinishAsync([new(claim.Event.Id, claim.Event.Attempts, end)], Cancel));
    }

    [Fact]
    public async Task The_build_before_takes_events_beside_this_one()
    {
        // As the build of version 11 sends it: with the names of indexes.
        const string FormerDue = """
            SELECT id FROM inbox i INDEXED BY inbox_due
            WHERE group_name = 'test' AND state IN ('received', 'processing', 'failed') AND due_at <= 1 AND source IN ('payments')
              AND NOT EXISTS (SELECT 1 FROM inbox e INDEXED BY inbox_order
                WHERE e.group_name = 'test' AND e.source = i.source AND e.order_key = i.order_key AND e.number < i.number
                  AND e.state IN ('received', 'processing', 'failed', 'dead', 'conflict')
                  AND (e.state IN ('received', 'processing', 'failed') OR e.source NOT IN ('')))
            ORDER BY due_at, number LIMIT 10
            """;
        await using var files = new StateFolder();
        var state = await files.OpenAsync();
        var found = await state.Database.WriteAsync(
            c =>
            {
                c.Execute(
                    """
                    INSERT INTO inbox (group_name, id, source, state, keyed, body_keyed, event_type, dedupe_key, order_key, body_hash,
                      content_hash, received_at, due_at, body_bytes, body)
                    SELECT 'test', value, 'payments', 'received', 1, 0, 'paid', value, 'long', x'', x'', 0, 0, 2, x'7b7d'
                    FROM json_each('["1", "2", "3"]')
                    """
                );
                return c.Query<string>(FormerDue).AsList();
            },
            Cancel
        );
        Assert.Equal(["1"], found);
        var request = new InboxClaimRequest("replica", [new("payments", "paid", false)], 10, TimeSpan.FromMinutes(10));
        Assert.Equal("1", Assert.Single(await state.Inbox.ClaimAsync(request, Cancel)).Event.Id);
        await state.Database.WriteAsync(c => c.Execute("UPDATE inbox SET state = 'done' WHERE id = '1'"), Cancel);
        Assert.Equal(["2"], await state.Database.ReadAsync(c => c.Query<string>(FormerDue).AsList(), Cancel));
        Assert.Equal("2", Assert.Single(await state.Inbox.ClaimAsync(request, Cancel)).Event.Id);
    }
}
