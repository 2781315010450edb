using Scheduler.Testing;
using Scheduler.Webhooks;
using Scheduler.Webhooks.Sources;

namespace Scheduler.Tests.Webhooks;

/// <summary>Everything that can be wrong with a source, each with key, value and what is allowed, and never with a secret.</summary>
public sealed class SourceOptionsTests
{
    private const string Place = "Scheduler:Webhooks:Sources:payments";

    [Theory]
    [InlineData("standard-webhooks", Source.WhsecText)]
    [InlineData("stripe", Source.WhsecText)]
    [InlineData("github", Source.Plain)]
    [InlineData("shopify", Source.Plain)]
    [InlineData("none")]
    public void A_good_source_has_no_problem(string scheme, params string[] secrets) =>
        Assert.Empty(Problems(Source.Options(scheme, secrets)));

    [Fact]
    public void All_errors_come_together() =>
        Assert.Equal(
            [
                "Scheduler:Webhooks:Sources has a source named 'a b'; allowed is 1 to 100 of A-Z, a-z, 0-9, '.', '_' and '-'.",
                "Scheduler:Webhooks:Sources:a b has no secret, so nobody could tell a genuine delivery from a forged one; give the one "
                    + "that the sender shows in Secrets or SecretFiles.",
                "Scheduler:Webhooks:Sources:a b:TypeFrom is 'type', which is no JSON Pointer; it begins with '/', for example /orderId or "
                    + "/data/object/id.",
                "Scheduler:Webhooks:Sources:a b:DedupeBy has 0 entries; allowed is 1 to 8.",
                "Scheduler:Webhooks:Sources:a b:OrderBy:1 is '/a~x', which has a '~' that is not followed by 0 or 1; write ~0 for '~' and "
                    + "~1 for '/'.",
                "Scheduler:Webhooks:Sources:a b:MaxBodyBytes is 1023; allowed is 1024 to 8388608.",
                "Scheduler:Webhooks:Sources:a b:Tolerance is 00:00:00; allowed is 00:00:01 to 01:00:00.",
                "Scheduler:Webhooks:Sources:a b:Header is 'X-Sign', which only Scheme 'hmac' has; this one is 'github': remove it.",
            ],
            WebhookSourceOptionsValidator.Validate(
                "a b",
                new WebhookSourceOptions
                {
                    Scheme = "github",
                    TypeFrom = "type",
                    DedupeBy = [],
                    OrderBy = ["/orderId", "/a~x"],
                    MaxBodyBytes = 1_023,
                    Tolerance = TimeSpan.Zero,
                    Header = "X-Sign",
                },
                "Scheduler:Webhooks:Sources"
            )
        );

    [Theory]
    [InlineData("header:X-Event", true)]
    [InlineData("header:", false)]
    [InlineData("header:X Event", false)]
    [InlineData("Header:X-Event", false)]
    public void A_type_in_a_header_needs_the_name_of_a_header(string typeFrom, bool isGood)
    {
        var options = Source.Options("github", Source.Plain);
        options.TypeFrom = typeFrom;
        var problems = Problems(options).ToList();
        Assert.Equal(isGood ? 0 : 1, problems.Count);
        Assert.All(problems, p => Assert.StartsWith($"{Place}:TypeFrom is '{typeFrom}'", p, StringComparison.Ordinal));
    }

    [Theory]
    [InlineData(null)]
    [InlineData("")]
    [InlineData("Stripe")]
    [InlineData("svix")]
    public void An_unknown_scheme_is_shown_with_the_known_ones(string? scheme) =>
        Assert.Equal(
            $"{Place}:Scheme is '{scheme}'; allowed is standard-webhooks, stripe, github, shopify, hmac, none.",
            One(new WebhookSourceOptions { Scheme = scheme })
        );

    [Fact]
    public void Unsigned_deliveries_are_taken_only_on_two_words()
    {
        var none = Source.Options("none");
        Assert.Contains("anybody who can reach the address", Assert.Single(WebhookSourceOptionsValidator.Warnings("payments", none, "S")));
        none.AllowUnsigned = false;
        Assert.Contains("AllowUnsigned is False", One(none));
        var signed = Source.Options("github", Source.Plain);
        Assert.Empty(WebhookSourceOptionsValidator.Warnings("payments", signed, "S"));
        signed.AllowUnsigned = true;
        Assert.Contains("AllowUnsigned is True, but with Scheme 'github' every delivery must be signed", One(signed));
        var useless = Source.Options("none", Source.Plain);
        Assert.Contains("has 1 secrets, which Scheme 'none' does not use", One(useless));
    }

    [Theory]
    [InlineData("github", "", "is empty")]
    [InlineData("github", "cAnArY", "has 6 bytes; allowed is 8 to 1024")]
    [InlineData("github", " cAnArY-7f41", "white space at an end")]
    [InlineData("github", "cAnArY-7f41\n", "control character, or white space")]
    [InlineData("standard-webhooks", "cAnArYcAnArYcAnArYcAnArYcAnArYcAnArY", "does not begin with 'whsec_'")]
    [InlineData("standard-webhooks", "whsec_cAnArY-cAnArYcAnArYcAnArYcAnArY", "is no base64 after 'whsec_'")]
    [InlineData("standard-webhooks", "whsec_cAnArYcAnArYcAnArYcAnArYcAnArY cA", "is no base64 after 'whsec_'")]
    [InlineData("standard-webhooks", "whsec_cAnArYcAnArYcAnArYcAnArYcAnArYcAn=A", "is no base64 after 'whsec_'")]
    [InlineData("standard-webhooks", "whsec_cAnArYcAnArYcAnArY", "is base64 of 13 bytes; allowed is 24 to 64")]
    public void A_secret_that_cannot_be_one_is_named_and_not_shown(string scheme, string secret, string says)
    {
        var problem = One(Source.Options(scheme, VerificationTests.Secret(scheme), secret));

        Assert.StartsWith($"{Place}:Secrets:1 (not shown here) ", problem, StringComparison.Ordinal);
        Assert.Contains(says, problem, StringComparison.Ordinal);
        Assert.DoesNotContain("cAnArY", problem, StringComparison.Ordinal);
    }

    [Fact]
    public void A_secret_that_has_no_bytes_is_refused() =>
        Assert.Contains("unpaired surrogate", One(Source.Options("github", "cAnArY-7f41\ud800")), StringComparison.Ordinal);

    [Fact]
    public void Base64_without_padding_is_a_secret_too() =>
        Assert.Empty(Problems(Source.Options("standard-webhooks", "whsec_" + Convert.ToBase64String(new byte[32]).TrimEnd('='))));

    [Fact]
    public void Eleven_secrets_are_too_many() =>
        Assert.Contains("has 11 secrets; allowed is 1 to 10", One(Source.Options("github", [.. Enumerable.Repeat(Source.Plain, 11)])));

    [Fact]
    public void A_secret_file_that_cannot_be_read_is_named()
    {
        var folder = Directory.CreateTempSubdirectory();
        try
        {
            string Written(string name, byte[] content)
            {
                var path = Path.Combine(folder.FullName, name);
                File.WriteAllBytes(path, content);
                return path;
            }
            var files = new (string Path, string? Says)[]
            {
                (Written("good", "cAnArY-7f41\r\n"u8.ToArray()), null),
                (Written("full", [.. Enumerable.Repeat((byte)'x', 1_024)]), null),
                (Path.Combine(folder.FullName, "missing"), "which cannot be read (FileNotFoundException)"),
                (folder.FullName, "which cannot be read (UnauthorizedAccessException)"),
                (" ", "which is no path"),
                (Written("empty", []), "whose content (not shown here) is empty"),
                (Written("two", "cAnArY-7f41\ncAnArY-7f42\n"u8.ToArray()), "whose content (not shown here) has a control character"),
                (Written("binary", [0xFF, 0xFE, 0x00]), "which is not in UTF-8"),
                (Written("large", new byte[4_097]), "which has more than 4096 bytes"),
            };
            foreach (var (path, says) in files)
            {
                var options = Source.Options("github");
                options.SecretFiles = [path];
                if (says is null)
                {
                    Assert.Empty(Problems(options));
                    continue;
                }
                var problem = One(options);
                Assert.StartsWith($"{Place}:SecretFiles:0 is '{path}', {says}", problem, StringComparison.Ordinal);
                Assert.DoesNotContain("cAnArY", problem, StringComparison.Ordinal);
            }
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    [Fact]
    public void Hmac_needs_a_header_and_what_it_says_must_make_sense()
    {
        static WebhookSourceOptions Hmac(Action<WebhookSourceOptions> change)
        {
            var options = Source.Options("hmac", Source.Plain);
            options.Header = "X-Sign";
            change(options);
            return options;
        }
        var wrong = new (Action<WebhookSourceOptions> Change, string Says)[]
        {
            (o => o.Header = null, "Header is ''; with Scheme 'hmac' it must be a header name"),
            (o => o.Header = "X Sign", "Header is 'X Sign'"),
            (o => o.Header = new string('x', 101), "1 to 100 letters"),
            (o => o.TimestampHeader = "X:Time", "TimestampHeader is 'X:Time'"),
            (o => o.TimestampHeader = "x-sign", "the same as Header"),
            (o => o.Prefix = new string('x', 65), "at most 64 visible ASCII"),
            (o => o.Prefix = "a b", "Prefix is 'a b'"),
            (o => o.Hash = (SignatureHash)7, "Hash is 7; allowed: Sha256, Sha512, Sha1"),
            (o => o.Encoding = (SignatureEncoding)7, "Encoding is 7; allowed: Hex, Base64"),
            (o => o.SignedPrefix = "{timestamp}.", "it needs TimestampHeader"),
        };
        Assert.Empty(Problems(Hmac(_ => { })));
        Assert.All(wrong, w => Assert.Contains(w.Says, One(Hmac(w.Change)), StringComparison.Ordinal));
        foreach (
            var signed in new[]
            {
                "",
                "v0",
                "{timestamp}",
                "{timestamp}0",
                "{timestamp}.{timestamp}.",
                "é{timestamp}.",
                new string('x', 64) + "{timestamp}.",
            }
        )
        {
            Assert.Contains(
                "SignedPrefix is",
                One(Hmac(o => (o.TimestampHeader, o.SignedPrefix) = ("X-Time", signed))),
                StringComparison.Ordinal
            );
        }
        var old = Hmac(o => o.Hash = SignatureHash.Sha1);
        Assert.Contains("ask the sender for sha256", Assert.Single(WebhookSourceOptionsValidator.Warnings("payments", old, "S")));
    }

    [Fact]
    public void An_id_is_read_from_a_body_only_where_that_makes_sense()
    {
        foreach (var (scheme, says) in new[] { ("standard-webhooks", "the id is in a signed header"), ("none", "nothing is signed") })
        {
            var options = Source.Options(scheme, scheme == "none" ? [] : [Source.WhsecText]);
            options.EventIdFrom = "/id";
            Assert.Contains(says, One(options), StringComparison.Ordinal);
        }
        var github = Source.Options("github", Source.Plain);
        github.EventIdFrom = "/id";
        Assert.Empty(Problems(github));
        github.EventIdFrom = "id";
        Assert.Contains("EventIdFrom is 'id', which is no JSON Pointer", One(github), StringComparison.Ordinal);
    }

    [Fact]
    public void Wrong_options_make_no_intake()
    {
        var thrown = Assert.Throws<ArgumentException>(() => new WebhookIntake("payments", new WebhookSourceOptions(), new FakeTime()));

        Assert.Contains("Sources:payments:Scheme is ''", thrown.Message, StringComparison.Ordinal);
    }

    private static List<string> Problems(WebhookSourceOptions options) =>
        [.. WebhookSourceOptionsValidator.Validate("payments", options, "Scheduler:Webhooks:Sources")];

    private static string One(WebhookSourceOptions options) => Assert.Single(Problems(options));
}
