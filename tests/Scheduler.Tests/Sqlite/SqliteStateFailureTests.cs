using Dapper;
using Microsoft.Data.Sqlite;
using Scheduler.Runs;
using Scheduler.Sqlite.State;
using Scheduler.Testing;

namespace Scheduler.Tests.Sqlite;

/// <summary>What becomes of calls while the SQLite State cannot do them.</summary>
public sealed class SqliteStateFailureTests : IAsyncDisposable
{
    private static readonly TimeSpan Bound = TimeSpan.FromSeconds(20);
    private readonly StateFolder _files = new();

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    public ValueTask DisposeAsync() => _files.DisposeAsync();

    [Fact]
    public async Task A_full_disk_is_named_loses_nothing_and_is_over_when_there_is_space()
    {
        var state = await _files.OpenAsync();
        var limit = 20 + await state.Database.WriteAsync(c => c.ExecuteScalar<long>("PRAGMA page_count"), Stop);
        var data = new string('x', 30_000);
        var (accepted, refused) = (0, new List<StateUnavailableException>());
        for (var i = 0; i < 12; i++)
        {
            // For each call: the limit is one of the connection, and a failure brings a fresh one.
            await state.Database.WriteAsync(c => c.Execute($"PRAGMA max_page_count = {limit}"), Stop);
            try
            {
                await state.Runs.ClaimAsync(StateFolder.Claim(i) with { Data = data }, Stop);
                accepted++;
            }
            catch (StateUnavailableException problem)
            {
                refused.Add(problem);
            }
        }

        Assert.InRange(accepted, 1, 3);
        Assert.Equal(12 - accepted, refused.Count);
        Assert.All(
            refused,
            problem =>
            {
                Assert.False(problem.IsPermanent);
                Assert.Contains("the disk is full. Free space on the file system of", problem.Message, StringComparison.Ordinal);
                Assert.Contains($"'{_files.File}'", problem.Message, StringComparison.Ordinal);
            }
        );
        Assert.Equal(accepted, _files.Runs());
        Assert.Equal(refused.Count, _files.Log.Count(2153));

        await state.Database.WriteAsync(c => c.Execute("PRAGMA max_page_count = 1000000"), Stop);
        var told = _files.Log.Count(2154);
        for (var i = 0; i < 12; i++)
        {
            await state.Runs.ClaimAsync(StateFolder.Claim(i) with { Data = data }, Stop);
        }
        Assert.Equal(12, _files.Runs());
        Assert.Equal((refused.Count, refused.Count), (told, _files.Log.Count(2154)));
    }

    [Fact]
    public async Task A_batch_that_SQLite_rolls_back_by_itself_fails_for_the_first_reason()
    {
        var state = await _files.OpenAsync();
        var (gate, held) = await HoldWriterAsync(state);
        var one = state.Runs.ClaimAsync(StateFolder.Claim(0), Stop).AsTask();
        // As SQLite does at a full disk: the transaction is gone, and the reason is that the disk is full.
        var two = state
            .Database.WriteAsync<int>(
                c =>
                {
                    c.Execute("ROLLBACK TRANSACTION");
                    throw new SqliteException("database or disk is full", 13);
                },
                Stop
            )
            .AsTask();
        gate.Set();
        await held;

        foreach (var call in (Task[])[one, two])
        {
            var problem = await Assert.ThrowsAsync<StateUnavailableException>(() => call.WaitAsync(Bound, Stop));
            Assert.Contains("the disk is full", problem.Message, StringComparison.Ordinal);
        }
        Assert.Equal(0, _files.Runs());
        Assert.IsType<ClaimResult.Claimed>(await state.Runs.ClaimAsync(StateFolder.Claim(0), Stop));
    }

    [Fact]
    public async Task A_call_that_fails_fails_alone_in_its_commit()
    {
        var state = await _files.OpenAsync();
        var (gate, held) = await HoldWriterAsync(state);
        var good = new List<Task<ClaimResult>>();
        var bad = new List<Task<int>>();
        for (var i = 0; i < 10; i++)
        {
            good.Add(state.Runs.ClaimAsync(StateFolder.Claim(i), Stop).AsTask());
            var trigger = $"bad{i}";
            bad.Add(
                state
                    .Database.WriteAsync(
                        c =>
                        {
                            c.Execute("UPDATE runs SET trigger_name = @trigger", new { trigger });
                            return c.Execute("INSERT INTO runs (id) VALUES ('half')");
                        },
                        Stop
                    )
                    .AsTask()
            );
        }
        gate.Set();
        await held;

        Assert.All(await Task.WhenAll(good).WaitAsync(Bound, Stop), result => Assert.IsType<ClaimResult.Claimed>(result));
        foreach (var call in bad)
        {
            var problem = await Assert.ThrowsAsync<StateUnavailableException>(() => call);
            Assert.Contains("NOT NULL", problem.Message, StringComparison.Ordinal);
        }
        Assert.Equal([("nightly", 10L)], _files.Query<(string, long)>("SELECT trigger_name, count(*) FROM runs GROUP BY trigger_name"));
    }

    [Fact]
    public async Task Who_gives_up_a_call_leaves_word_of_what_the_file_s_thread_did_meanwhile()
    {
        var state = await _files.OpenAsync();
        var (gate, held) = await HoldWriterAsync(state);
        using var cancel = new CancellationTokenSource();
        using var early = new CancellationTokenSource();
        var call = state.Runs.ClaimAsync(StateFolder.Claim(0), cancel.Token).AsTask();
        var soon = state.Runs.ClaimAsync(StateFolder.Claim(1), early.Token).AsTask();
        await early.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => soon);
        Assert.Equal(0, _files.Log.Count(2156));

        _files.Time.Advance(TimeSpan.FromSeconds(0.8));
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => call);
        Assert.Contains(
            "Its thread works for 0.8 s",
            Assert.Single(_files.Log.Entries, e => e.Id.Id == 2156).Message,
            StringComparison.Ordinal
        );

        gate.Set();
        await held;
    }

    [Fact]
    public async Task A_call_too_many_is_refused_at_once_and_those_that_wait_are_done()
    {
        var state = await _files.OpenAsync();
        var (gate, held) = await HoldWriterAsync(state);
        var waiting = Enumerable.Range(0, StateDatabase.QueueLimit).Select(i => state.Database.WriteAsync(_ => i, Stop).AsTask()).ToList();

        var problem = await Assert.ThrowsAsync<StateUnavailableException>(() => state.Database.WriteAsync(_ => 0, Stop).AsTask());
        Assert.Contains($"{StateDatabase.QueueLimit} calls wait for the State '{_files.File}'", problem.Message, StringComparison.Ordinal);
        Assert.False(problem.IsPermanent);
        Assert.Empty((await state.Runs.ListAsync(new RunQuery(), Stop)).Items);

        gate.Set();
        await held;
        Assert.Equal(Enumerable.Range(0, StateDatabase.QueueLimit), await Task.WhenAll(waiting).WaitAsync(Bound, Stop));
        Assert.IsType<ClaimResult.Claimed>(await state.Runs.ClaimAsync(StateFolder.Claim(0), Stop));
    }

    [Fact]
    public async Task A_call_without_an_answer_ends_after_5_s_and_is_not_done_afterwards()
    {
        var state = await _files.OpenAsync();
        var (gate, held) = await HoldWriterAsync(state);
        using var cancel = new CancellationTokenSource();
        var late = state.Runs.ClaimAsync(StateFolder.Claim(0), Stop).AsTask();
        var cancelled = state.Runs.ClaimAsync(StateFolder.Claim(1), cancel.Token).AsTask();
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => cancelled);

        _files.Time.Advance(TimeSpan.FromSeconds(5) - TimeSpan.FromTicks(1));
        Assert.False(late.IsCompleted);
        _files.Time.Advance(TimeSpan.FromTicks(1));
        var problem = await Assert.ThrowsAsync<StateUnavailableException>(() => late.WaitAsync(Bound, Stop));
        Assert.Contains($"'{_files.File}' did not answer within 5 s", problem.Message, StringComparison.Ordinal);
        Assert.Contains("disk under", problem.Message, StringComparison.Ordinal);

        gate.Set();
        await Assert.ThrowsAsync<StateUnavailableException>(() => held);
        Assert.IsType<ClaimResult.Claimed>(await state.Runs.ClaimAsync(StateFolder.Claim(2), Stop));
        Assert.Equal(1, _files.Runs());
    }

    [Fact]
    public async Task Closing_under_load_answers_each_call_and_keeps_what_it_said()
    {
        var state = await _files.OpenAsync();
        var begun = 0;
        var callers = Enumerable
            .Range(0, 16)
            .Select(c =>
                Task.Run(
                    async () =>
                    {
                        for (var done = 0; ; done++)
                        {
                            try
                            {
                                var claim = StateFolder.Claim(done, trigger: $"t{c}");
                                Assert.IsType<ClaimResult.Claimed>(await state.Runs.ClaimAsync(claim, Stop));
                                Interlocked.Increment(ref begun);
                            }
                            catch (StateUnavailableException closed)
                            {
                                Assert.Contains("is closed already", closed.Message, StringComparison.Ordinal);
                                return done;
                            }
                        }
                    },
                    Stop
                )
            )
            .ToList();
        await Eventually.Holds(() => Volatile.Read(ref begun) > 50);

        await state.DisposeAsync();
        await state.DisposeAsync();

        var claimed = await Task.WhenAll(callers).WaitAsync(Bound, Stop);
        Assert.Equal(claimed.Sum(), _files.Runs());
        await Assert.ThrowsAsync<ObjectDisposedException>(() => state.OpenAsync(Stop).AsTask());
        Assert.False(File.Exists(_files.File + "-wal"));
    }

    [Fact]
    public async Task A_State_that_was_not_opened_says_so()
    {
        var problem = await Assert.ThrowsAsync<StateUnavailableException>(() =>
            _files.State().Runs.OpenRunsAsync(new OpenRunsQuery(DateTimeOffset.UnixEpoch), Stop).AsTask()
        );
        Assert.Contains($"'{_files.File}' is not open", problem.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Fences_go_after_seven_idle_days_unless_a_run_is_open_under_them()
    {
        var state = await _files.OpenAsync();
        await CompletedAsync(state, 0, "job:old");
        await CompletedAsync(state, 1, "job:fresh");
        await state.Runs.ClaimAsync(StateFolder.Claim(2, key: Locking.LockKey.From("job:running")), Stop);
        var now = DateTimeOffset.FromUnixTimeMilliseconds(_files.Query<long>("SELECT max(raised_at) FROM fences")[0]);
        var eightDays = (long)TimeSpan.FromDays(8).TotalMilliseconds;
        await state.Database.WriteAsync(
            c => c.Execute($"UPDATE fences SET raised_at = raised_at - {eightDays} WHERE resource <> 'job:fresh'"),
            Stop
        );

        await state.Runs.PruneAsync(now, 100, Stop);

        Assert.Equal(["job:fresh", "job:running"], _files.Query<string>("SELECT resource FROM fences ORDER BY resource"));
        Assert.IsType<ClaimResult.Claimed>(
            await state.Runs.ClaimAsync(StateFolder.Claim(3, token: 2, key: Locking.LockKey.From("job:old")), Stop)
        );
        Assert.IsType<ClaimResult.Stale>(
            await state.Runs.ClaimAsync(StateFolder.Claim(4, token: 1, key: Locking.LockKey.From("job:old")), Stop)
        );
    }

    private static async Task CompletedAsync(SqliteState state, int minute, string key)
    {
        var claimed = await state.Runs.ClaimAsync(StateFolder.Claim(minute, key: Locking.LockKey.From(key)), Stop);
        await state.Runs.CompleteAsync(StateFolder.Succeeded(Assert.IsType<ClaimResult.Claimed>(claimed).Run), Stop);
    }

    // The writer stands in a call until the gate opens; what is called meanwhile goes into one commit after it.
    private static async Task<(ManualResetEventSlim Gate, Task Held)> HoldWriterAsync(SqliteState state)
    {
        var gate = new ManualResetEventSlim();
        var entered = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var held = state
            .Database.WriteAsync(
                _ =>
                {
                    entered.SetResult();
                    return gate.Wait(Bound);
                },
                Stop
            )
            .AsTask();
        await entered.Task.WaitAsync(Bound, Stop);
        return (gate, held);
    }
}
