using System.Globalization;
using Scheduler.Testing.Webhooks;

namespace Scheduler.Bench.Webhooks.Sending;

/// <summary>Requests that were signed before anything is measured, each an event and an order of its own.</summary>
internal sealed class Deliveries
{
    private readonly byte[][] _requests;

    private Deliveries(byte[][] requests) => _requests = requests;

    public int Count => _requests.Length;

    public ReadOnlyMemory<byte> this[long index] => _requests[index % _requests.Length];

    /// <summary>Signs them.</summary>
    /// <param name="prefix">Begins their ids and orders; another one each time.</param>
    /// <param name="type">Their type.</param>
    /// <param name="count">How many.</param>
    public static Deliveries Sign(string prefix, string type, int count)
    {
        var requests = new byte[count][];
        Parallel.For(
            0,
            count,
            i =>
            {
                var order = string.Create(CultureInfo.InvariantCulture, $"{prefix}-{i:d8}");
                requests[i] = Signer.Request($"evt_{order}", Signer.Body(type, order, i));
            }
        );
        return new Deliveries(requests);
    }
}
