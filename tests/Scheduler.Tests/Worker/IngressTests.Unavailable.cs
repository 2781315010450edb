using Scheduler.Testing;
using Scheduler.Worker.Ingress;

namespace Scheduler.Tests.Worker;

// What can be taken later.
public sealed partial class IngressTests
{
    [Fact]
    public async Task Without_State_a_delivery_is_to_be_sent_again_until_it_answers_by_itself()
    {
        await using var app = await StartAsync(
            new IngressLimits(),
            ("Scheduler:Locks:CallTimeout", "00:00:00.3"),
            ("Scheduler:Locks:ProbeInterval", "00:00:00.1")
        );
        var body = Sender.Paid("1", 5);
        await using (await LockStateAsync())
        {
            // The first one is sent to a State that does not answer, the others while it is known to be down.
            for (var i = 0; i < 3; i++)
            {
                var answer = await Sender.DeliverAsync(app, body);
                Assert.Equal(
                    (503, TimeSpan.FromSeconds(2), "application/problem+json"),
                    (answer.Status, answer.RetryAfter, answer.MediaType)
                );
                Assert.Contains("not known to be stored", answer.Text, StringComparison.Ordinal);
            }
            await Eventually.Holds(async () => (await app.GetAsync("/health/ready")).Status == 503);
        }
        await Eventually.Holds(async () => (await app.GetAsync("/health/ready")).Status == 200);
        await Eventually.Holds(async () => (await Sender.DeliverAsync(app, body)).Status is 200 or 202);
        Assert.Single((await app.GetAsync("/api/inbox")).Items);
    }

    [Fact]
    public async Task A_commit_that_takes_too_long_is_answered_and_still_comes()
    {
        await using var app = await StartAsync(
            new IngressLimits { StoreTime = TimeSpan.FromSeconds(0.2) },
            ("Scheduler:Locks:CallTimeout", "00:00:10")
        );
        var body = Sender.Paid("1", 5);
        await using (await LockStateAsync())
        {
            var late = await Sender.DeliverAsync(app, body);
            Assert.Equal((503, TimeSpan.FromSeconds(2)), (late.Status, late.RetryAfter));
        }
        await Eventually.Holds(async () => (await app.GetAsync("/api/inbox")).Items.Count == 1);
        Assert.Contains("duplicate", (await Sender.DeliverAsync(app, body)).Text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_replica_that_stops_takes_nothing_new_while_jobs_use_their_time()
    {
        await using var app = await StartAsync(
            new IngressLimits(),
            ("Scheduler:Stop:Grace", "00:00:05"),
            ("Scheduler:Jobs:LongJob:Every", "00:00:01"),
            ("Scheduler:Jobs:LongJob:Data:who", "x")
        );
        await app.ItemsAsync("/api/runs?state=running");
        using var keptAlive = await RawConnection.OpenAsync(app.Ingress);
        var body = Sender.Paid("1", 5);
        var stopped = app.StopAsync();
        Answer? refused = null;
        await Eventually.Holds(async () => (refused = await Sender.DeliverAsync(app, body)).Status == 503);
        Assert.Equal(TimeSpan.FromSeconds(2), refused!.RetryAfter);
        await keptAlive.TrySendAsync(Sender.Head(Sender.Sign(body), $"Content-Length: {body.Length}") + body);
        var answer = await keptAlive.AnswerAsync();
        Assert.Equal((503, true), (answer.Status, answer.Has("Connection: close")));
        Assert.False(stopped.IsCompleted);
        await stopped;
    }
}
