using System.Text;
using FsCheck;
using FsCheck.Fluent;
using Scheduler.Webhooks.Content;
using Scheduler.Webhooks.Keys;

namespace Scheduler.Tests.Webhooks;

/// <summary>When two deliveries have equal content.</summary>
public sealed class ContentTests
{
    [Fact]
    public void However_a_document_is_written_its_hash_is_that_of_the_one_canonical_form() =>
        Prop.ForAll(
                Gen.Zip(Json.Any, Gen.Choose(0, int.MaxValue)).ToArbitrary(),
                pair =>
                {
                    var (document, seed) = pair;
                    var chance = new Random(seed);
                    var expected = ContentHash.Of(Encoding.UTF8.GetBytes(document.Canonical()));
                    return HashOf(document.Write(chance)) == expected && HashOf(document.Write(chance)) == expected;
                }
            )
            .Check(Config.QuickThrowOnFailure.WithMaxTest(20_000));

    [Fact]
    public void Names_sort_as_RFC_8785_says()
    {
        // Its example of section 3.2.3.
        const string document = """
            { "\u20ac": "Euro Sign", "\r": "Carriage Return", "\ufb33": "Hebrew Letter Dalet With Dagesh", "1": "One",
              "\ud83d\ude00": "Emoji: Grinning Face", "\u0080": "Control", "\u00f6": "Latin Small Letter O With Diaeresis" }
            """;
        const string canonical =
            "{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\u0080\":\"Control\",\"ö\":\"Latin Small Letter O With Diaeresis\","
            + "\"€\":\"Euro Sign\",\"\ud83d\ude00\":\"Emoji: Grinning Face\",\"\ufb33\":\"Hebrew Letter Dalet With Dagesh\"}";

        Assert.Equal(ContentHash.Of(Encoding.UTF8.GetBytes(canonical)), HashOf(Encoding.UTF8.GetBytes(document)));
    }

    [Theory]
    [InlineData("""{"a":1}""", """{"a":1.0}""")]
    [InlineData("""{"a":100}""", """{"a":1e2}""")]
    [InlineData("""{"a":9007199254740993}""", """{"a":9007199254740992}""")]
    [InlineData("""{"a":1}""", """{"a":"1"}""")]
    [InlineData("""{"a":null}""", """{}""")]
    [InlineData("""{"a":[1,2]}""", """{"a":[2,1]}""")]
    [InlineData("""{"a":[[],1]}""", """{"a":[[1]]}""")]
    [InlineData("""{"a":"é"}""", """{"a":"e\u0301"}""")]
    [InlineData("""{"a":{},"b":{}}""", """{"a":{"b":{}}}""")]
    [InlineData("""{"A":1}""", """{"a":1}""")]
    public void Other_content_has_another_hash(string left, string right) => Assert.NotEqual(HashOf(left), HashOf(right));

    [Fact]
    public void What_is_ignored_may_differ_or_be_absent_and_nothing_else()
    {
        string[] ignored = ["/request", "/data/sentAt", "/list/1", "/none/at/all"];
        var expected = HashOf("""{"data":{"id":1},"list":[0,2]}""");

        Assert.Equal(expected, HashOf("""{"list":[0,1,2],"request":{"id":"x"},"data":{"sentAt":5,"id":1}}""", ignored));
        Assert.Equal(expected, HashOf("""{"list":[0,{"x":[1]},2],"request":null,"data":{"id":1,"sentAt":{"a":[]}}}""", ignored));
        Assert.Equal(HashOf("{}"), HashOf("""{"request":1}""", ignored));
        Assert.Equal(HashOf("""{"list":[]}"""), HashOf("""{"list":[1,2]}""", "/list/0", "/list/1"));
        Assert.NotEqual(expected, HashOf("""{"data":{"id":2},"list":[0,1,2]}""", ignored));
        Assert.NotEqual(expected, HashOf("""{"data":{"id":1,"request":1},"list":[0,1,2]}""", ignored));
    }

    [Fact]
    public void Stripe_may_count_its_retries_and_nobody_else_may()
    {
        static (ContentHash Body, ContentHash Canonical) Hashes(string scheme, int pending)
        {
            var body = $$"""{"type":"t","id":"e","orderId":1,"pending_webhooks":{{pending}},"request":null,"api_version":"x"}""";
            var (intake, delivery) = VerificationTests.Signed(scheme, Encoding.UTF8.GetBytes(body));
            var read = Assert.IsType<Scheduler.Webhooks.WebhookVerdict.Event>(delivery.To(intake));
            return (read.BodyHash, read.CanonicalHash);
        }

        Assert.Equal(Hashes("stripe", 1).Canonical, Hashes("stripe", 2).Canonical);
        Assert.NotEqual(Hashes("stripe", 1).Body, Hashes("stripe", 2).Body);
        Assert.NotEqual(Hashes("github", 1).Canonical, Hashes("github", 2).Canonical);
        Assert.NotEqual(
            Source.Event("""{"orderId":1,"request":1}""", o => o.IgnoreInBody = []).CanonicalHash,
            Source.Event("""{"orderId":1,"request":2}""", o => o.IgnoreInBody = []).CanonicalHash
        );
    }

    [Fact]
    public void A_hash_comes_back_from_its_bytes()
    {
        var hash = ContentHash.Of("abc"u8);

        Assert.Equal("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", hash.ToString());
        Assert.Equal(hash, ContentHash.From(hash.ToArray()));
        Assert.Throws<ArgumentException>(() => ContentHash.From(new byte[31]));
    }

    private static ContentHash HashOf(string document, params string[] ignored) => HashOf(Encoding.UTF8.GetBytes(document), ignored);

    private static ContentHash HashOf(byte[] document, params string[] ignored)
    {
        var problem = JsonTape.Read(document, out var tape);
        try
        {
            Assert.Null(problem);
            foreach (var pointer in ignored)
            {
                tape.Ignore(JsonPointer.From(pointer));
            }
            return CanonicalForm.Hash(ref tape);
        }
        finally
        {
            tape.Dispose();
        }
    }
}
