using System.Globalization;
using Microsoft.Data.Sqlite;
using Scheduler.Testing;
using Scheduler.Testing.Servers;

namespace Scheduler.Tests.Worker;

/// <summary>The worker while its stores are away: it stays up, says so, and goes on by itself.</summary>
public sealed class WorkerOutageTests : IDisposable
{
    private const string Canary = "canary-7f3a";
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("scheduler-outage-");

    public void Dispose() => _folder.Delete(recursive: true);

    [Fact]
    public async Task A_lock_store_that_comes_late_is_waited_for_and_a_silent_one_is_told()
    {
        await using var redis = await RedisServer.StartAsync(new RedisServerOptions { Password = Canary });
        await redis.StopAsync();
        await using var app = await WorkerApp.StartAsync(
            _folder.FullName,
            ("Scheduler:Group", "late"),
            ("Scheduler:Locks:Backend", "redis"),
            ("Scheduler:Locks:ConnectionString", redis.ConnectionString),
            ("Scheduler:Locks:CallTimeout", "00:00:00.5"),
            ("Scheduler:Locks:ProbeInterval", "00:00:00.1"),
            ("Scheduler:Jobs:TalkingJob:Every", "00:00:01")
        );
        var answers = new List<Answer>
        {
            await NotReadyAsync(app, "lock store 'redis' is down"),
            await app.GetAsync("/api/locks"),
            await app.GetHealthAsync("/health/ready"),
            await app.GetAsync("/api/jobs"),
            await app.GetAsync("/api/runs"),
        };
        Assert.Equal((503, "application/problem+json"), (answers[1].Status, answers[1].MediaType));
        Assert.Equal(503, answers[2].Status);
        Assert.DoesNotContain("reasons\":[", answers[2].Text, StringComparison.Ordinal);
        Assert.DoesNotContain("redis", answers[2].Text, StringComparison.Ordinal);
        Assert.Equal([200, 200], answers.Skip(3).Select(a => a.Status));
        Assert.Empty((await app.GetAsync("/api/runs?state=succeeded")).Items);
        Assert.True(app.Log.Has("The lock store 'redis' is not there yet"), app.Log.Text);

        await redis.RestartAsync(keepData: false);

        await Eventually.Holds(async () => (await app.GetAsync("/health/ready")).Status == 200);
        await app.ItemsAsync("/api/runs?state=succeeded");

        redis.Freeze();
        try
        {
            answers.Add(await NotReadyAsync(app, "lock store 'redis' is down"));
            answers.Add(await app.GetAsync("/api/locks"));
            Assert.Equal(503, answers[^1].Status);
            Assert.Equal(200, (await app.GetAsync("/health/live")).Status);
        }
        finally
        {
            redis.Thaw();
        }
        await Eventually.Holds(async () => (await app.GetAsync("/health/ready")).Status == 200);
        answers.Add(await app.GetAsync("/api/locks"));
        Assert.Equal(200, answers[^1].Status);
        Assert.All(answers, a => Assert.DoesNotContain(Canary, a.Text, StringComparison.Ordinal));
        Assert.DoesNotContain(Canary, app.Log.Text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_State_that_does_not_answer_is_a_problem_document()
    {
        await using var app = await WorkerApp.StartAsync(
            _folder.FullName,
            ("Scheduler:Locks:Backend", "memory"),
            ("Scheduler:Locks:CallTimeout", "00:00:00.5"),
            ("Scheduler:Locks:ProbeInterval", "00:00:00.1"),
            ("Scheduler:Jobs:TalkingJob:Every", "00:00:01")
        );
        var id = (await app.ItemsAsync("/api/runs?state=succeeded"))[0].GetProperty("id").GetString();
        await using (var other = new SqliteConnection($"Data Source={_folder.FullName}/state.db;Pooling=False"))
        {
            await other.OpenAsync(TestContext.Current.CancellationToken);
            await using var command = other.CreateCommand();
            // Another program that keeps the writer's lock of the file.
            command.CommandText = "BEGIN IMMEDIATE";
            await command.ExecuteNonQueryAsync(TestContext.Current.CancellationToken);
            await NotReadyAsync(app, "State 'sqlite' is down");
            foreach (var path in new[] { "/api/runs", $"/api/runs/{id}", "/api/replicas" })
            {
                var answer = await app.GetAsync(path);
                Assert.Equal((503, "application/problem+json"), (answer.Status, answer.MediaType));
                Assert.NotEmpty(answer.Json.GetProperty("detail").GetString()!);
            }
            // The jobs are known without it.
            var job = Assert.Single((await app.GetAsync("/api/jobs")).Items);
            Assert.NotEmpty(job.GetProperty("lastRunUnknown").GetString()!);
            Assert.Equal(200, (await app.GetAsync("/api/locks")).Status);
        }
        await Eventually.Holds(async () => (await app.GetAsync("/health/ready")).Status == 200);
        Assert.Equal(200, (await app.GetAsync($"/api/runs/{id}")).Status);
    }

    [Fact]
    public async Task Without_State_there_are_no_records_but_the_rest_answers()
    {
        await using var app = await WorkerApp.StartAsync(
            _folder.FullName,
            ("Scheduler:State:Backend", "none"),
            ("Scheduler:Jobs:LongJob:Every", "00:00:01"),
            ("Scheduler:Jobs:LongJob:Data:who", "x")
        );
        await app.ItemsAsync("/api/locks?prefix=long:");
        foreach (var path in new[] { "/api/runs", "/api/runs/1" })
        {
            var answer = await app.GetAsync(path);
            Assert.Equal((404, "application/problem+json"), (answer.Status, answer.MediaType));
            Assert.Contains("Scheduler:State:Backend", answer.Text, StringComparison.Ordinal);
        }
        Assert.Equal("w1", Assert.Single((await app.GetAsync("/api/replicas")).Items).GetProperty("name").GetString());
        Assert.Equal(200, (await app.GetAsync("/api/jobs")).Status);
        Assert.Equal(200, (await app.GetAsync("/health/ready")).Status);
    }

    [Fact]
    public async Task A_replica_that_vanishes_or_leaves_is_told_by_the_others()
    {
        await using var app = await WorkerApp.StartAsync(_folder.FullName, ("Scheduler:Jobs:LocalJob:Cron", "0 0 3 * * ?"));
        var other = await WorkerApp.StartAsync(
            _folder.FullName,
            ("Scheduler:Replica:Name", "w2"),
            ("Scheduler:Jobs:LocalJob:Cron", "0 0 3 * * ?")
        );
        await Eventually.Holds(() => app.Log.Has("Replica w2 is in the group"));
        await other.DisposeAsync();
        await Eventually.Holds(() => app.Log.Has("Replica w2 has left the group"));
        Assert.False(app.Log.Has("without a goodbye"), app.Log.Text);
        Assert.True(other.Log.Has("has stopped"), other.Log.Text);
    }

    private static async Task<Answer> NotReadyAsync(WorkerApp app, string reason)
    {
        Answer? answer = null;
        await Eventually.Holds(
            async () =>
                (answer = await app.GetAsync("/health/ready")) is { Status: 503 }
                && answer.Text.Contains("is down", StringComparison.Ordinal),
            what: string.Create(CultureInfo.InvariantCulture, $"not ready because {reason}")
        );
        Assert.Equal("notReady", answer!.Json.GetProperty("status").GetString());
        var reasons = answer.Json.GetProperty("reasons").EnumerateArray().Select(r => r.GetString());
        Assert.Contains(reasons, r => r!.StartsWith(reason, StringComparison.Ordinal));
        return answer;
    }
}
