using System.Diagnostics;
using Npgsql;
using Scheduler.Locking;
using Scheduler.Postgres.State;
using Scheduler.Runs;
using Scheduler.Testing;
using Scheduler.Testing.Servers;

namespace Scheduler.Tests.Postgres;

/// <summary>The PostgreSQL State while its server, its connections or other sessions misbehave.</summary>
public sealed class PostgresFailureTests
{
    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_restart_of_the_server_under_load_loses_no_claim_and_doubles_none()
    {
        await using var server = await PostgresServer.StartAsync();
        await using var database = await PostgresDatabase.CreateAsync(server);
        var state = await database.OpenAsync();
        using var end = new CancellationTokenSource();
        var claimed = 0;
        var callers = Enumerable.Range(0, 16).Select(c => Task.Run(() => CallAsync(c))).ToList();
        await Eventually.Holds(() => Volatile.Read(ref claimed) > 100);

        await server.RestartAsync();
        await ReopenedAsync(state);
        var before = Volatile.Read(ref claimed);
        await Eventually.Holds(() => Volatile.Read(ref claimed) > before + 100);
        await end.CancelAsync();
        var confirmed = (await Task.WhenAll(callers)).SelectMany(ids => ids).ToList();

        Assert.Equal(confirmed.Count, confirmed.Distinct(StringComparer.Ordinal).Count());
        await using var source = NpgsqlDataSource.Create(database.ConnectionString);
        var kept = new HashSet<string>(StringComparer.Ordinal);
        await using (var command = source.CreateCommand("SELECT replace(id::text, '-', '') FROM scheduler.runs"))
        await using (var reader = await command.ExecuteReaderAsync(Stop))
        {
            while (await reader.ReadAsync(Stop))
            {
                kept.Add(reader.GetString(0));
            }
        }
        Assert.All(confirmed, id => Assert.Contains(id, kept));

        // Each goes on with the next occurrence only when the outcome of the one before is known.
        async Task<List<string>> CallAsync(int caller)
        {
            var ids = new List<string>();
            for (var i = 0; !end.IsCancellationRequested; )
            {
                try
                {
                    var claim = PostgresDatabase.Claim(i, 5, $"r{caller}", $"t{caller}", LockKey.From($"k{caller}"));
                    ids.Add(Assert.IsType<ClaimResult.Claimed>(await state.Runs.ClaimAsync(claim, Stop)).Run.Id);
                    Interlocked.Increment(ref claimed);
                    i++;
                }
                catch (StateUnavailableException)
                {
                    await Eventually.Passes(TimeSpan.FromMilliseconds(10), Stop);
                }
            }
            return ids;
        }
    }

    [Fact]
    public async Task A_connection_that_was_cut_is_replaced_and_nobody_notices()
    {
        await using var database = await PostgresDatabase.CreateAsync();
        var state = await database.OpenAsync();
        var run = Assert.IsType<ClaimResult.Claimed>(await state.Runs.ClaimAsync(PostgresDatabase.Claim(0), Stop)).Run;
        for (var i = 1; i <= 5; i++)
        {
            await CutAsync(database);

            Assert.IsType<ClaimResult.Claimed>(await state.Runs.ClaimAsync(PostgresDatabase.Claim(i), Stop));
        }
        await CutAsync(database);
        Assert.Equal(CompletionResult.Accepted, await state.Runs.CompleteAsync(PostgresDatabase.Succeeded(run), Stop));
        await CutAsync(database);
        Assert.Equal(6, (await state.Runs.ListAsync(new RunQuery(), Stop)).Items.Count);
        Assert.True(database.Log.Count(2203) > 0);
    }

    [Fact]
    public async Task Calls_to_a_frozen_server_end_in_time_and_go_on_when_it_does()
    {
        await using var server = await PostgresServer.StartAsync();
        await using var database = await PostgresDatabase.CreateAsync(server);
        var state = await database.OpenAsync();
        await state.Runs.ClaimAsync(PostgresDatabase.Claim(0), Stop);
        server.Freeze();
        var watch = Stopwatch.StartNew();

        var calls = Enumerable.Range(1, 20).Select(i => state.Runs.ClaimAsync(PostgresDatabase.Claim(i), Stop).AsTask()).ToList();
        var impatient = new CancellationTokenSource(TimeSpan.FromMilliseconds(300), TimeProvider.System);
        var cancelled = state.Runs.OpenRunsAsync(new OpenRunsQuery(PostgresDatabase.Noon), impatient.Token).AsTask();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => cancelled);
        Assert.InRange(watch.Elapsed, TimeSpan.Zero, TimeSpan.FromSeconds(4));
        foreach (var call in calls)
        {
            var late = await Assert.ThrowsAsync<StateUnavailableException>(() => call);
            Assert.False(late.IsPermanent);
            Assert.Contains($"127.0.0.1:{server.Port}", late.Message, StringComparison.Ordinal);
        }
        await Assert.ThrowsAsync<StateUnavailableException>(() => state.OpenAsync(Stop).AsTask());
        Assert.InRange(watch.Elapsed, TimeSpan.FromSeconds(4), TimeSpan.FromSeconds(25));
        await state.DisposeAsync().AsTask().WaitAsync(TimeSpan.FromSeconds(5), Stop);

        var next = database.State();
        server.Thaw();
        await ReopenedAsync(next);
        Assert.IsType<ClaimResult.Claimed>(await next.Runs.ClaimAsync(PostgresDatabase.Claim(100), Stop));
    }

    [Fact]
    public async Task A_row_that_another_session_has_locked_holds_up_only_who_needs_it()
    {
        await using var database = await PostgresDatabase.CreateAsync();
        var state = await database.OpenAsync();
        await state.Runs.ClaimAsync(PostgresDatabase.Claim(0, key: LockKey.From("stuck")), Stop);
        await using var other = new NpgsqlConnection(database.ConnectionString);
        await other.OpenAsync(Stop);
        await using var transaction = await other.BeginTransactionAsync(Stop);
        await using (var hold = new NpgsqlCommand("SELECT * FROM scheduler.fences WHERE resource = 'stuck' FOR UPDATE", other))
        {
            await hold.ExecuteNonQueryAsync(Stop);
        }

        var calls = Enumerable
            .Range(1, 40)
            .Select(i => state.Runs.ClaimAsync(PostgresDatabase.Claim(i, key: LockKey.From(i == 20 ? "stuck" : $"k{i}")), Stop).AsTask())
            .ToList();

        var stuck = await Assert.ThrowsAsync<StateUnavailableException>(() => calls[19]);
        Assert.Contains("pg_blocking_pids", stuck.Message, StringComparison.Ordinal);
        calls.RemoveAt(19);
        Assert.All(await Task.WhenAll(calls), result => Assert.IsType<ClaimResult.Claimed>(result));
        Assert.True(database.Log.Count(2204) > 0);
        await transaction.RollbackAsync(Stop);
        Assert.IsType<ClaimResult.Claimed>(await state.Runs.ClaimAsync(PostgresDatabase.Claim(20, key: LockKey.From("stuck")), Stop));
    }

    [Fact]
    public async Task A_value_that_cannot_be_kept_fails_alone()
    {
        await using var database = await PostgresDatabase.CreateAsync();
        var state = await database.OpenAsync();

        var calls = Enumerable
            .Range(0, 40)
            .Select(i => state.Runs.ClaimAsync(PostgresDatabase.Claim(i, replica: i == 20 ? "a\0b" : "r1"), Stop).AsTask())
            .ToList();

        await Assert.ThrowsAsync<ArgumentException>(() => calls[20]);
        calls.RemoveAt(20);
        Assert.All(await Task.WhenAll(calls), result => Assert.IsType<ClaimResult.Claimed>(result));
        // An error text is kept as far as possible: a completion must not fail for it.
        var run = Assert.IsType<ClaimResult.Claimed>(await state.Runs.ClaimAsync(PostgresDatabase.Claim(50), Stop)).Run;
        var failed = PostgresDatabase.Succeeded(run) with { Outcome = RunOutcome.Failed, Error = "a\0b\ud800c" };
        Assert.Equal(CompletionResult.Accepted, await state.Runs.CompleteAsync(failed, Stop));
        Assert.Equal("a\ufffdb\ufffdc", (await state.Runs.FindAsync(run.Id, Stop))!.Run.Error);
    }

    [Fact]
    public async Task Keys_and_runs_in_opposite_order_never_wait_for_each_other()
    {
        await using var database = await PostgresDatabase.CreateAsync();
        var deadlocks = await DeadlocksAsync(database);
        PostgresState[] states = [await database.OpenAsync(), await database.OpenAsync(), await database.OpenAsync()];
        for (var round = 0; round < 10; round++)
        {
            var minute = round * 100;
            // Every State claims all keys, each in an order of its own, and completes what it got in an order of its own.
            await Task.WhenAll(
                states.Select(
                    async (state, s) =>
                    {
                        var order = Enumerable.Range(0, 60).OrderBy(i => (i * ((s * 14) + 7)) % 61).ToList();
                        var results = await Task.WhenAll(
                            order.Select(i =>
                                state
                                    .Runs.ClaimAsync(
                                        PostgresDatabase.Claim(minute + i, round + 1, $"r{s}", key: LockKey.From($"k{i}")),
                                        Stop
                                    )
                                    .AsTask()
                            )
                        );
                        var ended = await Task.WhenAll(
                            results
                                .OfType<ClaimResult.Claimed>()
                                .Select(c => state.Runs.CompleteAsync(PostgresDatabase.Succeeded(c.Run), Stop).AsTask())
                        );
                        Assert.All(ended, e => Assert.Equal(CompletionResult.Accepted, e));
                    }
                )
            );
        }
        Assert.Equal(600, await database.AskAsync<long>("SELECT count(*) FROM scheduler.runs WHERE state = 'succeeded'"));
        Assert.Equal(deadlocks, await DeadlocksAsync(database));
    }

    private static Task<long> DeadlocksAsync(PostgresDatabase database) =>
        database.AskAsync<long>($"SELECT deadlocks FROM pg_stat_database WHERE datname = '{database.Name}'");

    // What the guard in front of the State does: opens it again until that succeeds.
    private static Task ReopenedAsync(PostgresState state) =>
        Eventually.Holds(async () =>
        {
            try
            {
                await state.OpenAsync(Stop);
                return true;
            }
            catch (StateUnavailableException)
            {
                return false;
            }
        });

    private static Task CutAsync(PostgresDatabase database) =>
        database.ExecuteAsync(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database() "
                + "AND application_name = 'scheduler'"
        );
}
