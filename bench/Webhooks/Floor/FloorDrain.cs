using System.Globalization;
using System.Text;
using System.Text.Json;
using Scheduler.Bench.Harness;
using Scheduler.Testing.Webhooks;

namespace Scheduler.Bench.Webhooks.Floor;

/// <summary>How a hand-written loop is set up.</summary>
/// <param name="State">The database of the events: <c>postgres</c> or <c>sqlite</c>.</param>
/// <param name="Address">Its connection string, or the file.</param>
/// <param name="Effects">The file of the effects.</param>
/// <param name="Events">How many events wait.</param>
/// <param name="Degree">How many it works on at once.</param>
internal sealed record DrainSetup(string State, string Address, string Effects, int Events, int Degree);

/// <summary>
/// A backlog worked off by hand, as a process of its own: take as many as there is room for, apply each with its fence and its note in one
/// transaction, write that it is done. Nobody else is there, so nothing is locked.
/// </summary>
internal static class FloorDrain
{
    public const string ChildCommand = "webhook-drain";

    /// <summary>Starts one; it tells of the effects when all are applied.</summary>
    public static Child Start(DrainSetup setup) => Child.Start([ChildCommand, JsonSerializer.Serialize(setup)], WebhookReplica.Environment);

    /// <summary>The child process.</summary>
    public static async Task RunChildAsync(string text)
    {
        var setup = JsonSerializer.Deserialize<DrainSetup>(text)!;
        await using IRawBacklog backlog =
            setup.State == "postgres" ? await PostgresRawBacklog.OpenAsync(setup) : new SqliteRawBacklog(setup);
        await backlog.FillAsync([.. Enumerable.Range(0, setup.Events).Select(Event)]);
        var log = new EffectLog();
        using var free = new SemaphoreSlim(setup.Degree, setup.Degree);
        for (var taken = 0; taken < setup.Events; )
        {
            await free.WaitAsync();
            var events = await backlog.TakeAsync(free.CurrentCount + 1);
            taken += events.Count;
            for (var i = 0; i < events.Count; i++)
            {
                var received = events[i];
                if (i > 0)
                {
                    await free.WaitAsync();
                }
                _ = Task.Run(() => ProcessAsync(received));
            }
        }
        for (var i = 0; i < setup.Degree; i++)
        {
            await free.WaitAsync();
        }
        Console.WriteLine(JsonSerializer.Serialize(log.All));
        await Child.HearAsync();

        async Task ProcessAsync(RawEvent received)
        {
            try
            {
                var payload = JsonSerializer.Deserialize<BenchEvent>(received.Body, JsonSerializerOptions.Web)!;
                await backlog.ProcessAsync(received, payload);
                log.Add(payload.Index);
            }
            catch (Exception problem)
            {
                await Console.Error.WriteLineAsync(problem.ToString());
                Environment.Exit(1);
            }
            finally
            {
                free.Release();
            }
        }
    }

    private static RawEvent Event(int index)
    {
        var order = string.Create(CultureInfo.InvariantCulture, $"backlog-{index:d8}");
        var type = EffectHandler.TypeOf(1);
        return new RawEvent($"{type}:{order}", order, $"evt_{order}", type, Encoding.UTF8.GetBytes(Signer.Body(type, order, index)));
    }
}

/// <summary>Events that wait, and what processing them changes. Thread-safe.</summary>
internal interface IRawBacklog : IAsyncDisposable
{
    /// <summary>Stores what waits.</summary>
    Task FillAsync(IReadOnlyList<RawEvent> events);

    /// <summary>Takes the first of them, for a time.</summary>
    Task<IReadOnlyList<RawEvent>> TakeAsync(int limit);

    /// <summary>The effect, with fence, note and work in one transaction, and that the event is done: with the effect where both are in
    /// one database, else behind it.</summary>
    Task ProcessAsync(RawEvent received, BenchEvent payload);
}
