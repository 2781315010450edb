using System.Collections.Concurrent;
using System.Reflection;
using Microsoft.Extensions.Logging.Abstractions;
using Scheduler.Inbox;
using Scheduler.Runs;
using Scheduler.Testing;
using Scheduler.Time;
using Scheduler.Webhooks.Processing;

namespace Scheduler.Tests.Webhooks;

/// <summary>Ends of attempts on their way into the inbox.</summary>
public sealed class EndWriterTests : IAsyncDisposable
{
    private readonly ScriptedEnds _inbox;
    private readonly StateGuard _state;
    private readonly EndWriter _writer;

    public EndWriterTests()
    {
        var inbox = DispatchProxy.Create<IInbox, ScriptedEnds>();
        _inbox = (ScriptedEnds)(object)inbox;
        var state = DispatchProxy.Create<IState, InboxWriterTests.ScriptedState>();
        ((InboxWriterTests.ScriptedState)(object)state).Inbox = inbox;
        _state = new StateGuard(
            state,
            TimeSpan.FromSeconds(2),
            TimeSpan.FromMilliseconds(20),
            BootTimeProvider.Instance,
            NullLogger.Instance
        );
        _writer = new EndWriter(_state);
    }

    public ValueTask DisposeAsync() => _state.DisposeAsync();

    [Fact]
    public async Task What_waits_while_a_commit_is_under_way_goes_together_into_the_next()
    {
        await _state.OpenAsync(CancellationToken.None);
        _inbox.Commit = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var first = _writer.WriteAsync(End("first"));
        // Alone and at once.
        Assert.Equal([1], _inbox.Groups);
        var crowd = Enumerable.Range(0, 600).Select(i => _writer.WriteAsync(End(i == 7 ? "old" : $"{i}"))).ToList();
        Assert.False(first.IsCompleted);
        _inbox.Commit.SetResult();

        Assert.True(await first);
        Assert.Equal([7], (await Task.WhenAll(crowd)).Index().Where(r => !r.Item).Select(r => r.Index));
        Assert.Equal([1, IInbox.MaxBatch, 600 - IInbox.MaxBatch], _inbox.Groups);
        Assert.True(await _writer.WriteAsync(End("last")));
    }

    [Fact]
    public async Task One_whose_row_is_locked_fails_alone()
    {
        await _state.OpenAsync(CancellationToken.None);
        _inbox.Commit = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var first = _writer.WriteAsync(End("first"));
        var group = new[] { "1", "locked", "2" }.Select(id => _writer.WriteAsync(End(id))).ToList();
        _inbox.Commit.SetResult();

        Assert.True(await first);
        Assert.True(await group[0]);
        Assert.True(await group[2]);
        Assert.True((await Assert.ThrowsAsync<StateUnavailableException>(() => group[1])).IsOfOneCall);
        Assert.True(_state.Health.IsUp);
        // What keeps the others' events does not fail for one either.
        await _writer.WriteAsync([End("1"), End("locked")]);
        Assert.Equal(1, _inbox.Groups.Last());
    }

    [Fact]
    public async Task While_the_state_is_away_each_is_told_once()
    {
        await _state.OpenAsync(CancellationToken.None);
        await Assert.ThrowsAsync<StateUnavailableException>(() => _writer.WriteAsync(End("away")));
        Assert.Single(_inbox.Groups);
        await Eventually.Holds(() => _state.Health.IsUp);
        Assert.True(await _writer.WriteAsync(End("1")));
    }

    private static InboxEnd End(string id) => new(id, 1, InboxState.Done);

    /// <summary>An inbox that takes ends and nothing else.</summary>
    public class ScriptedEnds : DispatchProxy
    {
        private readonly ConcurrentQueue<int> _groups = new();

        public IReadOnlyCollection<int> Groups => _groups;

        public TaskCompletionSource? Commit { get; set; }

        protected override object? Invoke(MethodInfo? targetMethod, object?[]? args) =>
            targetMethod!.Name == nameof(IInbox.FinishAsync)
                ? FinishAsync((IReadOnlyList<InboxEnd>)args![0]!)
                : throw new NotSupportedException(targetMethod.Name);

        private async ValueTask<IReadOnlyList<bool>> FinishAsync(IReadOnlyList<InboxEnd> ends)
        {
            _groups.Enqueue(ends.Count);
            await (Commit?.Task ?? Task.CompletedTask);
            return ends.Any(e => e.Id == "locked")
                    ? throw new StateUnavailableException("a row is locked", new InvalidOperationException("55P03"), ofOneCall: true)
                : ends.Any(e => e.Id == "away") ? throw new StateUnavailableException("away")
                : [.. ends.Select(e => e.Id != "old")];
        }
    }
}
