using Scheduler.EndToEnd.Harness;
using Scheduler.Testing;
using Scheduler.Testing.History;
using Scheduler.Testing.Servers;

namespace Scheduler.EndToEnd.Scenarios;

/// <summary>
/// State on PostgreSQL, with the locks on one Redis, on a majority of three, and in the same database: every-second jobs on three replicas,
/// of which one is killed while it works; then the server of the State, and a node of the locks, are restarted under them.
/// </summary>
public sealed class PostgresTests : Scenario
{
    private const string Job = "work";
    private const string Trigger = "often";
    private static readonly TimeSpan Bound = WorkerGroup.Lease + TimeSpan.FromSeconds(20);

    [Fact]
    public Task Each_occurrence_runs_once_through_a_kill_and_a_restart_of_the_servers() =>
        Task.WhenAll(PlayAsync(Backends.RedisPostgres), PlayAsync(Backends.RedlockPostgres), PlayAsync(Backends.Postgres));

    private async Task PlayAsync(Backends backends)
    {
        // Of its own: it is restarted.
        await using var postgres = await PostgresServer.StartAsync();
        var group = await GroupAsync(backends, new() { Persistence = RedisPersistence.AppendAlways }, postgres);
        group
            .WithTick(Job, Trigger, "00:00:05", TimeSpan.FromSeconds(1))
            .WithTick("quick", "second", "* * * * * ?", TimeSpan.FromMilliseconds(1));
        await PlayAsync(group, postgres, group.Place.LockServers);
    }

    private static async Task PlayAsync(WorkerGroup group, PostgresServer postgres, IReadOnlyList<RedisServer> servers)
    {
        await group.StartThreeAsync(TimeSpan.FromMilliseconds(200));
        var window = Window.Open();
        await window.UntilAsync(TimeSpan.FromSeconds(5));

        BodyRecord? begun = null;
        var seen = group.Bodies.Count(b => b.Occurrence.Job == Job);
        await Eventually.Holds(
            () =>
                (begun = group.Bodies.Where(b => b.Occurrence.Job == Job).Skip(seen).FirstOrDefault(b => b.Phase == BodyPhase.Begun))
                    is not null,
            Bound
        );
        group.Of(begun!.Replica).Kill9();
        await Eventually.Holds(() => group.Bodies.Any(b => b.Occurrence == begun.Occurrence && b.Attempt > begun.Attempt), Bound);
        await group.Start("d").UntilReadyAsync();

        await postgres.RestartAsync();
        if (servers.Count > 0)
        {
            await servers[^1].StopAsync();
            await servers[^1].RestartAsync(keepData: true);
        }
        var after = HostClock.Boot;
        await Eventually.Holds(() => group.Bodies.Count(b => b.Begin > after && b.Occurrence.Job == "quick") >= 5, Bound);

        var until = window.Close();
        await group.AssertCleanAsync(
            [window.Every(5, Job, Trigger, until, mayOverlap: true), window.Every(1, "quick", "second", until, mayOverlap: true)],
            Bound + TimeSpan.FromSeconds(20)
        );
    }
}
