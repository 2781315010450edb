using System.Globalization;
using Microsoft.Extensions.Logging.Abstractions;
using Scheduler.Hosting;
using Scheduler.Locking;
using Scheduler.Postgres.State;
using Scheduler.Runs;
using Scheduler.Sqlite.State;
using Scheduler.Time;

namespace Scheduler.TestPeer;

/// <summary>Commands that use a State as a replica of its own.</summary>
internal static class StateCommands
{
    private static readonly DateTimeOffset Noon = new(2026, 1, 31, 12, 0, 0, TimeSpan.Zero);

    /// <summary>Stands still in the middle of a write, holding the writer lock, until a line comes; then the write is done.</summary>
    public static async Task<int> WriteAsync(string file, string group)
    {
        await using var state = Connect(file, group, ReplicaIdentity.Create("peer"));
        await state.OpenAsync(CancellationToken.None);
        await state.Database.WriteAsync(
            _ =>
            {
                Console.WriteLine("writing");
                return Console.In.ReadLine();
            },
            CancellationToken.None
        );
        Console.WriteLine("written");
        await Console.In.ReadLineAsync();
        return 0;
    }

    /// <summary>
    /// Each caller claims and completes so many occurrences of its own; every eighth is one that all processes claim. Trigger names say
    /// whose they are: the peer's name, or <c>shared</c>.
    /// </summary>
    public static async Task<int> StressAsync(string place, string group, string name, string callers, string cycles)
    {
        var replica = ReplicaIdentity.Create(name);
        await using var state = ConnectTo(place, group, replica);
        await state.OpenAsync(CancellationToken.None);
        Console.WriteLine("ready");
        await Console.In.ReadLineAsync();
        var count = int.Parse(cycles, CultureInfo.InvariantCulture);
        var start = TimeProvider.System.GetTimestamp();
        var results = await Task.WhenAll(
            Enumerable.Range(0, int.Parse(callers, CultureInfo.InvariantCulture)).Select(c => Task.Run(() => CallAsync(c)))
        );
        var elapsed = TimeProvider.System.GetElapsedTime(start);
        Console.WriteLine(
            string.Create(
                CultureInfo.InvariantCulture,
                $"errors {results.Sum(r => r.Errors)} claimed {results.Sum(r => r.Claimed)} recorded "
                    + $"{results.Sum(r => r.Recorded)} longest "
                    + $"{results.Max(r => r.Longest).TotalMilliseconds:0.0} ms cycles/s {results.Length * count / elapsed.TotalSeconds:0}"
            )
        );
        return 0;

        async Task<(int Errors, int Claimed, int Recorded, TimeSpan Longest)> CallAsync(int caller)
        {
            var (errors, claimed, recorded, longest) = (0, 0, 0, TimeSpan.Zero);
            for (var i = 0; i < count; i++)
            {
                var at = Noon.AddSeconds((caller * count) + i);
                var trigger = i % 8 == 0 ? "shared" : name;
                var before = TimeProvider.System.GetTimestamp();
                try
                {
                    switch (await state.Runs.ClaimAsync(Claim(new Occurrence("settle", trigger, at)), CancellationToken.None))
                    {
                        case ClaimResult.Claimed { Run: var run }:
                            claimed++;
                            errors += await CompleteAsync(run) == CompletionResult.Accepted ? 0 : 1;
                            break;
                        case ClaimResult.Recorded:
                            recorded++;
                            break;
                        case var other:
                            Console.Error.WriteLine($"{at:O}: {other}");
                            errors++;
                            break;
                    }
                }
                catch (StateUnavailableException problem)
                {
                    Console.Error.WriteLine(problem.Message);
                    errors++;
                }
                var took = TimeProvider.System.GetElapsedTime(before);
                longest = took > longest ? took : longest;
            }
            return (errors, claimed, recorded, longest);
        }

        ClaimRequest Claim(Occurrence occurrence) =>
            new()
            {
                Occurrence = occurrence,
                LockKey = LockKey.From($"k:{occurrence.Trigger}:{occurrence.ScheduledAt.ToUnixTimeSeconds() % 64}"),
                Token = new FencingToken(1),
                Replica = replica.Id,
                Now = Noon,
            };

        ValueTask<CompletionResult> CompleteAsync(RunRecord run) =>
            state.Runs.CompleteAsync(
                new Completion
                {
                    RunId = run.Id,
                    Attempt = run.Attempt,
                    Token = run.Token,
                    Outcome = RunOutcome.Succeeded,
                    Now = Noon,
                },
                CancellationToken.None
            );
    }

    /// <summary>Opens nothing yet.</summary>
    public static IState ConnectTo(string place, string group, ReplicaIdentity replica) =>
        place.Contains("Host=", StringComparison.Ordinal)
            ? new PostgresState(Context(group, replica), place)
            : Connect(place, group, replica);

    private static SqliteState Connect(string file, string group, ReplicaIdentity replica) =>
        new(Context(group, replica), $"Data Source={file}");

    private static BackendContext Context(string group, ReplicaIdentity replica) =>
        new(
            group,
            replica,
            new LeaseOptions { CallTimeout = TimeSpan.FromSeconds(60) },
            BootTimeProvider.Instance,
            NullLoggerFactory.Instance
        );
}
