using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Text;
using Npgsql;
using Scheduler.Inbox;
using Scheduler.Postgres.State;
using Scheduler.Runs;
using Scheduler.Testing;

namespace Scheduler.Tests.Postgres;

/// <summary>The inbox on PostgreSQL while batches wait for each other, and for others.</summary>
public sealed class PostgresInboxTests : IAsyncLifetime
{
    private readonly List<IAsyncDisposable> _made = [];
    private PostgresDatabase _database = null!;

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync() => _database = await PostgresDatabase.CreateAsync();

    public async ValueTask DisposeAsync()
    {
        foreach (var made in Enumerable.Reverse(_made))
        {
            await made.DisposeAsync();
        }
        await _database.DisposeAsync();
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Batches_of_the_same_keys_in_opposite_orders_are_all_stored(bool areKeysCrossed)
    {
        const int Rounds = 10;
        const int MostRounds = 100;
        const int InRound = 100;
        (StateGuard State, InboxWriter Writer)[] replicas = [await ReplicaAsync(), await ReplicaAsync()];
        var deadlocks = await DeadlocksAsync();
        var haveMet = false;
        // On a busy machine it may take a while until two groups meet.
        for (var round = 0; round < Rounds || (areKeysCrossed && !haveMet && round < MostRounds); round++)
        {
            var first = round * InRound;
            var numbers = Enumerable.Range(first, InRound).ToList();
            var one = numbers.Select(i => replicas[0].Writer.AddAsync(Arrival($"{i:D5}", $"msg_{i}")).AsTask());
            // Where keys are crossed, the order of the one key is the opposite of that of the other one.
            var other = Enumerable
                .Reverse(numbers)
                .Select(i => areKeysCrossed ? Arrival($"{i:D5}x", $"msg_{(2 * first) + InRound - 1 - i}") : Arrival($"{i:D5}", $"msg_{i}"))
                .Select(a => replicas[1].Writer.AddAsync(a).AsTask());
            Assert.All(await Task.WhenAll(one.Concat(other)), r => Assert.Null(r.Refusal));
            haveMet = _database.Log.Count(2203) > 0 || await DeadlocksAsync() > deadlocks;
        }
        Assert.All(replicas, r => Assert.True(r.State.Health.IsUp));
        Assert.Equal(0, _database.Log.Count(1101));
        // Else nothing was tried.
        Assert.Equal(areKeysCrossed, haveMet);
    }

    [Fact]
    public async Task A_key_that_another_session_keeps_is_refused_and_everything_else_is_stored()
    {
        var (state, writer) = await ReplicaAsync();
        await using var other = new NpgsqlConnection(_database.ConnectionString);
        await other.OpenAsync(Stop);
        await using var transaction = await other.BeginTransactionAsync(Stop);
        await using (
            var hold = new NpgsqlCommand(
                "INSERT INTO scheduler.inbox (number, group_name, id, source, state, keyed, body_keyed, dedupe_key, order_key, body_hash, "
                    + "content_hash, received_at, body_bytes) VALUES (nextval('scheduler.inbox_numbers'), 'test', gen_random_uuid(), "
                    + "'payments', 'received', true, false, 'paid:stuck', 'stuck', '', '', now(), 0)",
                other
            )
        )
        {
            await hold.ExecuteNonQueryAsync(Stop);
        }

        var stuck = writer.AddAsync(Arrival("stuck")).AsTask();
        await Eventually.Holds(async () => await WaitingAsync() > 0);
        // While that group waits the other writer goes on.
        Assert.Null((await writer.AddAsync(Arrival("free"))).Refusal);
        Assert.Contains("pg_blocking_pids", (await stuck).Refusal, StringComparison.Ordinal);
        Assert.True(state.Health.IsUp);

        await transaction.RollbackAsync(Stop);
        Assert.Equal(InboxOutcome.Stored, (await writer.AddAsync(Arrival("stuck"))).Answer.Outcome);
    }

    [Fact]
    public async Task What_is_stored_is_answered_before_what_contradicts_a_row()
    {
        var (state, writer) = await ReplicaAsync();
        var first = (await writer.AddAsync(Arrival("1"))).Answer.Id;
        await using var other = new NpgsqlConnection(_database.ConnectionString);
        await other.OpenAsync(Stop);
        await using var transaction = await other.BeginTransactionAsync(Stop);
        // As another replica that keeps a contradiction of the same event.
        await using (
            var hold = new NpgsqlCommand($"SELECT pg_advisory_xact_lock(hashtextextended('scheduler-inbox-conflict{first}', 0))", other)
        )
        {
            await hold.ExecuteNonQueryAsync(Stop);
        }
        var told = new ConcurrentQueue<int>();
        InboxArrival[] arrivals = [Arrival("1") with { BodyHash = new byte[32], ContentHash = new byte[32] }, Arrival("2"), Arrival("1")];
        var call = state.CallInboxAsync((i, t) => i.AddAsync(arrivals, (place, _) => told.Enqueue(place), t), Stop).AsTask();
        await Eventually.Holds(async () => await WaitingAsync() > 0);
        Assert.Equal([1, 2], told);
        await transaction.RollbackAsync(Stop);
        Assert.Equal([InboxOutcome.Conflict, InboxOutcome.Stored, InboxOutcome.Duplicate], (await call).Select(a => a.Outcome));
        Assert.Equal([1, 2, 0], told);
    }

    [Fact]
    public async Task Arrivals_that_no_table_keeps_are_refused_alone()
    {
        var (state, writer) = await ReplicaAsync();
        // More than an index takes, however well it is compressed.
        var large = Convert.ToHexString(RandomNumberGenerator.GetBytes(8_000));
        InboxArrival[] arrivals =
        [
            .. Enumerable.Range(0, 40).Select(i => Arrival($"{i}")),
            Arrival("nul", "a\0b"),
            Arrival("large", large),
            Arrival("half", "\ud800"),
            .. Enumerable.Range(40, 40).Select(i => Arrival($"{i}")),
        ];
        var receipts = await Task.WhenAll(arrivals.Select(a => writer.AddAsync(a).AsTask()));
        Assert.Equal(["nul", "large", "half"], arrivals.Where((_, i) => receipts[i].Refusal is not null).Select(a => a.OrderKey));
        Assert.True(state.Health.IsUp);
    }

    [Fact]
    public async Task The_end_of_an_event_whose_row_is_locked_is_refused_and_the_state_stays_up()
    {
        var (state, writer) = await ReplicaAsync();
        await writer.AddAsync(Arrival("1"));
        var claim = Assert.Single(
            await state.CallInboxAsync(
                (i, t) => i.ClaimAsync(new("replica", [new("payments", "paid", false)], 10, TimeSpan.FromSeconds(10)), t),
                Stop
            )
        );
        await using var other = new NpgsqlConnection(_database.ConnectionString);
        await other.OpenAsync(Stop);
        await using var transaction = await other.BeginTransactionAsync(Stop);
        await using (var hold = new NpgsqlCommand("SELECT FROM scheduler.inbox FOR UPDATE", other))
        {
            await hold.ExecuteNonQueryAsync(Stop);
        }
        InboxEnd[] ends = [new(claim.Event.Id, 1, InboxState.Done)];
        var refused = await Assert.ThrowsAsync<StateUnavailableException>(() =>
            state.CallInboxAsync((i, t) => i.FinishAsync(ends, t), Stop).AsTask()
        );
        Assert.True(refused.IsOfOneCall);
        Assert.True(state.Health.IsUp);
        await transaction.RollbackAsync(Stop);
        Assert.Equal([true], await state.CallInboxAsync((i, t) => i.FinishAsync(ends, t), Stop));
    }

    private static InboxArrival Arrival(string order, string? eventId = null) =>
        new()
        {
            Source = "payments",
            EventId = eventId,
            Type = "paid",
            DedupeKey = $"paid:{order}",
            OrderKey = order,
            BodyHash = SHA256.HashData(Encoding.UTF8.GetBytes(order)),
            ContentHash = SHA256.HashData(Encoding.UTF8.GetBytes(order)),
            Body = Encoding.UTF8.GetBytes("{}"),
            ReceivedAt = PostgresDatabase.Noon,
        };

    private Task<long> WaitingAsync() =>
        _database.AskAsync<long>("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'");

    private Task<long> DeadlocksAsync() =>
        _database.AskAsync<long>("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()");

    private async Task<(StateGuard State, InboxWriter Writer)> ReplicaAsync()
    {
        var state = new StateGuard(
            _database.State(),
            TimeSpan.FromSeconds(1),
            TimeSpan.FromMilliseconds(100),
            TimeProvider.System,
            _database.Log.CreateLogger("guard")
        );
        await state.OpenAsync(Stop);
        var writer = new InboxWriter(state);
        _made.AddRange([state, writer]);
        return (state, writer);
    }
}
