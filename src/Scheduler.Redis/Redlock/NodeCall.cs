using StackExchange.Redis;

namespace Scheduler.Redis.Redlock;

/// <summary>
/// One operation on several nodes at once. Each answer is taken in under one lock, on the thread that brings it, and wakes the caller
/// only when it decides: no task and no timer per node. Answers of one node are taken in in the order in which they were asked for, as
/// the node gave them, whichever thread is the first to bring one. Thread-safe.
/// </summary>
internal abstract class NodeCall(RedlockNode[] nodes)
{
    private readonly Slot?[] _newest = new Slot?[nodes.Length];
    private TaskCompletionSource? _decided;
    private bool _sending;

    /// <summary>Everything that answers change is under this lock.</summary>
    protected Lock Gate { get; } = new();

    protected RedlockNode[] Nodes { get; } = nodes;

    /// <summary>More than half of the nodes.</summary>
    protected int Majority { get; } = (nodes.Length / 2) + 1;

    /// <summary>A majority that answered is enough now, although the others could still change the outcome.</summary>
    protected bool IsImpatient { get; private set; }

    /// <summary>Sends to nodes and waits until the answers decide, for the limit at most.</summary>
    /// <param name="send">Calls <see cref="Send"/> for each node concerned.</param>
    /// <param name="bounded">The clock.</param>
    /// <param name="limit">The longest wait.</param>
    /// <param name="patience">After this, <see cref="IsImpatient"/> is set.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <returns>Whether it is decided.</returns>
    protected async ValueTask<bool> AskAsync(
        Action<NodeCall> send,
        Bounded bounded,
        TimeSpan limit,
        TimeSpan? patience,
        CancellationToken cancellationToken
    )
    {
        Task decided;
        lock (Gate)
        {
            // Continued on the pool: what the caller does next keeps this lock while it sends, and the answers of other nodes wait for it.
            _decided = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            decided = _decided.Task;
            _sending = true;
            send(this);
            _sending = false;
            if (IsDecided())
            {
                return true;
            }
        }
        if (patience is { } short_ && short_ < limit)
        {
            if (await EndsAsync(decided, short_, bounded, cancellationToken))
            {
                return true;
            }
            lock (Gate)
            {
                IsImpatient = true;
                if (IsDecided())
                {
                    return true;
                }
            }
            limit -= short_;
        }
        return await EndsAsync(decided, limit, bounded, cancellationToken);
    }

    /// <summary>Sends to one node; under the lock.</summary>
    /// <param name="node">Which one.</param>
    /// <param name="script">The script.</param>
    /// <param name="keys">Its keys; not changed any more.</param>
    /// <param name="values">Its arguments; not changed any more.</param>
    /// <param name="isHarmless">Whether a node that does not know the script may be told it.</param>
    /// <param name="step">What <see cref="Take"/> is told of what the answer is to.</param>
    protected void Send(int node, RedisScript script, RedisKey[] keys, RedisValue[] values, bool isHarmless = true, Step step = default)
    {
        if (Nodes[node].Send(script, keys, values) is { } call)
        {
            var slot = new Slot(this, node, step, call, isHarmless ? new Repeat(script, keys, values) : null);
            slot.Follow(_newest[node]);
            _newest[node] = slot;
            slot.Listen();
        }
        else
        {
            Take(node, step, null, null);
        }
    }

    /// <summary>Takes in the answer of a node, or its error; neither means that nothing was sent. Under the lock.</summary>
    protected abstract void Take(int node, Step step, RedisResult? answer, Exception? error);

    /// <summary>Whether the caller need not wait any longer. Under the lock.</summary>
    protected abstract bool IsDecided();

    private static async ValueTask<bool> EndsAsync(Task decided, TimeSpan limit, Bounded bounded, CancellationToken cancellationToken)
    {
        try
        {
            await decided.WaitAsync(limit, bounded.Time, cancellationToken);
            return true;
        }
        catch (TimeoutException)
        {
            return false;
        }
    }

    private void Arrived(Slot slot)
    {
        Nodes[slot.Node].Answered();
        lock (Gate)
        {
            for (var next = slot.Arrive(); next is not null; next = next.Pass())
            {
                TakeIn(next.Node, next.Step, next.Call);
            }
            if (!_sending && IsDecided())
            {
                _decided?.TrySetResult();
            }
        }
    }

    private void TakeIn(int node, Step step, Task<RedisResult> call)
    {
        try
        {
            Take(
                node,
                step,
                call.IsCompletedSuccessfully ? call.Result : null,
                call.IsCompletedSuccessfully ? null : call.Exception?.InnerException ?? new TaskCanceledException(call)
            );
        }
#pragma warning disable CA1031 // A value that no scheduler wrote; nobody awaits this.
        catch (Exception unreadable)
#pragma warning restore CA1031
        {
            Take(node, step, null, unreadable);
        }
    }

    /// <summary>What was asked of a node; several may be under way at once.</summary>
    protected enum Step : byte
    {
        Ask = 0,
        GiveBack,
        Raise,
    }

    private sealed record Repeat(RedisScript Script, RedisKey[] Keys, RedisValue[] Values);

    /// <summary>Listens to one call, without a task of its own.</summary>
    private sealed class Slot(NodeCall owner, int node, Step step, Task<RedisResult> call, Repeat? repeat)
    {
        private Repeat? _repeat = repeat;
        private Slot? _next;
        private bool _isFirst = true;
        private bool _hasArrived;
        private bool _isPassed;

        public int Node => node;

        public Step Step => step;

        public Task<RedisResult> Call { get; private set; } = call;

        /// <summary>Comes behind another call to the same node. Under the lock.</summary>
        public void Follow(Slot? before)
        {
            if (before is { _isPassed: false })
            {
                (before._next, _isFirst) = (this, false);
            }
        }

        /// <summary>Is answered. Under the lock.</summary>
        /// <returns>Itself, if nothing that was asked before it is without an answer.</returns>
        public Slot? Arrive()
        {
            _hasArrived = true;
            return _isFirst ? this : null;
        }

        /// <summary>Is taken in. Under the lock.</summary>
        /// <returns>The one behind it, if that is answered.</returns>
        public Slot? Pass()
        {
            _isPassed = true;
            if (_next is { } next)
            {
                next._isFirst = true;
                return next._hasArrived ? next : null;
            }
            return null;
        }

        public void Listen()
        {
            if (Call.IsCompleted)
            {
                Done();
            }
            else
            {
                Call.ConfigureAwait(false).GetAwaiter().UnsafeOnCompleted(Done);
            }
        }

        private void Done()
        {
            if (_repeat is { } again && Call.Exception?.InnerException is RedisServerException e && RedisErrors.IsUnknownScript(e))
            {
                _repeat = null;
                Call = owner.Nodes[node].Connection.CallHarmlessAsync(again.Script, again.Keys, again.Values, CancellationToken.None);
                Listen();
                return;
            }
            owner.Arrived(this);
        }
    }
}
