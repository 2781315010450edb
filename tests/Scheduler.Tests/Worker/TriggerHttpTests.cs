using System.Text.Json;
using Scheduler.Locking;
using Scheduler.Runs;
using Scheduler.Testing;

namespace Scheduler.Tests.Worker;

/// <summary>Runs that somebody asks for over HTTP.</summary>
public sealed class TriggerHttpTests(BusyWorker worker) : IClassFixture<BusyWorker>
{
    private const string Talk = "/api/jobs/talk/trigger";
    private const string Long = "/api/jobs/long/trigger";
    private const string Key = "Idempotency-Key";

    private readonly WorkerApp _app = worker.App;

    [Fact]
    public async Task A_run_is_accepted_with_its_id_and_runs()
    {
        var answer = await _app.PostAsync(Talk);

        Assert.Equal((202, "application/json"), (answer.Status, answer.MediaType));
        Assert.Equal($"/api/runs/{Id(answer)}", answer.Location);
        Assert.Equal(("talk", "manual"), (answer.Json.GetProperty("job").GetString(), answer.Json.GetProperty("trigger").GetString()));
        Assert.False(answer.Json.GetProperty("scheduled").GetBoolean());
        // Its schedule takes the same key every second, for a moment.
        await Eventually.Holds(
            async () => (await _app.GetAsync(answer.Location!)).Json.GetProperty("state").GetString() == "succeeded",
            what: "the run has succeeded"
        );
    }

    [Fact]
    public async Task A_repeated_request_is_the_same_run_and_one_with_other_data_is_refused()
    {
        (string, string)[] once = [(Key, "order-17")];
        var first = await _app.PostAsync(Talk, """{"data": {"order": "17"}}""", headers: once);

        var again = await _app.PostAsync(Talk, """{ "data": { "order": "17" } }""", headers: once);
        var before = await ManualRunsAsync();
        var other = await _app.PostAsync(Talk, """{"data": {"order": "18"}}""", headers: once);
        var without = await _app.PostAsync(Talk, headers: once);
        var after = await ManualRunsAsync();
        var otherJob = await _app.PostAsync("/api/jobs/fail/trigger", """{"data": {"order": "18"}}""", headers: once);

        Assert.Equal((202, 202, 202), (first.Status, again.Status, otherJob.Status));
        Assert.Equal(Id(first), Id(again));
        Assert.NotEqual(Id(first), Id(otherJob));
        Assert.All([other, without], a => Assert.Equal(422, a.Status));
        Assert.Equal(before, after);
        Assert.Contains(Id(first), other.Json.GetProperty("detail").GetString(), StringComparison.Ordinal);
        Assert.NotEqual(Id(await _app.PostAsync(Talk)), Id(await _app.PostAsync(Talk)));
    }

    [Fact]
    public async Task A_repeated_request_is_answered_as_before_also_when_the_job_is_paused_since()
    {
        (string, string)[] once = [(Key, "before-the-pause")];
        await using var own = new OwnFolder();
        await using var app = await WorkerApp.StartAsync(
            own.Path,
            ("Scheduler:Jobs:talk:Type", nameof(TalkingJob)),
            ("Scheduler:Jobs:talk:Cron", "0 0 3 * * ?")
        );
        var first = await app.PostAsync(Talk, """{"data": {"order": "17"}}""", headers: once);
        Assert.Equal(200, (await app.PostAsync("/api/jobs/talk/pause")).Status);

        var again = await app.PostAsync(Talk, """{"data": {"order": "17"}}""", headers: once);
        var other = await app.PostAsync(Talk, """{"data": {"order": "18"}}""", headers: once);
        var refused = await app.PostAsync(Talk, headers: [(Key, "in-the-pause")]);

        Assert.Equal((202, 202, 422, 409), (first.Status, again.Status, other.Status, refused.Status));
        Assert.Equal(Id(first), Id(again));
        Assert.Equal(Id(first), Assert.Single((await app.GetAsync("/api/runs?trigger=manual")).Items).GetProperty("id").GetString());
    }

    [Fact]
    public async Task More_runs_than_may_be_open_are_refused_until_some_have_ended()
    {
        await using var own = new OwnFolder();
        await using var app = await WorkerApp.StartAsync(
            own.Path,
            ("Scheduler:Jobs:long:Type", nameof(LongJob)),
            ("Scheduler:Jobs:long:Cron", "0 0 3 * * ?"),
            ("Scheduler:Jobs:long:Data:who", "a")
        );
        var state = app.Get<Scheduler.Jobs.Hosting.StateHolder>().Guard!;
        for (var i = 0; i < IRunLedger.MostRequested; i++)
        {
            var request = new RunRequest("long", LockKey.From("long:a"), null, DateTimeOffset.UnixEpoch);
            await state.CallAsync((s, t) => s.Runs.RequestAsync(request, t), TestContext.Current.CancellationToken);
        }

        var answer = await app.PostAsync(Long, """{"data": {"who": "b"}}""");

        Assert.Equal((429, "application/problem+json"), (answer.Status, answer.MediaType));
        Assert.Contains("Ask again when some have ended", answer.Json.GetProperty("detail").GetString(), StringComparison.Ordinal);
        var runs = await app.GetAsync("/api/runs?trigger=manual&limit=1000");
        Assert.Equal((1_000, JsonValueKind.Null), (runs.Items.Count, runs.Json.GetProperty("next").ValueKind));
    }

    [Fact]
    public async Task A_failed_run_is_run_again_on_request_and_others_are_refused()
    {
        var failed = await _app.PostAsync("/api/jobs/fail/trigger");
        await Eventually.Holds(async () => await StateAsync(failed) == "failed");
        var done = await _app.PostAsync(Talk);
        await Eventually.Holds(async () => await StateAsync(done) == "succeeded");

        var again = await _app.PostAsync($"{failed.Location}/retry");
        var refused = await _app.PostAsync($"{done.Location}/retry");
        var unknown = await _app.PostAsync("/api/runs/0197f0c0000070008000000000000000/retry");
        var wrong = await _app.PostAsync($"{failed.Location}/retry?now=yes");

        Assert.Equal((202, failed.Location), (again.Status, again.Location));
        Assert.Equal("waiting", again.Json.GetProperty("state").GetString());
        await Eventually.Holds(async () =>
            (await _app.GetAsync(failed.Location!)).Json is var run
            && run.GetProperty("attempt").GetInt32() == 2
            && run.GetProperty("state").GetString() == "failed"
        );
        Assert.Equal((409, 404, 400), (refused.Status, unknown.Status, wrong.Status));
        Assert.Contains("succeeded", refused.Json.GetProperty("detail").GetString(), StringComparison.Ordinal);

        async Task<string?> StateAsync(Answer run) => (await _app.GetAsync(run.Location!)).Json.GetProperty("state").GetString();
    }

    [Fact]
    public async Task A_job_is_paused_shown_refused_and_resumed()
    {
        var paused = await _app.PostAsync("/api/jobs/fail/pause");
        var twice = await _app.PostAsync("/api/jobs/fail/pause");
        var since = paused.Json.GetProperty("since").GetDateTime();

        Assert.Equal((200, 200), (paused.Status, twice.Status));
        Assert.True(paused.Json.GetProperty("paused").GetBoolean());
        Assert.Equal(since, twice.Json.GetProperty("since").GetDateTime());
        var shown = (await _app.GetAsync("/api/jobs")).Json.GetProperty("items").EnumerateArray();
        Assert.Equal(since, shown.Single(j => j.GetProperty("name").GetString() == "fail").GetProperty("pausedSince").GetDateTime());
        var refused = await _app.PostAsync("/api/jobs/fail/trigger");
        Assert.Equal(409, refused.Status);
        Assert.Contains("/api/jobs/fail/resume", refused.Json.GetProperty("detail").GetString(), StringComparison.Ordinal);

        var resumed = await _app.PostAsync("/api/jobs/fail/resume");
        var again = await _app.PostAsync("/api/jobs/fail/resume");
        Assert.Equal((200, 200), (resumed.Status, again.Status));
        Assert.True(resumed.Json.GetProperty("until").GetDateTime() >= since);
        Assert.Equal(JsonValueKind.Null, again.Json.GetProperty("since").ValueKind);
        Assert.Equal(202, (await _app.PostAsync("/api/jobs/fail/trigger")).Status);
    }

    [Theory]
    [InlineData("/api/jobs/tolk/pause", 404, "talk")]
    [InlineData("/api/jobs/tolk/resume", 404, "talk")]
    [InlineData("/api/jobs/local/pause", 422, "every replica")]
    [InlineData("/api/jobs/talk/pause?until=noon", 400, "until")]
    public async Task What_cannot_be_paused_is_refused_by_name(string path, int status, string says)
    {
        var answer = await _app.PostAsync(path);

        Assert.Equal((status, "application/problem+json"), (answer.Status, answer.MediaType));
        Assert.Contains(says, answer.Text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Data_fill_the_lock_key()
    {
        var answer = await _app.PostAsync(Long, """{"data": {"who": "some one"}}""");
        var missing = await _app.PostAsync(Long);

        Assert.Equal("long:some%20one", answer.Json.GetProperty("key").GetString());
        await Eventually.Holds(async () => (await _app.GetAsync(answer.Location!)).Json.GetProperty("state").GetString() == "running");
        Assert.Equal(422, missing.Status);
        Assert.Contains("'who'", missing.Json.GetProperty("detail").GetString(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("/api/jobs/tolk/trigger", 404, "talk")]
    [InlineData("/api/jobs/local/trigger", 422, "every replica")]
    [InlineData("/api/jobs/talk/trigger?when=now", 400, "when")]
    public async Task What_cannot_run_is_refused_by_name(string path, int status, string says)
    {
        var before = await ManualRunsAsync();

        var answer = await _app.PostAsync(path);

        Assert.Equal((status, "application/problem+json"), (answer.Status, answer.MediaType));
        Assert.Contains(says, answer.Text, StringComparison.Ordinal);
        Assert.Equal(before, await ManualRunsAsync());
    }

    [Theory]
    [InlineData("{", "body")]
    [InlineData("[]", "body")]
    [InlineData("null", "body")]
    [InlineData("""{"data": {"a": "1", "a": "2"}}""", "body")]
    [InlineData("""{"data": {"a": {"b": {"c": {"d": 1}}}}}""", "body")]
    [InlineData("""{"data": {"a": "\ud800"}}""", "body")]
    [InlineData("""{"data": {"\udc00": "a"}}""", "body")]
    [InlineData("""{"date": {}}""", "date")]
    [InlineData("""{"data": []}""", "data")]
    [InlineData("""{"data": {"a": 1}}""", "data.a")]
    [InlineData("""{"data": {"a": null}}""", "data.a")]
    public async Task A_wrong_body_is_named(string body, string at)
    {
        var answer = await _app.PostAsync(Talk, body);

        Assert.Equal((400, "application/problem+json"), (answer.Status, answer.MediaType));
        Assert.Equal(at, Assert.Single(answer.Json.GetProperty("errors").EnumerateObject()).Name);
    }

    [Theory]
    [InlineData("")]
    [InlineData(" ")]
    [InlineData("a b")]
    public async Task A_wrong_request_key_is_refused(string key) =>
        Assert.Equal(400, (await _app.PostAsync(Talk, headers: [(Key, key)])).Status);

    [Fact]
    public async Task A_request_key_that_is_too_long_or_given_twice_is_refused()
    {
        Assert.Equal(202, (await _app.PostAsync(Talk, headers: [(Key, new string('x', 200))])).Status);
        Assert.Equal(400, (await _app.PostAsync(Talk, headers: [(Key, new string('x', 201))])).Status);
        Assert.Equal(400, (await _app.PostAsync(Talk, headers: [(Key, "a"), (Key, "b")])).Status);
    }

    [Fact]
    public async Task Data_that_no_run_keeps_are_refused()
    {
        Assert.Equal(422, (await _app.PostAsync(Talk, Body("a", new string('x', 65_536)))).Status);
        Assert.Equal(413, (await _app.PostAsync(Talk, Body("a", new string('x', 200_000)))).Status);
        Assert.Equal(422, (await _app.PostAsync(Talk, Body("scheduler.runId", "x"))).Status);
        Assert.Equal(415, (await _app.PostAsync(Talk, Body("a", "b"), "text/plain")).Status);
        // Such a text no database of ours keeps as it is, and as an escape of JSON all do.
        Assert.Equal(202, (await _app.PostAsync(Talk, Body("a", "\0"))).Status);
        Assert.Equal(200, (await _app.GetHealthAsync("/health/ready")).Status);
    }

    [Theory]
    [InlineData("cross-site", 403)]
    [InlineData("same-site", 403)]
    [InlineData("same-origin", 202)]
    [InlineData("none", 202)]
    public async Task A_page_of_another_site_changes_nothing(string site, int status) =>
        Assert.Equal(status, (await _app.PostAsync(Talk, headers: [("Sec-Fetch-Site", site)])).Status);

    private static string Id(Answer answer) => answer.Json.GetProperty("id").GetString()!;

    private static string Body(string name, string value) =>
        JsonSerializer.Serialize(new { data = new Dictionary<string, string>(StringComparer.Ordinal) { [name] = value } });

    private async Task<int> ManualRunsAsync() =>
        (await _app.GetAsync("/api/runs?limit=1000")).Items.Count(r => r.GetProperty("trigger").GetString() == "manual");

    private sealed class OwnFolder : IAsyncDisposable
    {
        private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("scheduler-trigger-");

        public string Path => _folder.FullName;

        public ValueTask DisposeAsync()
        {
            _folder.Delete(recursive: true);
            return ValueTask.CompletedTask;
        }
    }
}
