using System.Text;
using Scheduler.Webhooks;

namespace Scheduler.Tests.Webhooks;

/// <summary>What is no JSON here, with a reason that shows nothing of the body.</summary>
public sealed class StrictJsonTests
{
    [Theory]
    [InlineData("", "not JSON: line 1, byte 1")]
    [InlineData("  ", "not JSON: line 1, byte 3")]
    [InlineData("""{"canary":1}x""", "not JSON: line 1, byte 13")]
    [InlineData("{\"orderId\":1}\n{\"orderId\":2}", "not JSON: line 2, byte 1")]
    [InlineData("""{"canary":1,}""", "not JSON: line 1, byte 13")]
    [InlineData("""{"canary":1""", "not JSON: line 1, byte 12")]
    [InlineData("""{"canary":01}""", "not JSON: line 1, byte 12")]
    [InlineData("""{"canary":NaN}""", "not JSON: line 1, byte 11")]
    [InlineData("{'canary':1}", "not JSON: line 1, byte 2")]
    [InlineData("{\"a\":1 /* canary */}", "not JSON: line 1, byte 8")]
    [InlineData("{\"a\":\"can\nary\"}", "not JSON: line 1, byte 10")]
    [InlineData("\ufeff{\"orderId\":1}", "not JSON: line 1, byte 1")]
    [InlineData("orderId=1", "not JSON: line 1, byte 1")]
    [InlineData("""{"a":"\ud800"}""", "not JSON that is taken: a text has an unpaired surrogate")]
    [InlineData("""{"\udc00":1}""", "not JSON that is taken: a text has an unpaired surrogate")]
    [InlineData("""{"canary":1,"b":2,"canary":1}""", "not JSON that is taken: an object has a name twice")]
    [InlineData("""{"orderId":1,"order\u0049d":2}""", "not JSON that is taken: an object has a name twice")]
    [InlineData("""{"orderId":1,"a":[{"":1,"":1}]}""", "not JSON that is taken: an object has a name twice")]
    public void It_is_quarantined(string body, string reason) => Assert.Equal(reason, Source.Quarantine(body));

    [Fact]
    public void A_name_twice_is_found_also_in_what_is_ignored_and_among_many()
    {
        Assert.Contains(
            "twice",
            Source.Quarantine("""{"orderId":1,"x":{"a":1,"a":2}}""", o => o.IgnoreInBody = ["/x"]),
            StringComparison.Ordinal
        );
        foreach (var twice in new[] { 0, 1, 499, 998, 999 })
        {
            var names = Enumerable.Range(0, 1_000).Select(i => $"n{i * 7919 % 1_000}").ToList();
            names.Insert(twice, names[(twice + 500) % 1_000]);
            var body = "{" + string.Join(',', names.Select(n => $"\"{n}\":0")) + "}";
            Assert.Contains("twice", Source.Quarantine(body), StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData(0x80)]
    [InlineData(0xC0, 0xAF)]
    [InlineData(0xED, 0xA0, 0x80)]
    [InlineData(0xF4, 0x90, 0x80, 0x80)]
    [InlineData(0xE2, 0x82)]
    [InlineData(0xFF)]
    public void Invalid_UTF8_is_no_JSON(params int[] bytes)
    {
        var delivery = new Delivery { Body = [.. "{\"orderId\":\""u8, .. bytes.Select(b => (byte)b), .. "\"}"u8] };
        var verdict = delivery.To(Source.Intake(Source.Options("none")));

        Assert.Equal("not JSON: invalid UTF-8", Assert.IsType<WebhookVerdict.Quarantined>(verdict).Reason);
    }

    [Fact]
    public void Depth_and_number_of_values_have_their_bounds()
    {
        static string Nested(int depth, string open, string close) =>
            "{\"orderId\":1,\"a\":"
            + string.Concat(Enumerable.Repeat(open, depth - 1))
            + "1"
            + string.Concat(Enumerable.Repeat(close, depth - 1))
            + "}";

        foreach (var (open, close) in new[] { ("[", "]"), ("{\"a\":", "}") })
        {
            Source.Event(Nested(64, open, close));
            Assert.Equal("not JSON that is taken: deeper than 64 levels", Source.Quarantine(Nested(65, open, close)));
            Assert.Equal("not JSON that is taken: deeper than 64 levels", Source.Quarantine(Nested(100_000, open, close)));
        }
        static string Many(int values) => "{\"orderId\":1,\"a\":[" + string.Join(',', Enumerable.Repeat("0", values)) + "]}";
        Source.Event(Many(249_995));
        Assert.Equal("not JSON that is taken: more than 250000 names and values", Source.Quarantine(Many(249_996)));
    }

    [Fact]
    public void A_repetition_of_what_is_quarantined_has_the_same_hash()
    {
        var intake = Source.Intake(Source.Options("none"));
        WebhookVerdict.Quarantined Read(string text) => Assert.IsType<WebhookVerdict.Quarantined>(new Delivery { Text = text }.To(intake));

        Assert.Equal(Read("x"), Read("x"));
        Assert.NotEqual(Read("x").BodyHash, Read("y").BodyHash);
        Assert.Equal(
            Convert.FromHexString("2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"),
            Read("x").BodyHash.ToArray()
        );
    }

    [Fact]
    public void A_body_over_the_bound_is_not_looked_at()
    {
        var options = Source.Options("none");
        options.MaxBodyBytes = 1_024;
        var intake = Source.Intake(options);
        byte[] Padded(int length) => Encoding.UTF8.GetBytes("""{"orderId":1}""".PadRight(length));

        Assert.IsType<WebhookVerdict.Event>(new Delivery { Body = Padded(1_024) }.To(intake));
        var refused = Assert.IsType<WebhookVerdict.Refused>(new Delivery { Body = Padded(1_025) }.To(intake));
        Assert.Equal((413, "the body is larger than 1024 bytes"), (refused.Status, refused.Reason));
    }

    [Theory]
    [InlineData(null, null)]
    [InlineData("application/json", null)]
    [InlineData("Application/JSON; charset=UTF-8", null)]
    [InlineData("application/json;charset=\"utf-8\"", null)]
    [InlineData("application/cloudevents+json; version=1", null)]
    [InlineData("text/json", null)]
    [InlineData("", "names no JSON")]
    [InlineData("text/plain", "names no JSON")]
    [InlineData("application/jsonx", "names no JSON")]
    [InlineData("application/json; charset=utf-16", "another charset")]
    [InlineData("application/x-www-form-urlencoded", "form-encoded; send application/json")]
    public void A_content_type_that_is_no_JSON_is_415(string? type, string? says)
    {
        var verdict = new Delivery { Text = """{"orderId":1}""" }
            .With("content-type", type)
            .To(Source.Intake(Source.Options("none")));
        if (says is null)
        {
            Assert.IsType<WebhookVerdict.Event>(verdict);
            return;
        }
        var refused = Assert.IsType<WebhookVerdict.Refused>(verdict);
        Assert.Equal(415, refused.Status);
        Assert.Contains(says, refused.Reason, StringComparison.Ordinal);
    }

    [Fact]
    public void A_form_from_GitHub_is_415_and_names_the_setting()
    {
        var (intake, delivery) = VerificationTests.Signed("github");
        var refused = Assert.IsType<WebhookVerdict.Refused>(
            delivery.With("Content-Type", "application/x-www-form-urlencoded; charset=utf-8").To(intake)
        );

        Assert.Equal(415, refused.Status);
        Assert.Contains("'Content type: application/json'", refused.Reason, StringComparison.Ordinal);
        var twice = Assert.IsType<WebhookVerdict.Refused>(
            delivery.With("Content-Type", "application/json").Twice("Content-Type").To(intake)
        );
        Assert.Equal(415, twice.Status);
    }
}
