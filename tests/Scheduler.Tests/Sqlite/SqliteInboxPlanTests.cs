using Dapper;
using Scheduler.Inbox;
using Scheduler.Sqlite.State;

namespace Scheduler.Tests.Sqlite;

/// <summary>What people ask of a long inbox reads little of it.</summary>
public sealed class SqliteInboxPlanTests
{
    [Fact]
    public async Task Pages_of_a_long_inbox_are_read_in_the_order_of_an_index_and_end_after_their_bound()
    {
        const int Rows = 200_000;
        await using var files = new StateFolder();
        var state = await files.OpenAsync();
        var cancel = TestContext.Current.CancellationToken;
        await state.Database.WriteAsync(
            c =>
                c.Execute(
                    $"""
                    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {Rows})
                    INSERT INTO inbox (group_name, id, source, state, keyed, body_keyed, dedupe_key, order_key, body_hash, content_hash,
                      received_at, finished_at, body_bytes, body)
                    SELECT @group, printf('%032d', i), 'payments', iif(i <= 20, 'dead', 'done'), 1, 0, i, i, zeroblob(32), zeroblob(32), i,
                      iif(i <= 20, NULL, i), 100, zeroblob(100) FROM n
                    """,
                    new { group = "test" }
                ),
            cancel
        );
        var dead = await state.Inbox.ListAsync(new InboxQuery(State: InboxState.Dead, Limit: 15), cancel);
        Assert.Equal(Enumerable.Range(6, 15).Reverse().Select(i => (long)i), dead.Items.Select(e => e.Number));
        Assert.Equal(5, (await state.Inbox.ListAsync(new InboxQuery(State: InboxState.Dead, Before: dead.Next), cancel)).Items.Count);
        var rare = await state.Inbox.ListAsync(new InboxQuery("others"), cancel);
        Assert.Empty(rare.Items);
        Assert.Equal(Rows - InboxListing.MostLookedAt + 1, rare.Next);

        (string Sql, string Step)[] expected =
        [
            ($"SELECT * {SqliteInbox.Range(new InboxListing(new InboxQuery()))}", "USING INTEGER PRIMARY KEY (rowid<?)"),
            (
                $"SELECT * {SqliteInbox.Range(new InboxListing(new InboxQuery(State: InboxState.Dead)))}",
                "USING INDEX inbox_people (group_name=? AND state=? AND number<?)"
            ),
        ];
        foreach (var (sql, step) in expected)
        {
            var plan = await state.Database.ReadAsync(
                c =>
                    c.Query(
                            $"EXPLAIN QUERY PLAN {sql} ORDER BY number DESC LIMIT 100",
                            new
                            {
                                group = "",
                                people = "dead",
                                before = 0,
                            }
                        )
                        .Select(row => (string)row.detail)
                        .ToList(),
                cancel
            );
            Assert.EndsWith(step, Assert.Single(plan), StringComparison.Ordinal);
        }
    }
}
