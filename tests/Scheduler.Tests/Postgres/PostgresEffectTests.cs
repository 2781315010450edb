using System.Data.Common;
using Npgsql;
using Scheduler.Inbox;
using Scheduler.Postgres.Fencing;
using Scheduler.Testing.Servers;
using Scheduler.Tests.Conformance;

namespace Scheduler.Tests.Postgres;

/// <summary>Effects of webhook events on an application's PostgreSQL database.</summary>
public sealed class PostgresEffectTests : EffectConformance
{
    private PostgresServer _server = null!;
    private NpgsqlDataSource _database = null!;

    protected override DbDataSource Database => _database;

    protected override string DaysAgo(int days) => $"now() - interval '{days} days'";

    protected override string FenceDaysAgo(int days) => DaysAgo(days);

    protected override async ValueTask StartAsync()
    {
        _server = await PostgresServer.SharedAsync();
        _database = NpgsqlDataSource.Create(await _server.CreateDatabaseAsync());
    }

    protected override async ValueTask EndAsync()
    {
        await _database.DisposeAsync();
        await _server.ForgetDatabaseAsync(_database.ConnectionString);
    }

    protected override ValueTask<bool> ApplyAsync(Effect effect, Func<DbConnection, DbTransaction, CancellationToken, ValueTask> work) =>
        PostgresEffect.ApplyAsync(_database, effect, work, Stop);

    protected override ValueTask<bool> CallAsync(Effect effect, Func<EffectCall, CancellationToken, ValueTask> call) =>
        PostgresEffect.CallAsync(_database, effect, call, Stop);

    protected override ValueTask<long> PruneEffectsAsync(TimeSpan age) => PostgresEffect.PruneAsync(_database, new(), age, Stop);

    protected override ValueTask<long> PruneFencesAsync(TimeSpan idle) => PostgresFence.PruneAsync(_database, new(), idle, Stop);
}
