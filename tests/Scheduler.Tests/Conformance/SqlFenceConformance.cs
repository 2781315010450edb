using Dapper;
using Scheduler.Locking;
using Scheduler.TestPeer;

namespace Scheduler.Tests.Conformance;

/// <summary>What fences do besides in databases that have transactions.</summary>
public abstract class SqlFenceConformance : FenceConformance
{
    private protected SqlPayouts Sql => (SqlPayouts)Payouts;

    /// <summary>Whether somebody waits for somebody else's transaction, where the database tells.</summary>
    protected virtual Task<bool> SomebodyWaitsAsync() => Task.FromResult(true);

    [Fact]
    public async Task While_the_older_one_is_in_its_transaction_the_newer_one_waits_and_reads_what_it_did()
    {
        await Payouts.PayAsync(Older - 1, resource: "others");
        await Sql.ExecuteAsync("DELETE FROM payouts");
        var pause = new Pause();
        var older = Task.Run(() => Payouts.PayAsync(Older, between: pause.WaitAsync), Stop);
        await pause.Reached;
        var newer = Task.Run(() => Payouts.PayAsync(Newer), Stop);
        await Testing.Eventually.Holds(SomebodyWaitsAsync, what: "the newer one waits");
        Assert.False(newer.IsCompleted);
        pause.End();

        Assert.Equal(1, await older.WaitAsync(Bound, Stop));
        Assert.Equal(0, await newer.WaitAsync(Bound, Stop));
        Assert.Equal([Older], await Payouts.PaidAsync());
    }

    /// <summary>The order that only a fence raised first survives: nobody has written yet when the older one is continued.</summary>
    [Fact]
    public async Task A_holder_that_was_stopped_is_refused_while_its_successor_is_between_look_and_payment()
    {
        await Payouts.PayAsync(Older - 1, resource: "others");
        await Sql.ExecuteAsync("DELETE FROM payouts");
        await using var older = await StopBetweenAsync("before");
        var pause = new Pause();
        var newer = Task.Run(() => Payouts.PayAsync(Newer, between: pause.WaitAsync), Stop);
        await pause.Reached;
        await older.SignalAsync("CONT");
        // It has said what became of it, or it waits for the newer one.
        var said = older.LineAsync();
        await Testing.Eventually.Holds(async () => said.IsCompleted || await SomebodyWaitsAsync(), what: "the older one went on");
        pause.End();

        Assert.Equal(1, await newer.WaitAsync(Bound, Stop));
        Assert.Equal($"stale {Payouts.Resource} {Payouts.Key} {Older} {Newer}", await said);
        Assert.Equal([Newer], await Payouts.PaidAsync());
    }

    /// <summary>The counter-example: why the fence is raised before anything is read.</summary>
    [Fact]
    public async Task Raised_at_the_end_instead_both_pay()
    {
        await Payouts.PayAsync(Older - 1, resource: "others");
        await Sql.ExecuteAsync("DELETE FROM payouts");
        var pause = new Pause();
        // The older one's token passes: the newer one has raised nothing yet when the older one gets to its end.
        var newer = Task.Run(() => Sql.PayWithTheFenceLastAsync(Newer, pause.WaitAsync), Stop);
        await pause.Reached;
        Assert.Equal(1, await Sql.PayWithTheFenceLastAsync(Older));
        pause.End();

        Assert.Equal(1, await newer.WaitAsync(Bound, Stop));
        Assert.Equal([Older, Newer], await Payouts.PaidAsync());
    }

    [Fact]
    public async Task The_work_of_a_stale_holder_does_not_begin()
    {
        await Payouts.PayAsync(Newer);
        var began = false;
        await Assert.ThrowsAsync<StaleLeaseException>(() =>
            Payouts.PayAsync(
                Older,
                between: () =>
                {
                    began = true;
                    return Task.CompletedTask;
                }
            )
        );
        Assert.False(began);
    }

    [Fact]
    public async Task Work_that_throws_leaves_neither_effect_nor_fence()
    {
        await Assert.ThrowsAsync<InvalidOperationException>(async () =>
            await Sql.FencedAsync<int>(
                Payouts.Resource,
                Payouts.Key,
                new FencingToken(Newer),
                async (connection, transaction, _) =>
                {
                    await connection.ExecuteAsync("INSERT INTO payouts VALUES (9)", transaction: transaction);
                    throw new InvalidOperationException("broken");
                },
                Stop
            )
        );
        Assert.Empty(await Payouts.PaidAsync());
        Assert.Equal(1, await Payouts.PayAsync(Older));
    }

    [Fact]
    public async Task Cancellation_rolls_back()
    {
        using var cancel = new CancellationTokenSource();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () =>
            await Sql.FencedAsync(
                Payouts.Resource,
                Payouts.Key,
                new FencingToken(Newer),
                async (connection, transaction, _) =>
                {
                    await connection.ExecuteAsync("INSERT INTO payouts VALUES (6)", transaction: transaction);
                    await cancel.CancelAsync();
                    return 1;
                },
                cancel.Token
            )
        );
        Assert.Empty(await Payouts.PaidAsync());
        Assert.Equal(1, await Payouts.PayAsync(Older));
    }

    /// <summary>A point at which work stands until the test lets it go on.</summary>
    private protected sealed class Pause
    {
        private readonly TaskCompletionSource _reached = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private readonly TaskCompletionSource _end = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public Task Reached => _reached.Task.WaitAsync(Bound, Stop);

        public Task WaitAsync()
        {
            _reached.TrySetResult();
            return _end.Task.WaitAsync(Bound, Stop);
        }

        public void End() => _end.SetResult();
    }
}
