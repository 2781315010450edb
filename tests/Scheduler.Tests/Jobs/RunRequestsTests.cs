using Microsoft.Extensions.DependencyInjection;
using Quartz;
using Scheduler.Jobs;

namespace Scheduler.Tests.Jobs;

/// <summary>Requests that are repeated.</summary>
public sealed class RunRequestsTests
{
    [Fact]
    public async Task ARepeatedRequestIsTheSameRunAlthoughTheJobsOwnDataHaveChanged()
    {
        using var group = new Group(withState: true);
        await using var one = await StartAsync(group, ("own", "1"));
        await using var two = await StartAsync(group, ("own", "2"), ("who", "else"));
        var data = new Dictionary<string, string>(StringComparer.Ordinal) { ["b"] = "2", ["a"] = "1" };
        var turned = new Dictionary<string, string>(StringComparer.Ordinal) { ["a"] = "1", ["b"] = "2" };

        var first = Assert.IsType<RunRequestAnswer.Accepted>(await RequestAsync(one, data)).Run;
        var again = Assert.IsType<RunRequestAnswer.Accepted>(await RequestAsync(two, turned)).Run;
        // What the job says by itself now, but nobody asked for.
        turned["own"] = "2";
        var reused = Assert.IsType<RunRequestAnswer.KeyReused>(await RequestAsync(two, turned)).Run;
        Assert.IsType<RunRequestAnswer.KeyReused>(await RequestAsync(two, null));

        Assert.Equal((first.Id, first.Id), (again.Id, reused.Id));
        Assert.Contains("\"own\":\"1\"", again.Data, StringComparison.Ordinal);
        Assert.Single(await one.RunsAsync());
    }

    private static Task<Replica> StartAsync(Group group, params (string Name, string Value)[] own) =>
        Replica.StartAsync(
            group,
            q =>
                q.AddJob<PlainJob>(c =>
                {
                    c.WithIdentity(nameof(PlainJob)).StoreDurably();
                    foreach (var (name, value) in own)
                    {
                        c.UsingJobData(name, value);
                    }
                })
        );

    private static ValueTask<RunRequestAnswer> RequestAsync(Replica replica, Dictionary<string, string>? data) =>
        replica
            .Services.GetRequiredService<RunRequests>()
            .RequestAsync(nameof(PlainJob), data, "once", TestContext.Current.CancellationToken);
}
