using System.Globalization;
using Npgsql;
using Scheduler.Testing;
using Scheduler.Testing.Servers;
using Scheduler.Tests.Sqlite;

namespace Scheduler.Tests.Postgres;

/// <summary>A host that is gone without a word, whose locks nobody asks for.</summary>
public sealed class PostgresDeadHostTests
{
    private const int LongestLease = 6;

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    [Fact]
    public async Task The_session_locks_of_a_dead_host_are_free_after_its_longest_lease_and_within_two()
    {
        var (host, problem) = await OtherHost.TryCreateAsync();
        Assert.SkipWhen(host is null, $"There can be no second host here ({problem}).");
        await using var gone = host;
        var rules = Path.GetTempFileName();
        await File.WriteAllTextAsync(
            rules,
            $"host all all 127.0.0.1/32 scram-sha-256\nhost all all {OtherHost.Network} scram-sha-256\n",
            Stop
        );
        if (!OperatingSystem.IsWindows())
        {
            File.SetUnixFileMode(rules, UnixFileMode.UserRead | UnixFileMode.GroupRead | UnixFileMode.OtherRead);
        }
        await using var server = await PostgresServer.StartAsync(
            $"listen_addresses=127.0.0.1,{OtherHost.ThisAddress}",
            $"hba_file={rules}"
        );
        // It has read them.
        File.Delete(rules);
        var database = await server.CreateDatabaseAsync();
        var seenThere = new NpgsqlConnectionStringBuilder(database) { Host = OtherHost.ThisAddress }.ConnectionString;
        var longest = LongestLease.ToString(CultureInfo.InvariantCulture);
        await using var peer = Peer.Start(host, "session-hold", seenThere, "test", $"job:settle={longest}", longest);
        Assert.StartsWith("held by peer-", await peer.LineAsync(), StringComparison.Ordinal);
        Assert.True(await LocksAsync() > 0);

        await host!.PullAsync();
        var since = TimeProvider.System.GetTimestamp();

        await Eventually.Holds(async () => await LocksAsync() == 0, TimeSpan.FromSeconds(LongestLease * 2), "the locks are free");
        var after = TimeProvider.System.GetElapsedTime(since);
        Assert.True(after > TimeSpan.FromSeconds(LongestLease), $"Free after {after}, when its leases might still have been used.");

        Task<long> LocksAsync() =>
            server.AskAsync<long>(
                "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE locktype = 'advisory' "
                    + $"AND client_addr << '{OtherHost.Network}'",
                new NpgsqlConnectionStringBuilder(database).Database!
            );
    }
}
