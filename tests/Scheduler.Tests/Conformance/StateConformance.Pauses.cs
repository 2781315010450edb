using Scheduler.Runs;

namespace Scheduler.Tests.Conformance;

/// <summary>Pauses of jobs.</summary>
public abstract partial class StateConformance
{
    [Fact]
    public async Task A_pause_lasts_for_the_group_until_it_is_ended_and_is_remembered()
    {
        Assert.Null(await _state.Pauses.ResumeAsync("settle", Cancel));
        var begun = await _state.Pauses.PauseAsync("settle", Cancel);
        Assert.Equal(("settle", null), (begun.Job, begun.Until));
        Assert.InRange((begun.Since - _fixture.StateClock).Duration(), TimeSpan.Zero, TimeSpan.FromSeconds(5));
        Assert.Equal(begun, await _state.Pauses.PauseAsync("settle", Cancel));
        Assert.Equal([begun], await PausesAsync());
        Assert.Empty(await PausesAsync(await OpenAsync("b")));

        var ended = (await _state.Pauses.ResumeAsync("settle", Cancel))!;
        Assert.Equal((begun.Since, true), (ended.Since, ended.Until >= begun.Since));
        Assert.Equal([ended], await PausesAsync(await OpenAsync("a")));
        Assert.Null(await _state.Pauses.ResumeAsync("settle", Cancel));
    }

    [Fact]
    public async Task Of_many_who_pause_at_once_one_begins()
    {
        var begun = await Task.WhenAll(Enumerable.Range(0, 16).Select(_ => _state.Pauses.PauseAsync("settle", Cancel).AsTask()));
        Assert.Single(begun.Distinct());
        Assert.Single(await PausesAsync());
    }

    [Fact]
    public async Task A_pause_that_ended_is_kept_until_every_schedule_is_settled_beyond_it()
    {
        var first = new ScheduleKey("settle", "nightly", "former");
        var newest = new ScheduleKey("settle", "nightly", "newest");
        var yesterday = _fixture.StateClock.AddDays(-1);
        await _state.Schedules.ObserveAsync([first], yesterday, Cancel);
        await _state.Schedules.ObserveAsync([newest], yesterday.AddMinutes(1), Cancel);
        await _state.Pauses.PauseAsync("settle", Cancel);
        await _state.Pauses.PauseAsync("report", Cancel);
        var ended = (await _state.Pauses.ResumeAsync("settle", Cancel))!;
        var later = _fixture.StateClock.AddDays(1);

        await _state.Runs.PruneAsync(later, 100, Cancel);
        Assert.Equal(["report", "settle"], (await PausesAsync()).Select(p => p.Job));

        await _state.Schedules.SettleAsync([new(newest, ended.Until!.Value)], Cancel);
        await _state.Runs.PruneAsync(ended.Until.Value.AddMinutes(-1), 100, Cancel);
        Assert.Equal(2, (await PausesAsync()).Count);
        await _state.Runs.PruneAsync(later, 100, Cancel);
        Assert.Equal(["report"], (await PausesAsync()).Select(p => p.Job));
    }

    private async Task<IReadOnlyList<JobPause>> PausesAsync(IState? state = null) =>
        (await (state ?? _state).Members.ListAsync(TimeSpan.FromSeconds(1), Cancel)).Pauses;
}
