using System.Globalization;
using Scheduler.Inbox;
using Scheduler.Postgres.State;

namespace Scheduler.Tests.Postgres;

/// <summary>What claims read of a long order, and turns beside the build that does not know them.</summary>
public sealed class PostgresInboxTurnTests : IAsyncLifetime
{
    private const int Long = 20_000;
    private const int Others = 100;

    /// <summary>What taking and ending an event reads and writes at most: a look judges up to 18 events, by some 20 pages each.</summary>
    private const int MostPages = 500;

    // As the build of version 12 sends them.
    private const string FormerClaim = """
        WITH due AS (
          SELECT d.id FROM scheduler.inbox d
          WHERE d.group_name = 'test' AND d.state IN ('received', 'processing', 'failed') AND d.due_at <= clock_timestamp()
            AND d.source = ANY (ARRAY['payments'])
            AND NOT EXISTS (SELECT FROM scheduler.inbox e
              WHERE e.group_name = 'test' AND e.source = d.source AND e.order_key = d.order_key AND e.number < d.number
                AND e.state IN ('received', 'processing', 'failed', 'dead', 'conflict')
                AND (e.state IN ('received', 'processing', 'failed') OR NOT e.source = ANY (ARRAY[]::text[])))
          ORDER BY d.due_at, d.number LIMIT 10 FOR UPDATE SKIP LOCKED
        )
        UPDATE scheduler.inbox AS i SET state = 'processing', attempts = i.attempts + 1, counted = i.counted + 1,
          due_at = clock_timestamp() + interval '10 s', replica = 'former'
        FROM due WHERE i.id = due.id
        """;

    private const string FormerFinish = """
        UPDATE scheduler.inbox AS i SET state = q.state, counted = i.counted - 0, error = NULL, due_at = NULL,
          finished_at = clock_timestamp()
        FROM (SELECT id, attempts AS attempt, 'done' AS state FROM scheduler.inbox WHERE state = 'processing') q
        WHERE i.id = q.id AND i.group_name || '' = 'test' AND i.attempts = q.attempt AND i.state = 'processing'
        """;

    private PostgresDatabase _database = null!;
    private PostgresState _state = null!;

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        _database = await PostgresDatabase.CreateAsync();
        _state = await _database.OpenAsync();
    }

    public ValueTask DisposeAsync() => _database.DisposeAsync();

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_claim_reads_a_few_pages_however_many_events_an_order_holds_back(bool isAnalyzed)
    {
        await FillAsync("long", Long);
        await FillAsync("other", Others);
        // Each of the long order is looked at once, and no other waits for that.
        var taken = await ClaimAsync(11);
        // As the server does within a minute; until then claims pass over what is dead.
        await _database.ExecuteAsync($"VACUUM (INDEX_CLEANUP ON{(isAnalyzed ? ", ANALYZE" : "")}) scheduler.inbox");
        Assert.Equal((1, 10), (taken.Count(c => c.Event.OrderKey == "long"), taken.Count(c => c.Event.OrderKey != "long")));

        var before = await _database.PagesReadAsync();
        for (var i = 0; i < 20; i++)
        {
            // One of the long order, which the next one of it follows, and one of another.
            await EndAsync(taken[0], InboxState.Done);
            await EndAsync(taken[1], InboxState.Done);
            taken = await ClaimAsync(2);
            Assert.Single(taken, c => c.Event.OrderKey == "long");
            taken = [.. taken.OrderBy(c => c.Event.OrderKey != "long")];
        }
        Assert.InRange(await _database.PagesReadAsync() - before, 1, 20 * 2 * MostPages);

        // Held back by a dead one, for ever.
        await EndAsync(taken[0], InboxState.Dead);
        Assert.Equal(Others - 10 - 20, (await ClaimAsync(500)).Count);
        before = await _database.PagesReadAsync();
        for (var i = 0; i < 20; i++)
        {
            Assert.Empty(await ClaimAsync(500));
        }
        Assert.InRange(await _database.PagesReadAsync() - before, 1, 20 * MostPages);
    }

    [Fact]
    public async Task The_build_before_takes_and_ends_events_beside_this_one()
    {
        await FillAsync("long", 4);
        Assert.Equal(0, (await TakenAsync()).Event.Number - await FirstAsync());
        Assert.Equal(3, await _database.AskAsync<long>("SELECT count(*) FROM scheduler.inbox WHERE turn IS NULL"));

        await _database.ExecuteAsync(FormerFinish);
        Assert.Equal(1, (await TakenAsync()).Event.Number - await FirstAsync());
        await _database.ExecuteAsync(FormerFinish);
        await _database.ExecuteAsync(FormerClaim);
        Assert.Empty(await ClaimAsync(10));
        await _database.ExecuteAsync(FormerFinish);
        Assert.Equal(3, (await TakenAsync()).Event.Number - await FirstAsync());
    }

    private async Task<InboxClaim> TakenAsync() => Assert.Single(await ClaimAsync(10));

    private Task<long> FirstAsync() => _database.AskAsync<long>("SELECT min(number) FROM scheduler.inbox");

    private async Task<IReadOnlyList<InboxClaim>> ClaimAsync(int limit) =>
        await _state.Inbox.ClaimAsync(new("replica", [new("payments", "paid", false)], limit, TimeSpan.FromMinutes(10)), Stop);

    private async Task EndAsync(InboxClaim claim, InboxState state) =>
        Assert.Equal([true], await _state.Inbox.FinishAsync([new(claim.Event.Id, claim.Event.Attempts, state)], Stop));

    // Of one order, or each of an order of its own.
    private Task FillAsync(string order, int count) =>
        _database.ExecuteAsync(
            string.Create(
                CultureInfo.InvariantCulture,
                $"""
                INSERT INTO scheduler.inbox (number, group_name, id, source, state, keyed, body_keyed, event_type, dedupe_key, order_key,
                  body_hash, content_hash, received_at, due_at, body_bytes, body)
                SELECT nextval('scheduler.inbox_numbers'), 'test', gen_random_uuid(), 'payments', 'received', true, false, 'paid',
                  '{order}:' || i, CASE WHEN '{order}' = 'long' THEN 'long' ELSE '{order}:' || i END, '', '', now(),
                  now() - interval '1 hour', 2, '\x7b7d'
                FROM generate_series(1, {count}) i
                """
            )
        );
}
