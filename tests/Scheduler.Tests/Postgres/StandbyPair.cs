using System.Net;
using Scheduler.Testing;
using Scheduler.Testing.Servers;
using Scheduler.Testing.Servers.Faults;

namespace Scheduler.Tests.Postgres;

/// <summary>A server and a standby that copies it by streaming, over a wire that a test can break; asynchronous unless it says
/// otherwise.</summary>
public sealed class StandbyPair : IAsyncDisposable
{
    private StandbyPair(PostgresServer primary, FaultProxy wire, PostgresServer standby) =>
        (Primary, Wire, Standby) = (primary, wire, standby);

    public PostgresServer Primary { get; }

    public FaultProxy Wire { get; }

    public PostgresServer Standby { get; }

    public static async Task<StandbyPair> StartAsync()
    {
        var primary = await PostgresServer.StartAsync();
        var wire = FaultProxy.Start(new DnsEndPoint("127.0.0.1", primary.Port), FaultSeed.Take());
        return new StandbyPair(primary, wire, await PostgresServer.StartStandbyAsync(wire.EndPoint.Port));
    }

    /// <summary>From now on a commit waits for the standby.</summary>
    public async Task SynchronousAsync()
    {
        await Primary.ExecuteAsync("ALTER SYSTEM SET synchronous_standby_names = 'standby'");
        await Primary.ExecuteAsync("SELECT pg_reload_conf()");
        await Eventually.Holds(
            async () => await Primary.AskAsync<long>("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") == 1,
            what: "the standby is synchronous"
        );
    }

    /// <summary>Waits until the standby has everything.</summary>
    public Task CopiedAsync() =>
        Eventually.Holds(
            async () =>
                await Primary.AskAsync<long>("SELECT count(*) FROM pg_stat_replication WHERE replay_lsn >= pg_current_wal_lsn()") == 1,
            what: "the standby has everything"
        );

    /// <summary>Waits until a commit waits for the standby.</summary>
    public Task WaitedForAsync() =>
        Eventually.Holds(
            async () => await Primary.AskAsync<long>("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") > 0,
            what: "a commit waits for the standby"
        );

    /// <summary>The server ends as in a crash, and the standby takes its place.</summary>
    public async Task FailOverAsync()
    {
        await Primary.KillAsync();
        await Standby.PromoteAsync();
    }

    public async ValueTask DisposeAsync()
    {
        await Standby.DisposeAsync();
        await Wire.DisposeAsync();
        await Primary.DisposeAsync();
    }
}
