using System.Collections.Concurrent;
using System.Globalization;
using System.Text;

namespace Scheduler.Testing.Webhooks;

/// <summary>What senders know of one event.</summary>
/// <param name="Id">Its id.</param>
/// <param name="Order">Its order.</param>
/// <param name="Step">Which step of the order it is; the step before was answered before it was sent.</param>
public sealed record SentEvent(string Id, string Order, int Step)
{
    private int _accepted;
    private int _unknown;

    /// <summary>How many copies were answered as accepted.</summary>
    public int Accepted => _accepted;

    /// <summary>How many tries may have been taken in without an answer that says so.</summary>
    public int Unknown => _unknown;

    public void Note(Receipt receipt)
    {
        Interlocked.Add(ref _unknown, receipt.Unknown);
        if (receipt.Word == "accepted")
        {
            Interlocked.Increment(ref _accepted);
        }
    }
}

/// <summary>What is sent.</summary>
/// <param name="Orders">How many orders.</param>
/// <param name="Steps">How many events an order has.</param>
/// <param name="Body">The body of a step of an order, by a number of its own that changes its content; begins with those of
/// <see cref="Signer.Body"/>.</param>
public sealed record SoakPlan(int Orders, int Steps, Func<int, string, long, string> Body)
{
    /// <summary>How many senders send at once.</summary>
    public int Senders { get; init; } = 48;

    /// <summary>How many copies wait to be delivered late, before any is.</summary>
    public int LateCopies { get; init; } = 2_000;

    /// <summary>Of so many orders one ends with a contradiction.</summary>
    public int EveryConflict { get; init; } = 50;

    /// <summary>Of so many orders one has deliveries that are not genuine.</summary>
    public int EveryForgery { get; init; } = 40;

    /// <summary>Of so many orders one has a delivery that is too large.</summary>
    public int EveryOversize { get; init; } = 200;

    /// <summary>What the source takes.</summary>
    public int MaxBodyBytes { get; init; } = 64 * 1024;
}

/// <summary>
/// Many senders at once. Each event is delivered one to five times: some copies together, to different replicas, the others later, in any
/// order. Some orders end with a contradiction; between them come deliveries that are not genuine or too large.
/// </summary>
public sealed class SoakTraffic(Courier courier, SoakPlan plan, Action<string> wrong)
{
    /// <summary>Begins the ids of what must not be taken.</summary>
    public const string Forged = "forged";

    private const int MostCopies = 5;

    private static readonly byte[] OtherKey = Encoding.UTF8.GetBytes("another key of 32 bytes, not ours");

    private readonly Lock _gate = new();
    private readonly List<(byte[] Request, SentEvent Event)> _late = [];
    private readonly Random _random = new(20_260_131);
    private int _next = -1;
    private long _duplicates;
    private long _refused;

    /// <summary>All events that were delivered.</summary>
    public ConcurrentBag<SentEvent> Events { get; } = [];

    /// <summary>The ids of the contradictions that were delivered.</summary>
    public ConcurrentBag<string> Conflicts { get; } = [];

    /// <summary>How many copies were answered as duplicates.</summary>
    public long Duplicates => Interlocked.Read(ref _duplicates);

    /// <summary>How many deliveries were refused that had to be.</summary>
    public long Refused => Interlocked.Read(ref _refused);

    /// <summary>How many orders are sent so far.</summary>
    public int Sent => Math.Min(Volatile.Read(ref _next) + 1, plan.Orders);

    public async Task RunAsync()
    {
        await Task.WhenAll(Enumerable.Range(0, plan.Senders).Select(_ => Task.Run(SendAsync)));
        while (TakeLate(always: true) is { } copy)
        {
            await DeliverAsync(copy.Request, copy.Event);
        }
    }

    private async Task SendAsync()
    {
        while (Interlocked.Increment(ref _next) is var order && order < plan.Orders)
        {
            var name = string.Create(CultureInfo.InvariantCulture, $"order-{order:d6}");
            for (var step = 1; step <= plan.Steps; step++)
            {
                await SendStepAsync(new SentEvent($"evt_{name}_{step}", name, step), (order * plan.Steps) + step);
            }
            if (order % plan.EveryConflict == 0)
            {
                await ContradictAsync(name, order);
            }
            if (order % plan.EveryForgery == 0)
            {
                await ForgeAsync(name, order);
            }
            if (order % plan.EveryOversize == 0)
            {
                var body = plan.Body(1, $"{Forged}-large-{name}", order)
                    .Replace("\"card\"", $"\"{new string('x', plan.MaxBodyBytes)}\"", StringComparison.Ordinal);
                await RefuseAsync(Signer.Request($"{Forged}-large-{name}", body), "413", order);
            }
        }
    }

    private async Task SendStepAsync(SentEvent sent, int index)
    {
        Events.Add(sent);
        var request = Signer.Request(sent.Id, plan.Body(sent.Step, sent.Order, index));
        int together;
        lock (_gate)
        {
            var copies = _random.Next(1, MostCopies + 1);
            together = _random.Next(1, copies + 1);
            for (var i = together; i < copies; i++)
            {
                _late.Add((request, sent));
            }
        }
        await Task.WhenAll(Enumerable.Range(index, together).Select(replica => DeliverAsync(request, sent, replica)));
        while (TakeLate(always: false) is { } copy)
        {
            await DeliverAsync(copy.Request, copy.Event);
        }
    }

    private (byte[] Request, SentEvent Event)? TakeLate(bool always)
    {
        lock (_gate)
        {
            if (_late.Count == 0 || (!always && _late.Count < plan.LateCopies))
            {
                return null;
            }
            var index = _random.Next(_late.Count);
            var copy = _late[index];
            _late[index] = _late[^1];
            _late.RemoveAt(_late.Count - 1);
            return copy;
        }
    }

    private async Task DeliverAsync(byte[] request, SentEvent sent, int? replica = null)
    {
        var receipt = await courier.DeliverAsync(request, replica ?? NextRandom());
        sent.Note(receipt);
        if (receipt.Word == "duplicate")
        {
            Interlocked.Increment(ref _duplicates);
        }
        else if (receipt.Word != "accepted")
        {
            wrong($"A copy of event {sent.Id} was answered with '{receipt.Word}'.");
        }
    }

    /// <summary>Behind the last step, because an order waits behind a contradiction: its key once more with another content, and once
    /// more the same.</summary>
    private async Task ContradictAsync(string order, int index)
    {
        // In turn by the dedupe key and by the event id.
        var byKey = index / plan.EveryConflict % 2 == 0;
        var (id, of) = byKey ? ($"evt_{order}_other", order) : ($"evt_{order}_{plan.Steps}", $"other-{order}");
        var request = Signer.Request(id, plan.Body(plan.Steps, of, -index - 1));
        Conflicts.Add(byKey ? id : of);
        var first = await courier.DeliverAsync(request, index);
        // The try before may have been the one that was kept.
        if (first.Word != "conflict" && !(first.Word == "duplicate" && first.Unknown > 0))
        {
            wrong($"A contradiction of order {order} was answered with '{first.Word}'.");
        }
        var again = await courier.DeliverAsync(request, index + 1);
        if (again.Word != "duplicate")
        {
            wrong($"The copy of a contradiction of order {order} was answered with '{again.Word}'.");
        }
    }

    private async Task ForgeAsync(string order, int index)
    {
        var id = $"{Forged}-{order}";
        var body = plan.Body(1, id, index);
        await RefuseAsync(Signer.Request(id, body, OtherKey), "401", index);
        var genuine = Encoding.UTF8.GetString(Signer.Request(id, body));
        // A digit of the body, and the signature left out.
        await RefuseAsync(Encoding.UTF8.GetBytes(genuine.Replace("\"EUR\"", "\"USD\"", StringComparison.Ordinal)), "401", index);
        await RefuseAsync(
            Encoding.UTF8.GetBytes(genuine.Replace("webhook-signature", "webhook-nothing", StringComparison.Ordinal)),
            "401",
            index
        );
    }

    private async Task RefuseAsync(byte[] request, string status, int replica)
    {
        var receipt = await courier.DeliverAsync(request, replica);
        Interlocked.Increment(ref _refused);
        if (receipt.Word != status)
        {
            wrong($"A delivery that has to be refused with {status} was answered with '{receipt.Word}'.");
        }
    }

    private int NextRandom()
    {
        lock (_gate)
        {
            return _random.Next(1_000);
        }
    }
}
