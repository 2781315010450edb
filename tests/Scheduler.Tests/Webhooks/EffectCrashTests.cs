using System.Data.Common;
using System.Security.Cryptography;
using System.Text;
using Dapper;
using Microsoft.Extensions.Logging.Abstractions;
using Npgsql;
using Scheduler.Hosting;
using Scheduler.Inbox;
using Scheduler.Locking;
using Scheduler.Postgres.State;
using Scheduler.Runs;
using Scheduler.Sqlite;
using Scheduler.Sqlite.State;
using Scheduler.Testing.Servers;
using Scheduler.Tests.Sqlite;

namespace Scheduler.Tests.Webhooks;

/// <summary>
/// Processes that are killed at each point of an attempt at an event, and the next attempt. State and effect have one database.
/// </summary>
public sealed class EffectCrashTests : IAsyncDisposable
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("effect-crash-");
    private string? _postgres;

    public static TheoryData<string> Backends => ["sqlite", "postgres"];

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    private string File => Path.Combine(_folder.FullName, "state.db");

    private string Place => _postgres ?? File;

    private string Calls => Path.Combine(_folder.FullName, "calls");

    public async ValueTask DisposeAsync()
    {
        if (_postgres is not null)
        {
            NpgsqlConnection.ClearAllPools();
            await (await PostgresServer.SharedAsync()).ForgetDatabaseAsync(_postgres);
        }
        _folder.Delete(recursive: true);
    }

    [Theory]
    [MemberData(nameof(Backends))]
    public async Task Killed_in_its_transaction_an_attempt_leaves_nothing_and_the_next_one_has_the_effect(string backend)
    {
        await using var state = await StartAsync(backend);
        foreach (
            var (kind, point) in new[] { ("effect", "in the work"), ("last-effect", "in the work"), ("last-effect", "before the commit") }
        )
        {
            var before = await MoneyAsync();
            var id = await AddAsync(state);
            await DieAsync(kind, point);
            Assert.Equal((before, InboxState.Processing), (await MoneyAsync(), await StateOfAsync(state, id)));

            Assert.Equal("attempt 2 had it", await AgainAsync(kind));
            Assert.Equal((before + 1, InboxState.Done), (await MoneyAsync(), await StateOfAsync(state, id)));
        }
    }

    [Theory]
    [MemberData(nameof(Backends))]
    public async Task Killed_between_the_effect_and_the_events_end_the_next_one_finds_the_effect(string backend)
    {
        await using var state = await StartAsync(backend);
        var id = await AddAsync(state);
        await DieAsync("effect", "after the commit");
        Assert.Equal((1, InboxState.Processing), (await MoneyAsync(), await StateOfAsync(state, id)));

        Assert.Equal("attempt 2 found it", await AgainAsync("effect"));
        Assert.Equal((1, InboxState.Done), (await MoneyAsync(), await StateOfAsync(state, id)));
    }

    [Theory]
    [MemberData(nameof(Backends))]
    public async Task With_the_last_effect_there_is_no_between(string backend)
    {
        await using var state = await StartAsync(backend);
        var id = await AddAsync(state);
        await DieAsync("last-effect", "after the commit");
        Assert.Equal((1, InboxState.Done), (await MoneyAsync(), await StateOfAsync(state, id)));
        Assert.Equal("nothing due", await AgainAsync("last-effect"));
    }

    [Theory]
    [MemberData(nameof(Backends))]
    public async Task Killed_between_intention_and_note_a_call_is_made_again_with_the_same_key_and_told_so(string backend)
    {
        await using var state = await StartAsync(backend);
        foreach (var (point, had) in new[] { ("before the call", 0), ("after the call", 1) })
        {
            System.IO.File.Delete(Calls);
            var id = await AddAsync(state);
            await DieAsync("call", point);
            Assert.Equal((had, InboxState.Processing), (Called().Count, await StateOfAsync(state, id)));

            Assert.Equal("attempt 2 had it", await AgainAsync("call"));
            var calls = Called();
            Assert.Equal((had + 1, InboxState.Done), (calls.Count, await StateOfAsync(state, id)));
            Assert.Single(calls.Select(c => c.Split(' ')[0]).Distinct());
            Assert.EndsWith(" True", calls[^1], StringComparison.Ordinal);
        }
    }

    [Theory]
    [MemberData(nameof(Backends))]
    public async Task Killed_after_the_note_a_call_is_not_made_again(string backend)
    {
        await using var state = await StartAsync(backend);
        var id = await AddAsync(state);
        await DieAsync("call", "after the commit");
        Assert.Equal((1, InboxState.Processing), (Called().Count, await StateOfAsync(state, id)));
        Assert.Equal("attempt 2 found it", await AgainAsync("call"));
        Assert.Equal((1, InboxState.Done), (Called().Count, await StateOfAsync(state, id)));

        var last = await AddAsync(state);
        await DieAsync("last-call", "after the commit");
        Assert.Equal((2, InboxState.Done), (Called().Count, await StateOfAsync(state, last)));
    }

    private async Task<IState> StartAsync(string backend)
    {
        var context = new BackendContext(
            "test",
            ReplicaIdentity.Create("test"),
            new LeaseOptions { CallTimeout = TimeSpan.FromSeconds(20) },
            TimeProvider.System,
            NullLoggerFactory.Instance
        );
        if (backend == "postgres")
        {
            _postgres = await (await PostgresServer.SharedAsync()).CreateDatabaseAsync();
        }
        IState state = _postgres is null ? new SqliteState(context, $"Data Source={File}") : new PostgresState(context, _postgres);
        await state.OpenAsync(Stop);
        await AskAsync<long?>("CREATE TABLE money (amount INTEGER)");
        return state;
    }

    private static async Task<string> AddAsync(IState state)
    {
        var order = Guid.NewGuid().ToString();
        var hash = SHA256.HashData(Encoding.UTF8.GetBytes(order));
        var answers = await state.Inbox.AddAsync(
            [
                new InboxArrival
                {
                    Source = "payments",
                    Type = "paid",
                    DedupeKey = $"paid:{order}",
                    OrderKey = order,
                    BodyHash = hash,
                    ContentHash = hash,
                    Body = Encoding.UTF8.GetBytes("{}"),
                    ReceivedAt = TimeProvider.System.GetUtcNow(),
                },
            ],
            Stop
        );
        return answers[0].Id;
    }

    private async Task DieAsync(string kind, string point)
    {
        await using var peer = Peer.Start("effect", Place, kind, Calls, point);
        // 128 and SIGKILL.
        Assert.Equal(137, await peer.ExitAsync());
    }

    /// <summary>The next attempt, after the time for which the event was the dead one's.</summary>
    private async Task<string> AgainAsync(string kind)
    {
        await AskAsync<long?>(
            _postgres is null
                ? "UPDATE inbox SET due_at = 0 WHERE state = 'processing'"
                : "UPDATE scheduler.inbox SET due_at = now() - interval '1 hour' WHERE state = 'processing'"
        );
        await using var peer = Peer.Start("effect", Place, kind, Calls, "");
        return await peer.LineAsync();
    }

    private static async Task<InboxState> StateOfAsync(IState state, string id) => (await state.Inbox.FindAsync(id, Stop))!.State;

    private List<string> Called() => System.IO.File.Exists(Calls) ? [.. System.IO.File.ReadAllLines(Calls)] : [];

    private async Task<int> MoneyAsync() => (int)await AskAsync<long>("SELECT count(*) FROM money");

    private async Task<T?> AskAsync<T>(string sql)
    {
        await using DbDataSource source = _postgres is null
            ? SqliteDatabase.Create($"Data Source={File}")
            : NpgsqlDataSource.Create(_postgres);
        await using var connection = await source.OpenConnectionAsync(Stop);
        return await connection.ExecuteScalarAsync<T>(sql);
    }
}
