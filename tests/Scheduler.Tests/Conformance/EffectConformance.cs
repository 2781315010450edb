using System.Data.Common;
using Dapper;
using Scheduler.Inbox;
using Scheduler.Locking;

namespace Scheduler.Tests.Conformance;

/// <summary>What effects do on every database that notes them.</summary>
public abstract class EffectConformance : IAsyncLifetime
{
    private static readonly LockKey Order = LockKey.From("order:payments:1");
    private static readonly EffectKey Payment = new("payments", "payment.succeeded:1", "payment");

    protected static CancellationToken Stop => TestContext.Current.CancellationToken;

    /// <summary>An empty database of the application.</summary>
    protected abstract DbDataSource Database { get; }

    /// <summary>SQL for the instant so many days ago, as the table has it.</summary>
    protected abstract string DaysAgo(int days);

    protected abstract string FenceDaysAgo(int days);

    protected abstract ValueTask StartAsync();

    protected abstract ValueTask EndAsync();

    protected abstract ValueTask<bool> ApplyAsync(Effect effect, Func<DbConnection, DbTransaction, CancellationToken, ValueTask> work);

    protected abstract ValueTask<bool> CallAsync(Effect effect, Func<EffectCall, CancellationToken, ValueTask> call);

    protected abstract ValueTask<long> PruneEffectsAsync(TimeSpan age);

    protected abstract ValueTask<long> PruneFencesAsync(TimeSpan idle);

    public async ValueTask InitializeAsync()
    {
        await StartAsync();
        await ExecuteAsync("CREATE TABLE money (amount INTEGER)");
    }

    public async ValueTask DisposeAsync()
    {
        GC.SuppressFinalize(this);
        await EndAsync();
    }

    [Fact]
    public async Task An_effect_is_applied_once_however_often_its_event_is_taken()
    {
        Assert.True(await PayAsync(Payment, token: 5));
        Assert.False(await PayAsync(Payment, token: 6));
        Assert.False(await PayAsync(Payment, token: 6));
        Assert.True(await PayAsync(Payment with { Name = "mail" }, token: 6));
        Assert.True(await PayAsync(Payment with { DedupeKey = "payment.refunded:1" }, token: 6));
        Assert.Equal(3, await CountAsync());
    }

    [Fact]
    public async Task A_late_handler_is_refused_although_the_effect_is_not_there()
    {
        Assert.True(await PayAsync(Payment, token: 6));
        var stale = await Assert.ThrowsAsync<StaleLeaseException>(async () => await PayAsync(Payment with { Name = "mail" }, token: 5));
        Assert.Equal((Order, 5, 6), (stale.Key, stale.Token.Value, stale.Newest.Value));
        Assert.Equal(1, await CountAsync());
    }

    [Fact]
    public async Task Work_that_fails_leaves_nothing_behind_and_is_done_by_the_next_attempt()
    {
        await Assert.ThrowsAsync<InvalidOperationException>(async () =>
            await ApplyAsync(
                Of(Payment, 5),
                async (connection, transaction, _) =>
                {
                    await connection.ExecuteAsync("INSERT INTO money VALUES (1)", transaction: transaction);
                    throw new InvalidOperationException("broken");
                }
            )
        );
        Assert.Equal(0, await CountAsync());
        Assert.True(await PayAsync(Payment, token: 6));
    }

    [Fact]
    public async Task Of_many_at_once_one_has_the_effect()
    {
        var applied = await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => Task.Run(async () => await PayAsync(Payment, token: 5))));
        Assert.Single(applied, a => a);
        Assert.Equal(1, await CountAsync());
    }

    [Fact]
    public async Task A_call_outside_is_noted_before_it_is_made_and_holds_no_transaction()
    {
        var calls = new List<EffectCall>();
        Assert.True(
            await CallAsync(
                Of(Payment, 5),
                async (call, _) =>
                {
                    calls.Add(call);
                    Assert.Equal("intended", await StateOfAsync(Payment));
                    // Under the same fence: a transaction that were open would block it.
                    Assert.True(await PayAsync(Payment with { Name = "receipt" }, token: 5));
                }
            )
        );
        Assert.Equal("done", await StateOfAsync(Payment));
        Assert.Equal([new EffectCall(Payment.IdempotencyKey, MayHaveHappened: false)], calls);

        Assert.False(await CallAsync(Of(Payment, 6), (_, _) => throw new InvalidOperationException("It was called again.")));
    }

    [Fact]
    public async Task A_call_that_broke_off_is_made_again_with_the_same_key_and_is_told_so()
    {
        await Assert.ThrowsAsync<HttpRequestException>(async () =>
            await CallAsync(Of(Payment, 5), (_, _) => throw new HttpRequestException("no answer"))
        );
        Assert.Equal("intended", await StateOfAsync(Payment));

        var calls = new List<EffectCall>();
        Assert.True(await CallAsync(Of(Payment, 6), (call, _) => Noted(calls, call)));
        Assert.Equal([new EffectCall(Payment.IdempotencyKey, MayHaveHappened: true)], calls);
        Assert.Equal("done", await StateOfAsync(Payment));
    }

    [Fact]
    public async Task A_holder_that_became_stale_during_its_call_leaves_the_note_to_the_newer_one()
    {
        var calls = new List<EffectCall>();
        await Assert.ThrowsAsync<StaleLeaseException>(async () =>
            await CallAsync(
                Of(Payment, 5),
                async (call, _) =>
                {
                    calls.Add(call);
                    Assert.True(await CallAsync(Of(Payment, 6), (again, _) => Noted(calls, again)));
                }
            )
        );
        Assert.Equal(
            [(Payment.IdempotencyKey, false), (Payment.IdempotencyKey, true)],
            calls.Select(c => (c.IdempotencyKey, c.MayHaveHappened))
        );
        await Assert.ThrowsAsync<StaleLeaseException>(async () =>
            await CallAsync(Of(Payment with { Name = "mail" }, 5), (call, _) => Noted(calls, call))
        );
        Assert.Equal(2, calls.Count);
    }

    [Fact]
    public async Task An_effect_in_the_database_is_not_taken_for_a_call_that_was_begun_under_its_name()
    {
        await Assert.ThrowsAsync<HttpRequestException>(async () =>
            await CallAsync(Of(Payment, 5), (_, _) => throw new HttpRequestException())
        );
        var problem = await Assert.ThrowsAsync<InvalidOperationException>(async () => await PayAsync(Payment, token: 5));
        Assert.Contains("'payment' of 'payment.succeeded:1' was begun as a call", problem.Message, StringComparison.Ordinal);
        Assert.Equal(0, await CountAsync());
    }

    [Fact]
    public async Task The_events_end_commits_with_its_last_effect()
    {
        var end = new End { Answer = () => true };
        Assert.True(await PayAsync(Payment, 5, end));
        Assert.Equal((1, 1, 2), (end.Writes, end.Commits, await CountAsync()));
        // Noted already, perhaps without the end.
        Assert.False(await PayAsync(Payment, 6, end));
        Assert.Equal((2, 2, 3), (end.Writes, end.Commits, await CountAsync()));
        // A call: not with the intention, only with what is done.
        var mail = Of(Payment with { Name = "mail" }, 6) with
        {
            End = end,
        };
        await Assert.ThrowsAsync<HttpRequestException>(async () => await CallAsync(mail, (_, _) => throw new HttpRequestException()));
        Assert.Equal(2, end.Writes);
        Assert.True(await CallAsync(mail, (_, _) => ValueTask.CompletedTask));
        Assert.False(await CallAsync(mail, (_, _) => ValueTask.CompletedTask));
        Assert.Equal((4, 4, 5), (end.Writes, end.Commits, await CountAsync()));
    }

    [Fact]
    public async Task An_effect_whose_event_another_attempt_has_taken_up_is_rolled_back()
    {
        var end = new End { Answer = () => throw new EventTakenUpException("id", 1) };
        await Assert.ThrowsAsync<EventTakenUpException>(async () => await PayAsync(Payment, 5, end));
        Assert.Equal((1, 0, 0), (end.Writes, end.Commits, await CountAsync()));
        // On another database the end is written afterwards, by the caller.
        end.Answer = () => false;
        Assert.True(await PayAsync(Payment, 5, end));
        Assert.Equal((2, 0), (end.Writes, end.Commits));
    }

    [Fact]
    public async Task Old_effects_and_idle_fences_are_forgotten_and_no_others()
    {
        // Of former times: more than a step looks at.
        await PayAsync(Payment, token: 5);
        await Assert.ThrowsAsync<HttpRequestException>(async () =>
            await CallAsync(Of(Payment with { Name = "mail" }, 5), (_, _) => throw new HttpRequestException())
        );
        await using (var connection = await Database.OpenConnectionAsync(Stop))
        await using (var transaction = await connection.BeginTransactionAsync(Stop))
        {
            for (var i = 0; i < 1_500; i++)
            {
                var old = i % 3 == 0;
                await connection.ExecuteAsync(
                    $"""
                    INSERT INTO webhook_effects (source, dedupe_key, effect, token, applied_at)
                    VALUES ('s{i % 7}', 'key {i}', 'a', 1, {DaysAgo(old ? 401 : 399)})
                    """,
                    transaction: transaction
                );
                await connection.ExecuteAsync(
                    $"""
                    INSERT INTO fences (group_name, resource, lock_key, token, raised_at)
                    VALUES ('{(i % 5 == 0 ? "state" : "")}', 'order:{i}', 'order:{i}', 1, {FenceDaysAgo(old ? 8 : 6)})
                    """,
                    transaction: transaction
                );
            }
            await connection.ExecuteAsync(
                $"UPDATE webhook_effects SET applied_at = {DaysAgo(500)} WHERE state = 'intended'",
                transaction: transaction
            );
            await transaction.CommitAsync(Stop);
        }

        Assert.Equal(500, await PruneEffectsAsync(TimeSpan.FromDays(400)));
        Assert.Equal(0, await PruneEffectsAsync(TimeSpan.FromDays(400)));
        Assert.Equal(1_002, await AskAsync("SELECT count(*) FROM webhook_effects"));
        // A group's own fences are the State's.
        Assert.Equal(400, await PruneFencesAsync(TimeSpan.FromDays(7)));
        Assert.Equal(1_101, await AskAsync("SELECT count(*) FROM fences"));
        Assert.False(await PayAsync(Payment, token: 5));

        await Assert.ThrowsAsync<ArgumentOutOfRangeException>(async () => await PruneEffectsAsync(TimeSpan.FromDays(399)));
        await Assert.ThrowsAsync<ArgumentOutOfRangeException>(async () => await PruneFencesAsync(TimeSpan.FromDays(6)));
    }

    [Fact]
    public async Task Where_there_are_no_tables_yet_nothing_is_old()
    {
        Assert.Equal(0, await PruneEffectsAsync(TimeSpan.FromDays(400)));
        Assert.Equal(0, await PruneFencesAsync(TimeSpan.FromDays(7)));
    }

    protected ValueTask<bool> PayAsync(EffectKey effect, long token, IEffectEnd? end = null) =>
        ApplyAsync(
            Of(effect, token) with
            {
                End = end,
            },
            async (connection, transaction, _) => await connection.ExecuteAsync("INSERT INTO money VALUES (1)", transaction: transaction)
        );

    protected static Effect Of(EffectKey key, long token) => new(key, Order, new FencingToken(token));

    protected static EffectKey PaymentKey => Payment;

    protected async Task ExecuteAsync(string sql)
    {
        await using var connection = await Database.OpenConnectionAsync(Stop);
        await connection.ExecuteAsync(sql);
    }

    protected Task<long> CountAsync() => AskAsync("SELECT count(*) FROM money");

    private static ValueTask Noted(List<EffectCall> calls, EffectCall call)
    {
        calls.Add(call);
        return ValueTask.CompletedTask;
    }

    private async Task<long> AskAsync(string sql)
    {
        await using var connection = await Database.OpenConnectionAsync(Stop);
        return await connection.QuerySingleAsync<long>(sql);
    }

    private async Task<string> StateOfAsync(EffectKey key)
    {
        await using var connection = await Database.OpenConnectionAsync(Stop);
        return await connection.QuerySingleAsync<string>(
            "SELECT state FROM webhook_effects WHERE source = @Source AND dedupe_key = @DedupeKey AND effect = @Name",
            key
        );
    }

    /// <summary>An end that shows in the database: a row of money.</summary>
    private sealed class End : IEffectEnd
    {
        public required Func<bool> Answer { get; set; }

        public int Writes { get; private set; }

        public int Commits { get; private set; }

        public async ValueTask<bool> WriteAsync(DbTransaction transaction, CancellationToken cancellationToken)
        {
            Writes++;
            await transaction.Connection!.ExecuteAsync("INSERT INTO money VALUES (0)", transaction: transaction);
            return Answer();
        }

        public void Committed() => Commits++;
    }
}
