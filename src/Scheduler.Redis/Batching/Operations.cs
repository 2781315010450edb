using Scheduler.Locking;
using StackExchange.Redis;

namespace Scheduler.Redis.Batching;

/// <summary>One operation that waits for its answer, which is set once and then delivered once.</summary>
internal abstract class Operation
{
    private protected Exception? Error { get; private set; }

    /// <summary>Sets an error for an answer.</summary>
    public void Fail(Exception error) => Error = error;

    /// <summary>Gives the caller the answer and runs what waits for it.</summary>
    public abstract void Deliver();
}

/// <summary>An operation with an answer of some kind.</summary>
internal abstract class Operation<T> : Operation
{
    // Continuations run where the answer is delivered, which nobody else needs.
    private readonly TaskCompletionSource<T> _source = new();
    private T? _answer;

    public Task<T> Task => _source.Task;

    /// <summary>Sets the answer.</summary>
    public void Answer(T answer) => _answer = answer;

    /// <inheritdoc/>
    public override void Deliver()
    {
        if (Error is null)
        {
            _source.SetResult(_answer!);
        }
        else
        {
            _source.SetException(Error);
        }
    }
}

/// <summary>Asks for a key. What goes to the server is made by the caller's thread; the thread that sends only copies it.</summary>
internal sealed class AcquireOperation(RedisNames names, AcquireRequest request) : Operation<AcquireResult>
{
    public RedisKey Key { get; } = names.Lock(request.Key.Value);

    public RedisValue Owner { get; } = request.Owner.ToString();

    public RedisValue Purpose { get; } = request.Purpose;

    public RedisValue Milliseconds { get; } = (long)request.Duration.TotalMilliseconds;
}

/// <summary>Ends a grant.</summary>
internal sealed class ReleaseOperation(RedisNames names, LockKey key, LeaseOwner owner) : Operation<ReleaseResult>
{
    public RedisKey Key { get; } = names.Lock(key.Value);

    public RedisValue Owner { get; } = owner.ToString();

    public RedisValue Name { get; } = key.Value;
}
