using System.Globalization;
using Scheduler.Locking;
using StackExchange.Redis;

namespace Scheduler.Redis.Batching;

/// <summary>
/// Takes keys on the node that was checked and ends grants, several with one call: first what ends, then what is taken. Thread-safe.
/// </summary>
internal sealed class GrantCalls
{
    private const int Fixed = 2;
    private const int BeforeAcquires = 4;

    private readonly RedisConnection _connection;
    private readonly RedisNames _names;
    private readonly Batcher _batcher;
    private volatile CheckedNode? _checked;

    public GrantCalls(RedisConnection connection, RedisNames names)
    {
        (_connection, _names) = (connection, names);
        _batcher = new Batcher(SendAsync);
    }

    /// <summary>The node may grant.</summary>
    public void Allow(CheckedNode node) => _checked = node;

    /// <summary>Asks for a key; the task does not fail.</summary>
    public Task<AcquireResult> TakeAsync(AcquireRequest request)
    {
        var operation = new AcquireOperation(_names, request);
        return _batcher.TryAdd(operation) ? operation.Task : Task.FromResult<AcquireResult>(new AcquireResult.Unavailable(TooMany()));
    }

    /// <summary>Ends a grant.</summary>
    /// <exception cref="StoreUnavailableException">There was no answer, or too much waits.</exception>
    public Task<ReleaseResult> EndAsync(LockKey key, LeaseOwner owner)
    {
        var operation = new ReleaseOperation(_names, key, owner);
        return _batcher.TryAdd(operation) ? operation.Task : Task.FromException<ReleaseResult>(new StoreUnavailableException(TooMany()));
    }

    private async Task SendAsync(Operation[] batch)
    {
        var releases = Array.FindAll(batch, o => o is ReleaseOperation);
        var acquires = Array.FindAll(batch, o => o is AcquireOperation);
        if (acquires.Length > 0)
        {
            releases = await TakeAsync(releases, acquires) ? [] : releases;
        }
        if (releases.Length > 0)
        {
            await EndAsync(releases);
        }
    }

    /// <summary>Takes keys, and ends grants on the way.</summary>
    /// <returns>Whether the grants are ended. The script refuses before it does anything; ending needs no check.</returns>
    private async Task<bool> TakeAsync(Operation[] releases, Operation[] acquires)
    {
        if (_checked is not { } node || node.Epoch != _connection.Epoch)
        {
            AnswerAll(
                acquires,
                new AcquireResult.Unavailable($"Redis at {_connection.Endpoint} must be checked first: it may have been replaced.")
            );
            return false;
        }
        try
        {
            var keys = new RedisKey[Fixed + releases.Length + acquires.Length];
            var values = new RedisValue[Fixed + 1 + (2 * releases.Length) + (3 * acquires.Length)];
            (keys[0], keys[1], values[0], values[1]) = (_names.Counter, _names.Node, node.RunId, releases.Length);
            WriteReleases(releases, keys.AsSpan(Fixed), values.AsSpan(Fixed));
            WriteAcquires(acquires, keys.AsSpan(Fixed + releases.Length), values.AsSpan(Fixed + 1 + (2 * releases.Length)));
            var reply = (RedisResult[])(await _connection.CallInlineAsync(node.Acquire, keys, values))!;
            var granted = new AcquireResult.Granted((long)reply[1], RedisTime.FromMicroseconds((long)reply[0]));
            AnswerReleases(releases, (string)reply[2]!);
            var answered = reply.Length - BeforeAcquires;
            for (var i = 0; i < answered; i++)
            {
                ((AcquireOperation)acquires[i]).Answer(ReadAcquire((RedisValue)reply[BeforeAcquires + i], granted));
            }
            if (answered < acquires.Length)
            {
                AnswerAll(acquires[answered..], Refused((string)reply[3]!, node));
            }
            return true;
        }
        catch (RedisServerException exception)
        {
            AnswerAll(acquires, Refused(exception.Message, node));
        }
        catch (Exception exception)
        {
            var translated = _connection.Translate(exception);
            AnswerAll(
                acquires,
                new AcquireResult.Unavailable(translated.Message, !RedisConnection.IsCertainlyNotDone(exception), translated)
            );
        }
        return false;
    }

    private async Task EndAsync(Operation[] releases)
    {
        try
        {
            var keys = new RedisKey[releases.Length];
            var values = new RedisValue[1 + (2 * releases.Length)];
            WriteReleases(releases, keys, values);
            AnswerReleases(releases, (string)(await EndAsync(keys, values))!);
        }
        catch (Exception exception)
        {
            var translated = _connection.Translate(exception);
            Array.ForEach(releases, release => release.Fail(translated));
        }
    }

    private async ValueTask<RedisResult> EndAsync(RedisKey[] keys, RedisValue[] values)
    {
        try
        {
            return await _connection.CallInlineAsync(RedisScript.Release, keys, values);
        }
        catch (RedisServerException unknown) when (RedisErrors.IsUnknownScript(unknown))
        {
            return await _connection.CallHarmlessAsync(RedisScript.Release, keys, values, CancellationToken.None);
        }
    }

    private void WriteReleases(Operation[] releases, Span<RedisKey> keys, Span<RedisValue> values)
    {
        values[0] = _names.ReleasedChannel;
        for (var i = 0; i < releases.Length; i++)
        {
            var release = (ReleaseOperation)releases[i];
            (keys[i], values[(2 * i) + 1], values[(2 * i) + 2]) = (release.Key, release.Owner, release.Name);
        }
    }

    private static void WriteAcquires(Operation[] acquires, Span<RedisKey> keys, Span<RedisValue> values)
    {
        for (var i = 0; i < acquires.Length; i++)
        {
            var acquire = (AcquireOperation)acquires[i];
            (keys[i], values[3 * i], values[(3 * i) + 1], values[(3 * i) + 2]) = (
                acquire.Key,
                acquire.Owner,
                acquire.Purpose,
                acquire.Milliseconds
            );
        }
    }

    private static void AnswerReleases(Operation[] releases, string outcomes)
    {
        for (var i = 0; i < releases.Length; i++)
        {
            ((ReleaseOperation)releases[i]).Answer(new ReleaseResult(Released: outcomes[i] != '0', Contended: outcomes[i] == '2'));
        }
    }

    private AcquireResult ReadAcquire(RedisValue reply, AcquireResult.Granted granted)
    {
        if (reply.IsInteger)
        {
            return granted;
        }
        var text = (string)reply!;
        var end = text.IndexOf('\n', StringComparison.Ordinal);
        if (end < 0)
        {
            var error = _connection.Errors.Translate(text);
            return new AcquireResult.Unavailable(error.Message, OutcomeUnknown: false, error);
        }
        try
        {
            var held = LockValue.Parse(text[(end + 1)..]);
            var left = long.Parse(text.AsSpan(0, end), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture);
            return new AcquireResult.Held(held.Holder, held.Purpose, RedisTime.Remaining(left));
        }
        catch (FormatException exception)
        {
            var translated = _connection.Translate(exception);
            return new AcquireResult.Unavailable(translated.Message, OutcomeUnknown: false, translated);
        }
    }

    // Whatever it says (an unknown script, a missing marker, a replica, no memory): look again before asking again.
    private AcquireResult.Unavailable Refused(string answer, CheckedNode node)
    {
        Interlocked.CompareExchange(ref _checked, null, node);
        var translated = _connection.Errors.Translate(answer);
        return new AcquireResult.Unavailable(translated.Message, OutcomeUnknown: false, translated);
    }

    private static void AnswerAll(Operation[] acquires, AcquireResult answer) =>
        Array.ForEach(acquires, acquire => ((AcquireOperation)acquire).Answer(answer));

    private string TooMany() => $"{Batcher.QueueLimit} operations wait for Redis at {_connection.Endpoint} already.";
}
