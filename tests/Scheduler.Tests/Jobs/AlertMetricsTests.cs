using System.Collections.Concurrent;
using System.Diagnostics.Metrics;
using Microsoft.Extensions.Logging.Abstractions;
using Scheduler.Jobs;
using Scheduler.Jobs.Clocks;
using Scheduler.Runs;
using Scheduler.Testing;

namespace Scheduler.Tests.Jobs;

/// <summary>What a person should look at is a gauge that goes up, and down again when all is well.</summary>
public sealed class AlertMetricsTests : IDisposable
{
    private readonly MeterListener _listener = new();
    private readonly ConcurrentDictionary<(string Gauge, string Replica), double> _values = new();
    private readonly string _name = $"alerts-{Guid.NewGuid():n}";

    public AlertMetricsTests()
    {
        _listener.InstrumentPublished = static (instrument, listener) =>
        {
            if (instrument.Meter.Name == "Scheduler")
            {
                listener.EnableMeasurementEvents(instrument);
            }
        };
        _listener.SetMeasurementEventCallback<int>((instrument, value, tags, _) => Note(instrument, value, tags));
        _listener.SetMeasurementEventCallback<double>((instrument, value, tags, _) => Note(instrument, value, tags));
        _listener.Start();
    }

    public void Dispose() => _listener.Dispose();

    [Fact]
    public async Task Triggers_that_a_replica_skips_are_counted_while_a_newer_definition_lives()
    {
        using var group = new Group(withState: true);
        await using var former = await StartAsync(group, "former", Every("job", 1));
        await Eventually.Holds(() => Value("scheduler.triggers.superseded", "former") == 0);

        await using (await StartAsync(group, "newer", Every("job", 2)))
        {
            await Eventually.Holds(() => Value("scheduler.triggers.superseded", "former") == 1);
            await Eventually.Holds(() => Value("scheduler.triggers.superseded", "newer") == 0);
        }

        await Eventually.Holds(() => Value("scheduler.triggers.superseded", "former") == 0, TimeSpan.FromSeconds(30));
    }

    [Fact]
    public async Task Orphaned_runs_are_counted_until_a_replica_has_their_job()
    {
        using var group = new Group(withState: true);
        await using var one = await StartAsync(group, "one", Every("other", 1) with { Triggers = [] });
        await Eventually.Holds(() => Value("scheduler.runs.orphaned", "one") == 0);
        await one.ClaimAsDeadAsync("removed");
        await Eventually.Holds(() => Value("scheduler.runs.orphaned", "one") == 1);

        await using var two = await StartAsync(group, "two", Every("removed", 1) with { Triggers = [] });

        await Eventually.Holds(() => Value("scheduler.runs.orphaned", "one") == 0);
    }

    [Fact]
    public void A_clock_that_is_off_shows_until_it_is_right()
    {
        var time = new FakeTime();
        var guard = new ClockGuard(
            ReplicaIdentity.Create($"{_name}-clock"),
            new GroupTime(time, TimeSpan.FromSeconds(2)),
            TimeSpan.FromSeconds(2),
            isWatched: true,
            NullLogger<ClockGuard>.Instance
        );

        guard.Observe(new MemberList([], time.GetUtcNow().AddSeconds(-5)) { HasClock = true }, time.GetTimestamp());
        Assert.Equal((1, 5), (Value("scheduler.clock.off", "clock"), Value("scheduler.clock.offset", "clock")));

        guard.Observe(new MemberList([], time.GetUtcNow()) { HasClock = true }, time.GetTimestamp());
        Assert.Equal((0, 0), (Value("scheduler.clock.off", "clock"), Value("scheduler.clock.offset", "clock")));
    }

    private void Note(Instrument instrument, double value, ReadOnlySpan<KeyValuePair<string, object?>> tags)
    {
        foreach (var tag in tags)
        {
            if (tag is { Key: "replica", Value: string replica })
            {
                _values[(instrument.Name, replica)] = value;
            }
        }
    }

    private double? Value(string gauge, string replica) => _values.TryGetValue((gauge, $"{_name}-{replica}"), out var value) ? value : null;

    private Task<Replica> StartAsync(Group group, string name, JobDefinition job) =>
        Replica.StartAsync(
            group,
            configure: l =>
            {
                l.Options.ReplicaName = $"{_name}-{name}";
                l.AddJob(job);
            }
        );

    private static JobDefinition Every(string name, int seconds) =>
        new(
            name,
            typeof(PlainJob),
            [
                new TriggerDefinition(
                    "t",
                    null,
                    TimeSpan.FromSeconds(seconds),
                    TimeZoneInfo.Utc,
                    new Dictionary<string, string>(StringComparer.Ordinal)
                ),
            ]
        );
}
