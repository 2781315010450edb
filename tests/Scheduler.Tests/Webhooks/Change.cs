using FsCheck;
using FsCheck.Fluent;

namespace Scheduler.Tests.Webhooks;

/// <summary>A request that was made of a genuine delivery.</summary>
internal sealed record MutatedRequest(Delivery Delivery)
{
    public string Method { get; init; } = "POST";

    public string? Path { get; init; }

    public bool HasLength { get; init; } = true;

    /// <summary>Whether its signature is valid, and nothing else is wrong with it.</summary>
    public bool IsGenuine { get; init; }

    /// <summary>The answer to one that is not genuine.</summary>
    public int Refusal { get; init; } = 401;
}

/// <summary>What is changed in a genuine delivery.</summary>
internal sealed record Change(int Kind, int Place, int Value)
{
    private static readonly string[] Methods = ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"];
    private static readonly string[] Paths = ["/webhooks/none", "/webhooks", "/", "/webhooks/stripe/x", "/api/inbox", "/webhooks/\u0000"];
    private static readonly string[] Types =
    [
        "text/plain",
        "application/xml",
        "application/x-www-form-urlencoded",
        "json",
        "application/json; charset=utf-16",
    ];

    /// <summary>Any of them.</summary>
    public static Gen<Change> Any { get; } =
        from kind in Gen.Choose(0, 11)
        from place in Gen.Choose(0, int.MaxValue)
        from value in Gen.Choose(0, 255)
        select new Change(kind, place, value);

    // As insertion, removal or replacement.
    private Change Edit => this with { Kind = Place / 7 % 3 };

    /// <summary>Applies it.</summary>
    public MutatedRequest Apply(Delivery genuine)
    {
        var delivery = genuine.Copy();
        var name = delivery.Names.ElementAt(Place % delivery.Names.Count);
        switch (Kind)
        {
            case 0:
                return new MutatedRequest(delivery) { IsGenuine = true, HasLength = Value % 2 == 0 };
            case 1:
                return new MutatedRequest(delivery) { Method = Methods[Value % Methods.Length], Refusal = 405 };
            case 2:
                return new MutatedRequest(delivery) { Path = Paths[Value % Paths.Length], Refusal = 404 };
            case 3:
                return new MutatedRequest(delivery.With("Content-Type", Types[Value % Types.Length])) { Refusal = 415 };
            case 4:
                delivery.Body = [.. delivery.Body, .. new byte[20_480]];
                return new MutatedRequest(delivery) { HasLength = Value % 2 == 0, Refusal = 413 };
            case 5:
                return new MutatedRequest(delivery.With(name, null));
            case 6:
                return new MutatedRequest(delivery.Twice(name));
            case 7:
                // Headers that nobody asked for change nothing.
                return new MutatedRequest(delivery.With($"X-Any-{Value}", new string((char)Value, Place % 300))) { IsGenuine = true };
            case 8:
                // Half of the new characters are such that mean something in a header.
                var value = Value % 2 == 0 ? (char)Value : " ,=v1tAaFf0\u00e9\u0000"[Value % 13];
                var before = delivery[name];
                var after = new string(MutationTests.Apply(Edit, before.ToCharArray(), value));
                delivery.With(name, after);
                return new MutatedRequest(delivery)
                {
                    IsGenuine = MutationTests.Meaning(name, after) == MutationTests.Meaning(name, before),
                };
            case 9:
                delivery.Body = new byte[Place % 2_000];
                new Random(Place).NextBytes(delivery.Body);
                return new MutatedRequest(delivery) { HasLength = Value % 2 == 0 };
            default:
                delivery.Body = MutationTests.Apply(Edit, genuine.Body, (byte)Value);
                return new MutatedRequest(delivery)
                {
                    IsGenuine = delivery.Body.AsSpan().SequenceEqual(genuine.Body),
                    HasLength = Place % 2 == 0,
                };
        }
    }
}
