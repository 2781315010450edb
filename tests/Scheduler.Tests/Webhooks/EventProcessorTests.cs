using System.Collections.Concurrent;
using System.Data.Common;
using System.Security.Cryptography;
using System.Text;
using Dapper;
using Microsoft.Extensions.DependencyInjection;
using Scheduler.Inbox;
using Scheduler.Locking.InMemory;
using Scheduler.Sqlite;
using Scheduler.Sqlite.Fencing;
using Scheduler.Testing;
using Scheduler.Webhooks.Processing;

namespace Scheduler.Tests.Webhooks;

/// <summary>Replicas that process the events of one inbox.</summary>
public sealed partial class EventProcessorTests : IAsyncDisposable
{
    private const string Source = "payments";
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("scheduler-events-");
    private readonly InMemoryLeaseServer _server = new();
    private readonly LogCapture _log = new();
    private readonly ConcurrentQueue<string> _handled = new();
    private readonly ConcurrentQueue<Process> _processes = new();
    private Action<string, object?[]> _beforeInbox = static (_, _) => { };
    private Func<WebhookEvent, CancellationToken, ValueTask<WebhookResult>> _handler = static (_, _) => new(WebhookResult.Done);

    public async ValueTask DisposeAsync()
    {
        foreach (var process in _processes)
        {
            await process.DisposeAsync();
        }
        _log.Dispose();
        _folder.Delete(recursive: true);
    }

    [Fact]
    public async Task Events_of_an_order_are_handled_one_after_another_in_their_order_and_other_orders_beside_them()
    {
        var running = new ConcurrentDictionary<string, bool>();
        var overlaps = 0;
        _handler = async (e, _) =>
        {
            if (!running.TryAdd(e.Stored.OrderKey!, true))
            {
                Interlocked.Increment(ref overlaps);
            }
            await Task.Yield();
            running.TryRemove(new(e.Stored.OrderKey!, true));
            return WebhookResult.Done;
        };
        var (one, _) = (await StartAsync(), await StartAsync());
        for (var i = 0; i < 10; i++)
        {
            await one.AddAsync([.. Enumerable.Range(0, 5).Select(order => Arrival($"{order}", $"t{i}"))]);
        }
        await Eventually.Holds(() => _handled.Count == 50);
        Assert.Equal(0, overlaps);
        foreach (var order in Enumerable.Range(0, 5))
        {
            Assert.Equal(
                Enumerable.Range(0, 10).Select(i => $"t{i}:{order}"),
                _handled.Where(h => h.EndsWith($":{order}", StringComparison.Ordinal))
            );
        }
    }

    [Fact]
    public async Task A_failing_event_is_tried_again_then_dead_and_holds_back_its_order_alone()
    {
        var tries = 0;
        _handler = (e, _) =>
            e.Stored is { OrderKey: "1", Type: "a" }
                ? throw new InvalidOperationException($"broken {Interlocked.Increment(ref tries)}")
                : new(WebhookResult.Done);
        var one = await StartAsync();
        var ids = await one.AddAsync([Arrival("1", "a"), Arrival("1", "b"), Arrival("2", "a")]);
        await Eventually.Holds(async () => (await one.FindAsync(ids[0])).State == InboxState.Dead);
        Assert.Equal(3, tries);
        var dead = await one.FindAsync(ids[0]);
        Assert.Equal(("InvalidOperationException: broken 3", 3), (dead.Error, dead.Counted));
        Assert.Equal((2, 1), (_log.Count(6001), _log.Count(6002)));
        Assert.Equal(InboxState.Done, (await one.FindAsync(ids[2])).State);
        Assert.Equal((InboxState.Received, 0), ((await one.FindAsync(ids[1])).State, (await one.FindAsync(ids[1])).Attempts));

        // Where the order goes on, the one behind it is handled.
        _ = await StartAsync(OnDead.Continue);
        await Eventually.Holds(async () => (await one.FindAsync(ids[1])).State == InboxState.Done);
    }

    [Fact]
    public async Task A_body_that_its_handler_cannot_read_is_dead_at_once()
    {
        var one = await StartAsync();
        const string Canary = "cAnArY-3b";
        var body = Encoding.UTF8.GetBytes($$$"""{"amounts":{"{{{Canary}}}":"{{{Canary}}}"}}""");
        var ids = await one.AddAsync([Arrival("1", "a") with { Body = body }]);
        await Eventually.Holds(async () => (await one.FindAsync(ids[0])).State == InboxState.Dead);
        var dead = await one.FindAsync(ids[0]);
        Assert.Equal((1, "the body is no Payload: line 1, byte 36"), (dead.Counted, dead.Error));
        Assert.DoesNotContain(_log.Entries, e => $"{e.Message} {e.Exception}".Contains(Canary, StringComparison.Ordinal));
    }

    [Fact]
    public async Task What_a_handler_of_its_own_cannot_read_is_tried_again_and_not_quoted()
    {
        _handler = static (_, _) =>
        {
            System.Text.Json.JsonSerializer.Deserialize<Payload>("""{"Amounts":{"cAnArY":"x"}}""");
            return new(WebhookResult.Done);
        };
        var one = await StartAsync();
        var ids = await one.AddAsync([Arrival("1", "a")]);
        await Eventually.Holds(async () => (await one.FindAsync(ids[0])).State == InboxState.Dead);
        var dead = await one.FindAsync(ids[0]);
        Assert.Equal((3, "JsonException: line 1, byte 25"), (dead.Counted, dead.Error));
    }

    [Fact]
    public async Task An_event_that_is_not_ready_comes_again_and_counts_nothing()
    {
        var tries = 0;
        _handler = (_, _) =>
            new(Interlocked.Increment(ref tries) < 5 ? WebhookResult.NotYet(TimeSpan.FromMilliseconds(100)) : WebhookResult.Done);
        var one = await StartAsync();
        var ids = await one.AddAsync([Arrival("1", "a")]);
        await Eventually.Holds(async () => (await one.FindAsync(ids[0])).State == InboxState.Done);
        Assert.Equal((5, 1), ((await one.FindAsync(ids[0])).Attempts, (await one.FindAsync(ids[0])).Counted));
    }

    [Fact]
    public async Task What_a_dead_replica_had_is_taken_up_by_another_one()
    {
        var one = await StartAsync();
        await one.StopAsync();
        var ids = await one.AddAsync([Arrival("1", "a")]);
        var claim = await one.State.CallAsync(
            (s, t) => s.Inbox.ClaimAsync(new("dead", [new(Source, "a", false)], 10, TimeSpan.FromSeconds(2)), t),
            CancellationToken.None
        );
        Assert.Single(claim);
        var two = await StartAsync();
        await Eventually.Holds(async () => (await two.FindAsync(ids[0])).State == InboxState.Done);
        Assert.Equal(2, (await two.FindAsync(ids[0])).Attempts);
    }

    [Fact]
    public async Task A_handler_that_outlasts_the_time_of_its_claim_keeps_its_event()
    {
        var leave = new TaskCompletionSource();
        _handler = async (_, token) =>
        {
            await leave.Task.WaitAsync(token);
            return WebhookResult.Done;
        };
        var (one, _) = (await StartAsync(), await StartAsync());
        var ids = await one.AddAsync([Arrival("1", "a")]);
        await Eventually.Holds(() => _handled.Count == 1);
        var since = TimeProvider.System.GetTimestamp();
        await Eventually.Holds(() => TimeProvider.System.GetElapsedTime(since) > TimeSpan.FromSeconds(4));
        leave.SetResult();
        await Eventually.Holds(async () => (await one.FindAsync(ids[0])).State == InboxState.Done);
        Assert.Equal(1, (await one.FindAsync(ids[0])).Attempts);
        Assert.Single(_handled);
    }

    [Fact]
    public async Task The_lock_of_an_order_is_released_also_when_the_end_cannot_be_written()
    {
        var ends = 0;
        // A lease that nobody has any more is not renewed; this one is in use for as long as the test.
        var kept = new ConcurrentQueue<WebhookEvent>();
        _handler = (e, _) =>
        {
            kept.Enqueue(e);
            return new(WebhookResult.Done);
        };
        _beforeInbox = (name, args) =>
        {
            if (name == nameof(IInbox.FinishAsync) && Interlocked.Increment(ref ends) == 1)
            {
                throw new ArgumentException("No State keeps this.", nameof(args));
            }
        };
        var one = await StartAsync();
        await one.AddAsync([Arrival("1", "a")]);
        await Eventually.Holds(() => Volatile.Read(ref ends) >= 1);
        // The event has its next attempt when its claim is over.
        await Eventually.Holds(() => one.IsFreeAsync("1"));
        GC.KeepAlive(kept);
    }

    [Fact]
    public async Task The_last_effect_in_the_States_own_database_ends_its_event_and_nothing_ends_it_again()
    {
        var (one, _) = (await StartAsync(), await StartAsync());
        await using var database = await OpenMoneyAsync("state.db");
        var ended = new ConcurrentQueue<InboxState>();
        _handler = async (e, token) =>
        {
            await PayAsync(database, e, token);
            ended.Enqueue((await one.FindAsync(e.Stored.Id)).State);
            return WebhookResult.Done;
        };
        // The State's writer and the handlers write to one file.
        for (var i = 0; i < 5; i++)
        {
            await one.AddAsync([.. Enumerable.Range(0, 6).Select(order => Arrival($"{order}", $"t{i}"))]);
        }
        await Eventually.Holds(() => ended.Count == 30, TimeSpan.FromSeconds(60));
        Assert.All(ended, s => Assert.Equal(InboxState.Done, s));
        Assert.Equal(30, await MoneyAsync(database));
        // A second end would have come too late.
        Assert.Equal((0, 0, 0), (_log.Count(6001), _log.Count(6003), _log.Count(6004)));
    }

    [Fact]
    public async Task The_last_effect_in_another_database_is_followed_by_its_events_end()
    {
        await using var database = await OpenMoneyAsync("app.db");
        var one = await StartAsync();
        var between = new ConcurrentQueue<InboxState>();
        _handler = async (e, token) =>
        {
            await PayAsync(database, e, token);
            between.Enqueue((await one.FindAsync(e.Stored.Id)).State);
            return WebhookResult.Done;
        };
        var ids = await one.AddAsync([Arrival("1", "a")]);
        await Eventually.Holds(async () => (await one.FindAsync(ids[0])).State == InboxState.Done);
        Assert.Equal([InboxState.Processing], between);
        Assert.Equal(1, await MoneyAsync(database));
    }

    [Fact]
    public async Task What_fails_after_the_last_effect_is_told_and_not_tried_again()
    {
        var one = await StartAsync();
        await using var database = await OpenMoneyAsync("state.db");
        _handler = async (e, token) =>
        {
            await PayAsync(database, e, token);
            throw new InvalidOperationException("broken");
        };
        var ids = await one.AddAsync([Arrival("1", "a"), Arrival("1", "b")]);
        await Eventually.Holds(() => _log.Count(6005) == 2);
        foreach (var id in ids)
        {
            var done = await one.FindAsync(id);
            Assert.Equal((InboxState.Done, (string?)null, 1), (done.State, done.Error, done.Attempts));
        }
        Assert.Equal((0, 0), (_log.Count(6001), _log.Count(6003)));
        Assert.Equal(2, await MoneyAsync(database));
    }

    [Fact]
    public async Task The_last_effect_of_an_attempt_that_another_one_has_followed_is_rolled_back()
    {
        var one = await StartAsync();
        await using var database = await OpenMoneyAsync("state.db");
        var tries = 0;
        _handler = async (e, token) =>
        {
            if (Interlocked.Increment(ref tries) == 1)
            {
                // As when this replica was silent for longer than it may be.
                await using var connection = await database.OpenConnectionAsync(token);
                await connection.ExecuteAsync("UPDATE inbox SET attempts = attempts + 1");
            }
            await PayAsync(database, e, token);
            return WebhookResult.Done;
        };
        var ids = await one.AddAsync([Arrival("1", "a")]);
        await Eventually.Holds(() => _log.Count(6003) == 1);
        Assert.Equal(0, await MoneyAsync(database));
        await Eventually.Holds(async () => (await one.FindAsync(ids[0])).State == InboxState.Done);
        Assert.Equal((2, 1), (tries, await MoneyAsync(database)));
        var failures = string.Join('\n', _log.Entries.Where(e => e.Id.Id == 6001).Select(e => e.Message));
        Assert.True(failures.Length == 0, failures);
    }

    private async Task<DbDataSource> OpenMoneyAsync(string file)
    {
        var database = SqliteDatabase.Create($"Data Source={Path.Combine(_folder.FullName, file)}");
        await using var connection = await database.OpenConnectionAsync(TestContext.Current.CancellationToken);
        await connection.ExecuteAsync("CREATE TABLE money (amount INTEGER)");
        return database;
    }

    [Fact]
    public async Task The_other_replicas_are_told_only_of_what_there_is_no_room_for()
    {
        var leave = HoldHandlers();
        var one = await StartAsync();
        await one.AddAsync([Arrival("1", "a")]);
        await Eventually.Holds(() => _handled.Count == 1);
        Assert.Equal(0, one.Told);

        // Three more are all that it takes: there may be others.
        await one.AddAsync([Arrival("2", "a"), Arrival("3", "a"), Arrival("4", "a"), Arrival("5", "a")]);
        await Eventually.Holds(() => _handled.Count == 4 && one.Told == 1);
        await one.AddAsync([Arrival("6", "a")]);
        Assert.Equal(2, one.Told);

        // Neither does a replica that stops take what it stores.
        leave.SetResult();
        await Eventually.Holds(() => _handled.Count == 6);
        one.Lifetime.StopApplication();
        var told = one.Told;
        await one.AddAsync([Arrival("7", "a")]);
        Assert.Equal(told + 1, one.Told);
    }

    /// <summary>Lets no handler end before the test says so.</summary>
    private TaskCompletionSource HoldHandlers()
    {
        var leave = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        _handler = async (_, _) =>
        {
            await leave.Task;
            return WebhookResult.Done;
        };
        return leave;
    }

    private static async Task PayAsync(DbDataSource database, WebhookEvent received, CancellationToken cancellationToken) =>
        await SqliteEffect.ApplyAsync(
            database,
            received.LastEffectOf("payment"),
            static async (connection, transaction, _) =>
                await connection.ExecuteAsync("INSERT INTO money VALUES (1)", transaction: transaction),
            cancellationToken
        );

    private static async Task<long> MoneyAsync(DbDataSource database)
    {
        await using var connection = await database.OpenConnectionAsync(TestContext.Current.CancellationToken);
        return await connection.ExecuteScalarAsync<long>("SELECT count(*) FROM money");
    }

    private static InboxArrival Arrival(string order, string type)
    {
        var hash = SHA256.HashData(Encoding.UTF8.GetBytes($"{type}:{order}"));
        return new InboxArrival
        {
            Source = Source,
            Type = type,
            DedupeKey = $"{type}:{order}",
            OrderKey = order,
            BodyHash = hash,
            ContentHash = hash,
            Body = Encoding.UTF8.GetBytes("{}"),
            ReceivedAt = TimeProvider.System.GetUtcNow(),
        };
    }
}
