using Scheduler.Inbox;
using Scheduler.Postgres.State;

namespace Scheduler.Tests.Postgres;

/// <summary>What people and upkeep ask of a long inbox reads little of it.</summary>
public sealed class PostgresInboxPlanTests : IAsyncLifetime
{
    private const int Rows = 200_000;

    /// <summary>What a list of a few events reads at most; the inbox has several thousand pages.</summary>
    private const int MostPages = 60;

    /// <summary>The same where rows are compared one by one: that ends after 5,000.</summary>
    private const int MostComparedPages = 600;

    private PostgresDatabase _database = null!;
    private PostgresState _state = null!;

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        _database = await PostgresDatabase.CreateAsync();
        _state = await _database.OpenAsync();
        await _database.ExecuteAsync(
            $"""
            INSERT INTO scheduler.inbox (number, group_name, id, source, state, keyed, body_keyed, event_type, dedupe_key, order_key,
              body_hash, content_hash, received_at, finished_at, body_bytes, body)
            SELECT nextval('scheduler.inbox_numbers'), 'test', gen_random_uuid(), 'payments',
              CASE WHEN i <= 20 THEN 'dead' WHEN i <= 40 THEN 'quarantined' ELSE 'done' END, true, false, 'a', 'a:' || i, i::text,
              sha256(i::text::bytea), sha256(i::text::bytea), timestamptz '2026-01-31 12:00Z' + i * interval '1 second',
              CASE WHEN i > 40 THEN timestamptz '2026-01-31 12:00Z' + i * interval '1 second' END, 100,
              CASE WHEN i <= 40 OR i > {Rows / 2} THEN decode(repeat('00', 100), 'hex') END
            FROM generate_series(1, {Rows}) i
            """
        );
        await _database.ExecuteAsync("ANALYZE scheduler.inbox");
    }

    public ValueTask DisposeAsync() => _database.DisposeAsync();

    [Fact]
    public async Task Lists_of_what_is_rare_read_a_few_pages_after_many_of_what_is_frequent()
    {
        InboxQuery[] queries =
        [
            new(Limit: 10),
            new(Limit: 10, Before: Rows / 2),
            new(State: InboxState.Done, Limit: 10),
            new(State: InboxState.Dead, Limit: 10),
            new(State: InboxState.Dead, Limit: 10, Before: 11),
            new(State: InboxState.Conflict, Limit: 10),
            new("payments", InboxState.Quarantined, Limit: 10) { Type = "a" },
        ];
        int[] found = [10, 10, 10, 10, 10, 0, 10];
        foreach (var (query, count) in queries.Zip(found))
        {
            // A session makes a plan for all values after some that were good for theirs.
            var pages = await PagesAsync(async () =>
            {
                for (var i = 0; i < 10; i++)
                {
                    Assert.Equal(count, (await _state.Inbox.ListAsync(query, Stop)).Items.Count);
                }
            });
            var most = new InboxListing(query).Compares ? MostComparedPages : MostPages;
            Assert.True(pages > 0 && pages < 10 * most, $"{pages} pages for 10 times {query}");
        }
    }

    [Fact]
    public async Task A_filter_without_an_order_of_its_own_ends_after_its_bound()
    {
        InboxPage page = null!;
        var pages = await PagesAsync(async () => page = await _state.Inbox.ListAsync(new InboxQuery("others"), Stop));
        Assert.Empty(page.Items);
        Assert.Equal(Rows - InboxListing.MostLookedAt + 1, page.Next);
        // The place where it ends, and the page.
        Assert.InRange(pages, 1, 2 * MostComparedPages);
        var next = await _state.Inbox.ListAsync(new InboxQuery("others", Before: page.Next), Stop);
        Assert.Equal(Rows - (2 * InboxListing.MostLookedAt) + 1, next.Next);
    }

    [Fact]
    public async Task Upkeep_that_finds_nothing_reads_a_few_pages()
    {
        var before = new DateTimeOffset(2026, 1, 31, 12, 0, 0, TimeSpan.Zero);
        var pages = await PagesAsync(async () =>
        {
            Assert.Equal(0, await _state.Inbox.DropBodiesAsync(before, 1_000, Stop));
            Assert.Equal(0, await _state.Inbox.DeleteAsync("payments", before, 1_000, Stop));
            Assert.Equal(0, await _state.Inbox.DropQuarantinedAsync("payments", 10_000, 1_000, Stop));
        });
        Assert.InRange(pages, 1, 3 * MostPages);
        Assert.Equal(10, await _state.Inbox.DropQuarantinedAsync("payments", 10, 1_000, Stop));
    }

    [Fact]
    public async Task Counting_what_waits_reads_what_it_counts_and_no_more()
    {
        await _database.ExecuteAsync(
            $"""
            INSERT INTO scheduler.inbox (number, group_name, id, source, state, keyed, body_keyed, event_type, dedupe_key, order_key,
              body_hash, content_hash, received_at, due_at, body_bytes, body)
            SELECT nextval('scheduler.inbox_numbers'), 'test', gen_random_uuid(), 'shop', 'received', true, false, 't' || i % 3, 'b:' || i,
              i::text, sha256(i::text::bytea), sha256(i::text::bytea), clock_timestamp(), clock_timestamp() - interval '1 minute', 1, 'a'
            FROM generate_series(1, 30000) i
            """
        );
        InboxCounts[] counts = [];
        var pages = await PagesAsync(async () => counts = [.. await _state.Inbox.CountAsync(["payments", "shop", "none"], Stop)]);

        Assert.Equal([(0, 20, 20), (InboxCounts.Most, 0, 0), (0, 0, 0)], counts.Select(c => (c.Waiting, c.Dead, c.Quarantined)));
        Assert.Equal([("t0", 1_000), ("t1", 1_000), ("t2", 1_000)], counts[1].Due.Select(d => (d.Type, d.Count)));
        // Each entry may cost a look at its row.
        Assert.InRange(pages, 1, InboxCounts.Most + (3 * InboxCounts.MostDue) + (5 * MostPages));
    }

    private async Task<long> PagesAsync(Func<Task> call)
    {
        var before = await ReadAsync();
        await call();
        return await ReadAsync() - before;
    }

    private async Task<long> ReadAsync()
    {
        // Sessions report what they read when they are idle for a while, or end.
        await _database.ExecuteAsync(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database() "
                + "AND application_name = 'scheduler'"
        );
        return await _database.AskAsync<long>(
            """
            SELECT (SELECT sum(idx_blks_hit + idx_blks_read) FROM pg_statio_user_indexes WHERE schemaname = 'scheduler')::bigint
              + (SELECT sum(heap_blks_hit + heap_blks_read) FROM pg_statio_user_tables WHERE schemaname = 'scheduler')::bigint
            """
        );
    }
}
