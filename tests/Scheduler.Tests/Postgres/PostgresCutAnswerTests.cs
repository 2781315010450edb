using System.Net;
using System.Security.Cryptography;
using System.Text;
using Scheduler.Inbox;
using Scheduler.Locking;
using Scheduler.Postgres.State;
using Scheduler.Runs;
using Scheduler.Testing.Servers.Faults;

namespace Scheduler.Tests.Postgres;

/// <summary>
/// The PostgreSQL State over connections that are cut in the middle of requests and of answers. A write of unknown outcome is told as
/// neither success nor failure: what a call says is so, and a call that says nothing can be repeated.
/// </summary>
public sealed class PostgresCutAnswerTests : IAsyncLifetime
{
    private const int Rounds = 12;
    private const int AtOnce = 6;

    // In the parameters of every statement, and in nothing else.
    private readonly string _group = $"cut-{Guid.NewGuid():n}";
    private readonly FaultSeed _seed = FaultSeed.Take();
    private PostgresDatabase _database = null!;
    private FaultProxy _proxy = null!;
    private PostgresState _state = null!;
    private int _cuts;

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        _database = await PostgresDatabase.CreateAsync();
        _proxy = FaultProxy.Start(new DnsEndPoint(_database.Server.Host, _database.Server.Port), _seed);
        var through = _database.With(b => (b.Host, b.Port) = (_proxy.EndPoint.Host, _proxy.EndPoint.Port));
        _state = await _database.OpenAsync(through, _group);
    }

    public async ValueTask DisposeAsync()
    {
        await _database.DisposeAsync();
        await _proxy.DisposeAsync();
    }

    [Fact]
    public Task A_claim_is_made_once_and_is_the_claimers() =>
        _seed.RunAsync(async () =>
        {
            for (var round = 0; round < Rounds; round++)
            {
                var runs = await ClaimsAsync(round);

                Assert.Equal(AtOnce, runs.Select(r => r.Id).Distinct(StringComparer.Ordinal).Count());
                // A second attempt would stand beside the run.
                Assert.Equal(((round + 1) * AtOnce, 0), (await CountAsync("runs"), await CountAsync("run_attempts")));
            }
            Assert.InRange(_cuts, Rounds, int.MaxValue);
        });

    [Fact]
    public Task A_completion_is_accepted_of_the_newest_attempt_and_of_no_other() =>
        _seed.RunAsync(async () =>
        {
            for (var round = 0; round < Rounds; round++)
            {
                var runs = await ClaimsAsync(round);

                var ends = await AllAsync(runs.Select(r => (Func<ValueTask<CompletionResult>>)(() => CompleteAsync(r))));

                Assert.All(ends, end => Assert.Equal(CompletionResult.Accepted, end));
                Assert.Equal((round + 1) * AtOnce, await CountAsync("runs", "state = 'succeeded'"));
            }
            var stale = Assert.IsType<ClaimResult.Claimed>(await _state.Runs.ClaimAsync(Claim(Rounds, 0), Stop)).Run;
            Assert.Equal([CompletionResult.Refused], await AllAsync([() => CompleteAsync(stale with { Attempt = 2 })]));

            ValueTask<CompletionResult> CompleteAsync(RunRecord run) => _state.Runs.CompleteAsync(PostgresDatabase.Succeeded(run), Stop);
        });

    [Fact]
    public Task An_event_is_stored_once_and_its_sender_is_told_the_truth() =>
        _seed.RunAsync(async () =>
        {
            var told = new HashSet<string>(StringComparer.Ordinal);
            for (var round = 0; round < Rounds; round++)
            {
                InboxArrival[] arrivals = [.. Enumerable.Range(0, AtOnce).Select(i => Arrival(round, i))];
                var cut = CutAsync();
                var unknown = false;
                var answers = await UntilAnsweredAsync(() => _state.Inbox.AddAsync(arrivals, Stop), () => unknown = true);
                await cut;

                // A duplicate of what the call of unknown outcome stored is the truth; of what was never stored it would not be.
                Assert.All(answers, a => Assert.True(a.Outcome == InboxOutcome.Stored || (unknown && a.Outcome == InboxOutcome.Duplicate)));
                Assert.All(answers, a => Assert.True(told.Add(a.Id), "two events are one"));
                Assert.Equal((round + 1) * AtOnce, await CountAsync("inbox"));
            }
        });

    private async Task<RunRecord[]> ClaimsAsync(int round)
    {
        var results = await AllAsync(
            Enumerable.Range(0, AtOnce).Select(i => (Func<ValueTask<ClaimResult>>)(() => _state.Runs.ClaimAsync(Claim(round, i), Stop)))
        );
        return [.. results.Select(r => Assert.IsType<ClaimResult.Claimed>(r).Run)];
    }

    /// <summary>Calls at once, over connections of which one is cut.</summary>
    private async Task<T[]> AllAsync<T>(IEnumerable<Func<ValueTask<T>>> calls)
    {
        var cut = CutAsync();
        var answers = await Task.WhenAll(calls.Select(call => UntilAnsweredAsync(call)));
        await cut;
        return answers;
    }

    private async Task CutAsync()
    {
        await (_seed.Next(4) == 0 ? _proxy.CutRequestAsync(_group) : _proxy.CutAnswerAsync(_group)).WaitAsync(
            TimeSpan.FromSeconds(20),
            Stop
        );
        _cuts++;
    }

    private static async Task<T> UntilAnsweredAsync<T>(Func<ValueTask<T>> call, Action? unknown = null)
    {
        for (var attempt = 1; ; attempt++)
        {
            try
            {
                return await call();
            }
            catch (StateUnavailableException) when (attempt < 3)
            {
                unknown?.Invoke();
            }
        }
    }

    private static ClaimRequest Claim(int round, int i) =>
        PostgresDatabase.Claim(round, token: round + 1, trigger: $"t{i}", key: LockKey.From($"k{i}"));

    private static InboxArrival Arrival(int round, int i) =>
        new()
        {
            Source = "payments",
            EventId = $"msg_{round}_{i}",
            Type = "paid",
            DedupeKey = $"paid:{round}:{i}",
            OrderKey = $"{i}",
            BodyHash = SHA256.HashData(Encoding.UTF8.GetBytes($"{round}:{i}")),
            ContentHash = SHA256.HashData(Encoding.UTF8.GetBytes($"{round}:{i}")),
            Body = Encoding.UTF8.GetBytes("{}"),
            ReceivedAt = PostgresDatabase.Noon,
        };

    private async Task<int> CountAsync(string table, string where = "true") =>
        (int)await _database.AskAsync<long>($"SELECT count(*) FROM scheduler.{table} WHERE {where}");
}
