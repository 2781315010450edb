using StackExchange.Redis;

namespace Scheduler.Redis.Redlock;

/// <summary>
/// One operation on several nodes at once. Each answer is taken in under one lock, on the thread that brings it, and wakes the caller
/// only when it decides: no task and no timer per node. Thread-safe.
/// </summary>
internal abstract class NodeCall(RedlockNode[] nodes)
{
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
            // Continued on the pool: a caller that blocks must not hold up the answers to others.
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
            new Slot(this, node, step, call, isHarmless ? new Repeat(script, keys, values) : null).Listen();
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

    private void Arrived(int node, Step step, Task<RedisResult> call)
    {
        Nodes[node].Answered();
        lock (Gate)
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
            if (!_sending && IsDecided())
            {
                _decided?.TrySetResult();
            }
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
        private Task<RedisResult> _call = call;
        private Repeat? _repeat = repeat;

        public void Listen()
        {
            if (_call.IsCompleted)
            {
                Done();
            }
            else
            {
                _call.ConfigureAwait(false).GetAwaiter().UnsafeOnCompleted(Done);
            }
        }

        private void Done()
        {
            if (_repeat is { } again && _call.Exception?.InnerException is RedisServerException e && RedisErrors.IsUnknownScript(e))
            {
                _repeat = null;
                _call = owner.Nodes[node].Connection.CallHarmlessAsync(again.Script, again.Keys, again.Values, CancellationToken.None);
                Listen();
                return;
            }
            owner.Arrived(node, step, _call);
        }
    }
}
