using Microsoft.Extensions.Logging.Abstractions;
using Scheduler.Hosting;
using Scheduler.Locking;
using Scheduler.Runs;
using Scheduler.Sqlite.State;
using Scheduler.Testing;
using Scheduler.Tests.Jobs;
using Scheduler.Time;

namespace Scheduler.Tests.Runs;

/// <summary>Skips are added up in memory and written once a minute, on a real State under a clock of the test's own.</summary>
public sealed class SkipCounterTests : IAsyncLifetime
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("skips-");
    private readonly FakeTime _time = new();
    private readonly LogCapture _log = new();
    private readonly StateFaults _faults = new();
    private readonly ReplicaIdentity _replica = ReplicaIdentity.Create("one");
    private StateGuard _state = null!;
    private SkipCounter _counter = null!;
    private SqliteState _records = null!;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        var context = new BackendContext("test", _replica, new LeaseOptions(), BootTimeProvider.Instance, NullLoggerFactory.Instance);
        // Asked by the test itself beside the guard, so that what goes through it is what the counter writes.
        _records = new SqliteState(context, $"Data Source={_folder.FullName}/state.db");
        var state = new FaultyState(_records, _faults);
        _state = new StateGuard(state, TimeSpan.FromSeconds(5), TimeSpan.FromMilliseconds(20), context.Time, NullLogger.Instance);
        await _state.OpenAsync(Cancel);
        _counter = new SkipCounter(_state, _replica, _time, _log.CreateLogger("skips"));
    }

    public async ValueTask DisposeAsync()
    {
        await _counter.DisposeAsync();
        await _state.DisposeAsync();
        _folder.Delete(recursive: true);
    }

    [Fact]
    public async Task Skips_of_a_minute_are_one_row_and_a_minute_without_any_writes_nothing()
    {
        await PassAsync();
        Assert.Equal(0, _faults.SkipCalls);
        for (var i = 0; i < 3; i++)
        {
            _counter.Add("a", SkipReason.Held);
        }
        _counter.Add("a", SkipReason.Recorded);
        var minute = Minute();
        await PassAsync();

        await Eventually.Holds(async () => (await ListAsync()).Count == 2);
        Assert.Equal(
            [(minute, "a", SkipReason.Recorded, 1), (minute, "a", SkipReason.Held, 3)],
            (await ListAsync()).Select(c => (c.Minute, c.Job, c.Reason, c.Count))
        );
        Assert.All(await ListAsync(), c => Assert.Equal(_replica.Id, c.Replica));
        var writes = _faults.SkipCalls;
        await PassAsync();
        await PassAsync();
        Assert.Equal(writes, _faults.SkipCalls);
    }

    [Fact]
    public async Task The_end_writes_what_the_current_minute_has()
    {
        _counter.Add("a", SkipReason.Stopping);
        await _counter.DisposeAsync();
        Assert.Equal((SkipReason.Stopping, 1), ((await ListAsync())[0].Reason, (await ListAsync())[0].Count));
    }

    [Fact]
    public async Task What_a_State_that_is_away_did_not_take_is_written_with_the_next_minute()
    {
        _counter.Add("a", SkipReason.Held);
        _faults.Away = true;
        await PassAsync();
        await Eventually.Holds(() => !_state.Health.IsUp);
        _faults.Away = false;
        await Eventually.Holds(() => _state.Health.IsUp);
        _counter.Add("a", SkipReason.Held);
        await PassAsync();
        await Eventually.Holds(async () => (await ListAsync()).Count == 2);
    }

    [Fact]
    public async Task Memory_is_bounded()
    {
        for (var i = 0; i <= SkipCounter.Capacity; i++)
        {
            _counter.Add($"job-{i}", SkipReason.Held);
        }
        _counter.Add("job-0", SkipReason.Held);
        await _counter.DisposeAsync();
        Assert.StartsWith("1 skips", _log.Entries.Single(e => e.Id.Id == 1115).Message, StringComparison.Ordinal);
        Assert.Equal(2, (await _records.Skips.ListAsync(new SkipQuery("job-0"), Cancel)).Items.Single().Count);
        Assert.Empty((await _records.Skips.ListAsync(new SkipQuery($"job-{SkipCounter.Capacity}"), Cancel)).Items);
    }

    private DateTimeOffset Minute() => DateTimeOffset.FromUnixTimeSeconds(_time.GetUtcNow().ToUnixTimeSeconds() / 60 * 60);

    // Until the counter waits for the next minute.
    private async Task PassAsync()
    {
        await Eventually.Holds(() => _time.Waiting > 0);
        _time.Advance(SkipCounter.Interval);
        await Eventually.Holds(() => _time.Waiting > 0);
    }

    private async Task<IReadOnlyList<SkipCount>> ListAsync() => (await _records.Skips.ListAsync(new SkipQuery(), Cancel)).Items;
}
