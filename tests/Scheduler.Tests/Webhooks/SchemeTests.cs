using System.Text;
using Scheduler.Testing;
using Scheduler.Webhooks;
using Scheduler.Webhooks.Sources;
using Scheduler.Webhooks.Verification;

namespace Scheduler.Tests.Webhooks;

/// <summary>Each scheme takes what its sender signs. Published vectors where there are some, else signed by OpenSSL.</summary>
public sealed class SchemeTests
{
    private const string Body = """{"type":"payment.succeeded","orderId":"8123","id":"evt_1"}""";
    private const string Seconds = "1614265330";

    [Fact]
    public void Standard_Webhooks_takes_its_published_vector()
    {
        var verdict = Published().To(Source.Intake(Source.Options("standard-webhooks", Source.WhsecText)));

        // The vector's body has no order.
        var quarantined = Assert.IsType<WebhookVerdict.Quarantined>(verdict);
        Assert.Equal("no key: /orderId is missing", quarantined.Reason);
        Assert.Equal(Source.Now, quarantined.SignedAt);
    }

    [Fact]
    public void Standard_Webhooks_gives_the_signed_id_and_time()
    {
        var options = Source.Options("standard-webhooks", Source.WhsecText);
        options.DedupeBy = options.OrderBy = ["/test"];
        var intake = Source.Intake(options);

        var read = Assert.IsType<WebhookVerdict.Event>(Published().To(intake));

        Assert.Equal("msg_p5jXN8AQM9LWM0D4loKWxJek", read.EventId);
        Assert.Equal(Source.Now, read.SignedAt);
        Assert.Equal(":2432232314", read.DedupeKey);
        Assert.Equal("2432232314", read.OrderKey);
        Assert.Equal(SignedParts.Body | SignedParts.EventId | SignedParts.Timestamp, intake.Signs);
        Assert.False(intake.IsBodyUnique);
    }

    [Fact]
    public void The_names_of_Svix_count_as_a_whole_set()
    {
        var intake = Source.Intake(Source.Options("standard-webhooks", Source.WhsecText));
        var standard = Published();
        var svix = new Delivery { Body = standard.Body };
        foreach (var name in standard.Names.ToList())
        {
            svix[name.Replace("webhook-", "Svix-", StringComparison.Ordinal)] = standard[name];
        }
        Assert.IsType<WebhookVerdict.Quarantined>(svix.To(intake));

        // Whoever sends both sets is judged by the standard's; the other says nothing then.
        var both = standard.Copy().With("svix-id", "another").With("svix-signature", "v1,x");
        Assert.IsType<WebhookVerdict.Quarantined>(both.To(intake));
        Assert.Contains(
            "svix-id is missing",
            Delivery.Refusal(svix.Copy().With("svix-id", null).With("webhook-id", svix["svix-id"]).To(intake))
        );
    }

    [Fact]
    public void Standard_Webhooks_looks_at_every_v1_and_at_no_other_version()
    {
        var intake = Source.Intake(Source.Options("standard-webhooks", Source.WhsecText));
        var right = Published()["webhook-signature"];
        var wrong = "v1," + new string('A', 43) + "=";

        foreach (var (value, isTaken) in new[] { ($"{wrong} v1a,x {right}", true), ($"{right} {wrong}", true), (wrong, false) })
        {
            Assert.Equal(isTaken, Published().With("webhook-signature", value).To(intake) is WebhookVerdict.Quarantined);
        }
        foreach (var version in new[] { "v1a", "v2", "V1", "" })
        {
            Delivery.Refusal(Published().With("webhook-signature", version + right[2..]).To(intake));
        }
    }

    [Fact]
    public void GitHub_takes_its_published_vector()
    {
        var intake = Source.Intake(Source.Options("github", "It's a Secret to Everybody"));
        var delivery = new Delivery { Text = "Hello, World!" }
            .With("X-Hub-Signature-256", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17")
            .With("X-GitHub-Delivery", "72d3162e")
            .With("X-GitHub-Event", "issues");

        var verdict = Assert.IsType<WebhookVerdict.Quarantined>(delivery.To(intake));

        Assert.StartsWith("not JSON: line 1, byte 1", verdict.Reason, StringComparison.Ordinal);
        Assert.Equal(new WebhookLabels("72d3162e", "issues"), verdict.Labels);
        Assert.Null(verdict.SignedAt);
        Assert.Equal(SignedParts.Body, intake.Signs);
        Assert.True(intake.IsBodyUnique);
        // Its older header and the bare digits do not count.
        Assert.Contains("X-Hub-Signature-256 is missing", Delivery.Refusal(delivery.Copy().With("X-Hub-Signature-256", null).To(intake)));
        var bare = delivery.Copy().With("X-Hub-Signature-256", delivery["X-Hub-Signature-256"]["sha256=".Length..]);
        Assert.Contains("does not begin with 'sha256='", Delivery.Refusal(bare.To(intake)));
    }

    [Fact]
    public void Of_what_no_signature_covers_only_the_type_is_in_a_key_beside_the_body()
    {
        var intake = Source.Intake(Source.Options("github", Source.Plain));
        var delivery = new Delivery { Text = Body }.With("X-Hub-Signature-256", "sha256=" + OpenSsl.Hmac("sha256", Source.Plain, Body));
        var first = Assert.IsType<WebhookVerdict.Event>(delivery.Copy().With("X-GitHub-Delivery", "1").To(intake));
        var second = Assert.IsType<WebhookVerdict.Event>(
            delivery.Copy().With("X-GitHub-Delivery", "2").With("X-GitHub-Event", "e").To(intake)
        );

        Assert.Equal((null, ":8123"), (first.Type, first.DedupeKey));
        Assert.Equal(first with { Type = "e", DedupeKey = "e:8123" }, second with { Labels = first.Labels });
        // So the same body is the same event, whatever its dedupe key.
        Assert.Equal(first.BodyHash, second.BodyHash);
        Assert.True(intake.IsBodyUnique);
        Assert.Null(first.EventId);
        Assert.Equal("2", second.Labels.Id);
        foreach (var unusable in new[] { "", "a b", "é", "\u0001", new string('x', 201) })
        {
            var labels = Assert.IsType<WebhookVerdict.Event>(delivery.Copy().With("X-GitHub-Event", unusable).To(intake)).Labels;
            Assert.Null(labels.Type);
        }
    }

    [Fact]
    public void Stripe_signs_the_time_and_the_id_is_in_the_body()
    {
        var intake = Source.Intake(Source.Options("stripe", Source.WhsecText));
        // The key is the whole text, with its whsec_.
        var signature = OpenSsl.Hmac("sha256", Source.WhsecText, $"{Seconds}.{Body}");
        var wrong = new string('0', 64);
        string[] taken =
        [
            $"t={Seconds},v1={signature}",
            $"t={Seconds},v1={wrong},v1={signature},v0={wrong}",
            $"v1={signature},t={Seconds}",
            $"t={Seconds}, v1={signature.ToUpperInvariant()}",
        ];
        string[] refused =
        [
            $"t={Seconds},v0={signature}",
            $"t={Seconds},v1={wrong}",
            $"t={Seconds},t={Seconds},v1={signature}",
            $"v1={signature}",
            $"t={Seconds}1,v1={signature}",
            $"t=+{Seconds},v1={signature}",
            $"t= {Seconds},v1={signature}",
        ];
        foreach (var header in taken)
        {
            var read = Assert.IsType<WebhookVerdict.Event>(
                new Delivery { Text = Body }
                    .With("Stripe-Signature", header)
                    .To(intake)
            );
            Assert.Equal(("evt_1", Source.Now), (read.EventId, read.SignedAt!.Value));
        }
        Assert.All(
            refused,
            h =>
                Delivery.Refusal(
                    new Delivery { Text = Body }
                        .With("Stripe-Signature", h)
                        .To(intake)
                )
        );
        Assert.False(intake.IsBodyUnique);
    }

    [Fact]
    public void Stripe_without_its_id_is_quarantined_and_another_place_of_it_can_be_named()
    {
        const string thin = """{"type":"t","orderId":1,"data":{"id":"d1"}}""";
        var options = Source.Options("stripe", Source.Plain);
        var delivery = new Delivery { Text = thin }.With(
            "Stripe-Signature",
            $"t={Seconds},v1={OpenSsl.Hmac("sha256", Source.Plain, $"{Seconds}.{thin}")}"
        );

        Assert.Equal("no event id: /id is missing", Assert.IsType<WebhookVerdict.Quarantined>(delivery.To(Source.Intake(options))).Reason);
        options.EventIdFrom = "/data/id";
        Assert.Equal("d1", Assert.IsType<WebhookVerdict.Event>(delivery.To(Source.Intake(options))).EventId);
    }

    [Fact]
    public void Shopify_signs_the_body_in_base64()
    {
        var intake = Source.Intake(Source.Options("shopify", Source.Plain));
        var signature = OpenSsl.Base64(OpenSsl.Hmac("sha256", Source.Plain, Body));
        var delivery = new Delivery { Text = Body }
            .With("X-Shopify-Hmac-Sha256", signature)
            .With("X-Shopify-Topic", "orders/paid")
            .With("X-Shopify-Webhook-Id", "b54557e4");

        var read = Assert.IsType<WebhookVerdict.Event>(delivery.To(intake));

        Assert.Equal(new WebhookLabels("b54557e4", "orders/paid"), read.Labels);
        Assert.True(intake.IsBodyUnique);
        // Another spelling of the same bytes: the last letter before '=' has two bits that mean nothing.
        var letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        var spelled = signature[..^2] + letters[letters.IndexOf(signature[^2], StringComparison.Ordinal) ^ 1] + "=";
        Assert.Equal(Convert.FromBase64String(signature), Convert.FromBase64String(spelled));
        foreach (var other in new[] { spelled, signature.TrimEnd('='), signature + " ", " " + signature, signature.Insert(4, "\n") })
        {
            Assert.Equal(
                401,
                Assert.IsType<WebhookVerdict.Refused>(delivery.Copy().With("X-Shopify-Hmac-Sha256", other).To(intake)).Status
            );
        }
    }

    [Theory]
    [InlineData(null, null, null)]
    [InlineData(SignatureHash.Sha256, SignatureEncoding.Base64, "")]
    [InlineData(SignatureHash.Sha512, SignatureEncoding.Hex, "v1=")]
    [InlineData(SignatureHash.Sha512, SignatureEncoding.Base64, "sha512=")]
    [InlineData(SignatureHash.Sha1, SignatureEncoding.Hex, "sha1=")]
    [InlineData(SignatureHash.Sha1, SignatureEncoding.Base64, null)]
    public void Hmac_signs_the_body_as_configured(SignatureHash? hash, SignatureEncoding? encoding, string? prefix)
    {
        var options = Source.Options("hmac", Source.Plain);
        (options.Header, options.Hash, options.Encoding, options.Prefix) = ("X-Sign", hash, encoding, prefix);
        var intake = Source.Intake(options);
        var hex = OpenSsl.Hmac((hash ?? SignatureHash.Sha256).ToString(), Source.Plain, Body);
        var signature = prefix + (encoding == SignatureEncoding.Base64 ? OpenSsl.Base64(hex) : hex);

        var read = Assert.IsType<WebhookVerdict.Event>(
            new Delivery { Text = Body }
                .With("x-sign", signature)
                .To(intake)
        );

        Assert.Null(read.SignedAt);
        Assert.True(intake.IsBodyUnique);
        Delivery.Refusal(
            new Delivery { Text = Body + " " }
                .With("x-sign", signature)
                .To(intake)
        );
        Delivery.Refusal(
            new Delivery { Text = Body }
                .With("x-sign", "x" + signature)
                .To(intake)
        );
    }

    [Theory]
    [InlineData(null, "1614265330.")]
    [InlineData("v0:{timestamp}:", "v0:1614265330:")]
    public void Hmac_signs_a_time_if_a_header_has_one(string? template, string before)
    {
        var options = Source.Options("hmac", Source.Plain);
        (options.Header, options.Prefix, options.TimestampHeader, options.SignedPrefix) = ("X-Sign", "v0=", "X-Time", template);
        options.EventIdFrom = "/id";
        var time = new FakeTime(Source.Now);
        var intake = Source.Intake(options, time);
        var delivery = new Delivery { Text = Body }
            .With("X-Sign", "v0=" + OpenSsl.Hmac("sha256", Source.Plain, before + Body))
            .With("X-Time", Seconds);

        var read = Assert.IsType<WebhookVerdict.Event>(delivery.To(intake));

        Assert.Equal((Source.Now, "evt_1"), (read.SignedAt!.Value, read.EventId));
        Assert.False(intake.IsBodyUnique);
        Delivery.Refusal(delivery.Copy().With("X-Time", "1614265331").To(intake));
        Assert.Contains("X-Time is missing", Delivery.Refusal(delivery.Copy().With("X-Time", null).To(intake)));
        time.Advance(TimeSpan.FromSeconds(301));
        Assert.Contains("301 s old", Delivery.Refusal(delivery.To(intake)));
    }

    [Fact]
    public void None_takes_everything_and_trusts_no_id()
    {
        var intake = Source.Intake(Source.Options("none"));
        var read = Assert.IsType<WebhookVerdict.Event>(new Delivery { Text = Body }.To(intake));

        Assert.Null(read.EventId);
        Assert.Equal(SignedParts.None, intake.Signs);
        Assert.True(intake.IsBodyUnique);
    }

    internal static Delivery Published() =>
        new Delivery { Body = Encoding.UTF8.GetBytes("""{"test": 2432232314}""") }
            .With("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek")
            .With("webhook-timestamp", Seconds)
            .With("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}
