using System.Text;
using FsCheck;
using FsCheck.Fluent;
using Scheduler.Locking;
using Scheduler.Webhooks.Content;
using Scheduler.Webhooks.Keys;

namespace Scheduler.Tests.Webhooks;

/// <summary>Type, dedupe key and order key of a body, and bodies that have none.</summary>
public sealed class KeyTests
{
    [Fact]
    public void The_defaults_are_type_and_order()
    {
        var read = Source.Event("""{"orderId":"8123","amount":1,"type":"payment.succeeded"}""");

        Assert.Equal(("payment.succeeded", "payment.succeeded:8123", "8123"), (read.Type, read.DedupeKey, read.OrderKey));
    }

    [Theory]
    [InlineData("""{"orderId":1}""")]
    [InlineData("""{"orderId":1,"type":null}""")]
    public void A_type_may_be_absent(string body)
    {
        var read = Source.Event(body);

        Assert.Null(read.Type);
        Assert.Equal(":1", read.DedupeKey);
        Assert.Equal(":1", Source.Event("""{"orderId":1,"type":"t"}""", o => o.TypeFrom = "").DedupeKey);
    }

    [Fact]
    public void The_type_may_be_in_a_header()
    {
        var options = Source.Options("none");
        options.TypeFrom = "header:X-Event";
        var intake = Source.Intake(options);
        var delivery = new Delivery { Text = """{"orderId":1,"type":"t"}""" };

        Assert.Equal(("order.paid", "order.paid:1"), Read(delivery.With("X-Event", "order.paid")));
        Assert.Equal((new string('x', 200), new string('x', 200) + ":1"), Read(delivery.With("X-Event", new string('x', 200))));
        // What is no type is none.
        Assert.Equal((null, ":1"), Read(delivery.With("X-Event", new string('x', 201))));
        Assert.Equal((null, ":1"), Read(delivery.With("X-Event", "order paid")));
        Assert.Equal((null, ":1"), Read(delivery.With("X-Event", "order.paid").Twice("X-Event")));
        Assert.Equal((null, ":1"), Read(delivery.With("X-Event", null)));

        (string?, string) Read(Delivery sent)
        {
            var read = Assert.IsType<Scheduler.Webhooks.WebhookVerdict.Event>(sent.To(intake));
            return (read.Type, read.DedupeKey);
        }
    }

    [Theory]
    [InlineData("1", "1")]
    [InlineData("1.0", "1.0")]
    [InlineData("-0", "-0")]
    [InlineData("1e2", "1e2")]
    [InlineData("1E+2", "1E%2B2")]
    [InlineData("9007199254740993", "9007199254740993")]
    [InlineData("123456789012345678901234567890.10", "123456789012345678901234567890.10")]
    public void A_number_is_its_literal_text(string number, string key) =>
        Assert.Equal(key, Source.Event($$"""{"orderId":{{number}}}""").OrderKey);

    [Fact]
    public void A_number_and_the_text_of_it_are_one_order() =>
        Assert.Equal(Source.Event("""{"orderId":8123}""").OrderKey, Source.Event("""{"orderId":"8123"}""").OrderKey);

    [Fact]
    public void A_text_counts_by_its_characters_not_its_escapes()
    {
        var plain = Source.Event("""{"orderId":"a/b é"}""");
        var escaped = Source.Event("""{"order\u0049d":"\u0061\/b \u00E9"}""");

        Assert.Equal("a%2Fb%20%C3%A9", plain.OrderKey);
        Assert.Equal(plain.OrderKey, escaped.OrderKey);
        Assert.Equal(plain.DedupeKey, escaped.DedupeKey);
    }

    [Theory]
    [InlineData("{}", "/orderId is missing")]
    [InlineData("[]", "/orderId is missing")]
    [InlineData("1", "/orderId is missing")]
    [InlineData("""{"data":{"orderId":1}}""", "/orderId is missing")]
    [InlineData("""{"orderId":""}""", "/orderId is an empty text")]
    [InlineData("""{"orderId":null}""", "/orderId is null, not a text or number")]
    [InlineData("""{"orderId":true}""", "/orderId is true or false, not a text or number")]
    [InlineData("""{"orderId":["a"]}""", "/orderId is an array, not a text or number")]
    [InlineData("""{"orderId":{"a":1}}""", "/orderId is an object, not a text or number")]
    public void A_body_without_a_key_is_quarantined_with_the_place(string body, string says) =>
        Assert.Equal("no key: " + says, Source.Quarantine(body));

    [Fact]
    public void A_type_that_cannot_be_one_is_quarantined()
    {
        Assert.Equal("no type: /type is an object, not a text or number", Source.Quarantine("""{"orderId":1,"type":{}}"""));
        Assert.Equal("no type: /type is an empty text", Source.Quarantine("""{"orderId":1,"type":""}"""));
        Assert.Equal("no type: /type has a control character", Source.Quarantine("""{"orderId":1,"type":"a\u0000"}"""));
        Assert.Equal("no type: /type has more than 200 bytes", Source.Quarantine($$"""{"orderId":1,"type":"{{new string('x', 201)}}"}"""));
        Assert.Equal(200, Source.Event($$"""{"orderId":1,"type":"{{new string('x', 200)}}"}""").Type!.Length);
    }

    [Fact]
    public void Order_needs_its_own_place_when_it_differs()
    {
        static void Change(Scheduler.Webhooks.Sources.WebhookSourceOptions o) => (o.DedupeBy, o.OrderBy) = (["/id", "/seq"], ["/order/id"]);
        var read = Source.Event("""{"type":"t","id":"a:b","seq":7,"order":{"id":"o"}}""", Change);

        Assert.Equal(("t:a%3Ab:7", "o"), (read.DedupeKey, read.OrderKey));
        Assert.Equal("no key: /order/id is missing", Source.Quarantine("""{"type":"t","id":"a","seq":7}""", Change));
    }

    [Theory]
    [InlineData("/foo/0", "bar")]
    [InlineData("/", "empty")]
    [InlineData("/a~1b", "slash")]
    [InlineData("/m~0n", "tilde")]
    [InlineData("/c%d", "percent")]
    [InlineData("/ ", "space")]
    [InlineData("/~01", "tilde-one")]
    [InlineData("/foo/2/0", "deep")]
    [InlineData("/num/01", "zero-one")]
    [InlineData("/é/k\"l", "quote")]
    public void A_pointer_finds_its_value(string place, string value)
    {
        // The document of RFC 6901 section 5, and what else can be confused.
        const string body = """
            { "foo": ["bar", "baz", ["deep"]], "": "empty", "a/b": "slash", "c%d": "percent", "m~n": "tilde", " ": "space",
              "~1": "tilde-one", "num": { "1": "one", "01": "zero-one" }, "\u00e9": { "k\"l": "quote" } }
            """;
        Assert.Equal(Uri.EscapeDataString(value), Source.Event(body, o => (o.DedupeBy, o.OrderBy) = ([place], [place])).OrderKey);
    }

    [Theory]
    [InlineData("/foo/3")]
    [InlineData("/foo/-")]
    [InlineData("/foo/00")]
    [InlineData("/foo/-1")]
    [InlineData("/foo/0/0")]
    [InlineData("/foo/4294967296")]
    [InlineData("/foo/x")]
    [InlineData("/Foo/0")]
    public void A_pointer_past_the_document_finds_nothing(string place) =>
        Assert.Equal(
            $"no key: {place} is missing",
            Source.Quarantine("""{"foo":["a","b",{}]}""", o => (o.DedupeBy, o.OrderBy) = ([place], [place]))
        );

    [Theory]
    [InlineData("", "begins with '/'")]
    [InlineData("orderId", "begins with '/'")]
    [InlineData("#/orderId", "begins with '/'")]
    [InlineData("$.orderId", "begins with '/'")]
    [InlineData("/a~", "write ~0 for '~'")]
    [InlineData("/a~2", "write ~0 for '~'")]
    public void A_pointer_that_cannot_be_read_is_refused(string place, string says) =>
        Assert.Contains(says, JsonPointer.Problem(place), StringComparison.Ordinal);

    [Fact]
    public void A_pointer_has_its_bounds()
    {
        Assert.Contains("unpaired surrogate", JsonPointer.Problem("/a\ud800"), StringComparison.Ordinal);
        Assert.Null(JsonPointer.Problem("/" + new string('x', 255)));
        Assert.Contains("at most 256", JsonPointer.Problem("/" + new string('x', 256)), StringComparison.Ordinal);
        Assert.Null(JsonPointer.Problem(string.Concat(Enumerable.Repeat("/a", 64))));
        Assert.Contains("deeper than 64", JsonPointer.Problem(string.Concat(Enumerable.Repeat("/a", 65))), StringComparison.Ordinal);
    }

    [Fact]
    public void A_long_key_is_known_by_its_hash_and_fits_the_longest_lock_key()
    {
        var name = new string('s', 100);
        var fits = Source.Event($$"""{"orderId":"{{new string('x', 400)}}"}""").OrderKey;
        var hashed = Source.Event($$"""{"orderId":"{{new string('x', 401)}}"}""").OrderKey;

        Assert.Equal(new string('x', 400), fits);
        Assert.Equal($"sha256={ContentHash.Of(Encoding.UTF8.GetBytes(new string('x', 401)))}", hashed);
        Assert.Equal($"order:{name}:{fits}", OrderLock.KeyOf(name, fits).Value);
        Assert.True(OrderLock.KeyOf(name, fits).Value.Length <= LockKey.MaxBytes);
        // Nobody can write a short key that looks like a long one's.
        Assert.Equal(Uri.EscapeDataString(hashed), Source.Event($$"""{"orderId":"{{hashed}}"}""").OrderKey);
        Assert.NotEqual(hashed, Source.Event($$"""{"orderId":"{{hashed}}"}""").OrderKey);
    }

    [Fact]
    public void Two_different_lists_of_parts_never_share_a_key()
    {
        var piece = Gen.Elements(
            "a",
            "b",
            ":",
            "|",
            "%",
            "%3A",
            "=",
            "sha256=",
            "é",
            "\ud83d\ude00",
            "\u0000",
            "/",
            " ",
            new string('x', 190)
        );
        var part = piece.NonEmptyListOf().Select(p => string.Concat(p.Take(5)));
        var parts = part.NonEmptyListOf().Select(p => p.Take(3).ToArray());

        Prop.ForAll(
                Gen.Zip(parts, parts).ToArbitrary(),
                pair =>
                {
                    var (left, right) = pair;
                    return (Join(left) == Join(right)) == left.SequenceEqual(right, StringComparer.Ordinal);
                }
            )
            .Check(Config.QuickThrowOnFailure.WithMaxTest(20_000));
        Assert.NotEqual(Join("a", "b:c"), Join("a:b", "c"));
        Assert.NotEqual(Join("a", "bc"), Join("ab", "c"));
        Assert.NotEqual(Join("a", ""), Join("", "a"));
    }

    [Fact]
    public void A_part_is_encoded_as_the_lock_keys_of_jobs_are() =>
        Prop.ForAll<NonNull<string>>(text =>
            {
                // FsCheck gives unpaired surrogates too, which no JSON text can have.
                var sound = Encoding.UTF8.GetString(Encoding.UTF8.GetBytes(text.Get));
                var encoded = Uri.EscapeDataString(sound);
                return encoded.Length > KeyText.MaxBytes || Join(sound) == encoded;
            })
            .Check(Config.QuickThrowOnFailure.WithMaxTest(5_000));

    private static string Join(params string[] parts)
    {
        var key = new KeyText(stackalloc byte[KeyText.MaxBytes]);
        try
        {
            foreach (var part in parts)
            {
                key.Add(Encoding.UTF8.GetBytes(part));
            }
            return key.Finish();
        }
        finally
        {
            key.Dispose();
        }
    }
}
