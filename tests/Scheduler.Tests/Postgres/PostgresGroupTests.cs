using Scheduler.Locking;
using Scheduler.Postgres.State;
using Scheduler.Runs;
using ClaimAnswer = Scheduler.Postgres.State.ClaimAnswer;

namespace Scheduler.Tests.Postgres;

/// <summary>Calls that share a transaction get the answers that each would have got alone.</summary>
public sealed class PostgresGroupTests : IAsyncLifetime
{
    private const int Rounds = 60;
    private const int GroupSize = 12;

    private PostgresDatabase _database = null!;

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync() => _database = await PostgresDatabase.CreateAsync();

    public ValueTask DisposeAsync() => _database.DisposeAsync();

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public async Task A_group_does_what_its_calls_do_one_after_another(int seed)
    {
        var grouped = await CommandsAsync("grouped");
        var alone = await CommandsAsync("alone");
        await _database.ExecuteAsync(
            "INSERT INTO scheduler.fences SELECT g, 'key-3', 'other', 1, now() FROM unnest(ARRAY['grouped', 'alone']) g"
        );
        var random = new Random(seed);
        var seen = new HashSet<string>();
        for (var round = 0; round < Rounds; round++)
        {
            ClaimRequest[] claims = [.. Enumerable.Range(0, random.Next(2, GroupSize)).Select(_ => RandomClaim(random, round))];
            var together = await grouped.Claims.RunAsync(claims, Stop);
            var apart = new List<ClaimAnswer>();
            foreach (var claim in claims)
            {
                apart.AddRange(await alone.Claims.RunAsync([claim], Stop));
            }
            seen.UnionWith(claims.Zip(apart, Describe));
            Assert.Equal(claims.Zip(apart, Describe), claims.Zip(together, Describe));

            // The ids of both sides, for the same calls.
            var pairs = claims.Select((c, i) => (Claim: c, Together: IdOf(together[i], c), Apart: IdOf(apart[i], c)));
            var ends = pairs.Where(_ => random.Next(3) > 0).Select(p => (p.Together, p.Apart, End: RandomEnd(random, p.Claim))).ToList();
            if (ends.Count < 2)
            {
                continue;
            }
            var endedTogether = await grouped.Completions.RunAsync([.. ends.Select(e => new Ending(e.Together, e.End))], Stop);
            var endedApart = new List<CompletionResult>();
            foreach (var (_, id, end) in ends)
            {
                endedApart.AddRange(await alone.Completions.RunAsync([new Ending(id, end)], Stop));
            }
            seen.UnionWith(endedApart.Select(e => e.ToString()));
            Assert.Equal(endedApart, endedTogether);
            Assert.Equal(await RowsAsync("alone"), await RowsAsync("grouped"));
        }
        Assert.Superset(new HashSet<string>(["new", "claimed", "recorded", "stale", "fenced", "Accepted", "Refused"]), seen);
    }

    [Fact]
    public async Task Groups_with_the_same_keys_in_other_orders_never_wait_for_each_other_in_a_circle()
    {
        var replicas = await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => CommandsAsync("test")));
        await Task.WhenAll(
            replicas.Select(
                (replica, r) =>
                    Task.Run(async () =>
                    {
                        var random = new Random(r);
                        for (var round = 0; round < Rounds; round++)
                        {
                            var keys = Enumerable.Range(0, GroupSize).ToArray();
                            random.Shuffle(keys);
                            await replica.Claims.RunAsync([.. keys.Select(k => Claim(k, round, token: round + 1, $"r{r}"))], Stop);
                        }
                    })
            )
        );
        await _database.ExecuteAsync(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database() "
                + "AND application_name = 'scheduler'"
        );
        Assert.Equal(0, await _database.AskAsync<long>("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"));
        Assert.Equal(Rounds * GroupSize, await _database.AskAsync<long>("SELECT count(*) FROM scheduler.runs"));
    }

    private async Task<(ClaimCommand Claims, CompletionCommand Completions)> CommandsAsync(string group)
    {
        var state = await _database.OpenAsync(group: group);
        var queries = new RunQueries(state.Database.Place);
        return (new ClaimCommand(state.Database, queries, group), new CompletionCommand(state.Database, queries, group));
    }

    // Few keys, times and tokens, so that calls meet; tokens around the number of the round, so that some are old.
    private static ClaimRequest RandomClaim(Random random, int round) =>
        Claim(random.Next(4), random.Next(round / 2, round + 2), Math.Max(1, round + random.Next(-2, 3)), $"r{random.Next(2)}");

    private static ClaimRequest Claim(int key, int minute, long token, string replica) =>
        PostgresDatabase.Claim(minute, token, replica, $"trigger-{key}", LockKey.From($"key-{key}"));

    private static Completion RandomEnd(Random random, ClaimRequest claim)
    {
        var outcome = (RunOutcome)random.Next(4);
        return new Completion
        {
            RunId = "",
            Attempt = 1,
            Token = random.Next(5) == 0 ? new FencingToken(claim.Token.Value + 1) : claim.Token,
            Outcome = outcome,
            Error = outcome == RunOutcome.Succeeded ? null : "no",
            StartedAt = random.Next(2) == 0 ? null : claim.Now.AddSeconds(1),
            Now = claim.Now.AddSeconds(random.Next(1, 4)),
            NextAttemptAt = outcome == RunOutcome.FailedWillRetry ? claim.Now.AddMinutes(1) : null,
        };
    }

    private static string Describe(ClaimRequest claim, ClaimAnswer answer)
    {
        try
        {
            return answer.Json is null ? "new" : answer.ToResult(claim).GetType().Name.ToLowerInvariant();
        }
        catch (InvalidOperationException)
        {
            return "fenced";
        }
    }

    // One that nobody has where there is no run.
    private static Guid IdOf(ClaimAnswer answer, ClaimRequest claim) =>
        Describe(claim, answer) switch
        {
            "new" => answer.Id,
            "stale" or "fenced" => Guid.CreateVersion7(),
            _ => Guid.ParseExact(
                answer.ToResult(claim) switch
                {
                    ClaimResult.Claimed claimed => claimed.Run.Id,
                    ClaimResult.Recorded recorded => recorded.Run.Id,
                    var other => throw new InvalidOperationException($"{other} has no run."),
                },
                "N"
            ),
        };

    private Task<string> RowsAsync(string group) =>
        _database.AskAsync<string>(
            $"""
            SELECT concat_ws(E'\n',
              (SELECT string_agg(concat_ws(' ', r.trigger_name, r.scheduled_at, r.state, r.attempt, r.token, r.replica, r.started_at,
                r.outcome, r.finished_at, r.error, r.failures, r.next_attempt_at, o.run_id IS NOT NULL, l.ended_at), E'\n'
                ORDER BY r.trigger_name, r.scheduled_at)
              FROM scheduler.runs r LEFT JOIN scheduler.open_runs o ON o.group_name = r.group_name AND o.run_id = r.id
                LEFT JOIN scheduler.long_attempts l ON l.group_name = r.group_name AND l.run_id = r.id
              WHERE r.group_name = '{group}'),
              (SELECT string_agg(concat_ws(' ', f.resource, f.lock_key, f.token), E'\n' ORDER BY f.resource)
              FROM scheduler.fences f WHERE f.group_name = '{group}'))
            """
        );
}
