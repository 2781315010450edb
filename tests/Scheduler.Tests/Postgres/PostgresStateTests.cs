using System.Data.Common;
using System.Globalization;
using Npgsql;
using Scheduler.Postgres.State;
using Scheduler.Runs;
using Scheduler.Testing.Servers;
using Scheduler.Tests.Conformance;

namespace Scheduler.Tests.Postgres;

/// <summary>The State conformance suite on PostgreSQL.</summary>
public sealed class PostgresStateTests : StateConformance
{
    protected override StateFixture NewFixture() => new PostgresStateFixture();
}

/// <summary>The same through a proxy that pools transactions.</summary>
public sealed class PostgresStateThroughProxyTests : StateConformance
{
    protected override StateFixture NewFixture() => new PostgresStateFixture(isThroughProxy: true);
}

/// <summary>A database of its own on the shared server.</summary>
internal sealed class PostgresStateFixture(bool isThroughProxy = false) : StateFixture
{
    private static readonly Lazy<Task<PgBouncerServer>> Proxy = new(StartProxyAsync);

    private string _direct = "";
    private string _used = "";

    public override async Task StartAsync()
    {
        _direct = await (await PostgresServer.SharedAsync()).CreateDatabaseAsync();
        _used = isThroughProxy ? (await Proxy.Value).Through(_direct) : _direct;
    }

    public override DateTimeOffset StateClock => TimeProvider.System.GetUtcNow();

    public override IState Make(string group) => new PostgresState(Context(group), _used);

    public override DbDataSource OpenBeside() => NpgsqlDataSource.Create(new NpgsqlConnectionStringBuilder(_used) { Pooling = false });

    public override Task AgeAsync(TimeSpan by) =>
        ExecuteAsync(
            $"UPDATE scheduler.members SET beat_at = beat_at - interval '{by.TotalSeconds} seconds'; "
                + $"UPDATE scheduler.inbox SET due_at = due_at - interval '{by.TotalSeconds} seconds'"
        );

    public override Task SetSchemaAsync(int versionAbove, int minReaderAbove) =>
        ExecuteAsync(
            string.Create(
                CultureInfo.InvariantCulture,
                $"UPDATE scheduler.scheduler_schema SET version = {Migrations.BuildVersion + versionAbove}, "
                    + $"min_reader = {Migrations.BuildVersion + minReaderAbove}"
            )
        );

    public override async ValueTask DisposeAsync()
    {
        await PostgresDatabase.CheckAsync(_direct);
        await (await PostgresServer.SharedAsync()).ForgetDatabaseAsync(_direct);
    }

    private static async Task<PgBouncerServer> StartProxyAsync()
    {
        var server = await PostgresServer.SharedAsync();
        var proxy = await PgBouncerServer.StartAsync(server.ConnectionString("postgres"));
        proxy.EndWithTheRun();
        return proxy;
    }

    private async Task ExecuteAsync(string sql)
    {
        await using var source = NpgsqlDataSource.Create(new NpgsqlConnectionStringBuilder(_direct) { Pooling = false });
        await using var command = source.CreateCommand(sql);
        await command.ExecuteNonQueryAsync();
    }
}
