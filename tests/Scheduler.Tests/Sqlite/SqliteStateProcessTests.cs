using System.Globalization;
using System.Text.RegularExpressions;
using Scheduler.Runs;
using Scheduler.Sqlite.State;

namespace Scheduler.Tests.Sqlite;

/// <summary>The SQLite State between real processes.</summary>
public sealed partial class SqliteStateProcessTests : IAsyncDisposable
{
    private readonly StateFolder _files = new();

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    private string LockFile => _files.File + ".lock";

    public ValueTask DisposeAsync() => _files.DisposeAsync();

    [Fact]
    public async Task A_process_that_is_stopped_while_it_writes_ends_calls_in_time_and_leaks_no_threads()
    {
        var state = await _files.OpenAsync();
        await state.Runs.ClaimAsync(StateFolder.Claim(0), Stop);
        await using var peer = Peer.Start("state-write", _files.File, "test");
        Assert.Equal("writing", await peer.LineAsync());
        await peer.SignalAsync("STOP");

        var late = Enumerable.Range(1, 20).Select(i => state.Runs.ClaimAsync(StateFolder.Claim(i), Stop).AsTask()).ToList();
        await LockWaiters.BecomeAsync(LockFile, 1);
        Assert.All(late, call => Assert.False(call.IsCompleted));
        _files.Time.Advance(TimeSpan.FromSeconds(5));
        foreach (var call in late)
        {
            AssertBlamesTheLock(await Assert.ThrowsAsync<StateUnavailableException>(() => call));
        }
        Assert.Equal(1, _files.Log.Count(2152));
        Assert.Single((await state.Runs.ListAsync(new RunQuery(), Stop)).Items);

        var other = _files.State();
        for (var i = 0; i < 4; i++)
        {
            var opening = other.OpenAsync(Stop).AsTask();
            await LockWaiters.BecomeAsync(LockFile, 2);
            _files.Time.Advance(TimeSpan.FromSeconds(5));
            AssertBlamesTheLock(await Assert.ThrowsAsync<StateUnavailableException>(() => opening));
        }
        Assert.Equal(2, await LockWaiters.CountAsync(LockFile));

        await peer.SignalAsync("CONT");
        await peer.GoAsync();
        Assert.Equal("written", await peer.LineAsync());

        await other.OpenAsync(Stop);
        Assert.IsType<ClaimResult.Claimed>(await state.Runs.ClaimAsync(StateFolder.Claim(30), Stop));
        Assert.IsType<ClaimResult.Claimed>(await other.Runs.ClaimAsync(StateFolder.Claim(31), Stop));
        // Who was told that there is no answer is not acted for afterwards.
        Assert.Equal(3, _files.Runs());
        Assert.Equal(0, await LockWaiters.CountAsync(LockFile));
        Assert.InRange(_files.Log.Count(2151), 1, 2);
    }

    [Fact]
    public async Task A_State_can_be_closed_while_another_process_is_stopped_and_lets_go_later()
    {
        var state = await _files.OpenAsync();
        await using var peer = Peer.Start("state-write", _files.File, "test");
        Assert.Equal("writing", await peer.LineAsync());
        await peer.SignalAsync("STOP");
        using var cancel = new CancellationTokenSource();
        var call = state.Runs.ClaimAsync(StateFolder.Claim(0), cancel.Token).AsTask();
        await LockWaiters.BecomeAsync(LockFile, 1);
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => call);

        await state.DisposeAsync().AsTask().WaitAsync(TimeSpan.FromSeconds(10), Stop);
        Assert.Equal(1, _files.Log.Count(2155));

        await peer.KillAsync();
        await LockWaiters.BecomeAsync(LockFile, 0);
        Assert.Equal(0, _files.Runs());
        Assert.IsType<ClaimResult.Claimed>(await (await _files.OpenAsync()).Runs.ClaimAsync(StateFolder.Claim(0), Stop));
    }

    [Fact]
    public async Task Three_processes_write_at_once_without_an_error_and_every_row_is_right()
    {
        const int Callers = 8;
        const int Cycles = 160;
        string[] names = ["one", "two", "three"];
        var peers = names.Select(n => Peer.Start("state-stress", _files.File, "test", n, $"{Callers}", $"{Cycles}")).ToList();
        try
        {
            foreach (var peer in peers)
            {
                Assert.Equal("ready", await peer.LineAsync());
            }
            await Task.WhenAll(peers.Select(p => p.GoAsync()));
            var lines = await Task.WhenAll(peers.Select(p => p.LineAsync(TimeSpan.FromMinutes(2))));
            var (claimed, recorded) = (0, 0);
            foreach (var line in lines)
            {
                TestContext.Current.TestOutputHelper!.WriteLine(line);
                var result = FinishedLine().Match(line);
                Assert.True(result.Success, line);
                Assert.Equal("0", result.Groups["errors"].Value);
                claimed += int.Parse(result.Groups["claimed"].Value, CultureInfo.InvariantCulture);
                recorded += int.Parse(result.Groups["recorded"].Value, CultureInfo.InvariantCulture);
            }
            const int Shared = Callers * Cycles / 8;
            const int Own = (Callers * Cycles) - Shared;
            Assert.Equal(((3 * Own) + Shared, 2 * Shared), (claimed, recorded));
        }
        finally
        {
            foreach (var peer in peers)
            {
                await peer.DisposeAsync();
            }
        }

        var rows = _files.Query<(string Trigger, long Rows, long Times, string State, long Attempts)>(
            """
            SELECT r.trigger_name, count(*), count(DISTINCT r.scheduled_at), group_concat(DISTINCT r.state || r.attempt), count(a.outcome)
            FROM runs r LEFT JOIN run_attempts a
              ON a.group_name = r.group_name AND a.run_id = r.id AND a.replica = r.replica AND a.outcome = 'succeeded'
            GROUP BY r.trigger_name ORDER BY r.trigger_name
            """
        );
        Assert.Equal(
            [
                ("one", 1120, 1120, "succeeded1", 1120),
                ("shared", 160, 160, "succeeded1", 160),
                ("three", 1120, 1120, "succeeded1", 1120),
                ("two", 1120, 1120, "succeeded1", 1120),
            ],
            rows
        );
        Assert.Equal("ok", _files.Query<string>("PRAGMA integrity_check")[0]);
    }

    [Theory]
    [InlineData(1, 200)]
    [InlineData(64, 3_200)]
    public async Task Claims_and_completions_per_second(int callers, int total)
    {
        var state = await _files.OpenAsync(TimeProvider.System);
        var start = TimeProvider.System.GetTimestamp();
        await Task.WhenAll(Enumerable.Range(0, callers).Select(c => Task.Run(() => CallAsync(state, c), Stop)));
        var elapsed = TimeProvider.System.GetElapsedTime(start);

        Assert.Equal(total, _files.Query<long>("SELECT count(*) FROM runs WHERE state = 'succeeded'")[0]);
        TestContext.Current.TestOutputHelper!.WriteLine(
            $"{callers} at once: {total / elapsed.TotalSeconds:0} claims with completions per second"
        );

        async Task CallAsync(SqliteState state, int caller)
        {
            for (var i = 0; i < total / callers; i++)
            {
                var claimed = await state.Runs.ClaimAsync(StateFolder.Claim(i, trigger: $"t{caller}"), Stop);
                var run = Assert.IsType<ClaimResult.Claimed>(claimed).Run;
                Assert.Equal(CompletionResult.Accepted, await state.Runs.CompleteAsync(StateFolder.Succeeded(run), Stop));
            }
        }
    }

    private void AssertBlamesTheLock(StateUnavailableException problem)
    {
        Assert.False(problem.IsPermanent);
        Assert.Contains($"'{LockFile}'", problem.Message, StringComparison.Ordinal);
        Assert.Contains("'lslocks'", problem.Message, StringComparison.Ordinal);
    }

    [GeneratedRegex(
        @"^errors (?<errors>\d+) claimed (?<claimed>\d+) recorded (?<recorded>\d+) ",
        RegexOptions.CultureInvariant | RegexOptions.ExplicitCapture,
        1_000
    )]
    private static partial Regex FinishedLine();
}
