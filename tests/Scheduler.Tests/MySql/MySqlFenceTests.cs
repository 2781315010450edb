using Dapper;
using MySqlConnector;
using Scheduler.Locking;
using Scheduler.MySql.Fencing;
using Scheduler.Testing.Servers;
using Scheduler.TestPeer;
using Scheduler.Tests.Conformance;

namespace Scheduler.Tests.MySql;

/// <summary>Fenced work on an application's MySQL or MariaDB database.</summary>
public sealed class MySqlFenceTests : SqlFenceConformance
{
    private MariaDbServer _server = null!;

    protected override string Kind => "mysql";

    [Fact]
    public async Task A_fence_adds_one_round_trip() =>
        Assert.Equal(
            1,
            await CountRoundTripsOfAFenceAsync(
                _server.Port,
                port => new MySqlConnectionStringBuilder(Place) { Port = (uint)port }.ConnectionString
            )
        );

    [Fact]
    public async Task Of_two_in_a_deadlock_the_one_that_the_server_ends_is_tried_again()
    {
        await Sql.ExecuteAsync("CREATE TABLE locked (id int PRIMARY KEY); INSERT INTO locked VALUES (1), (2)");
        var (both, met, tries) = (new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously), 0, 0);
        async Task<int> CrossAsync(string resource, int one, int other)
        {
            var isFirst = true;
            return await Sql.FencedAsync(
                resource,
                Payouts.Key,
                new FencingToken(Older),
                async (connection, transaction, _) =>
                {
                    Interlocked.Increment(ref tries);
                    const string Lock = "SELECT id FROM locked WHERE id = @id FOR UPDATE";
                    await connection.ExecuteAsync(Lock, new { id = one }, transaction);
                    if (isFirst)
                    {
                        isFirst = false;
                        if (Interlocked.Increment(ref met) == 2)
                        {
                            both.SetResult();
                        }
                        await both.Task.WaitAsync(Bound, Stop);
                    }
                    return await connection.ExecuteScalarAsync<int>(Lock, new { id = other }, transaction);
                },
                Stop
            );
        }

        var crossed = await Task.WhenAll(Task.Run(() => CrossAsync("a", 1, 2), Stop), Task.Run(() => CrossAsync("b", 2, 1), Stop));
        Assert.Equal([2, 1], crossed);
        Assert.InRange(tries, 3, 6);
    }

    [Fact]
    public async Task A_fence_that_stays_held_ends_the_call_at_its_limit_by_name()
    {
        var pause = new Pause();
        var older = Task.Run(() => Payouts.PayAsync(Older, between: pause.WaitAsync), Stop);
        await pause.Reached;
        await using var hasty = new MySqlPayouts(Place, TimeSpan.FromMilliseconds(500));

        var late = await Assert.ThrowsAsync<MySqlFenceException>(() => hasty.PayAsync(Newer).WaitAsync(Bound, Stop));

        Assert.Contains("'payouts' in the database 'test_", late.Message, StringComparison.Ordinal);
        Assert.Contains("was not done within 0.5 s: it was rolled back", late.Message, StringComparison.Ordinal);
        pause.End();
        Assert.Equal(1, await older.WaitAsync(Bound, Stop));
        Assert.Equal(0, await Payouts.PayAsync(Newer));
    }

    [Fact]
    public async Task A_holder_that_is_stopped_in_its_transaction_is_ended_by_the_server_and_undone()
    {
        await using var server = await MariaDbServer.StartAsync("--idle-write-transaction-timeout=1");
        var place = await CreateAsync(server);
        await using var payouts = Payouts.Open(Kind, place);
        await payouts.CreateAsync();
        await using var older = await StopBetweenAsync("within", place);

        Assert.Equal(1, await payouts.PayAsync(Newer).WaitAsync(Bound, Stop));

        await older.SignalAsync("CONT");
        Assert.StartsWith("failed ", await older.LineAsync(), StringComparison.Ordinal);
        Assert.Equal([Newer], await payouts.PaidAsync());
        server.Freeze();
        await using var hasty = new MySqlPayouts(place, TimeSpan.FromMilliseconds(200));
        await Assert.ThrowsAnyAsync<System.Data.Common.DbException>(() => hasty.PayAsync(Newer).WaitAsync(Bound, Stop));
        server.Thaw();
    }

    [Fact]
    public async Task Idle_fences_are_forgotten_and_no_others()
    {
        Assert.Equal(0, await MySqlFence.PruneAsync(Sql.Database, TimeSpan.FromDays(7), Stop));
        await using (var connection = await Sql.Database.OpenConnectionAsync(Stop))
        {
            await connection.ExecuteAsync(
                """
                INSERT INTO fences (resource, lock_key, token, raised_at)
                SELECT concat('order:', seq), 'order', 1, UTC_TIMESTAMP(6) - INTERVAL IF(seq % 3 = 0, 8, 6) DAY FROM seq_1_to_2500
                """
            );
        }
        Assert.Equal(833, await MySqlFence.PruneAsync(Sql.Database, TimeSpan.FromDays(7), Stop));
        Assert.Equal(0, await MySqlFence.PruneAsync(Sql.Database, TimeSpan.FromDays(7), Stop));
        await Assert.ThrowsAsync<ArgumentOutOfRangeException>(async () =>
            await MySqlFence.PruneAsync(Sql.Database, TimeSpan.FromDays(6), Stop)
        );
    }

    [Fact]
    public async Task What_the_database_cannot_keep_is_refused_before()
    {
        var problem = await Assert.ThrowsAsync<ArgumentException>(() => Payouts.PayAsync(Older, resource: new string('ä', 513)));
        Assert.Contains("1026 bytes of UTF-8; at most 1024", problem.Message, StringComparison.Ordinal);
        Assert.Equal(1, await Payouts.PayAsync(Older, resource: new string('ä', 512)));
        await Assert.ThrowsAsync<ArgumentException>(async () =>
            await MySqlFence.RunAsync(
                Sql.Database,
                new MySqlFenceOptions { Isolation = System.Data.IsolationLevel.Snapshot },
                Payouts.Resource,
                Payouts.Key,
                new FencingToken(Older),
                static (_, _, _) => ValueTask.FromResult(1),
                Stop
            )
        );
    }

    protected override async ValueTask<string> StartAsync()
    {
        _server = await MariaDbServer.SharedAsync();
        return await CreateAsync(_server);
    }

    protected override ValueTask EndAsync() => ValueTask.CompletedTask;

    protected override async Task<bool> SomebodyWaitsAsync()
    {
        await using var connection = await Sql.Database.OpenConnectionAsync(Stop);
        // Not from information_schema.innodb_trx, which shows what was there when it was asked first, if it is asked all the time.
        const string Waits =
            "SELECT variable_value FROM information_schema.global_status WHERE variable_name = 'INNODB_ROW_LOCK_CURRENT_WAITS'";
        return await connection.ExecuteScalarAsync<long>(Waits) > 0;
    }

    private static async Task<string> CreateAsync(MariaDbServer server)
    {
        var name = MariaDbServer.NewDatabase();
        await using var connection = new MySqlConnection(server.ConnectionString);
        await connection.ExecuteAsync($"CREATE DATABASE {name}");
        return new MySqlConnectionStringBuilder(server.ConnectionString) { Database = name }.ConnectionString;
    }
}
