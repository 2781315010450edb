using Microsoft.Extensions.Logging.Abstractions;
using Scheduler.Hosting;
using Scheduler.Leases;
using Scheduler.Locking;
using Scheduler.Locking.InMemory;
using Scheduler.Runs;
using Scheduler.Sqlite.State;
using Scheduler.Testing;
using Scheduler.Tests.Jobs;
using Scheduler.Time;

namespace Scheduler.Tests.Runs;

/// <summary>What a pipeline leaves in the history beside the attempts, on a real State.</summary>
public sealed class RunEventsTests : IAsyncLifetime
{
    private static readonly LockKey Key = LockKey.From("job:test");
    private static readonly Occurrence Due = new("test", "trigger", DateTimeOffset.UnixEpoch);

    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("run-events-");
    private readonly LeaseOptions _options = new()
    {
        LeaseDuration = TimeSpan.FromSeconds(2),
        ProbeInterval = TimeSpan.FromMilliseconds(20),
    };
    private readonly ReplicaIdentity _replica = ReplicaIdentity.Create("one");
    private readonly StateFaults _faults = new();
    private LockProvider _locks = null!;
    private StateGuard _state = null!;
    private RunPipeline _pipeline = null!;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        var context = new BackendContext("test", _replica, _options, BootTimeProvider.Instance, NullLoggerFactory.Instance);
        var state = new FaultyState(new SqliteState(context, $"Data Source={_folder.FullName}/state.db"), _faults);
        _state = new StateGuard(state, TimeSpan.FromSeconds(5), _options.ProbeInterval, context.Time, NullLogger.Instance);
        await _state.OpenAsync(Cancel);
        _locks = new LockProvider(new InMemoryLeaseStore(new InMemoryLeaseServer(), "test"), _options, _replica, context.Time);
        _pipeline = RunPipeline.Create(_locks, _state, _replica, _options, context.Time, NullLoggerFactory.Instance);
    }

    public async ValueTask DisposeAsync()
    {
        await _pipeline.DisposeAsync();
        await _locks.DisposeAsync();
        await _state.DisposeAsync();
        _folder.Delete(recursive: true);
    }

    [Fact]
    public async Task A_lease_that_is_lost_under_a_body_and_its_refused_end_are_told()
    {
        var id = "";
        await _pipeline.ExecuteAsync(
            Fire(),
            async run =>
            {
                id = run.Id;
                await LoseAsync(run);
                // While the body still runs.
                await Eventually.Holds(async () => (await EventsAsync(run.Id)).Count == 2);
                await ClaimAsync(run.Id, run.Token.Value + 1_000);
                throw new InvalidOperationException("too late");
            },
            Cancel
        );

        await Eventually.Holds(async () => (await EventsAsync(id)).Count == 4);
        var told = await EventsAsync(id);
        Assert.Equal(
            [RunEventKind.Claimed, RunEventKind.Lost, RunEventKind.TakenOver, RunEventKind.Refused],
            told.OrderBy(e => e.Kind == RunEventKind.Refused).Select(e => e.Kind)
        );
        Assert.Equal("The lock was released by force.", told.Single(e => e.Kind == RunEventKind.Lost).Detail);
        var refused = told.Single(e => e.Kind == RunEventKind.Refused);
        Assert.Equal("interrupted: The lease was lost.", refused.Detail);
        Assert.Equal((1, _replica.Id, told[0].Token), (refused.Attempt, refused.Replica, refused.Token));
    }

    [Fact]
    public async Task A_run_that_is_closed_after_a_crash_tells_who_closed_it()
    {
        var claim = await _state.CallAsync((s, t) => s.Runs.ClaimAsync(Request(Due, null, 1), t), Cancel);
        var run = Assert.IsType<ClaimResult.Claimed>(claim).Run;

        var result = await _pipeline.ExecuteAsync(Fire() with { RunId = run.Id, OnCrash = OnCrash.Leave }, Unreached, Cancel);

        Assert.IsType<FireResult.Skipped>(result);
        await Eventually.Holds(async () => (await EventsAsync(run.Id)).Count == 2);
        var closed = (await EventsAsync(run.Id)).Single(e => e.Kind == RunEventKind.Closed);
        Assert.Equal((1, _replica.Id), (closed.Attempt, closed.Replica));
        Assert.True(closed.Token > run.Token);
        Assert.Contains("OnCrash.Leave", closed.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_happens_while_the_State_is_away_is_written_when_it_is_back()
    {
        var id = "";
        await _pipeline.ExecuteAsync(
            Fire(),
            async run =>
            {
                id = run.Id;
                _faults.Away = true;
                await LoseAsync(run);
                await Eventually.Holds(() => !_state.Health.IsUp);
                _faults.Away = false;
                await Eventually.Holds(async () => _state.Health.IsUp && (await EventsAsync(run.Id)).Count == 2);
            },
            Cancel
        );
        // Once, although the loss shows to the callback and to the verdict.
        Assert.Single(await EventsAsync(id), e => e.Kind == RunEventKind.Lost);
    }

    [Fact]
    public async Task A_run_that_goes_well_writes_no_event()
    {
        await _pipeline.ExecuteAsync(Fire(), _ => ValueTask.CompletedTask, Cancel);
        await _pipeline.DisposeAsync();
        var run = (await _state.CallAsync((s, t) => s.Runs.ListAsync(new RunQuery(), t), Cancel)).Items[0];
        Assert.Empty(await _state.CallAsync((s, t) => s.Events.ListAsync(run.Id, t), Cancel));
        Assert.Equal([RunEventKind.Claimed, RunEventKind.Completed], (await EventsAsync(run.Id)).Select(e => e.Kind));
    }

    [Fact]
    public async Task Fires_that_do_nothing_are_counted_by_reason()
    {
        await _pipeline.ExecuteAsync(
            Fire(),
            async _ => Assert.IsType<FireResult.Skipped>(await _pipeline.ExecuteAsync(Fire(), Unreached, Cancel)),
            Cancel
        );
        await _pipeline.ExecuteAsync(Fire(), Unreached, Cancel);
        await _pipeline.ExecuteAsync(Fire(), Unreached, Cancel);
        _pipeline.BeginStop();
        await _pipeline.ExecuteAsync(Fire(), Unreached, Cancel);
        await _pipeline.DisposeAsync();

        var counts = (await _state.CallAsync((s, t) => s.Skips.ListAsync(new SkipQuery(), t), Cancel)).Items;
        Assert.All(counts, c => Assert.Equal(("test", _replica.Id), (c.Job, c.Replica)));
        // A minute may have begun in between.
        Assert.Equal(
            [(SkipReason.Held, 1), (SkipReason.Recorded, 2), (SkipReason.Stopping, 1)],
            counts.GroupBy(c => c.Reason).Select(g => (g.Key, g.Sum(c => c.Count))).Order()
        );
    }

    private static ValueTask Unreached(IRun run) => throw new InvalidOperationException("No body may run.");

    private async Task LoseAsync(IRun run)
    {
        var lost = new TaskCompletionSource();
        run.Lost.Register(lost.SetResult);
        await _locks.RevokeAsync(Key);
        await lost.Task.WaitAsync(Eventually.DefaultBound);
    }

    private async Task<IReadOnlyList<RunEvent>> EventsAsync(string id)
    {
        var found = (await _state.CallAsync((s, t) => s.Runs.FindAsync(id, t), Cancel))!;
        return RunStory.Of(found, await _state.CallAsync((s, t) => s.Events.ListAsync(id, t), Cancel));
    }

    private async Task ClaimAsync(string id, long token) =>
        Assert.IsType<ClaimResult.Claimed>(await _state.CallAsync((s, t) => s.Runs.ClaimAsync(Request(null, id, token), t), Cancel));

    private static ClaimRequest Request(Occurrence? occurrence, string? id, long token) =>
        new()
        {
            Occurrence = occurrence,
            RunId = id,
            LockKey = Key,
            Token = new FencingToken(token),
            Replica = "other",
            Now = TimeProvider.System.GetUtcNow(),
        };

    private static FireRequest Fire() =>
        new()
        {
            Occurrence = Due,
            LockKey = Key,
            Cancel = () => { },
        };
}
