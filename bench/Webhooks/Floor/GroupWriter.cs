using System.Threading.Channels;

namespace Scheduler.Bench.Webhooks.Floor;

/// <summary>A group commit by hand: what waits while a commit is under way goes together into the next one. Thread-safe.</summary>
internal sealed class GroupWriter
{
    private const int Capacity = 4_096;
    private const int LargestGroup = 500;

    private readonly Channel<Waiting> _queue = Channel.CreateBounded<Waiting>(Capacity);

    /// <summary>Stores an event with others.</summary>
    public async ValueTask<bool> AddAsync(RawEvent received)
    {
        var waiting = new Waiting(received);
        await _queue.Writer.WriteAsync(waiting);
        return await waiting.Task;
    }

    /// <summary>One writer, until the process ends.</summary>
    /// <param name="storeAsync">Stores a group in one commit and gives the keys that were new.</param>
    public async Task WriteAsync(Func<IReadOnlyList<RawEvent>, ValueTask<HashSet<string>>> storeAsync)
    {
        while (await _queue.Reader.WaitToReadAsync())
        {
            var group = Next();
            try
            {
                End(group, await storeAsync([.. group.Select(w => w.Received)]));
            }
            catch (Exception problem)
            {
                group.ForEach(w => w.TrySetException(problem));
            }
        }
    }

    /// <summary>The same on the calling thread, for a database that blocks.</summary>
    public void Write(Func<IReadOnlyList<RawEvent>, HashSet<string>> store)
    {
        while (_queue.Reader.WaitToReadAsync().AsTask().GetAwaiter().GetResult())
        {
            var group = Next();
            try
            {
                End(group, store([.. group.Select(w => w.Received)]));
            }
            catch (Exception problem)
            {
                group.ForEach(w => w.TrySetException(problem));
            }
        }
    }

    private List<Waiting> Next()
    {
        var group = new List<Waiting>();
        while (group.Count < LargestGroup && _queue.Reader.TryRead(out var next))
        {
            group.Add(next);
        }
        return group;
    }

    // Of copies in a group the first is new.
    private static void End(List<Waiting> group, HashSet<string> stored) =>
        group.ForEach(w => w.TrySetResult(stored.Remove(w.Received.Key)));

    private sealed class Waiting(RawEvent received) : TaskCompletionSource<bool>(TaskCreationOptions.RunContinuationsAsynchronously)
    {
        public RawEvent Received => received;
    }
}
