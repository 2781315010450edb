using Microsoft.Extensions.Logging.Abstractions;
using Scheduler.Locking;
using Scheduler.Runs;
using Scheduler.Testing;
using Scheduler.Time;

namespace Scheduler.Tests.Runs;

/// <summary>The guard around a State that fails in every way a driver can.</summary>
public sealed class StateGuardTests : IAsyncDisposable
{
    private readonly ScriptedState _inner = new();
    private readonly StateGuard _guard;

    public StateGuardTests() =>
        _guard = new StateGuard(
            _inner,
            TimeSpan.FromMilliseconds(100),
            TimeSpan.FromMilliseconds(2),
            BootTimeProvider.Instance,
            NullLogger.Instance
        );

    public ValueTask DisposeAsync() => _guard.DisposeAsync();

    [Fact]
    public async Task ACancellationThatTheCallerDidNotAskForIsAnOutage()
    {
        await _guard.OpenAsync(CancellationToken.None);

        await Assert.ThrowsAsync<StateUnavailableException>(async () =>
            await CallAsync(() => throw new TaskCanceledException("the driver gave up"))
        );

        Assert.False(_guard.Health.IsUp);
        await Eventually.Holds(() => _guard.Health.IsUp);
    }

    [Fact]
    public async Task WhatACallThrowsBeforeItAwaitsIsAnOutageToo()
    {
        await _guard.OpenAsync(CancellationToken.None);

        await Assert.ThrowsAsync<StateUnavailableException>(async () =>
            await _guard.CallAsync<bool>((_, _) => throw new InvalidOperationException("closed"), CancellationToken.None)
        );
    }

    [Fact]
    public async Task ACallThatNeverAnswersEndsWithinItsLimit()
    {
        await _guard.OpenAsync(CancellationToken.None);
        var never = new TaskCompletionSource<bool>();

        await Assert.ThrowsAsync<StateUnavailableException>(async () => await CallAsync(() => never.Task));
    }

    [Theory]
    [InlineData(typeof(TaskCanceledException))]
    [InlineData(typeof(ArgumentException))]
    [InlineData(typeof(InvalidOperationException))]
    public async Task ProbesGoOnWhateverOpeningThrows(Type thrown)
    {
        var tries = 0;
        _inner.OnOpen = () =>
            Interlocked.Increment(ref tries) switch
            {
                1 => throw new StateUnavailableException("away"),
                < 4 => throw (Exception)Activator.CreateInstance(thrown)!,
                _ => Task.CompletedTask,
            };
        await _guard.OpenAsync(CancellationToken.None);

        await Eventually.Holds(() => _guard.Health.IsUp);

        Assert.Equal(4, Volatile.Read(ref tries));
    }

    [Fact]
    public async Task AFailureRightAfterItCameUpIsProbedAgain()
    {
        await _guard.OpenAsync(CancellationToken.None);
        // The failure comes as early as anybody can see that it is up: inside the announcement itself.
        var came = 0;
        _guard.CameUp += () =>
        {
            if (Interlocked.Increment(ref came) < 200)
            {
                Fail();
            }
        };

        Fail();

        await Eventually.Holds(() => Volatile.Read(ref came) == 200 && _guard.Health.IsUp);

        void Fail() =>
            _ = _guard
                .CallAsync<bool>((_, _) => ValueTask.FromException<bool>(new InvalidOperationException("again")), CancellationToken.None)
                .AsTask()
                .ContinueWith(t => t.Exception, TaskScheduler.Default);
    }

    [Fact]
    public async Task AFailureOfOneCallLeavesTheStateUp()
    {
        await _guard.OpenAsync(CancellationToken.None);

        await Assert.ThrowsAsync<StateUnavailableException>(async () =>
            await CallAsync(() => throw new StateUnavailableException("a row is locked", ofOneCall: true))
        );

        Assert.True(_guard.Health.IsUp);
    }

    [Fact]
    public async Task AnInboxCallThatTakesTooLongFailsAlone()
    {
        var time = new FakeTime();
        await using var guard = new StateGuard(_inner, TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(1), time, NullLogger.Instance);
        await guard.OpenAsync(CancellationToken.None);
        var never = new TaskCompletionSource<bool>();
        var call = guard.CallInboxAsync((_, _) => new ValueTask<bool>(never.Task), CancellationToken.None).AsTask();

        // What other calls may take.
        time.Advance(TimeSpan.FromSeconds(1));
        Assert.False(call.IsCompleted);
        time.Advance(StateGuard.InboxTimeout);

        await Assert.ThrowsAsync<StateUnavailableException>(() => call);
        Assert.True(guard.Health.IsUp);
    }

    private async Task CallAsync(Func<Task<bool>> call) => await _guard.CallAsync(async (_, _) => await call(), CancellationToken.None);

    private sealed class ScriptedState : IState
    {
        public Func<Task> OnOpen { get; set; } = () => Task.CompletedTask;

        public string Name => "scripted";

        public Level Level => Level.Correctness;

        public IRunLedger Runs => throw new NotSupportedException();

        public IRunEvents Events => throw new NotSupportedException();

        public IRunSkips Skips => throw new NotSupportedException();

        public IScheduleLedger Schedules => throw new NotSupportedException();

        public IMemberRegistry Members => throw new NotSupportedException();

        public IJobPauses Pauses => throw new NotSupportedException();

        public Scheduler.Auditing.IAuditTrail Audit => throw new NotSupportedException();

        public Scheduler.Inbox.IInbox Inbox => null!;

        public IPairLedger Pair => throw new NotSupportedException();

        public async ValueTask OpenAsync(CancellationToken cancellationToken) => await OnOpen();

        public ValueTask DisposeAsync() => ValueTask.CompletedTask;
    }
}
