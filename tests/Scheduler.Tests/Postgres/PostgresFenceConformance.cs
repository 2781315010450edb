using Npgsql;
using Scheduler.Testing.Servers;
using Scheduler.Tests.Conformance;

namespace Scheduler.Tests.Postgres;

/// <summary>The fences of an application's PostgreSQL database.</summary>
public sealed class PostgresFenceConformance : SqlFenceConformance
{
    private PostgresServer _server = null!;

    protected override string Kind => "postgres";

    [Fact]
    public async Task A_fence_adds_one_round_trip() =>
        Assert.Equal(
            1,
            await CountRoundTripsOfAFenceAsync(
                _server.Port,
                port => new NpgsqlConnectionStringBuilder(Place) { Port = port }.ConnectionString
            )
        );

    [Fact]
    public async Task A_holder_that_is_stopped_in_its_transaction_is_ended_by_the_server_and_undone()
    {
        // Makes the table, for which the older one would be waited for.
        await Payouts.PayAsync(Older - 1, resource: "others");
        await Sql.ExecuteAsync("DELETE FROM payouts");
        await using var older = await StopBetweenAsync("within");

        Assert.Equal(1, await Payouts.PayAsync(Newer).WaitAsync(Bound, Stop));

        await older.SignalAsync("CONT");
        Assert.StartsWith("failed ", await older.LineAsync(), StringComparison.Ordinal);
        Assert.Equal([Newer], await Payouts.PaidAsync());
    }

    protected override async ValueTask<string> StartAsync()
    {
        _server = await PostgresServer.SharedAsync();
        return await _server.CreateDatabaseAsync();
    }

    protected override async ValueTask EndAsync() => await _server.ForgetDatabaseAsync(Place);

    protected override async Task<bool> SomebodyWaitsAsync() =>
        await _server.AskAsync<long>(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
            new NpgsqlConnectionStringBuilder(Place).Database!
        ) > 0;
}
