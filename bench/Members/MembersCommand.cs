using System.Globalization;
using Scheduler.Bench.Fires;
using Scheduler.Bench.Harness;

namespace Scheduler.Bench.Members;

/// <summary>
/// The command <c>members</c>: what a large group costs that has nothing to do, what an occurrence costs over all its replicas, how the
/// work is shared, and what happens when the replicas that come first are dead.
/// </summary>
internal static class MembersCommand
{
    public static async Task RunAsync(Plan plan, Report report)
    {
        await using var servers = await FireServers.StartAsync(report);
        var idle = new Section(
            Title(plan, string.Create(CultureInfo.InvariantCulture, $"{MembersMeasurements.IdleJobs(plan):#,0} jobs, none of them due")),
            null,
            new Dictionary<string, Goal>(StringComparer.Ordinal) { [MembersMeasurements.IdleStatements] = Goal.AtMost(50) }
        );
        var cost = new Dictionary<string, Goal>(StringComparer.Ordinal)
        {
            [MembersReadings.RoundTrips] = Goal.AtMost(8),
            [MembersReadings.AllRoundTrips] = Goal.AtMost(8),
        };
        var shared = new Dictionary<string, Goal>(cost, StringComparer.Ordinal) { [MembersReadings.Share] = Goal.AtMost(1.3) };
        var next = new Dictionary<string, Goal>(MembersReadings.NextGoals(), StringComparer.Ordinal)
        {
            [MembersReadings.RoundTrips] = Goal.AtMost(8),
            [MembersReadings.AllRoundTrips] = Goal.AtMost(8),
        };
        var busy = new Section(
            Title(plan, $"{MembersMeasurements.BusyJobs} jobs every second, clocks {Crowd.SpreadMs} ms apart"),
            null,
            cost
        );
        var dead = new Section(Title(plan, $"the same, and {MembersMeasurements.Dead(plan)} more that died a moment ago"), null, next);
        var slow = new Section(Title(plan, $"the same, {MembersMeasurements.Dead(plan)} of them without a free worker slot"), null, next);
        var even = new Section(Title(plan, $"{MembersMeasurements.EvenJobs} jobs a second, one after another"), null, shared);
        var measure = new MembersMeasurements(plan, report, servers);
        for (var round = 1; round <= plan.Rounds; round++)
        {
            idle.AddOurs(await measure.IdleAsync());
            var (together, withDead, withSlow) = await measure.BusyAsync();
            busy.AddOurs(together);
            dead.AddOurs(withDead);
            slow.AddOurs(withSlow);
            even.AddOurs(await measure.EvenAsync());
        }
        foreach (var section in new[] { idle, busy, dead, slow, even })
        {
            report.Add(section);
        }
    }

    private static string Title(Plan plan, string what) =>
        string.Create(CultureInfo.InvariantCulture, $"redis+postgres: {plan.Replicas} replicas, {what}");
}
