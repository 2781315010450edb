using Scheduler.Jobs.Hosting;
using Scheduler.Runs;
using Scheduler.Testing;

namespace Scheduler.Tests.Jobs;

/// <summary>Which replicas come, leave and vanish is said once, and an outage of State accuses nobody.</summary>
public sealed class MemberWatchTests : IDisposable
{
    private const int Seen = 3031;
    private const int Left = 3032;
    private const int Gone = 3033;
    private const int Back = 3034;
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(2);

    private readonly ReplicaIdentity _me = ReplicaIdentity.Create("me");
    private readonly FakeTime _time = new();
    private readonly LogCapture _log = new();
    private readonly MemberWatch _watch;

    public MemberWatchTests() => _watch = new MemberWatch(_me, Interval, _time, _log);

    public void Dispose() => _log.Dispose();

    [Fact]
    public void One_that_beats_no_more_is_told_once_and_so_is_its_return()
    {
        Observe(("web-2", 0));
        Observe(("web-2", 2), ("web-2", 4), ("web-2", 5.9));
        Assert.Equal((1, 0), (_log.Count(Seen), _log.Count(Gone)));

        Observe(("web-2", 6), ("web-2", 8), ("web-2", 10));
        var gone = Assert.Single(_log.Entries, e => e.Id.Id == Gone);
        Assert.Contains("web-2", gone.Message, StringComparison.Ordinal);
        Assert.Contains("6 s ago", gone.Message, StringComparison.Ordinal);

        Observe(("web-2", 1), ("web-2", 1));
        Assert.Equal((1, 1), (_log.Count(Back), _log.Count(Gone)));
    }

    [Fact]
    public void One_that_leaves_is_no_loss()
    {
        Observe(("web-2", 1));
        _watch.Observe([Member(_me.Id, 0)]);
        _watch.Observe([Member(_me.Id, 0)]);
        Assert.Equal((1, 0), (_log.Count(Left), _log.Count(Gone)));
    }

    [Fact]
    public void The_dead_of_before_and_this_replica_are_not_reported()
    {
        Observe(("old", 600), ("old", 602));
        _watch.Observe([Member(_me.Id, 900)]);
        Assert.Empty(_log.Entries);
    }

    [Fact]
    public void After_an_outage_the_others_get_time_to_beat_again()
    {
        Observe(("web-2", 1));
        _time.Advance(TimeSpan.FromSeconds(60));
        Observe(("web-2", 61), ("web-2", 0));
        Assert.Equal(0, _log.Count(Gone));

        _time.Advance(TimeSpan.FromSeconds(60));
        Observe(("web-2", 61), ("web-2", 63), ("web-2", 65), ("web-2", 67));
        Assert.Equal(1, _log.Count(Gone));
    }

    private void Observe(params (string Id, double Age)[] looks)
    {
        foreach (var (id, age) in looks)
        {
            _watch.Observe([Member(_me.Id, 0), Member(id, age)]);
            _time.Advance(Interval);
        }
    }

    private static MemberRecord Member(string id, double age) =>
        new()
        {
            Id = id,
            Name = id,
            StartedAt = DateTimeOffset.UnixEpoch,
            WallClock = DateTimeOffset.UnixEpoch,
            BootClock = TimeSpan.Zero,
            OperationsUrl = null,
            Jobs = [],
            Status = "running",
            Age = TimeSpan.FromSeconds(age),
        };
}
