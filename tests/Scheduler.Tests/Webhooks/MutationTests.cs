using System.Text;
using System.Text.Json;
using FsCheck;
using FsCheck.Fluent;
using Scheduler.Webhooks;

namespace Scheduler.Tests.Webhooks;

/// <summary>Over 100,000 deliveries that differ a little from a genuine one, or are nothing at all: none is taken without a valid
/// signature, and none throws.</summary>
public sealed class MutationTests
{
    private static readonly string[] Schemes = ["standard-webhooks", "stripe", "github", "shopify", "hmac"];

    private static readonly Gen<Change> Changes =
        from kind in Gen.Choose(0, 2)
        from place in Gen.Choose(0, int.MaxValue)
        from value in Gen.Choose(0, 255)
        select new Change(kind, place, value);

    [Fact]
    public void No_changed_byte_of_a_body_is_taken() =>
        Prop.ForAll(
                Gen.Zip(Gen.Zip(Gen.Elements(Schemes), Json.Event), Gen.Zip(Gen.Choose(0, int.MaxValue), Changes.ListOf(4))).ToArbitrary(),
                data =>
                {
                    var ((scheme, document), (seed, changes)) = data;
                    var (intake, delivery) = VerificationTests.Signed(scheme, document.Write(new Random(seed)));
                    Assert.IsType<WebhookVerdict.Event>(delivery.To(intake));
                    foreach (var change in changes)
                    {
                        var changed = delivery.Copy();
                        changed.Body = Apply(change, delivery.Body, (byte)change.Value);
                        Judge(changed.To(intake), isSame: changed.Body.AsSpan().SequenceEqual(delivery.Body));
                    }
                }
            )
            .Check(Config.QuickThrowOnFailure.WithMaxTest(10_000));

    [Fact]
    public void No_changed_character_of_a_signed_header_is_taken_unless_it_means_the_same()
    {
        // Taken with a change: only spaces and empty items between the parts of two headers, and the case of hexadecimal digits.
        var alike = 0;
        Prop.ForAll(
                Gen.Zip(Gen.Elements(Schemes), Changes.ListOf(8)).ToArbitrary(),
                data =>
                {
                    var (scheme, changes) = data;
                    var (intake, delivery) = VerificationTests.Signed(scheme);
                    foreach (var change in changes)
                    {
                        var name = delivery.Names.ElementAt(change.Value % delivery.Names.Count);
                        var before = delivery[name];
                        // Half of the new characters are such that mean something in a header.
                        var value = change.Value % 2 == 0 ? (char)change.Value : " ,=v1tAaFf0\u00e9\u0000"[change.Value % 13];
                        var after = new string(Apply(change, before.ToCharArray(), value));
                        var isSame = Meaning(name, after) == Meaning(name, before);
                        alike += isSame && after != before ? 1 : 0;
                        Judge(delivery.Copy().With(name, after).To(intake), isSame);
                    }
                }
            )
            .Check(Config.QuickThrowOnFailure.WithMaxTest(7_500));
        Assert.True(alike > 0, "No change kept the meaning, so nothing shows that such a one is taken.");
    }

    [Fact]
    public void A_signature_of_another_delivery_secret_or_scheme_is_not_taken() =>
        Prop.ForAll(
                Gen.Zip(Gen.Zip(Gen.Elements(Schemes), Gen.Elements(Schemes)), Gen.Choose(1, 1_000)).ToArbitrary(),
                data =>
                {
                    var ((scheme, other), order) = data;
                    var (intake, _) = VerificationTests.Signed(scheme);
                    var (_, foreign) = VerificationTests.Signed(other, Encoding.UTF8.GetBytes($$"""{"orderId":{{order}}}"""));
                    var stolen = foreign.Copy();
                    stolen.Text = $$"""{"orderId":{{order + 1}}}""";

                    Assert.IsType<WebhookVerdict.Refused>(stolen.To(intake));
                    if (scheme != other)
                    {
                        Assert.IsType<WebhookVerdict.Refused>(foreign.To(intake));
                    }
                }
            )
            .Check(Config.QuickThrowOnFailure.WithMaxTest(2_000));

    [Fact]
    public void Arbitrary_headers_and_bytes_are_refused_and_never_throw()
    {
        string[] names =
        [
            "webhook-id",
            "webhook-timestamp",
            "webhook-signature",
            "svix-id",
            "svix-timestamp",
            "svix-signature",
            "Stripe-Signature",
            "X-Hub-Signature-256",
            "X-Shopify-Hmac-Sha256",
            "X-Sign",
            "Content-Type",
        ];
        var intakes = Schemes.Select(s => VerificationTests.Signed(s).Intake).ToList();
        Prop.ForAll<(int Name, string? Value)[], byte[]>(
                (headers, body) =>
                {
                    var delivery = new Delivery { Body = body };
                    foreach (var (name, value) in headers)
                    {
                        delivery.With(names[(name & int.MaxValue) % names.Length], value);
                    }
                    foreach (var intake in intakes)
                    {
                        Assert.Contains(Assert.IsType<WebhookVerdict.Refused>(delivery.To(intake)).Status, (int[])[401, 415]);
                    }
                }
            )
            .Check(Config.QuickThrowOnFailure.WithMaxTest(5_000));
    }

    [Fact]
    public void What_is_JSON_is_what_a_strict_reader_of_another_make_takes()
    {
        var intake = Source.Intake(Source.Options("none"));
        var (taken, quarantined) = (0, 0);
        Prop.ForAll(
                Gen.Zip(Json.Any, Gen.Zip(Gen.Choose(0, int.MaxValue), Changes.ListOf(4))).ToArbitrary(),
                data =>
                {
                    var (document, (seed, changes)) = data;
                    var written = document.Write(new Random(seed));
                    foreach (var change in changes)
                    {
                        // Half of the new bytes are such that mean something in JSON.
                        var value = change.Value % 2 == 0 ? (byte)change.Value : (byte)" \"\\{}[],:0123eE.-u"[change.Value % 18];
                        var body = Apply(change, written, value);
                        var verdict = new Delivery { Body = body }.To(intake);
                        var isJson = verdict switch
                        {
                            WebhookVerdict.Event => true,
                            WebhookVerdict.Quarantined q => !q.Reason.StartsWith("not JSON", StringComparison.Ordinal),
                            _ => throw new InvalidOperationException($"{verdict}"),
                        };
                        Assert.Equal(IsStrictJson(body), isJson);
                        _ = isJson ? taken++ : quarantined++;
                    }
                }
            )
            .Check(Config.QuickThrowOnFailure.WithMaxTest(8_000));
        Assert.True(taken > 1_000 && quarantined > 1_000, $"{taken} taken, {quarantined} quarantined: too few of one kind.");
    }

    // The meaning of a signed header, told apart by rules of this test's own.
    internal static string Meaning(string name, string value) =>
        name switch
        {
            "webhook-signature" => string.Join(' ', value.Split(' ', StringSplitOptions.RemoveEmptyEntries)),
            "Stripe-Signature" => string.Join(
                ',',
                value
                    .Split(',')
                    .Select(i => i.Trim(' '))
                    .Where(i => i.Length > 0)
                    .Select(i => i.StartsWith("v1=", StringComparison.Ordinal) ? Lower(i) : i)
            ),
            "X-Hub-Signature-256" => value.StartsWith("sha256=", StringComparison.Ordinal) ? Lower(value) : value,
            "X-Sign" => Lower(value),
            _ => value,
        };

    private static string Lower(string hex) => string.Concat(hex.Select(c => c is >= 'A' and <= 'F' ? char.ToLowerInvariant(c) : c));

    private static void Judge(WebhookVerdict verdict, bool isSame)
    {
        if (isSame)
        {
            Assert.IsType<WebhookVerdict.Event>(verdict);
            return;
        }
        Assert.Equal(401, Assert.IsType<WebhookVerdict.Refused>(verdict).Status);
    }

    internal static T[] Apply<T>(Change change, T[] to, T value)
    {
        var place = change.Place % (to.Length + 1);
        return change.Kind switch
        {
            0 => [.. to[..place], value, .. to[place..]],
            1 when place < to.Length => [.. to[..place], .. to[(place + 1)..]],
            _ when place < to.Length => [.. to[..place], value, .. to[(place + 1)..]],
            _ => [.. to, value],
        };
    }

    private static bool IsStrictJson(byte[] body)
    {
        try
        {
            _ = new UTF8Encoding(false, throwOnInvalidBytes: true).GetString(body);
            using var document = JsonDocument.Parse(body, new JsonDocumentOptions { MaxDepth = 64, AllowDuplicateProperties = false });
            return AreTextsSound(document.RootElement);
        }
        catch (Exception e) when (e is JsonException or DecoderFallbackException or InvalidOperationException)
        {
            return false;
        }
    }

    private static bool AreTextsSound(JsonElement element) =>
        element.ValueKind switch
        {
            JsonValueKind.String => element.GetString() is not null,
            JsonValueKind.Array => element.EnumerateArray().All(AreTextsSound),
            JsonValueKind.Object => element.EnumerateObject().All(p => p.Name is not null && AreTextsSound(p.Value)),
            _ => true,
        };
}
