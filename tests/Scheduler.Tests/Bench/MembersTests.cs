using System.Text.Json;

namespace Scheduler.Tests.Bench;

/// <summary>
/// Fifty replicas in one process, each with connections and a wall clock of its own, 300 ms apart, on a real Redis and a real
/// PostgreSQL. What they ask is counted, so it holds on a busy machine as well; their times are not looked at.
/// </summary>
[Collection(BenchTests.Alone)]
public sealed class MembersTests
{
    private const string Idle = "redis+postgres: 50 replicas, 200 jobs, none of them due";
    private const string Busy = "redis+postgres: 50 replicas, 20 jobs every second, clocks 300 ms apart";
    private const string Dead = "redis+postgres: 50 replicas, the same, and 10 more that died a moment ago";
    private const string Slow = "redis+postgres: 50 replicas, the same, 10 of them without a free worker slot";
    private const string Even = "redis+postgres: 50 replicas, 40 jobs a second, one after another";

    [Fact]
    public async Task Fifty_replicas_ask_little_and_run_every_occurrence_once()
    {
        var file = Path.GetTempFileName();
        try
        {
            var (code, output, errors) = await BenchTests.RunAsync("members", "--quick", "--replicas", "50", "--json", file);

            // Lost and doubled occurrences, and errors in the log, are problems.
            Assert.True(code == 0, $"It ended with code {code}.\n{output}\n{errors}");
            TestContext.Current.TestOutputHelper?.WriteLine(output);
            using var json = JsonDocument.Parse(await File.ReadAllTextAsync(file));
            Assert.Empty(json.RootElement.GetProperty("problems").EnumerateArray());
            var figures = json
                .RootElement.GetProperty("figures")
                .EnumerateArray()
                .ToDictionary(
                    f => (f.GetProperty("section").GetString()!, f.GetProperty("row").GetString()!),
                    f => f.GetProperty("ours").GetProperty("median").GetDouble()
                );

            // All of them live: a heartbeat every two seconds, so two or three of each in the five that are counted.
            Assert.InRange(figures[(Idle, "of these heartbeats")], 15, 30);
            Assert.InRange(figures[(Idle, "SQL statements a second")], 25, 50);
            // Nothing is asked about jobs that are not due, so their number does not matter; the long form has 1,000.
            Assert.Equal(0, figures[(Idle, "of these others")]);
            // Each confirms to the lock store every five seconds which State it has, and nothing else.
            Assert.InRange(figures[(Idle, "calls of Redis a second")], 5, 15);

            foreach (var section in new[] { Busy, Dead, Slow, Even })
            {
                // The lock, the claim, the completion and the release are four of them.
                Assert.InRange(figures[(section, "calls of lock store and State for an occurrence")], 4, 8);
                Assert.InRange(figures[(section, "of these complete")], 0.9, 1.1);
                Assert.Equal(0, figures[(section, "of these others")]);
            }
            // Two or three occurrences for each, so chance and a busy machine decide; one that took all would have 50. The long form has
            // ten thousand, and so has ReplicaOrderTests.
            Assert.InRange(figures[(Busy, "largest share / mean")], 1, 10);
            Assert.InRange(figures[(Even, "largest share / mean")], 1, 10);

            foreach (var section in new[] { Dead, Slow })
            {
                // The next ones run what the first ones leave, unless all of the first three leave it.
                var occurrences = figures[(section, "occurrences")];
                var next = figures[(section, "run by the second replica")] + figures[(section, "run by the third replica")];
                Assert.InRange(next, occurrences * 0.05, occurrences);
                Assert.InRange(figures[(section, "found by the reconciler")], 0, 3 + (occurrences * 0.05));
            }
        }
        finally
        {
            File.Delete(file);
        }
    }
}
