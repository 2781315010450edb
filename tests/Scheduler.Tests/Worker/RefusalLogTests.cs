using Microsoft.Extensions.Logging;
using Scheduler.Testing;
using Scheduler.Worker.Ingress;

namespace Scheduler.Tests.Worker;

public sealed class RefusalLogTests : IDisposable
{
    private readonly FakeTime _time = new();
    private readonly LogCapture _log = new();

    public void Dispose() => _log.Dispose();

    [Fact]
    public void Of_each_source_and_kind_the_first_is_told_at_once_and_then_how_many_in_ten_seconds()
    {
        var refusals = new RefusalLog(_time, new Logger<RefusalLog>(_log));
        for (var i = 0; i < 5; i++)
        {
            refusals.AddConflict("a", $"event-{i}");
            refusals.AddQuarantined("a", $"event-{i}", "no JSON");
            refusals.Add("a", 401, "wrong");
        }
        refusals.AddConflict("b", "event-9");
        Assert.Equal([4022, 4023, 4020, 4022], _log.Entries.Select(e => e.Id.Id));
        Assert.Contains("contradicts event event-0", _log.Entries.First().Message, StringComparison.Ordinal);

        _time.Advance(TimeSpan.FromSeconds(9));
        refusals.AddConflict("a", "event-5");
        Assert.Equal(4, _log.Entries.Count);
        _time.Advance(TimeSpan.FromSeconds(1));
        refusals.AddConflict("a", "event-6");
        refusals.AddConflict("a", "event-7");
        var told = _log.Entries.Skip(4).Single().Message;
        // The first of the five was told, the four behind it and the one after 9 s were not.
        Assert.Contains("event-6", told, StringComparison.Ordinal);
        Assert.Contains("(6 since", told, StringComparison.Ordinal);
    }
}
