using System.Diagnostics;
using System.Net;
using Npgsql;
using Scheduler.Locking;
using Scheduler.Postgres.State;
using Scheduler.Runs;
using Scheduler.Testing.Servers;
using Scheduler.Testing.Servers.Faults;

namespace Scheduler.Tests.Postgres;

/// <summary>What the PostgreSQL State refuses, and how it says so: place and remedy, no secret.</summary>
public sealed class PostgresRefusalTests : IAsyncLifetime
{
    private PostgresDatabase _database = null!;

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync() => _database = await PostgresDatabase.CreateAsync();

    public ValueTask DisposeAsync() => _database.DisposeAsync();

    [Fact]
    public async Task A_wrong_password_stops_the_host() =>
        await RefusedAsync(_database.With(b => b.Password = "other-secret-1"), isPermanent: true, "user and password", "28P01");

    [Fact]
    public async Task An_unknown_database_stops_the_host() =>
        await RefusedAsync(_database.With(b => b.Database = "nowhere"), isPermanent: true, "no such database", "database 'nowhere'");

    [Fact]
    public async Task TLS_that_the_server_does_not_speak_stops_the_host() =>
        await RefusedAsync(_database.With(b => b.SslMode = SslMode.Require), isPermanent: true, "TLS", "SSL Mode");

    [Fact]
    public async Task A_server_that_is_not_there_is_asked_again() =>
        await RefusedAsync(_database.With(b => b.Port = FreePort.Next()), isPermanent: false, "Check that the server runs");

    [Fact]
    public async Task A_host_that_does_not_exist_is_asked_again() =>
        await RefusedAsync(_database.With(b => b.Host = "nowhere.invalid"), isPermanent: false, "nowhere.invalid:", "host");

    [Fact]
    public async Task A_server_that_accepts_and_says_nothing_ends_in_time()
    {
        var server = new DnsEndPoint(_database.Server.Host, _database.Server.Port);
        await using var proxy = FaultProxy.Start(server, FaultSeed.Take());
        proxy.Blackhole();
        var through = _database.With(b => (b.Host, b.Port) = (proxy.EndPoint.Host, proxy.EndPoint.Port));
        var watch = Stopwatch.StartNew();

        await RefusedAsync(through, isPermanent: false, "did not answer in time");

        Assert.InRange(watch.Elapsed, TimeSpan.Zero, TimeSpan.FromSeconds(12));
    }

    [Fact]
    public async Task A_role_that_may_not_make_the_schema_is_told_how_it_may()
    {
        var role = await RoleAsync();

        var refused = await RefusedAsync(role, isPermanent: true, "CREATE SCHEMA IF NOT EXISTS \"scheduler\" AUTHORIZATION");

        // The remedy works.
        var user = new NpgsqlConnectionStringBuilder(role).Username;
        Assert.Contains($"AUTHORIZATION \"{user}\"", refused.Message, StringComparison.Ordinal);
        await _database.ExecuteAsync($"CREATE SCHEMA IF NOT EXISTS \"scheduler\" AUTHORIZATION \"{user}\"");
        var state = await _database.OpenAsync(role);
        Assert.IsType<ClaimResult.Claimed>(await state.Runs.ClaimAsync(PostgresDatabase.Claim(0), Stop));
    }

    [Fact]
    public async Task A_role_that_only_reads_is_told_what_it_lacks()
    {
        await _database.OpenAsync();
        var role = await RoleAsync();
        var user = new NpgsqlConnectionStringBuilder(role).Username;
        await _database.ExecuteAsync(
            $"GRANT USAGE ON SCHEMA scheduler TO {user}; GRANT SELECT ON ALL TABLES IN SCHEMA scheduler TO {user}"
        );

        await RefusedAsync(role, isPermanent: true, "permission denied", "docs/postgres.md");
    }

    [Theory]
    [InlineData("CREATE TABLE scheduler.orders (id int)")]
    [InlineData("CREATE TABLE scheduler.scheduler_schema (id int)")]
    [InlineData("CREATE TABLE scheduler.scheduler_schema (product text, version int, min_reader int)")]
    [InlineData("CREATE VIEW scheduler.runs AS SELECT 1 AS one")]
    public async Task A_schema_of_another_product_is_refused_and_not_touched(string theirs)
    {
        await _database.ExecuteAsync($"CREATE SCHEMA scheduler; {theirs}");

        await RefusedAsync(_database.ConnectionString, isPermanent: true, "belongs to something else", "Scheduler:State:Schema");

        Assert.Equal(1, await CountAsync());
        Assert.Equal(0, await _database.AskAsync<long>("SELECT count(*) FROM pg_proc p WHERE p.pronamespace = 'scheduler'::regnamespace"));
        await _database.State(schema: "scheduler_2").OpenAsync(Stop);
        Assert.Equal(1, await CountAsync());

        Task<long> CountAsync() =>
            _database.AskAsync<long>("SELECT count(*) FROM pg_class c WHERE c.relnamespace = 'scheduler'::regnamespace");
    }

    [Fact]
    public async Task A_role_whose_transactions_only_read_stops_the_host()
    {
        var role = await RoleAsync();
        var user = new NpgsqlConnectionStringBuilder(role).Username;
        await _database.ExecuteAsync($"ALTER ROLE {user} SET default_transaction_read_only = on");

        await RefusedAsync(role, isPermanent: true, "default_transaction_read_only", "ALTER ROLE");
    }

    [Fact]
    public void Too_old_servers_and_standbys_are_refused()
    {
        var place = new StatePlace("Host=db;Port=5433;Database=shop;Username=u;Password=secret-9", "scheduler");
        var good = new ServerFacts(130000, "13.0", false, false, TimeSpan.FromSeconds(5), true, true, "", 0);
        good.ThrowIfUnfit(place);

        var old = Assert.Throws<StateUnavailableException>(() =>
            (good with { Version = 120022, VersionText = "12.22" }).ThrowIfUnfit(place)
        );
        Assert.True(old.IsPermanent);
        Assert.Contains("db:5433", old.Message, StringComparison.Ordinal);
        Assert.Contains("12.22", old.Message, StringComparison.Ordinal);
        Assert.Contains("13 or later", old.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("secret-9", old.Message, StringComparison.Ordinal);

        // It may be promoted, so a host that starts waits for it.
        var standby = Assert.Throws<StateUnavailableException>(() => (good with { IsStandby = true }).ThrowIfUnfit(place));
        Assert.False(standby.IsPermanent);
        Assert.Contains("Name the primary", standby.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_server_that_may_forget_is_weak()
    {
        var good = new ServerFacts(150000, "15.0", false, false, TimeSpan.FromSeconds(5), true, true, "", 0);
        Assert.Null(good.FindWeakness());
        Assert.Null((good with { Standbys = 2, SynchronousStandbys = "ANY 1 (a, b)" }).FindWeakness());
        Assert.Contains("synchronous_standby_names", (good with { Standbys = 1 }).FindWeakness(), StringComparison.Ordinal);
        Assert.Contains("fsync", (good with { IsSynced = false }).FindWeakness(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_server_without_fsync_gives_efficiency_with_a_warning()
    {
        await using var server = await PostgresServer.StartAsync("fsync=off");
        await using var database = await PostgresDatabase.CreateAsync(server);
        var state = database.State();
        Assert.Equal(Level.Correctness, state.Level);

        await state.OpenAsync(Stop);

        Assert.Equal(Level.Efficiency, state.Level);
        Assert.Equal(1, database.Log.Count(2201));
        Assert.Equal(Level.Correctness, (await _database.OpenAsync()).Level);
    }

    [Theory]
    [InlineData("")]
    [InlineData("Data Source=data/state.db")]
    [InlineData("postgres://user:secret-77@host/db")]
    [InlineData("Host=;Database=shop")]
    [InlineData("Host=a;Port=many;Password=secret-77")]
    [InlineData("Host=a,b;Password=secret-77")]
    public void A_wrong_connection_string_is_named_and_not_shown(string connectionString)
    {
        var problem = Assert.ThrowsAny<ArgumentException>(() => new StatePlace(connectionString, "scheduler"));
        Assert.DoesNotContain("secret-77", problem.ToString(), StringComparison.Ordinal);
        Assert.NotNull(PostgresStateExtensions.FindConnectionStringProblem(connectionString));
        Assert.Null(PostgresStateExtensions.FindConnectionStringProblem("Host=a;Database=b"));
    }

    [Theory]
    [InlineData("")]
    [InlineData("Scheduler")]
    [InlineData("1st")]
    [InlineData("pg_scheduler")]
    [InlineData("information_schema")]
    [InlineData("a\"; DROP SCHEMA public; --")]
    [InlineData("scheduler\n")]
    [InlineData("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")]
    public void A_schema_is_a_plain_identifier(string schema)
    {
        Assert.NotNull(PostgresStateExtensions.FindSchemaProblem(schema));
        Assert.Throws<ArgumentException>(() => new StatePlace("Host=a", schema));
        Assert.Null(PostgresStateExtensions.FindSchemaProblem("scheduler_2"));
    }

    private async Task<string> RoleAsync()
    {
        var user = $"role_{Guid.NewGuid():n}";
        await _database.ExecuteAsync($"CREATE ROLE {user} LOGIN PASSWORD '{PostgresServer.Password}'");
        return _database.With(b => b.Username = user);
    }

    private async Task<StateUnavailableException> RefusedAsync(string connectionString, bool isPermanent, params string[] says)
    {
        var refused = await Assert.ThrowsAsync<StateUnavailableException>(() => _database.State(connectionString).OpenAsync(Stop).AsTask());

        Assert.Equal(isPermanent, refused.IsPermanent);
        var builder = new NpgsqlConnectionStringBuilder(connectionString);
        string[] expected = [$"{builder.Host}:{builder.Port}", $"'{builder.Database}'", .. says];
        Assert.All(expected, text => Assert.Contains(text, refused.ToString(), StringComparison.Ordinal));
        Assert.DoesNotContain(builder.Password!, refused.ToString(), StringComparison.Ordinal);
        return refused;
    }
}
