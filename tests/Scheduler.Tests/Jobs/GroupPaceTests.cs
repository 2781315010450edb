using Quartz;
using Scheduler.Jobs;
using Scheduler.Jobs.Hosting;
using Scheduler.Jobs.Preference;
using Scheduler.Locking;
using Scheduler.Runs;
using Scheduler.Testing;

namespace Scheduler.Tests.Jobs;

/// <summary>How often a replica looks, by how many there are.</summary>
public sealed class GroupPaceTests
{
    private const double MostStatements = 50;
    private static readonly DateTimeOffset Noon = new(2026, 1, 31, 12, 0, 0, TimeSpan.Zero);
    private readonly FakeTime _time = new(Noon);

    [Theory]
    [InlineData(1, 1_000)]
    [InlineData(10, 1_000)]
    [InlineData(50, 3_000)]
    [InlineData(100, 5_000)]
    public void The_more_there_are_the_more_rarely_each_one_looks(int replicas, int milliseconds) =>
        Assert.Equal(TimeSpan.FromMilliseconds(milliseconds), Pace(replicas).LookInterval);

    [Theory]
    [InlineData(1, 200)]
    [InlineData(10, 200)]
    [InlineData(50, 1_000)]
    public void On_one_host_nothing_tells_when_a_lease_ends_so_they_look_more_often(int replicas, int milliseconds) =>
        Assert.Equal(TimeSpan.FromMilliseconds(milliseconds), Pace(replicas, isHostLocal: true).LookInterval);

    [Fact]
    public void Heartbeats_and_looks_of_fifty_stay_below_fifty_a_second()
    {
        foreach (var lease in (TimeSpan[])[TimeSpan.FromSeconds(5), TimeSpan.FromSeconds(10), TimeSpan.FromSeconds(30)])
        {
            var pace = Pace(50, lease);
            var looks = Enumerable.Range(0, 1_000).Select(_ => pace.NextLook()).ToList();
            Assert.All(looks, look => Assert.InRange(look, pace.LookInterval * 0.75, pace.LookInterval));
            // At different times, or replicas that started together would look together.
            Assert.True(looks.Distinct().Count() > 500);
            var looksASecond = 50 / looks.Average(l => l.TotalSeconds);
            Assert.InRange((50 / Heartbeat.Interval.TotalSeconds) + looksASecond, 0, MostStatements);
        }
    }

    [Theory]
    [InlineData(2)]
    [InlineData(3.5)]
    [InlineData(10)]
    [InlineData(30)]
    public void Every_replica_sees_a_run_twice_before_its_lease_can_end(double leaseSeconds)
    {
        var lease = TimeSpan.FromSeconds(leaseSeconds);
        Assert.All([1, 2, 20, 50, 100, 1_000], n => Assert.True(2 * Pace(n, lease).LookInterval <= lease));
    }

    [Fact]
    public void The_shortest_lease_of_a_job_counts()
    {
        var definition = new JobDefinition("quick", typeof(PlainJob), []) { Lease = TimeSpan.FromSeconds(3) };
        var catalog = new JobCatalog([definition]);
        catalog.Of(JobBuilder.Create<PlainJob>().WithIdentity("quick").Build());
        var order = OrderAmong(100);
        var leases = new LeaseOptions { LeaseDuration = TimeSpan.FromSeconds(10) };
        Assert.Equal(TimeSpan.FromSeconds(1.5), new GroupPace(order, catalog, leases, isHostLocal: false).LookInterval);
    }

    [Theory]
    [InlineData(3)]
    [InlineData(50)]
    public void When_a_lease_ends_three_ask_at_once_and_all_within_the_time_of_a_take_over(int replicas)
    {
        var occurrence = new Occurrence("settle", "often", Noon);
        var members = Members(replicas);
        var paces = members.Select(m => PaceOf(OrderOf(m, members), TimeSpan.FromSeconds(10))).ToList();

        Assert.Equal(3, paces.Count(p => p.AfterEnd(occurrence) == GroupPace.AfterExpiry));
        Assert.Equal(3, paces.Count(p => p.IsNear(occurrence)));
        Assert.All(paces, p => Assert.InRange(p.AfterEnd(occurrence), GroupPace.AfterExpiry, TimeSpan.FromMilliseconds(400)));
        // The others one after another, so that only one more asks where the first three are dead.
        Assert.Equal(Math.Max(1, replicas - 2), paces.Select(p => p.AfterEnd(occurrence)).Distinct().Count());
    }

    [Fact]
    public void What_was_due_is_looked_at_by_the_group_about_three_times_a_second()
    {
        Assert.Equal(TimeSpan.FromSeconds(1), Pace(1).SettleInterval);
        Assert.Equal(TimeSpan.FromSeconds(1), Pace(3).SettleInterval);
        Assert.Equal(TimeSpan.FromSeconds(15), Pace(50).SettleInterval);
        Assert.Equal(TimeSpan.FromSeconds(20), Pace(500).SettleInterval);
    }

    [Fact]
    public void Who_does_not_know_the_members_looks_as_if_alone()
    {
        var order = OrderAmong(50);
        var pace = PaceOf(order, TimeSpan.FromSeconds(10));
        Assert.Equal(50, order.Living);
        _time.Advance(3 * Heartbeat.Interval);
        Assert.Equal(1, order.Living);
        Assert.Equal(TimeSpan.FromSeconds(1), pace.LookInterval);
    }

    private GroupPace Pace(int replicas, TimeSpan? lease = null, bool isHostLocal = false) =>
        PaceOf(OrderAmong(replicas), lease ?? TimeSpan.FromSeconds(10), isHostLocal);

    private static GroupPace PaceOf(ReplicaOrder order, TimeSpan lease, bool isHostLocal = false) =>
        new(order, new JobCatalog([]), new LeaseOptions { LeaseDuration = lease }, isHostLocal);

    private ReplicaOrder OrderAmong(int replicas)
    {
        var members = Members(replicas);
        return OrderOf(members[0], members);
    }

    private ReplicaOrder OrderOf(ReplicaIdentity me, IReadOnlyList<ReplicaIdentity> members)
    {
        var order = new ReplicaOrder(me, _time);
        var records = members.Select(m => new MemberRecord
        {
            Id = m.Id,
            Name = m.Name,
            StartedAt = Noon,
            WallClock = Noon,
            BootClock = TimeSpan.Zero,
            Jobs = ["settle"],
        });
        order.Observe(new MemberList([.. records], _time.GetUtcNow()));
        return order;
    }

    private static List<ReplicaIdentity> Members(int count) =>
        [.. Enumerable.Range(1, count).Select(i => ReplicaIdentity.Create($"worker-{i}"))];
}
