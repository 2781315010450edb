using Scheduler.Jobs.Preference;
using Scheduler.Runs;
using Scheduler.Testing;

namespace Scheduler.Tests.Jobs;

/// <summary>The order in which replicas take occurrences.</summary>
public sealed class ReplicaOrderTests
{
    private const int Replicas = 50;
    private const int Occurrences = 10_000;
    private static readonly DateTimeOffset Noon = new(2026, 1, 31, 12, 0, 0, TimeSpan.Zero);
    private readonly FakeTime _time = new(Noon);
    private readonly IReadOnlyList<ReplicaIdentity> _replicas =
    [
        .. Enumerable.Range(1, Replicas).Select(i => ReplicaIdentity.Create($"worker-{i}")),
    ];

    [Fact]
    public void Every_occurrence_has_each_place_once_and_the_work_is_shared()
    {
        var orders = OrdersAmong(_replicas);
        var first = new int[Replicas];
        foreach (var occurrence in All())
        {
            var places = orders.Select(o => o.RankOf(occurrence)).ToList();
            Assert.Equal(Enumerable.Range(0, Replicas), places.Order());
            first[places.IndexOf(0)]++;
        }
        Assert.InRange(first.Max(), 0, 1.3 * Occurrences / Replicas);
        Assert.InRange(first.Min(), 0.7 * Occurrences / Replicas, Occurrences);
    }

    [Fact]
    public void Neighbouring_triggers_and_times_are_shared_too()
    {
        var orders = OrdersAmong([.. _replicas.Take(3)]);
        var all = Enumerable.Range(0, 1_000).Select(i => new Occurrence("settle", $"t{i}", Noon)).ToList();
        Assert.All(orders, o => Assert.InRange(all.Count(x => o.RankOf(x) == 0), 250, 420));
        // Not the same one for all times of a trigger that the period would give.
        Assert.All(orders, o => Assert.InRange(All().Count(x => o.RankOf(x) == 0), Occurrences / 3 * 0.9, Occurrences / 3 * 1.1));
    }

    [Fact]
    public void When_one_leaves_only_its_own_occurrences_go_to_others()
    {
        var before = OrdersAmong(_replicas);
        var after = OrdersAmong([.. _replicas.Skip(1)]);
        foreach (var occurrence in All().Take(2_000))
        {
            var was = before.FindIndex(o => o.RankOf(occurrence) == 0);
            var isNow = after.FindIndex(o => o.RankOf(occurrence) == 0) + 1;
            Assert.True(was == isNow || was == 0);
            // The second of before.
            Assert.True(was != 0 || before[isNow].RankOf(occurrence) == 1);
        }
    }

    [Fact]
    public void Only_living_replicas_that_have_the_job_and_take_fires_come_before()
    {
        var order = new ReplicaOrder(_replicas[0], _time);
        MemberRecord[] useless =
        [
            .. _replicas.Skip(1).Take(10).Select(r => Member(r) with { Age = TimeSpan.FromSeconds(6) }),
            .. _replicas.Skip(11).Take(10).Select(r => Member(r) with { Status = "stopping" }),
            .. _replicas.Skip(21).Take(10).Select(r => Member(r) with { Jobs = ["other"] }),
        ];
        order.Observe(new MemberList(useless, _time.GetUtcNow()));
        Assert.All(All().Take(200), o => Assert.Equal(0, order.RankOf(o)));

        order.Observe(new MemberList([.. useless, Member(_replicas[40])], _time.GetUtcNow()));
        Assert.Equal(1, All().Take(200).Max(order.RankOf));
    }

    [Theory]
    [InlineData("running", 1, false)]
    [InlineData("starting", 1, false)]
    [InlineData("clockOff", 1, false)]
    [InlineData("running", 6, true)]
    public void Nobody_else_has_a_job_only_when_no_living_replica_has_it(string status, int age, bool nobody)
    {
        var order = new ReplicaOrder(_replicas[0], _time);
        Assert.False(order.NobodyElseHas("settle"));

        MemberRecord other = Member(_replicas[1]) with { Status = status, Age = TimeSpan.FromSeconds(age) };
        order.Observe(new MemberList([Member(_replicas[0]), other], _time.GetUtcNow()));

        Assert.Equal((nobody, true), (order.NobodyElseHas("settle"), order.NobodyElseHas("unheard of")));
    }

    [Fact]
    public void A_replica_that_does_not_know_the_members_fires_everything()
    {
        var order = new ReplicaOrder(_replicas[0], _time);
        Assert.All(All().Take(200), o => Assert.Equal(0, order.RankOf(o)));
        order.Observe(new MemberList([.. _replicas.Select(Member)], _time.GetUtcNow()));
        Assert.Contains(All().Take(200), o => order.RankOf(o) > 0);

        // State does not answer any more: three heartbeats later nothing is known.
        _time.Advance(TimeSpan.FromSeconds(6));
        Assert.All(All().Take(200), o => Assert.Equal(0, order.RankOf(o)));
    }

    private static IEnumerable<Occurrence> All() =>
        Enumerable.Range(0, Occurrences).Select(i => new Occurrence("settle", "often", Noon.AddMinutes(i)));

    private static MemberRecord Member(ReplicaIdentity replica) =>
        new()
        {
            Id = replica.Id,
            Name = replica.Name,
            StartedAt = Noon,
            WallClock = Noon,
            BootClock = TimeSpan.Zero,
            Jobs = ["settle"],
        };

    private List<ReplicaOrder> OrdersAmong(IReadOnlyList<ReplicaIdentity> replicas)
    {
        var members = new MemberList([.. replicas.Select(Member)], _time.GetUtcNow());
        var orders = replicas.Select(r => new ReplicaOrder(r, _time)).ToList();
        orders.ForEach(o => o.Observe(members));
        return orders;
    }
}
