using System.Globalization;
using System.Text.Json;
using Scheduler.Runs;
using Scheduler.Testing;

namespace Scheduler.Tests.Worker;

/// <summary>A worker with runs that succeed, fail and go on, shared by the tests that only read.</summary>
public sealed class BusyWorker : IAsyncLifetime
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("scheduler-http-");

    internal WorkerApp App { get; private set; } = null!;

    public async ValueTask InitializeAsync() =>
        App = await WorkerApp.StartAsync(
            _folder.FullName,
            ("Scheduler:Jobs:talk:Type", nameof(TalkingJob)),
            ("Scheduler:Jobs:talk:Every", "00:00:01"),
            ("Scheduler:Jobs:fail:Type", nameof(FailingJob)),
            ("Scheduler:Jobs:fail:Every", "00:00:01"),
            ("Scheduler:Jobs:fail:Lease", "00:00:05"),
            ("Scheduler:Jobs:long:Type", nameof(LongJob)),
            ("Scheduler:Jobs:long:Triggers:0:Name", "a"),
            ("Scheduler:Jobs:long:Triggers:0:Cron", "* * * * * ?"),
            ("Scheduler:Jobs:long:Triggers:0:TimeZone", "Europe/Berlin"),
            ("Scheduler:Jobs:long:Triggers:0:Data:who", "a"),
            ("Scheduler:Jobs:long:Triggers:1:Name", "b"),
            ("Scheduler:Jobs:long:Triggers:1:Every", "00:00:01"),
            ("Scheduler:Jobs:long:Triggers:1:Data:who", "b b"),
            ("Scheduler:Jobs:local:Type", nameof(LocalJob)),
            ("Scheduler:Jobs:local:Cron", "0 0 3 * * ?")
        );

    public async ValueTask DisposeAsync()
    {
        await App.DisposeAsync();
        _folder.Delete(recursive: true);
    }
}

/// <summary>What the read-only addresses answer: shapes, filters, pages, errors.</summary>
public sealed class OperationsHttpTests(BusyWorker worker) : IClassFixture<BusyWorker>
{
    private readonly WorkerApp _app = worker.App;

    [Fact]
    public async Task Jobs_show_class_key_schedules_and_the_newest_run()
    {
        await _app.ItemsAsync("/api/runs?job=talk&state=succeeded");
        var answer = await _app.GetAsync("/api/jobs");
        Assert.Equal((200, "application/json"), (answer.Status, answer.MediaType));
        Assert.Null(answer.Next);
        var jobs = answer.Items.ToDictionary(j => j.GetProperty("name").GetString()!);
        Assert.Equal(["fail", "local", "long", "talk"], jobs.Keys.Order(StringComparer.Ordinal));

        var talk = jobs["talk"];
        Assert.Equal("TalkingJob", talk.GetProperty("type").GetString());
        Assert.Equal("singleInstance", talk.GetProperty("runs").GetString());
        Assert.Equal("job:talk", talk.GetProperty("key").GetString());
        Assert.Equal("00:00:10", talk.GetProperty("lease").GetString());
        Assert.Equal("efficiency", talk.GetProperty("level").GetString());
        Utc(talk.GetProperty("nextFireAt"));
        Utc(talk.GetProperty("lastRun").GetProperty("scheduledAt"));
        Assert.Equal("00:00:01", talk.GetProperty("triggers")[0].GetProperty("every").GetString());
        Assert.Equal("00:00:05", jobs["fail"].GetProperty("lease").GetString());
        var cron = jobs["long"].GetProperty("triggers")[0];
        Assert.Equal("a", cron.GetProperty("name").GetString());
        Assert.Equal("* * * * * ?", cron.GetProperty("cron").GetString());
        Assert.Equal("Europe/Berlin", cron.GetProperty("timeZone").GetString());
        Assert.Equal("long:{who}", jobs["long"].GetProperty("key").GetString());
        Assert.Equal("everyReplica", jobs["local"].GetProperty("runs").GetString());
        Assert.Equal(JsonValueKind.Null, jobs["local"].GetProperty("key").ValueKind);
    }

    [Fact]
    public async Task A_run_has_the_promised_fields_and_its_detail_the_attempts()
    {
        var run = (await _app.ItemsAsync("/api/runs?job=talk&state=succeeded&limit=1"))[0];
        Assert.Equal("talk", run.GetProperty("job").GetString());
        Assert.Equal("default", run.GetProperty("trigger").GetString());
        Assert.Equal("succeeded", run.GetProperty("state").GetString());
        Assert.Equal(1, run.GetProperty("attempt").GetInt32());
        // 64 bits do not fit a number of JavaScript.
        Assert.True(long.Parse(run.GetProperty("token").GetString()!, CultureInfo.InvariantCulture) > 0);
        Assert.StartsWith("w1-", run.GetProperty("replica").GetString(), StringComparison.Ordinal);
        Assert.Equal(0, Utc(run.GetProperty("scheduledAt")).Millisecond);
        Assert.True(Utc(run.GetProperty("startedAt")) <= Utc(run.GetProperty("finishedAt")));
        Assert.Equal(JsonValueKind.Null, run.GetProperty("error").ValueKind);
        Assert.False(run.TryGetProperty("attempts", out _));

        var detail = await _app.GetAsync($"/api/runs/{run.GetProperty("id").GetString()}");
        Assert.Equal(200, detail.Status);
        var attempt = Assert.Single(detail.Json.GetProperty("attempts").EnumerateArray());
        Assert.Equal(1, attempt.GetProperty("attempt").GetInt32());
        Assert.Equal("succeeded", attempt.GetProperty("outcome").GetString());
        Assert.Equal(run.GetProperty("token").GetString(), attempt.GetProperty("token").GetString());
        Utc(attempt.GetProperty("startedAt"));
        Utc(attempt.GetProperty("endedAt"));
        var events = detail.Json.GetProperty("events").EnumerateArray().ToList();
        Assert.Equal(["claimed", "completed"], events.Select(e => e.GetProperty("kind").GetString()));
        Assert.Equal("succeeded", events[1].GetProperty("detail").GetString());
        Assert.Equal(attempt.GetProperty("endedAt").GetString(), events[1].GetProperty("at").GetString());
        Assert.All(events, e => Assert.Equal(run.GetProperty("token").GetString(), e.GetProperty("token").GetString()));
        Assert.All(events, e => Assert.Equal(run.GetProperty("replica").GetString(), e.GetProperty("replica").GetString()));
        Assert.False(run.TryGetProperty("events", out _));
    }

    [Fact]
    public async Task Filters_by_job_and_state_hold_together()
    {
        var failed = await _app.ItemsAsync("/api/runs?state=FAILED", atLeast: 2);
        Assert.All(failed, r => Assert.Equal(("fail", "failed"), (r.GetProperty("job").GetString(), r.GetProperty("state").GetString())));
        Assert.All(failed, r => Assert.Contains("the bank said no", r.GetProperty("error").GetString(), StringComparison.Ordinal));
        var running = await _app.ItemsAsync("/api/runs?job=long&state=running", atLeast: 2);
        Assert.All(running, r => Assert.Equal(JsonValueKind.Null, r.GetProperty("finishedAt").ValueKind));
        Assert.Empty((await _app.GetAsync("/api/runs?job=talk&state=failed")).Items);
        Assert.Empty((await _app.GetAsync("/api/runs?job=nothing")).Items);
    }

    [Fact]
    public async Task Filters_by_trigger_key_replica_and_time_hold_together()
    {
        var run = (await _app.ItemsAsync("/api/runs?job=long&trigger=b&state=running"))[^1];
        var replica = run.GetProperty("replica").GetString()!;
        var at = Utc(run.GetProperty("scheduledAt"));
        var path = $"/api/runs?job=long&trigger=b&key={Uri.EscapeDataString("long:b%20b")}&replica={replica}&state=running";
        Assert.Equal(Id(run), Id(Assert.Single((await _app.GetAsync(path)).Items)));
        Assert.Equal(Id(run), Id(Assert.Single((await _app.GetAsync($"{path}&from={at:s}Z&to={at.AddSeconds(1):s}Z")).Items)));
        Assert.Empty((await _app.GetAsync($"{path}&from={at.AddSeconds(1):s}Z")).Items);
        Assert.Empty((await _app.GetAsync($"{path}&to={at:s}Z")).Items);
        Assert.Empty((await _app.GetAsync($"{path.Replace("trigger=b", "trigger=a", StringComparison.Ordinal)}")).Items);
        Assert.Empty((await _app.GetAsync("/api/runs?replica=w2")).Items);
        Assert.Empty((await _app.GetAsync("/api/runs?key=long:c")).Items);
        Assert.Empty((await _app.GetAsync("/api/runs?trigger=manual")).Items);
    }

    [Fact]
    public async Task Skips_show_how_often_a_replica_did_nothing_in_a_minute()
    {
        var minute = new DateTimeOffset(2026, 1, 31, 12, 0, 0, TimeSpan.Zero);
        var counts = Enumerable.Range(0, 3).Select(i => new SkipCount(minute.AddMinutes(i), "talk", "w9", SkipReason.Held, 7)).ToList();
        await _app.Get<StateGuard>().CallAsync((s, t) => s.Skips.AddAsync(counts, t), TestContext.Current.CancellationToken);

        var first = await _app.GetAsync("/api/skips?job=talk&to=2026-01-31T12:02:00Z&limit=1");
        var second = await _app.GetAsync(
            $"/api/skips?job=talk&from=2026-01-31T12:00:00Z&limit=1&cursor={Uri.EscapeDataString(first.Next!)}"
        );

        Assert.Equal(minute.AddMinutes(1), Utc(first.Items.Single().GetProperty("minute")));
        var row = second.Items.Single();
        Assert.Equal(minute, Utc(row.GetProperty("minute")));
        Assert.Equal(("talk", "w9"), (row.GetProperty("job").GetString(), row.GetProperty("replica").GetString()));
        Assert.Equal(("held", 7), (row.GetProperty("reason").GetString(), row.GetProperty("count").GetInt32()));
        Assert.Null(second.Next);
    }

    [Fact]
    public async Task Pages_give_each_run_once()
    {
        await _app.ItemsAsync("/api/runs?job=talk&state=succeeded", atLeast: 4);
        var all = (await _app.GetAsync("/api/runs?job=talk&state=succeeded")).Items.Select(Id).ToList();
        var paged = new List<string?>();
        var path = "/api/runs?job=talk&state=succeeded&limit=2";
        for (string? cursor = ""; cursor is not null; )
        {
            var page = await _app.GetAsync(cursor.Length == 0 ? path : $"{path}&cursor={Uri.EscapeDataString(cursor)}");
            Assert.InRange(page.Items.Count, 0, 2);
            paged.AddRange(page.Items.Select(Id));
            cursor = page.Next;
        }
        Assert.Equal(paged.Count, paged.Distinct(StringComparer.Ordinal).Count());
        // Runs may have come in between; none that was there is missing, and the order is the same.
        Assert.Equal(all, paged.Where(all.Contains));
    }

    [Fact]
    public async Task Locks_show_holder_purpose_and_rest_by_prefix_and_page()
    {
        var locks = await _app.ItemsAsync("/api/locks?prefix=long:", atLeast: 2);
        Assert.Equal(["long:a", "long:b%20b"], locks.Select(l => l.GetProperty("key").GetString()).Order(StringComparer.Ordinal));
        var first = locks.Single(l => l.GetProperty("key").GetString() == "long:a");
        Assert.StartsWith("w1-", first.GetProperty("holder").GetString(), StringComparison.Ordinal);
        Assert.StartsWith("long/a@", first.GetProperty("purpose").GetString(), StringComparison.Ordinal);
        Assert.Equal(JsonValueKind.String, first.GetProperty("number").ValueKind);
        Assert.InRange(first.GetProperty("remainingSeconds").GetDouble(), 0.1, 10);
        Assert.False(first.GetProperty("revoked").GetBoolean());

        var one = await _app.GetAsync("/api/locks?prefix=long:&limit=1");
        Assert.Single(one.Items);
        var two = await _app.GetAsync($"/api/locks?prefix=long:&limit=1&cursor={Uri.EscapeDataString(one.Next!)}");
        Assert.NotEqual(one.Items[0].GetProperty("key").GetString(), two.Items.Single().GetProperty("key").GetString());
        Assert.Empty((await _app.GetAsync("/api/locks?prefix=none")).Items);
    }

    [Fact]
    public async Task Replicas_show_where_each_is_and_what_it_has()
    {
        var me = Assert.Single(await _app.ItemsAsync("/api/replicas"));
        Assert.Equal("w1", me.GetProperty("name").GetString());
        Assert.StartsWith("w1-", me.GetProperty("id").GetString(), StringComparison.Ordinal);
        Assert.Equal("running", me.GetProperty("status").GetString());
        Assert.Equal(_app.Operations, me.GetProperty("operationsUrl").GetString());
        Assert.True(me.GetProperty("isThis").GetBoolean());
        Assert.Equal(4, me.GetProperty("jobs").GetArrayLength());
        Utc(me.GetProperty("startedAt"));
        Utc(me.GetProperty("wallClock"));
    }

    [Theory]
    [InlineData("/api/runs?limit=0", "limit")]
    [InlineData("/api/runs?limit=1001", "limit")]
    [InlineData("/api/runs?limit=ten", "limit")]
    [InlineData("/api/runs?limit=1&limit=2", "limit")]
    [InlineData("/api/runs?state=done", "state")]
    [InlineData("/api/runs?state=3", "state")]
    [InlineData("/api/runs?jobs=talk", "jobs")]
    [InlineData("/api/runs?cursor=nonsense", "cursor")]
    [InlineData("/api/runs?job=", "job")]
    [InlineData("/api/runs?trigger=%00", "trigger")]
    [InlineData("/api/runs?replica=", "replica")]
    [InlineData("/api/runs?key=", "key")]
    [InlineData("/api/runs?from=yesterday", "from")]
    [InlineData("/api/runs?from=", "from")]
    [InlineData("/api/runs?to=2026-01-31T12:00:00", "to")]
    [InlineData("/api/runs?to=2026-01-31T12:00:00%2B01:00", "to")]
    [InlineData("/api/runs?from=2026-01-31T12:00:00.5Z&to=2026-01-31T12:00:00.500Z", "from")]
    [InlineData("/api/runs/x?full=1", "full")]
    [InlineData("/api/skips?state=held", "state")]
    [InlineData("/api/skips?limit=0", "limit")]
    [InlineData("/api/skips?from=now", "from")]
    [InlineData("/api/skips?cursor=1/2", "cursor")]
    [InlineData("/api/jobs?name=talk", "name")]
    [InlineData("/api/replicas?all=1", "all")]
    [InlineData("/api/locks?prefx=a", "prefx")]
    [InlineData("/api/locks?limit=-1", "limit")]
    public async Task A_bad_parameter_is_named(string path, string parameter)
    {
        var answer = await _app.GetAsync(path);
        Assert.Equal((400, "application/problem+json"), (answer.Status, answer.MediaType));
        Assert.Equal(400, answer.Json.GetProperty("status").GetInt32());
        Assert.Equal([parameter], answer.Json.GetProperty("errors").EnumerateObject().Select(e => e.Name));
    }

    [Theory]
    [InlineData("/api/runs/no-such-run")]
    [InlineData("/api/run")]
    [InlineData("/")]
    public async Task What_does_not_exist_is_a_problem_document(string path)
    {
        var answer = await _app.GetAsync(path);
        Assert.Equal((404, "application/problem+json"), (answer.Status, answer.MediaType));
        Assert.Equal(404, answer.Json.GetProperty("status").GetInt32());
        Assert.NotEmpty(answer.Json.GetProperty("title").GetString()!);
    }

    [Fact]
    public async Task The_health_address_serves_health_alone()
    {
        Assert.Equal("live", (await _app.GetHealthAsync("/health/live")).Json.GetProperty("status").GetString());
        await Eventually.Holds(async () => (await _app.GetHealthAsync("/health/ready")).Status == 200);
        Assert.Equal(200, (await _app.GetAsync("/health/ready")).Status);
        Assert.All(
            ["/api/jobs", "/api/runs", "/api/locks", "/api/replicas", "/", "/healthy"],
            path => Assert.Equal(404, _app.GetHealthAsync(path).GetAwaiter().GetResult().Status)
        );
    }

    [Fact]
    public async Task Each_line_of_a_run_says_which_run_and_nothing_twice()
    {
        var run = (await _app.ItemsAsync("/api/runs?job=talk&state=succeeded"))[^1];
        var at = Utc(run.GetProperty("scheduledAt")).ToString("yyyy-MM-dd'T'HH:mm:ss.fff'Z'", CultureInfo.InvariantCulture);
        var lines = _app.Log.Lines.Where(l => l.Contains($"talk/default@{at}", StringComparison.Ordinal)).ToList();
        Assert.Contains(lines, l => l.Contains("The body says hello", StringComparison.Ordinal));
        Assert.Contains(lines, l => l.Contains("Started ", StringComparison.Ordinal));
        Assert.Contains(lines, l => l.Contains("Ended ", StringComparison.Ordinal));
        foreach (var fact in new[] { $"talk/default@{at}", "attempt 1", $"token {run.GetProperty("token").GetString()}", " w1 " })
        {
            Assert.All(lines, l => Assert.Equal(2, l.Split(fact).Length));
        }
    }

    private static string? Id(JsonElement run) => run.GetProperty("id").GetString();

    private static DateTimeOffset Utc(JsonElement time)
    {
        Assert.EndsWith("Z", time.GetString(), StringComparison.Ordinal);
        return time.GetDateTimeOffset();
    }
}
