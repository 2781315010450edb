using System.Threading.Channels;
using Scheduler.Runs;

namespace Scheduler.Inbox;

/// <summary>What the writer made of an arrival: an answer from a committed row, or why there is none.</summary>
/// <param name="Answer">The answer.</param>
/// <param name="Refusal">Why nothing is known to be stored: the sender is to send it again. Without secrets.</param>
public readonly record struct InboxReceipt(InboxAnswer Answer, string? Refusal);

/// <summary>
/// Stores arrivals in groups: what waits while a commit is under way goes together into the next one. Bounded in number and bytes.
/// Thread-safe.
/// </summary>
public sealed class InboxWriter : IAsyncDisposable
{
    /// <summary>How many arrivals may wait.</summary>
    public const int Capacity = 4_096;

    /// <summary>How many bytes of bodies may wait.</summary>
    public const long CapacityBytes = 64L * 1024 * 1024;

    // While one commits the other one's group gathers; more only make the groups smaller.
    private const int Writers = 2;
    private const int LargestGroup = 256;
    private const long LargestGroupBytes = 4L * 1024 * 1024;

    // What a stop waits for what was taken in; each group has the State's own limit besides.
    private static readonly TimeSpan LastWrites = TimeSpan.FromSeconds(10);

    private readonly StateGuard _state;
    private readonly Action? _stored;
    private readonly IInboxTaker? _taker;
    private readonly Channel<Waiting> _queue = Channel.CreateBounded<Waiting>(Capacity);
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _writers;
    private long _bytes;

    /// <summary>Starts the writers.</summary>
    /// <param name="state">Where it is stored.</param>
    /// <param name="stored">Called after a commit that stored something which waits to be taken; returns at once and never throws.</param>
    /// <param name="taker">Takes what it has places for as it is stored.</param>
    public InboxWriter(StateGuard state, Action? stored = null, IInboxTaker? taker = null)
    {
        (_state, _stored, _taker) = (state, stored, taker);
        _writers = Task.WhenAll(Enumerable.Range(0, Writers).Select(_ => Task.Run(WriteAsync)));
    }

    /// <summary>Stores an arrival. Never throws for what the State does; an arrival that was taken in is answered, whatever becomes of who
    /// waits for it.</summary>
    public ValueTask<InboxReceipt> AddAsync(InboxArrival arrival)
    {
        ArgumentNullException.ThrowIfNull(arrival);
        if (_state.Health is { IsUp: false, Reason: var reason })
        {
            return new(Refused($"the State is down: {reason}"));
        }
        if (Interlocked.Add(ref _bytes, arrival.Body.Length) > CapacityBytes)
        {
            Interlocked.Add(ref _bytes, -arrival.Body.Length);
            return new(Refused($"{CapacityBytes} bytes wait already"));
        }
        var waiting = new Waiting(arrival);
        if (!_queue.Writer.TryWrite(waiting))
        {
            Interlocked.Add(ref _bytes, -arrival.Body.Length);
            return new(Refused(_queue.Reader.Completion.IsCompleted ? "the replica stops" : $"{Capacity} events wait already"));
        }
        return new(waiting.Task);
    }

    /// <summary>Takes nothing more, stores what was taken in, and ends the writers, within 10 s.</summary>
    public async ValueTask DisposeAsync()
    {
        if (!_queue.Writer.TryComplete())
        {
            return;
        }
        _stop.CancelAfter(LastWrites);
        await _writers;
        _stop.Dispose();
    }

    private static InboxReceipt Refused(string reason) => new(default, reason);

    private async Task WriteAsync()
    {
        var group = new List<Waiting>();
        while (await _queue.Reader.WaitToReadAsync())
        {
            var bytes = 0L;
            while (group.Count < LargestGroup && bytes < LargestGroupBytes && _queue.Reader.TryRead(out var next))
            {
                group.Add(next);
                bytes += next.Arrival.Body.Length;
            }
            if (group.Count > 0)
            {
                await StoreAsync(group);
                Interlocked.Add(ref _bytes, -bytes);
                group.Clear();
            }
        }
    }

    private async ValueTask StoreAsync(List<Waiting> group)
    {
        var places = new Places(_taker, group);
        try
        {
            var arrivals = group.ConvertAll(w => places.Offer(w.Arrival));
            var (waiting, isTold) = (group.ToArray(), false);
            var answers = await _state.CallInboxAsync((inbox, token) => inbox.AddAsync(arrivals, Answer, token), _stop.Token);
            for (var i = 0; i < answers.Count; i++)
            {
                Answer(i, answers[i]);
            }

            // Those that are stored do not wait for what others contradict.
            void Answer(int i, InboxAnswer answer)
            {
                if (waiting[i].TrySetResult(new InboxReceipt(answer, null)) && answer.Taken is { } taken)
                {
                    places.Take(taken, waiting[i].Arrival);
                }
                if (!isTold && answer is { Outcome: InboxOutcome.Stored, State: InboxState.Received })
                {
                    isTold = true;
                    _stored?.Invoke();
                }
            }
        }
        catch (ArgumentException) when (group.Count > 1)
        {
            // One of them cannot be kept; it fails alone.
            var half = group.Count / 2;
            await StoreAsync(group.GetRange(0, half));
            await StoreAsync(group.GetRange(half, group.Count - half));
        }
#pragma warning disable CA1031 // Whatever happened, nothing is known to be stored, and whoever waits is told.
        catch (Exception problem)
#pragma warning restore CA1031
        {
            foreach (var one in group)
            {
                one.TrySetResult(Refused(problem is StateUnavailableException ? problem.Message : Verdict.Describe(problem)));
            }
        }
        finally
        {
            places.Close();
        }
    }

    /// <summary>The taker's places for one group. Thread-safe: a call may answer while it is given up, and then finds them closed. What it
    /// stored is taken by nobody, and due again when its time is over.</summary>
    private sealed class Places
    {
        private readonly Lock _gate = new();
        private readonly IInboxTaker? _taker;
        private int _offered;
        private int _free;

        public Places(IInboxTaker? taker, List<Waiting> group)
        {
            _taker = taker;
            var most = taker is null ? 0 : group.Count(w => w.Arrival.State == InboxState.Received);
            _offered = _free = most == 0 ? 0 : taker!.Reserve(most);
        }

        /// <summary>Offers the next place to an arrival.</summary>
        public InboxArrival Offer(InboxArrival arrival)
        {
            if (_offered == 0 || arrival.State != InboxState.Received)
            {
                return arrival;
            }
            _offered--;
            return arrival with { Taking = _taker!.TakingOf(arrival.Source) };
        }

        public void Take(InboxEvent taken, InboxArrival arrival)
        {
            lock (_gate)
            {
                if (_free == 0)
                {
                    return;
                }
                _free--;
            }
            _taker!.Take(new InboxClaim(taken, InboxRules.BytesOf(arrival.Body)));
        }

        public void Close()
        {
            int left;
            lock (_gate)
            {
                (left, _free) = (_free, 0);
            }
            if (left > 0)
            {
                _taker!.Return(left);
            }
        }
    }

    /// <summary>Continues whoever waits on the pool, not in the writer.</summary>
    private sealed class Waiting(InboxArrival arrival)
        : TaskCompletionSource<InboxReceipt>(TaskCreationOptions.RunContinuationsAsynchronously)
    {
        public InboxArrival Arrival { get; } = arrival;
    }
}
