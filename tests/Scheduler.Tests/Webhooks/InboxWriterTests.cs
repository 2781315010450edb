using System.Collections.Concurrent;
using System.Reflection;
using System.Security.Cryptography;
using System.Text;
using Microsoft.Extensions.Logging.Abstractions;
using Scheduler.Inbox;
using Scheduler.Runs;
using Scheduler.Testing;
using Scheduler.Time;

namespace Scheduler.Tests.Webhooks;

/// <summary>Arrivals on their way into the inbox.</summary>
public sealed partial class InboxWriterTests : IAsyncDisposable
{
    private readonly ScriptedInbox _inbox = new();
    private readonly StateGuard _state;

    public InboxWriterTests()
    {
        var state = DispatchProxy.Create<IState, ScriptedState>();
        ((ScriptedState)(object)state).Inbox = _inbox;
        _state = new StateGuard(
            state,
            TimeSpan.FromSeconds(2),
            TimeSpan.FromMilliseconds(20),
            BootTimeProvider.Instance,
            NullLogger.Instance
        );
    }

    public ValueTask DisposeAsync() => _state.DisposeAsync();

    [Fact]
    public async Task What_waits_while_a_commit_is_under_way_goes_together_into_the_next()
    {
        await _state.OpenAsync(CancellationToken.None);
        var stored = 0;
        await using var writer = new InboxWriter(_state, () => Interlocked.Increment(ref stored));
        var commit = _inbox.Hold();
        // One for each of the two writers, and a crowd behind them.
        var first = writer.AddAsync(Arrival(0)).AsTask();
        await Eventually.Holds(() => _inbox.Groups.Count == 1);
        var second = writer.AddAsync(Arrival(1)).AsTask();
        await Eventually.Holds(() => _inbox.Groups.Count == 2);
        var crowd = Enumerable.Range(2, 100).Select(i => writer.AddAsync(Arrival(i)).AsTask()).ToList();
        commit.SetResult();

        var receipts = await Task.WhenAll([first, second, .. crowd]);
        Assert.All(receipts, r => Assert.Null(r.Refusal));
        Assert.Equal(Enumerable.Range(0, 102).Select(i => $"id-{i}"), receipts.Select(r => r.Answer.Id));
        Assert.InRange(_inbox.Groups.Count, 3, 4);
        Assert.Equal(102, _inbox.Groups.Sum());
        Assert.Equal(_inbox.Groups.Count, stored);
    }

    [Fact]
    public async Task What_is_known_first_is_answered_first()
    {
        await _state.OpenAsync(CancellationToken.None);
        var stored = 0;
        await using var writer = new InboxWriter(_state, () => Interlocked.Increment(ref stored));
        _inbox.AnswersEarly = true;
        var commit = _inbox.Hold();
        var answered = await writer.AddAsync(Arrival(1));
        Assert.Equal(("id-1", 1), (answered.Answer.Id, stored));
        commit.SetResult();
        Assert.Null((await writer.AddAsync(Arrival(2))).Refusal);
    }

    [Fact]
    public async Task More_than_may_wait_is_refused_at_once()
    {
        await _state.OpenAsync(CancellationToken.None);
        await using var writer = new InboxWriter(_state);
        var commit = _inbox.Hold();
        var taken = Enumerable.Range(0, InboxWriter.Capacity + 600).Select(i => writer.AddAsync(Arrival(i)).AsTask()).ToList();
        var refused = taken.Where(t => t.IsCompleted).Select(t => t.Result).ToList();
        Assert.NotEmpty(refused);
        Assert.All(refused, r => Assert.Contains("wait already", r.Refusal, StringComparison.Ordinal));
        commit.SetResult();
        await Task.WhenAll(taken);
        Assert.Null((await writer.AddAsync(Arrival(0))).Refusal);
    }

    [Fact]
    public async Task More_bytes_than_may_wait_are_refused_and_there_is_room_again()
    {
        await _state.OpenAsync(CancellationToken.None);
        await using var writer = new InboxWriter(_state);
        var commit = _inbox.Hold();
        var large = Arrival(0) with { Body = new byte[InboxWriter.CapacityBytes / 8] };
        var taken = Enumerable.Range(0, 9).Select(_ => writer.AddAsync(large).AsTask()).ToList();
        Assert.Contains("bytes wait already", (await taken[8]).Refusal, StringComparison.Ordinal);
        commit.SetResult();
        await Task.WhenAll(taken);
        await Eventually.Holds(async () => (await writer.AddAsync(large)).Refusal is null);
    }

    [Fact]
    public async Task What_the_state_does_not_answer_is_refused_and_so_is_everything_while_it_is_down()
    {
        await _state.OpenAsync(CancellationToken.None);
        await using var writer = new InboxWriter(_state);
        _inbox.Fails = true;
        Assert.NotNull((await writer.AddAsync(Arrival(0))).Refusal);
        _inbox.Fails = false;
        await Eventually.Holds(async () => (await writer.AddAsync(Arrival(1))).Refusal is null);
    }

    [Fact]
    public async Task An_arrival_that_cannot_be_kept_fails_alone()
    {
        await _state.OpenAsync(CancellationToken.None);
        await using var writer = new InboxWriter(_state);
        var commit = _inbox.Hold();
        var blockers = new[] { writer.AddAsync(Arrival(0)).AsTask(), writer.AddAsync(Arrival(1)).AsTask() };
        await Eventually.Holds(() => _inbox.Groups.Sum() == 2);
        var group = Enumerable
            .Range(2, 200)
            .Select(i => writer.AddAsync(Arrival(i) with { Source = i == 77 ? "wrong" : "payments" }).AsTask())
            .ToList();
        commit.SetResult();
        await Task.WhenAll([.. blockers, .. group]);
        Assert.Equal([75], Enumerable.Range(0, 200).Where(i => group[i].Result.Refusal is not null));
        // The group is halved until it stands alone.
        Assert.InRange(_inbox.Groups.Count, 3, 2 + 9);
    }

    [Fact]
    public async Task A_stop_finishes_what_was_taken_in_and_takes_nothing_more()
    {
        await _state.OpenAsync(CancellationToken.None);
        var writer = new InboxWriter(_state);
        var commit = _inbox.Hold();
        var taken = Enumerable.Range(0, 10).Select(i => writer.AddAsync(Arrival(i)).AsTask()).ToList();
        var stopped = writer.DisposeAsync().AsTask();
        Assert.NotNull((await writer.AddAsync(Arrival(11))).Refusal);
        Assert.False(stopped.IsCompleted);
        commit.SetResult();
        await stopped;
        Assert.All(await Task.WhenAll(taken), r => Assert.Null(r.Refusal));
    }

    private static InboxArrival Arrival(int number) =>
        new()
        {
            Source = "payments",
            DedupeKey = $"id-{number}",
            OrderKey = "1",
            BodyHash = SHA256.HashData(Encoding.UTF8.GetBytes($"{number}")),
            ContentHash = SHA256.HashData(Encoding.UTF8.GetBytes($"{number}")),
            Body = new byte[10],
            ReceivedAt = DateTimeOffset.UnixEpoch,
        };

    /// <summary>A State that opens and has nothing but an inbox.</summary>
    public class ScriptedState : DispatchProxy
    {
        public IInbox? Inbox { get; set; }

        protected override object? Invoke(MethodInfo? targetMethod, object?[]? args) =>
            targetMethod!.Name switch
            {
                "get_Inbox" => Inbox,
                "get_Name" => "scripted",
                nameof(IState.OpenAsync) or nameof(IAsyncDisposable.DisposeAsync) => ValueTask.CompletedTask,
                _ => throw new NotSupportedException(targetMethod.Name),
            };
    }

    private sealed class ScriptedInbox : IInbox
    {
        private readonly ConcurrentQueue<int> _groups = new();
        private volatile TaskCompletionSource? _hold;
        private Action? _late;

        public ConcurrentQueue<int> Groups => _groups;

        public bool Fails { get; set; }

        public bool AnswersEarly { get; set; }

        /// <summary>Lets the first of the next group be answered when the call has ended, by what is returned.</summary>
        public Action AnswersLate()
        {
            _late = static () => throw new InvalidOperationException("Nothing was added.");
            return () => _late();
        }

        public TaskCompletionSource Hold() => _hold = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);

        public async ValueTask<IReadOnlyList<InboxAnswer>> AddAsync(
            IReadOnlyList<InboxArrival> arrivals,
            Action<int, InboxAnswer>? answered,
            CancellationToken cancellationToken
        )
        {
            if (arrivals.Any(a => a.Source == "wrong"))
            {
                throw new ArgumentException("No State keeps this.", nameof(arrivals));
            }
            _groups.Enqueue(arrivals.Count);
            if (_late is not null)
            {
                _late = () => answered!(0, AnswerTo(arrivals[0]));
            }
            if (AnswersEarly)
            {
                answered!(0, AnswerTo(arrivals[0]));
            }
            await (_hold?.Task ?? Task.CompletedTask);
            return Fails ? throw new StateUnavailableException("away") : [.. arrivals.Select(AnswerTo)];
        }

        private static InboxAnswer AnswerTo(InboxArrival arrival) =>
            arrival.Taking is { } taking
                ? new InboxAnswer(
                    InboxOutcome.Stored,
                    arrival.DedupeKey!,
                    InboxState.Processing,
                    InboxRules.TakenOf(arrival, taking, arrival.DedupeKey!, 1, DateTimeOffset.UnixEpoch)
                )
                : new InboxAnswer(InboxOutcome.Stored, arrival.DedupeKey!, arrival.State);

        public ValueTask<IReadOnlyList<InboxClaim>> ClaimAsync(InboxClaimRequest request, CancellationToken cancellationToken) =>
            throw new NotSupportedException();

        public ValueTask<IReadOnlyList<bool>> FinishAsync(IReadOnlyList<InboxEnd> ends, CancellationToken cancellationToken) =>
            throw new NotSupportedException();

        public ValueTask<InboxEvent?> FindAsync(string id, CancellationToken cancellationToken) => throw new NotSupportedException();

        public ValueTask<InboxPage> ListAsync(InboxQuery query, CancellationToken cancellationToken) => throw new NotSupportedException();

        public ValueTask<int> ReplayAsync(IReadOnlyList<string> ids, bool force, CancellationToken cancellationToken) =>
            throw new NotSupportedException();

        public ValueTask<bool> FinishWithinAsync(
            System.Data.Common.DbTransaction transaction,
            InboxEnd end,
            CancellationToken cancellationToken
        ) => throw new NotSupportedException();

        public ValueTask<int> IgnoreAsync(IReadOnlyList<string> ids, CancellationToken cancellationToken) =>
            throw new NotSupportedException();

        public ValueTask<IReadOnlyList<InboxCounts>> CountAsync(IReadOnlyList<string> sources, CancellationToken cancellationToken) =>
            throw new NotSupportedException();

        public ValueTask<InboxChange> ResolveAsync(string id, bool accept, CancellationToken cancellationToken) =>
            throw new NotSupportedException();

        public ValueTask<InboxBody?> ReadAsync(string id, CancellationToken cancellationToken) => throw new NotSupportedException();

        public ValueTask<InboxReceived> ReceiveAsync(string id, InboxArrival arrival, CancellationToken cancellationToken) =>
            throw new NotSupportedException();

        public ValueTask<int> DropBodiesAsync(DateTimeOffset finishedBefore, int limit, CancellationToken cancellationToken) =>
            throw new NotSupportedException();

        public ValueTask<int> DropDeadBodiesAsync(DateTimeOffset receivedBefore, int limit, CancellationToken cancellationToken) =>
            throw new NotSupportedException();

        public ValueTask<int> DeleteAsync(string source, DateTimeOffset finishedBefore, int limit, CancellationToken cancellationToken) =>
            throw new NotSupportedException();

        public ValueTask<int> DropQuarantinedAsync(string source, int keep, int limit, CancellationToken cancellationToken) =>
            throw new NotSupportedException();
    }

    /// <summary>A processor that has some places and handles nothing.</summary>
    private sealed class Taker(int free) : IInboxTaker
    {
        private int _free = free;

        public ConcurrentQueue<InboxClaim> Taken { get; } = new();

        public int Free => Volatile.Read(ref _free);

        public int Reserve(int most)
        {
            lock (Taken)
            {
                var taken = Math.Min(most, Free);
                Interlocked.Add(ref _free, -taken);
                return taken;
            }
        }

        public void Return(int places) => Interlocked.Add(ref _free, places);

        public InboxTaking TakingOf(string source) => new("a", TimeSpan.FromSeconds(1), GoesOn: false);

        public void Take(InboxClaim claim) => Taken.Enqueue(claim);
    }
}
