using System.Globalization;
using System.Text;
using FsCheck;
using FsCheck.Fluent;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Scheduler.Inbox;
using Scheduler.Jobs;
using Scheduler.Runs;
using Scheduler.Testing;
using Scheduler.Webhooks.Processing;
using Scheduler.Worker.Configuration;
using Scheduler.Worker.Hosting;
using Scheduler.Worker.Ingress;

namespace Scheduler.Tests.Webhooks;

/// <summary>
/// Over 100,000 generated requests through the ingress as it is put together by the host, into an inbox in memory: none is answered with
/// a 5xx, none is stored without a valid signature, and nothing of a body and no secret is answered or logged.
/// </summary>
public sealed class EndpointMutationTests : IAsyncDisposable
{
    private const int Cases = 4_200;
    private const int PerCase = 24;
    private const int MaxBodyBytes = 16 * 1024;
    private const string Canary = "cAnArY-91f3";
    private static readonly string[] Schemes = ["standard-webhooks", "stripe", "github", "shopify", "hmac"];

    private readonly FakeTime _refusals = new();
    private readonly LogCapture _log = new();
    private readonly MemoryInbox _inbox = new();
    private readonly StateGuard _state;
    private readonly InboxWriter _writer;
    private readonly ServiceProvider _services;
    private readonly RequestDelegate _ingress;

    public EndpointMutationTests()
    {
        var time = new FakeTime(Source.Now);
        _state = new StateGuard(_inbox.State(), TimeSpan.FromMinutes(1), TimeSpan.FromMinutes(1), TimeProvider.System, _log);
        _writer = new InboxWriter(_state);
        var options = new WebhooksOptions();
        foreach (var scheme in Schemes)
        {
            var source = Source.Options(scheme, VerificationTests.Secret(scheme));
            source.Header = scheme == "hmac" ? "X-Sign" : null;
            source.MaxBodyBytes = MaxBodyBytes;
            options.Sources.Add(scheme, source);
        }
        var services = new ServiceCollection()
            .AddLogging(l => l.AddProvider(_log).SetMinimumLevel(LogLevel.Information).AddFilter("Scheduler", LogLevel.Trace))
            .AddRouting()
            .AddProblemDetails()
            .AddSingleton<TimeProvider>(time)
            .AddSingleton(new IngressLimits())
            .AddSingleton(new WebhookSources(options, new WebhookRoutes([]), time))
            .AddSingleton<BodyReader>()
            .AddSingleton(_writer)
            .AddSingleton(new ReplicaStatus(null!, _state, null!, null!))
            .AddSingleton(p => new RefusalLog(_refusals, p.GetRequiredService<ILogger<RefusalLog>>()))
            .AddSingleton<WebhookEndpoint>();
        services.AddSingleton<System.Diagnostics.DiagnosticListener>(_ => new("test"));
        _services = services.BuildServiceProvider();
        var app = new ApplicationBuilder(_services);
        WorkerHost.UseIngress(app);
        _ingress = app.Build();
    }

    public async ValueTask DisposeAsync()
    {
        await _services.DisposeAsync();
        await _writer.DisposeAsync();
        await _state.DisposeAsync();
        _log.Dispose();
    }

    [Fact]
    public async Task No_generated_request_is_taken_without_a_valid_signature_or_answered_with_a_5xx()
    {
        await _state.OpenAsync(CancellationToken.None);
        var seen = new Seen();
        var requests =
            from scheme in Gen.Elements(Schemes)
            from rest in Json.Any
            from seed in Gen.Choose(0, int.MaxValue)
            from changes in Change.Any.ListOf(PerCase)
            select (scheme, rest, seed, changes);
        Prop.ForAll(requests.ToArbitrary(), data => Play(data.scheme, data.rest, data.seed, [.. data.changes], seen))
            .Check(Config.QuickThrowOnFailure.WithMaxTest(Cases));

        Assert.True(seen.Requests >= 100_000, $"only {seen.Requests} requests");
        // Every kind of answer was seen, so that what is never seen says something.
        Assert.All([200, 202, 401, 404, 405, 413, 415], status => Assert.True(seen.Of(status) > 100, $"{status}: {seen.Of(status)}"));
        Assert.Equal(seen.Requests, new[] { 200, 202, 401, 404, 405, 413, 415 }.Sum(seen.Of));
        Assert.Equal(0, _services.GetRequiredService<BodyReader>().Rented);
        Assert.NotEmpty(_log.Entries);
        foreach (var entry in _log.Entries)
        {
            AssertClean(entry.Message);
            AssertClean(entry.Exception?.ToString() ?? "");
        }
    }

    // FsCheck waits for a property by its end.
    private void Play(string scheme, Json rest, int seed, Change[] changes, Seen seen) =>
        PlayAsync(scheme, rest, seed, changes, seen).GetAwaiter().GetResult();

    private async Task PlayAsync(string scheme, Json rest, int seed, Change[] changes, Seen seen)
    {
        _refusals.Advance(TimeSpan.FromMinutes(1));
        var written = rest.Write(new Random(seed));
        var data = written.Length < MaxBodyBytes / 2 ? written : [.. "0"u8];
        var order = seed.ToString(CultureInfo.InvariantCulture);
        byte[] body =
        [
            .. Encoding.UTF8.GetBytes($$"""{"type":"t","orderId":{{order}},"id":"evt_{{order}}","note":"{{Canary}}","data":"""),
            .. data,
            .. "}"u8,
        ];
        var genuine = VerificationTests.Signed(scheme, body).Delivery;
        var answers = await Task.WhenAll(changes.Select(change => SendAsync(scheme, change.Apply(genuine))));
        for (var i = 0; i < answers.Length; i++)
        {
            var (request, status, text) = answers[i];
            seen.Add(status);
            AssertClean(text);
            var isTaken = status is 200 or 202;
            Assert.True(isTaken == request.IsGenuine, $"{status} for {changes[i]} of a delivery by {scheme}: {text}");
            Assert.True(
                isTaken || status == request.Refusal,
                $"{status} instead of {request.Refusal} for {changes[i]} by {scheme}: {text}"
            );
        }
    }

    private async Task<(MutatedRequest Request, int Status, string Text)> SendAsync(string scheme, MutatedRequest request)
    {
        using var answer = new MemoryStream();
        var context = new DefaultHttpContext { RequestServices = _services };
        context.Request.Method = request.Method;
        context.Request.Path = request.Path ?? $"/webhooks/{scheme}";
        context.Request.Body = new MemoryStream(request.Delivery.Body);
        context.Request.ContentLength = request.HasLength ? request.Delivery.Body.Length : null;
        foreach (var name in request.Delivery.Names)
        {
            context.Request.Headers[name] = new([.. request.Delivery.All(name)]);
        }
        context.Response.Body = answer;
        await _ingress(context);
        return (request, context.Response.StatusCode, Encoding.UTF8.GetString(answer.ToArray()));
    }

    private static void AssertClean(string text)
    {
        foreach (var shown in new[] { Canary, Source.Plain, Source.WhsecText[6..] })
        {
            Assert.DoesNotContain(shown, text, StringComparison.OrdinalIgnoreCase);
        }
    }

    private sealed class Seen
    {
        private readonly Dictionary<int, int> _counts = [];

        public int Requests { get; private set; }

        public int Of(int status) => _counts.GetValueOrDefault(status);

        public void Add(int status)
        {
            Requests++;
            _counts[status] = Of(status) + 1;
        }
    }
}
