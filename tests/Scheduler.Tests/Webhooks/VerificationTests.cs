using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using Scheduler.Testing;
using Scheduler.Webhooks;

namespace Scheduler.Tests.Webhooks;

/// <summary>What is refused, and what a refusal tells.</summary>
public sealed class VerificationTests
{
    private static readonly string[] Hostile =
    [
        " ",
        "=",
        ",",
        "v1,",
        "v1=",
        "sha256=",
        "v1,====",
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1O\u0000=",
        "v1," + "é" + new string('A', 43),
        "sha256=" + new string('g', 64),
        "sha256=" + new string('ａ', 64),
        "sha256=0x" + new string('0', 62),
        "t=,v1=",
        "t=99999999999999999999,v1=" + new string('0', 64),
        "t=253402300800,v1=" + new string('0', 64),
        "t=-1,v1=" + new string('0', 64),
        "\ud800",
        new string('\u0000', 44),
        new string('x', 4_096),
        new string('x', 100_000),
        string.Concat(Enumerable.Repeat("v1,AAAA ", 500)),
    ];

    [Theory]
    [InlineData("standard-webhooks", "webhook-signature")]
    [InlineData("standard-webhooks", "webhook-id")]
    [InlineData("standard-webhooks", "webhook-timestamp")]
    [InlineData("stripe", "Stripe-Signature")]
    [InlineData("github", "X-Hub-Signature-256")]
    [InlineData("shopify", "X-Shopify-Hmac-Sha256")]
    public void A_header_that_is_missing_empty_twice_too_long_or_malformed_is_401(string scheme, string header)
    {
        var (intake, delivery) = Signed(scheme);
        Assert.IsType<WebhookVerdict.Event>(delivery.To(intake));

        Assert.Contains($"{header} is missing", Delivery.Refusal(delivery.Copy().With(header, null).To(intake)), StringComparison.Ordinal);
        Assert.Contains($"{header} is empty", Delivery.Refusal(delivery.Copy().With(header, "").To(intake)), StringComparison.Ordinal);
        Assert.Contains($"{header} is there 2 times", Delivery.Refusal(delivery.Copy().Twice(header).To(intake)), StringComparison.Ordinal);
        foreach (var value in Hostile)
        {
            var refused = Assert.IsType<WebhookVerdict.Refused>(delivery.Copy().With(header, value).To(intake));
            Assert.Equal(401, refused.Status);
            Assert.True(refused.Reason.Length < 200, refused.Reason);
        }
    }

    [Theory]
    [InlineData("standard-webhooks", "webhook-signature")]
    [InlineData("stripe", "Stripe-Signature")]
    [InlineData("github", "X-Hub-Signature-256")]
    [InlineData("shopify", "X-Shopify-Hmac-Sha256")]
    public void A_refusal_tells_no_secret_no_expected_signature_and_nothing_that_was_sent(string scheme, string header)
    {
        var (intake, delivery) = Signed(scheme);
        var expected = Signed(scheme, "{\"canary\":1}"u8.ToArray()).Delivery;
        delivery.Body = expected.Body;

        var reason = Delivery.Refusal(delivery.To(intake));

        Assert.Contains("no signature in the header", reason, StringComparison.Ordinal);
        foreach (var shown in new[] { "canary", Source.Plain, Source.WhsecText, expected[header][^20..], delivery[header][^20..] })
        {
            Assert.DoesNotContain(shown, reason, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void Seventeen_signatures_are_refused_even_when_the_last_is_right()
    {
        var (intake, delivery) = Signed("standard-webhooks");
        var right = delivery["webhook-signature"];
        var wrong = "v1," + new string('A', 43) + "= ";
        Delivery Padded(int count) => delivery.Copy().With("webhook-signature", string.Concat(Enumerable.Repeat(wrong, count)) + right);

        Assert.IsType<WebhookVerdict.Event>(Padded(15).To(intake));
        Assert.Contains("has 17 signatures; at most 16", Delivery.Refusal(Padded(16).To(intake)), StringComparison.Ordinal);
    }

    [Fact]
    public void A_point_in_the_id_cannot_move_the_time_into_it()
    {
        // Signed as id "a", time 1614265330, body "1614265330.5": under the same signature "a.1614265330" would have the body "5".
        var key = Convert.FromBase64String(Source.WhsecText["whsec_".Length..]);
        var hash = HMACSHA256.HashData(key, "a.1614265330.1614265330.5"u8);
        var intake = Source.Intake(Source.Options("standard-webhooks", Source.WhsecText));
        Delivery With(string id, string body) =>
            new Delivery { Text = body }
                .With("webhook-id", id)
                .With("webhook-timestamp", "1614265330")
                .With("webhook-signature", "v1," + Convert.ToBase64String(hash));

        Assert.IsType<WebhookVerdict.Quarantined>(With("a", "1614265330.5").To(intake));
        Assert.Contains("webhook-id is no id", Delivery.Refusal(With("a.1614265330", "5").To(intake)), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("standard-webhooks")]
    [InlineData("stripe")]
    public void A_time_within_the_tolerance_is_taken_and_one_beyond_it_is_not(string scheme)
    {
        var (_, delivery) = Signed(scheme);
        var options = Source.Options(scheme, Secret(scheme));
        options.Tolerance = TimeSpan.FromMinutes(5);
        foreach (var (offset, says) in new[] { (-300.0, null), (300.0, null), (-300.001, "ahead of this host's clock"), (300.001, "old") })
        {
            var verdict = delivery.To(Source.Intake(options, new FakeTime(Source.Now.AddSeconds(offset))));
            if (says is null)
            {
                Assert.Equal(Source.Now, Assert.IsType<WebhookVerdict.Event>(verdict).SignedAt);
            }
            else
            {
                Assert.Equal($"the signature's time is 301 s {says}; at most 300 s are allowed", Delivery.Refusal(verdict));
            }
        }
    }

    [Theory]
    [InlineData("standard-webhooks")]
    [InlineData("stripe")]
    [InlineData("github")]
    [InlineData("shopify")]
    [InlineData("hmac")]
    public void While_secrets_change_the_old_and_the_new_one_count(string scheme)
    {
        var (_, delivery) = Signed(scheme);
        var other = scheme == "standard-webhooks" ? "whsec_" + Convert.ToBase64String(new byte[32]) : "another secret";
        bool IsTaken(params string[] secrets)
        {
            var options = Source.Options(scheme, secrets);
            options.Header = scheme == "hmac" ? "X-Sign" : null;
            return delivery.To(Source.Intake(options)) is WebhookVerdict.Event;
        }

        Assert.True(IsTaken(other, Secret(scheme)));
        Assert.True(IsTaken(Secret(scheme), other));
        Assert.False(IsTaken(other));
    }

    [Fact]
    public void A_secret_may_come_from_a_file()
    {
        var file = Path.GetTempFileName();
        try
        {
            File.WriteAllText(file, Source.Plain + "\n");
            var options = Source.Options("github");
            options.SecretFiles = [file];

            Assert.IsType<WebhookVerdict.Event>(Signed("github").Delivery.To(Source.Intake(options)));
        }
        finally
        {
            File.Delete(file);
        }
    }

    [Fact]
    public async Task Many_threads_get_the_right_answer()
    {
        var (intake, delivery) = Signed("standard-webhooks");
        var changed = delivery.Copy();
        changed.Body[^2] ^= 1;
        var wrong = 0;
        var workers = Enumerable
            .Range(0, 8)
            .Select(_ =>
                Task.Run(() =>
                {
                    for (var i = 0; i < 2_000; i++)
                    {
                        if (delivery.To(intake) is not WebhookVerdict.Event || changed.To(intake) is not WebhookVerdict.Refused)
                        {
                            Interlocked.Increment(ref wrong);
                        }
                    }
                })
            );
        await Task.WhenAll(workers);

        Assert.Equal(0, wrong);
    }

    internal static string Secret(string scheme) => scheme == "standard-webhooks" ? Source.WhsecText : Source.Plain;

    /// <summary>A source and a delivery that it takes, signed at the time of the source's clock.</summary>
    internal static (WebhookIntake Intake, Delivery Delivery) Signed(string scheme, byte[]? content = null)
    {
        var options = Source.Options(scheme, scheme == "none" ? [] : [Secret(scheme)]);
        options.Header = scheme == "hmac" ? "X-Sign" : null;
        var body = content ?? """{"type":"t","orderId":"8123","id":"evt_1"}"""u8.ToArray();
        var delivery = new Delivery { Body = body };
        var seconds = Source.Now.ToUnixTimeSeconds().ToString(CultureInfo.InvariantCulture);
        byte[] Sign(string prefix) =>
            HMACSHA256.HashData(
                scheme == "standard-webhooks"
                    ? Convert.FromBase64String(Source.WhsecText["whsec_".Length..])
                    : Encoding.UTF8.GetBytes(Source.Plain),
                (byte[])[.. Encoding.UTF8.GetBytes(prefix), .. body]
            );
        _ = scheme switch
        {
            "standard-webhooks" => delivery
                .With("webhook-id", "msg_1")
                .With("webhook-timestamp", seconds)
                .With("webhook-signature", "v1," + Convert.ToBase64String(Sign($"msg_1.{seconds}."))),
            "stripe" => delivery.With("Stripe-Signature", $"t={seconds},v1={Convert.ToHexStringLower(Sign(seconds + "."))}"),
            "github" => delivery.With("X-Hub-Signature-256", "sha256=" + Convert.ToHexStringLower(Sign(""))),
            "shopify" => delivery.With("X-Shopify-Hmac-Sha256", Convert.ToBase64String(Sign(""))),
            "hmac" => delivery.With("X-Sign", Convert.ToHexStringLower(Sign(""))),
            _ => delivery,
        };
        return (Source.Intake(options), delivery);
    }
}
