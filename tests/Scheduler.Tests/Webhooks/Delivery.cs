using System.Text;
using Scheduler.Testing;
using Scheduler.Webhooks;
using Scheduler.Webhooks.Sources;

namespace Scheduler.Tests.Webhooks;

/// <summary>A request as a sender makes it: headers without regard to case, and a body.</summary>
internal sealed class Delivery
{
    private readonly Dictionary<string, List<string>> _headers = new(StringComparer.OrdinalIgnoreCase);

    public byte[] Body { get; set; } = [];

    public string Text
    {
        get => Encoding.UTF8.GetString(Body);
        set => Body = Encoding.UTF8.GetBytes(value);
    }

    public WebhookHeaders Headers =>
        new(
            _headers,
            static (source, name) =>
                ((Dictionary<string, List<string>>)source).TryGetValue(name, out var values)
                    ? values.Count == 1
                        ? WebhookHeader.One(values[0])
                        : WebhookHeader.Many(values.Count)
                    : WebhookHeader.None
        );

    public IReadOnlyCollection<string> Names => _headers.Keys;

    public IReadOnlyList<string> All(string name) => _headers[name];

    public string this[string name]
    {
        get => _headers[name][0];
        set => _headers[name] = [value];
    }

    public Delivery With(string name, string? value)
    {
        if (value is null)
        {
            _headers.Remove(name);
        }
        else
        {
            _headers[name] = [value];
        }
        return this;
    }

    public Delivery Twice(string name)
    {
        _headers[name].Add(_headers[name][0]);
        return this;
    }

    public Delivery Copy()
    {
        var copy = new Delivery { Body = [.. Body] };
        foreach (var (name, values) in _headers)
        {
            copy._headers[name] = [.. values];
        }
        return copy;
    }

    public WebhookVerdict To(WebhookIntake intake) => intake.Examine(Headers, Body);

    public static string Refusal(WebhookVerdict verdict) => Assert.IsType<WebhookVerdict.Refused>(verdict).Reason;
}

/// <summary>Sources as the tests need them.</summary>
internal static class Source
{
    public const string WhsecText = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    public const string Plain = "a secret of the test";

    public static readonly DateTimeOffset Now = DateTimeOffset.FromUnixTimeSeconds(1_614_265_330);

    public static WebhookSourceOptions Options(string scheme, params string[] secrets) =>
        new()
        {
            Scheme = scheme,
            Secrets = [.. secrets],
            AllowUnsigned = scheme == "none",
        };

    public static WebhookIntake Intake(WebhookSourceOptions options, TimeProvider? time = null) =>
        new("payments", options, time ?? new FakeTime(Now));

    public static WebhookVerdict.Event Event(string body, Action<WebhookSourceOptions>? change = null) =>
        Assert.IsType<WebhookVerdict.Event>(Examine(body, change));

    public static string Quarantine(string body, Action<WebhookSourceOptions>? change = null) =>
        Assert.IsType<WebhookVerdict.Quarantined>(Examine(body, change)).Reason;

    public static WebhookVerdict Examine(string body, Action<WebhookSourceOptions>? change = null)
    {
        var options = Options("none");
        change?.Invoke(options);
        return new Delivery { Text = body }.To(Intake(options));
    }
}
