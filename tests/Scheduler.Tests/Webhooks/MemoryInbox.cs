using System.Collections.Concurrent;
using System.Data.Common;
using System.Reflection;
using Scheduler.Inbox;
using Scheduler.Runs;

namespace Scheduler.Tests.Webhooks;

/// <summary>An inbox that stores each body once, in memory, and does nothing else. Thread-safe.</summary>
internal sealed class MemoryInbox : IInbox
{
    private readonly ConcurrentDictionary<string, string> _ids = new(StringComparer.Ordinal);

    /// <summary>A State that has nothing but this inbox.</summary>
    public IState State()
    {
        var state = DispatchProxy.Create<IState, InboxWriterTests.ScriptedState>();
        ((InboxWriterTests.ScriptedState)(object)state).Inbox = this;
        return state;
    }

    public ValueTask<IReadOnlyList<InboxAnswer>> AddAsync(
        IReadOnlyList<InboxArrival> arrivals,
        Action<int, InboxAnswer>? answered,
        CancellationToken cancellationToken
    ) => new([.. arrivals.Select(Add)]);

    private InboxAnswer Add(InboxArrival arrival)
    {
        var id = Guid.NewGuid().ToString();
        var known = _ids.GetOrAdd($"{arrival.Source}:{Convert.ToHexString(arrival.BodyHash)}", id);
        return new InboxAnswer(known == id ? InboxOutcome.Stored : InboxOutcome.Duplicate, known, arrival.State);
    }

    public ValueTask<IReadOnlyList<InboxClaim>> ClaimAsync(InboxClaimRequest request, CancellationToken cancellationToken) =>
        throw new NotSupportedException();

    public ValueTask<IReadOnlyList<bool>> FinishAsync(IReadOnlyList<InboxEnd> ends, CancellationToken cancellationToken) =>
        throw new NotSupportedException();

    public ValueTask<bool> FinishWithinAsync(DbTransaction transaction, InboxEnd end, CancellationToken cancellationToken) =>
        throw new NotSupportedException();

    public ValueTask<InboxEvent?> FindAsync(string id, CancellationToken cancellationToken) => throw new NotSupportedException();

    public ValueTask<InboxPage> ListAsync(InboxQuery query, CancellationToken cancellationToken) => throw new NotSupportedException();

    public ValueTask<int> ReplayAsync(IReadOnlyList<string> ids, bool force, CancellationToken cancellationToken) =>
        throw new NotSupportedException();

    public ValueTask<int> IgnoreAsync(IReadOnlyList<string> ids, CancellationToken cancellationToken) => throw new NotSupportedException();

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
