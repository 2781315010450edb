using Scheduler.Inbox;
using Scheduler.Postgres.Signals;
using Scheduler.Postgres.State;
using Scheduler.Testing;
using Scheduler.Testing.Servers;

namespace Scheduler.Tests.Postgres;

/// <summary>Replicas hear at once that another one has stored something, and know when they do not.</summary>
public sealed class PostgresListenerTests : IAsyncLifetime
{
    private static readonly ListenerTimes Quick = new()
    {
        BetweenTests = TimeSpan.FromMilliseconds(200),
        Echo = TimeSpan.FromSeconds(1),
        FirstPause = TimeSpan.FromMilliseconds(50),
        LongestPause = TimeSpan.FromMilliseconds(200),
    };

    // For what has to be heard without a break, however busy the machine is.
    private static readonly ListenerTimes Patient = Quick with { Echo = TimeSpan.FromSeconds(15) };

    private PostgresDatabase _database = null!;

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync() => _database = await PostgresDatabase.CreateAsync();

    public ValueTask DisposeAsync() => _database.DisposeAsync();

    [Fact]
    public async Task A_signal_reaches_the_others_of_the_group_and_nobody_else()
    {
        var (one, heardByOne) = await ListeningAsync();
        var (_, heardByTwo) = await ListeningAsync();
        var (_, heardByOthers) = await ListeningAsync(group: "another");
        var (before, others) = (heardByOne.Count, heardByOthers.Count);
        var two = heardByTwo.Count;

        one.Send();

        await Eventually.Holds(() => heardByTwo.Count == two + 1);
        // Another signal behind it, so that what was not heard until then is not heard at all.
        one.Send();
        await Eventually.Holds(() => heardByTwo.Count == two + 2);
        // Itself it hears without the server, and once for each.
        Assert.Equal((before + 2, others), (heardByOne.Count, heardByOthers.Count));
    }

    [Fact]
    public async Task Many_signals_of_a_replica_are_at_most_one_in_ten_milliseconds()
    {
        var time = new FakeTime();
        var sent = 0;
        ValueTask Send(string channel, string payload, CancellationToken cancellationToken)
        {
            Interlocked.Increment(ref sent);
            return ValueTask.CompletedTask;
        }
        await using var listener = new PostgresListener(
            new StatePlace(_database.ConnectionString, "scheduler"),
            Quick,
            Send,
            time,
            _database.Log
        );
        var feed = new PostgresInboxFeed(listener, Send, "scheduler", "test", time);

        // The first at once; what comes within its ten milliseconds is one signal, at their end; and then there is nothing to tell.
        for (var round = 0; round < 3; round++)
        {
            feed.Send();
            await Eventually.Holds(() => Volatile.Read(ref sent) == (2 * round) + 1 && time.Waiting == 1);
            Parallel.For(0, 1_000, _ => feed.Send());
            time.Advance(TimeSpan.FromMilliseconds(9));
            Assert.Equal((2 * round) + 1, Volatile.Read(ref sent));
            time.Advance(TimeSpan.FromMilliseconds(1));
            await Eventually.Holds(() => Volatile.Read(ref sent) == (2 * round) + 2 && time.Waiting == 1);
            time.Advance(TimeSpan.FromMilliseconds(10));
            await Eventually.Holds(() => feed.IsQuiet);
            Assert.Equal((2 * round) + 2, Volatile.Read(ref sent));
        }
    }

    [Fact]
    public async Task A_listener_that_was_cut_off_looks_once_and_hears_again()
    {
        var (one, _) = await ListeningAsync();
        var (two, heard) = await ListeningAsync();
        var before = heard.Count;

        var cut = await _database.AskAsync<long>(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'scheduler listener' "
                + "AND datname = current_database()"
        );

        Assert.Equal(2, cut);
        // Once because nothing is heard any more, once because it is again.
        await Eventually.Holds(() => heard.Count >= before + 2 && one.IsHeard && two.IsHeard);
        var again = heard.Count;
        one.Send();
        await Eventually.Holds(() => heard.Count > again);
        Assert.NotEqual(0, _database.Log.Count(2206));
    }

    [Fact]
    public async Task A_listener_behind_a_proxy_that_pools_transactions_finds_that_it_hears_nothing_and_says_so()
    {
        await using var proxy = await PgBouncerServer.StartAsync(_database.ConnectionString);
        var through = proxy.Through(_database.ConnectionString);
        var deaf = _database.State(through, listening: through, times: Quick);
        await deaf.OpenAsync(Stop);
        await Eventually.Holds(() => _database.Log.Count(2206) > 0);
        Assert.False(deaf.InboxFeed!.IsHeard);
        Assert.Contains(
            _database.Log.Entries,
            e =>
                e.Id.Id == 2206
                && e.Message.Contains("Scheduler:State:ListenConnectionString has to lead to the same", StringComparison.Ordinal)
        );
        Assert.DoesNotContain(_database.Log.Entries, e => e.Message.Contains(PostgresServer.Password, StringComparison.Ordinal));

        // With a way of its own past the proxy it hears, whatever way the signals are sent.
        var (direct, heard) = await ListeningAsync(through);
        var before = heard.Count;
        deaf.InboxFeed.Send();
        await Eventually.Holds(() => heard.Count > before);
        Assert.True(direct.IsHeard);
        Assert.False(deaf.InboxFeed.IsHeard);
    }

    [Fact]
    public async Task A_server_that_stands_still_is_not_heard_until_it_goes_on()
    {
        await using var server = await PostgresServer.StartAsync("fsync=off");
        await using var database = await PostgresDatabase.CreateAsync(server);
        var state = database.State(listening: database.ConnectionString, times: Quick);
        await state.OpenAsync(Stop);
        await Eventually.Holds(() => state.InboxFeed!.IsHeard);
        server.Freeze();
        try
        {
            await Eventually.Holds(() => !state.InboxFeed!.IsHeard);
        }
        finally
        {
            server.Thaw();
        }
        await Eventually.Holds(() => state.InboxFeed!.IsHeard);
    }

    [Fact]
    public async Task Without_a_way_to_listen_there_is_no_feed()
    {
        Assert.Null((await _database.OpenAsync()).InboxFeed);
        Assert.Throws<ArgumentException>(() => _database.State(listening: "Host="));
    }

    private async Task<(PostgresInboxFeed Feed, Signals Heard)> ListeningAsync(string? connectionString = null, string group = "test")
    {
        var state = _database.State(connectionString, group, listening: _database.ConnectionString, times: Patient);
        var heard = new Signals(state.InboxFeed!);
        await state.OpenAsync(Stop);
        await Eventually.Holds(() => state.InboxFeed!.IsHeard);
        return ((PostgresInboxFeed)state.InboxFeed!, heard);
    }

    private sealed class Signals
    {
        private int _count;

        public Signals(IInboxFeed feed) => feed.Heard += () => Interlocked.Increment(ref _count);

        public int Count => Volatile.Read(ref _count);
    }
}
