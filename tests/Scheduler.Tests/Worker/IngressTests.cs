using System.Globalization;
using System.Text;
using Microsoft.Data.Sqlite;
using Scheduler.Testing;
using Scheduler.Worker.Ingress;

namespace Scheduler.Tests.Worker;

/// <summary>What anybody may send to the address for webhooks: each wrong thing has a bounded, clear refusal, and nothing of it is
/// kept.</summary>
public sealed partial class IngressTests : IAsyncDisposable
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("scheduler-ingress-");

    public ValueTask DisposeAsync()
    {
        _folder.Delete(recursive: true);
        return ValueTask.CompletedTask;
    }

    [Fact]
    public async Task Another_method_is_405_and_says_what_to_do()
    {
        await using var app = await StartAsync();
        foreach (var method in (string[])["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PURGE"])
        {
            using var request = new HttpRequestMessage(new HttpMethod(method), new Uri($"{app.Ingress}/webhooks/payments"));
            var answer = await app.SendAsync(request);
            Assert.Equal((method, 405, "POST"), (method, answer.Status, answer.Allow));
            if (method != "HEAD")
            {
                Assert.Equal("application/problem+json", answer.MediaType);
                Assert.Contains("POST to /webhooks/{source}", answer.Text, StringComparison.Ordinal);
            }
            Assert.DoesNotContain("/api", answer.Text, StringComparison.Ordinal);
        }
        foreach (
            var path in (string[])["/", "/webhooks", "/webhooks/payments/more", "/health/live", "/webhooks/other", "/webhooks/%2e%2e/x"]
        )
        {
            using var request = new HttpRequestMessage(HttpMethod.Post, new Uri(app.Ingress + path));
            var answer = await app.SendAsync(request);
            Assert.Equal((path, 404, "application/problem+json"), (path, answer.Status, answer.MediaType));
        }
        await NothingKeptAsync(app);
    }

    [Fact]
    public async Task A_malformed_request_is_refused_before_anything_else()
    {
        await using var app = await StartAsync();
        var body = Sender.Paid("1", 5);
        var length = $"Content-Length: {body.Length}";
        var many = Enumerable.Range(0, 70).Select(i => ($"X-{i}", "1"));
        (int Status, string Request)[] cases =
        [
            (431, Sender.Head([.. Sender.Sign(body), .. many], length) + body),
            (431, Sender.Head([.. Sender.Sign(body), ("X-Huge", new string('a', 20_000))], length) + body),
            (414, Sender.Head(Sender.Sign(body), length).Replace("payments", new string('a', 9_000), StringComparison.Ordinal) + body),
            (400, "\u0001\u0002\u0003 nothing\r\n\r\n"),
            (400, "POST /webhooks/payments HTTP/1.1\r\n\r\n"),
            (400, Sender.Head(Sender.Sign(body), length + "\r\n" + length + "0") + body),
            (400, Sender.Head(Sender.Sign(body), "Content-Length: -1") + body),
            (400, Sender.Head(Sender.Sign(body), "Content-Length: 1e3") + body),
            (400, Sender.Head([.. Sender.Sign(body), ("X\u0000", "1")], length) + body),
            (400, Sender.Head([.. Sender.Sign(body), ("X", "a\rb")], length) + body),
            (400, Sender.Head(Sender.Sign(body), "Transfer-Encoding: chunked") + "zz\r\n"),
            (400, Sender.Head(Sender.Sign(body), "Transfer-Encoding: gzip") + body),
            (415, Sender.Head(Sender.Sign(body), length).Replace("application/json", "text/xml", StringComparison.Ordinal) + body),
            (
                415,
                Sender
                    .Head(Sender.Sign(body), length)
                    .Replace("application/json", "application/x-www-form-urlencoded", StringComparison.Ordinal) + body
            ),
            (401, Sender.Head([.. Sender.Sign(body), ("webhook-signature", "v1,AAAA")], length) + body),
            // Taken from what comes on the same connection behind it.
            (401, Sender.Head(Sender.Sign(body), length) + body.Replace(":5,", ":6,", StringComparison.Ordinal)),
        ];
        foreach (var (status, request) in cases)
        {
            var answer = await RawConnection.AskAsync(app.Ingress, request);
            Assert.True(status == answer.Status, $"{answer.Text}\n instead of {status} for\n{request[..Math.Min(400, request.Length)]}");
        }
        await NothingKeptAsync(app);
        Assert.Equal(202, (await Sender.DeliverAsync(app, body)).Status);
    }

    [Fact]
    public async Task What_is_genuine_and_strange_is_kept_for_a_person()
    {
        await using var app = await StartAsync();
        byte[][] bodies =
        [
            Encoding.UTF8.GetBytes(new string('[', 100_000)),
            Encoding.UTF8.GetBytes($$"""{"orderId":"1","type":"payment.succeeded","a":{{new string('[', 65)}}{{new string(']', 65)}}}"""),
            Encoding.UTF8.GetBytes("""{"orderId":"1","orderId":"2","type":"payment.succeeded"}"""),
            [.. "{\"orderId\":\""u8, 0xC3, 0x28, .. "\"}"u8],
            [],
        ];
        foreach (var body in bodies)
        {
            using var connection = await RawConnection.OpenAsync(app.Ingress);
            await connection.TrySendAsync(Sender.Head(Sender.Sign(body), $"Content-Length: {body.Length}"));
            await connection.TrySendAsync(body);
            var answer = await connection.AnswerAsync();
            Assert.Equal((202, true), (answer.Status, answer.Has("quarantined")));
        }
        Assert.Equal(bodies.Length, (await app.GetAsync("/api/inbox?state=quarantined")).Items.Count);
    }

    [Fact]
    public async Task A_sender_that_is_too_slow_is_told_and_let_go()
    {
        await using var app = await StartAsync(
            new IngressLimits
            {
                HeaderTime = TimeSpan.FromSeconds(1),
                IdleTime = TimeSpan.FromSeconds(1),
                RateGrace = TimeSpan.FromSeconds(1.5),
                BodyTime = TimeSpan.FromMinutes(1),
            }
        );
        var body = Sender.Paid("1", 5);
        using var head = await RawConnection.OpenAsync(app.Ingress);
        await head.TrySendAsync("POST /webhooks/payments HTTP/1.1\r\nHost: a\r\nX-");
        using var silent = await RawConnection.OpenAsync(app.Ingress);
        using var drip = await RawConnection.OpenAsync(app.Ingress);
        await drip.TrySendAsync(Sender.Head(Sender.Sign(body), $"Content-Length: {body.Length}") + body[..3]);

        Assert.Equal(408, (await head.AnswerAsync()).Status);
        await silent.ClosedAsync();
        Assert.Equal(408, (await drip.AnswerAsync()).Status);
        await drip.ClosedAsync();
        await NothingKeptAsync(app);
        Assert.Equal(0, app.Get<BodyReader>().Rented);
    }

    [Fact]
    public async Task A_body_has_a_time_whatever_its_rate()
    {
        await using var app = await StartAsync(new IngressLimits { BodyTime = TimeSpan.FromSeconds(0.3) });
        var body = Sender.Paid("1", 5);
        using var drip = await RawConnection.OpenAsync(app.Ingress);
        await drip.TrySendAsync(Sender.Head(Sender.Sign(body), $"Content-Length: {body.Length}") + body[..3]);
        var answer = await drip.AnswerAsync();
        Assert.Equal((408, true), (answer.Status, answer.Has("did not come within 0.3 s")));
        await NothingKeptAsync(app);
    }

    [Fact]
    public async Task A_broken_off_body_is_not_kept_and_a_half_closed_connection_ends()
    {
        await using var app = await StartAsync();
        var body = Sender.Paid("1", 5);
        var request = Sender.Head(Sender.Sign(body), $"Content-Length: {body.Length}") + body;
        using var broken = await RawConnection.OpenAsync(app.Ingress);
        await broken.TrySendAsync(request[..^5]);
        broken.HalfClose();
        Assert.Contains((await broken.AnswerAsync()).Status, (int[])[0, 400]);
        await NothingKeptAsync(app);

        // The server takes the end of one direction for a sender that has hung up: it may store the event, and need not answer.
        using var whole = await RawConnection.OpenAsync(app.Ingress);
        await whole.TrySendAsync(request);
        whole.HalfClose();
        Assert.Contains((await whole.AnswerAsync()).Status, (int[])[0, 202]);
        await whole.ClosedAsync();
        Assert.Contains((await Sender.DeliverAsync(app, body)).Status, (int[])[200, 202]);
        Assert.Single((await app.GetAsync("/api/inbox")).Items);
        Assert.Equal(0, app.Get<BodyReader>().Rented);
    }

    [Fact]
    public async Task A_body_that_is_too_large_is_refused_before_it_is_read_and_one_without_a_length_at_the_limit()
    {
        await using var app = await StartAsync(new IngressLimits(), ("Scheduler:Webhooks:Sources:payments:MaxBodyBytes", "4096"));
        using var announced = await RawConnection.OpenAsync(app.Ingress);
        // Not one byte of it is sent.
        await announced.TrySendAsync(Sender.Head(Sender.Sign(""), "Content-Length: 4097"));
        Assert.Equal(413, (await announced.AnswerAsync()).Status);

        using var vast = await RawConnection.OpenAsync(app.Ingress);
        await vast.TrySendAsync(Sender.Head(Sender.Sign(""), "Content-Length: 99999999999"));
        Assert.Equal(413, (await vast.AnswerAsync()).Status);
        await vast.ClosedAsync();

        using var endless = await RawConnection.OpenAsync(app.Ingress);
        await endless.TrySendAsync(Sender.Head(Sender.Sign(""), "Transfer-Encoding: chunked"));
        var chunk = Encoding.ASCII.GetBytes("400\r\n" + new string('a', 1024) + "\r\n");
        for (var i = 0; i < 5; i++)
        {
            Assert.True(await endless.TrySendAsync(chunk));
        }
        var answer = await endless.AnswerAsync();
        Assert.Equal((413, true), (answer.Status, answer.Has("Connection: close")));
        await Eventually.Holds(async () => !await endless.TrySendAsync(chunk), what: "the connection is closed");

        foreach (var (size, status) in new[] { (4096, 202), (4097, 413) })
        {
            var body = new string(' ', size);
            var framing = $"Transfer-Encoding: chunked\r\n\r\n{size.ToString("x", CultureInfo.InvariantCulture)}";
            var request = Sender.Head(Sender.Sign(body), framing)[..^2] + body + "\r\n0\r\n\r\n";
            Assert.Equal(status, (await RawConnection.AskAsync(app.Ingress, request)).Status);
        }
        Assert.Equal(0, app.Get<BodyReader>().Rented);
    }

    [Fact]
    public async Task Memory_is_taken_for_what_has_come_and_bounded_over_all_bodies()
    {
        await using var app = await StartAsync(
            new IngressLimits
            {
                BytesInReading = 100 * 1024,
                RateGrace = TimeSpan.FromMinutes(1),
                BodyTime = TimeSpan.FromMinutes(1),
            }
        );
        var bodies = app.Get<BodyReader>();
        var body = Sender.Paid("1", 5);
        var held = new List<RawConnection>();
        try
        {
            for (var i = 0; i < 6; i++)
            {
                var connection = await RawConnection.OpenAsync(app.Ingress);
                held.Add(connection);
                // A mebibyte each, by their own word.
                await connection.TrySendAsync(Sender.Head(Sender.Sign(body), "Content-Length: 1048576") + "{");
            }
            await Eventually.Holds(() => bodies.Rented == 6 * 16 * 1024);
            var refused = await Sender.DeliverAsync(app, body);
            Assert.Equal((503, TimeSpan.FromSeconds(2)), (refused.Status, refused.RetryAfter));
            Assert.Equal(6 * 16 * 1024, bodies.Rented);
            await NothingKeptAsync(app);
        }
        finally
        {
            held.ForEach(c => c.Dispose());
        }
        await Eventually.Holds(() => bodies.Rented == 0);
        Assert.Equal(202, (await Sender.DeliverAsync(app, body)).Status);
        Assert.Equal(0, bodies.Rented);
    }

    [Fact]
    public async Task Connections_are_bounded_and_those_for_operations_are_others()
    {
        await using var app = await StartAsync(new IngressLimits { Connections = 3 });
        var held = new List<RawConnection>();
        try
        {
            for (var i = 0; i < 3; i++)
            {
                held.Add(await RawConnection.OpenAsync(app.Ingress));
                Assert.True(await held[i].TrySendAsync("POST /webhooks/none HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"));
                Assert.Equal(404, (await held[i].AnswerAsync()).Status);
            }
            using var another = await RawConnection.OpenAsync(app.Ingress);
            await another.ClosedAsync();
            Assert.Equal(200, (await app.GetAsync("/health/ready")).Status);
            Assert.Equal(200, (await app.GetHealthAsync("/health/live")).Status);
        }
        finally
        {
            held.ForEach(c => c.Dispose());
        }
        await Eventually.Holds(async () => (await TryDeliverAsync(app))?.Status == 202);
    }

    private static async Task NothingKeptAsync(WorkerApp app)
    {
        Assert.Empty((await app.GetAsync("/api/inbox")).Items);
        Assert.DoesNotContain("merchant-1", app.Log.Text, StringComparison.Ordinal);
        Assert.DoesNotContain(Sender.Secret[6..], app.Log.Text, StringComparison.Ordinal);
    }

    private static async Task<Answer?> TryDeliverAsync(WorkerApp app)
    {
        try
        {
            return await Sender.DeliverAsync(app, Sender.Paid("2", 5));
        }
        catch (HttpRequestException)
        {
            return null;
        }
    }

    private Task<WorkerApp> StartAsync(IngressLimits? limits = null, params (string Key, string? Value)[] more) =>
        WorkerApp.StartAsync(_folder.FullName, limits ?? new IngressLimits(), [.. Sender.Settings, .. more]);

    /// <summary>Another program keeps the writer's lock of the State's file until the connection is closed.</summary>
    private async Task<SqliteConnection> LockStateAsync()
    {
        var other = new SqliteConnection($"Data Source={_folder.FullName}/state.db;Pooling=False");
        await other.OpenAsync(TestContext.Current.CancellationToken);
        await using var command = other.CreateCommand();
        command.CommandText = "BEGIN IMMEDIATE";
        await command.ExecuteNonQueryAsync(TestContext.Current.CancellationToken);
        return other;
    }
}
