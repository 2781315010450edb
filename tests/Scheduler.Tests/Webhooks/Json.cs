using System.Globalization;
using System.Text;
using FsCheck;
using FsCheck.Fluent;

namespace Scheduler.Tests.Webhooks;

/// <summary>A JSON document of a test: the same one can be written in many ways.</summary>
internal abstract record Json
{
    public sealed record Literal(string Text) : Json;

    public sealed record Words(string Text) : Json;

    public sealed record List(Json[] Items) : Json;

    public sealed record Map((string Name, Json Value)[] Members) : Json;

    private static readonly Gen<string> AnyText = Gen.Elements(
            "a",
            "b",
            "ab",
            "Z",
            " ",
            "/",
            "\"",
            "\\",
            "\n",
            "\t",
            "\b",
            "\f",
            "\r",
            "\u0000",
            "\u001f",
            "\u007f",
            "é",
            "e\u0301",
            "€",
            "\ud7ff",
            "\ue000",
            "\uffff",
            "\ud83d\ude00",
            "\udbff\udfff",
            "0",
            "null",
            "orderId",
            new string('x', 300)
        )
        .ListOf()
        .Select(p => string.Concat(p.Take(6)));

    private static readonly Gen<Json> Leaf = Gen.OneOf(
        Gen.Elements("0", "-0", "1", "1.0", "1e0", "1E+2", "-1.5e-7", "9007199254740993", "true", "false", "null")
            .Select(t => (Json)new Literal(t)),
        AnyText.Select(t => (Json)new Words(t))
    );

    /// <summary>Documents of all forms, small ones mostly.</summary>
    public static Gen<Json> Any { get; } = Gen.Sized(size => Nested(Math.Min(size, 40)));

    /// <summary>Events: objects with an order and, mostly, a type.</summary>
    public static Gen<Json> Event { get; } =
        from order in Gen.Choose(1, 1_000_000)
        from type in Gen.Elements("payment.succeeded", "payment.refunded", "t")
        from rest in Any
        select (Json)
            new Map([
                ("type", new Words(type)),
                ("orderId", new Literal(order.ToString(CultureInfo.InvariantCulture))),
                ("id", new Words("evt_1")),
                ("data", rest),
            ]);

    /// <summary>The canonical form, by a few lines that have nothing in common with the product's.</summary>
    public string Canonical() =>
        this switch
        {
            Literal literal => literal.Text,
            Words words => Quoted(words.Text),
            List list => "[" + string.Join(',', list.Items.Select(i => i.Canonical())) + "]",
            Map map => "{"
                + string.Join(
                    ',',
                    map.Members.OrderBy(m => m.Name, StringComparer.Ordinal).Select(m => Quoted(m.Name) + ":" + m.Value.Canonical())
                )
                + "}",
            _ => throw new InvalidOperationException(),
        };

    /// <summary>One of the ways to write it: order of members, white space and escapes by chance.</summary>
    public byte[] Write(Random chance)
    {
        var text = new StringBuilder();
        Write(text, chance);
        return Encoding.UTF8.GetBytes(text.ToString());
    }

    private static Gen<Json> Nested(int size)
    {
        if (size < 2)
        {
            return Leaf;
        }
        var inner = Nested(size / 3);
        return Gen.OneOf(
            Leaf,
            inner.ListOf().Select(i => (Json)new List([.. i.Take(6)])),
            Gen.Zip(AnyText, inner)
                .ListOf()
                .Select(m => (Json)new Map([.. m.DistinctBy(p => p.Item1).Take(12).Select(p => (p.Item1, p.Item2))]))
        );
    }

    private void Write(StringBuilder text, Random chance)
    {
        Space(text, chance);
        switch (this)
        {
            case Literal literal:
                text.Append(literal.Text);
                break;
            case Words words:
                WriteText(text, words.Text, chance);
                break;
            case List list:
                text.Append('[');
                for (var i = 0; i < list.Items.Length; i++)
                {
                    text.Append(i == 0 ? "" : ",");
                    list.Items[i].Write(text, chance);
                }
                Space(text, chance);
                text.Append(']');
                break;
            case Map map:
                var members = map.Members.ToArray();
                chance.Shuffle(members);
                text.Append('{');
                for (var i = 0; i < members.Length; i++)
                {
                    text.Append(i == 0 ? "" : ",");
                    Space(text, chance);
                    WriteText(text, members[i].Name, chance);
                    Space(text, chance);
                    text.Append(':');
                    members[i].Value.Write(text, chance);
                }
                Space(text, chance);
                text.Append('}');
                break;
        }
        Space(text, chance);
    }

    private static void Space(StringBuilder text, Random chance)
    {
        if (chance.Next(4) == 0)
        {
            text.Append(" \t\r\n"[chance.Next(4)]);
        }
    }

    private static void WriteText(StringBuilder text, string value, Random chance)
    {
        text.Append('"');
        for (var i = 0; i < value.Length; i++)
        {
            var character = value[i];
            var mustEscape = character < ' ' || character is '"' or '\\';
            if (!mustEscape && chance.Next(8) > 0)
            {
                text.Append(character);
                // An escape and a bare half would make no character.
                if (char.IsHighSurrogate(character))
                {
                    text.Append(value[++i]);
                }
            }
            else if (Short(character) is { } letter && chance.Next(2) == 0)
            {
                text.Append('\\').Append(letter);
            }
            else
            {
                Escape(text, character, chance);
                if (char.IsHighSurrogate(character))
                {
                    Escape(text, value[++i], chance);
                }
            }
        }
        text.Append('"');
    }

    private static void Escape(StringBuilder text, char character, Random chance) =>
        text.Append("\\u").Append(((int)character).ToString(chance.Next(2) == 0 ? "x4" : "X4", CultureInfo.InvariantCulture));

    private static string Quoted(string text) =>
        "\""
        + string.Concat(
            text.Select(c =>
                c == '/' ? "/"
                : Short(c) is { } letter ? $"\\{letter}"
                : c < ' ' ? $"\\u{(int)c:x4}"
                : c.ToString()
            )
        )
        + "\"";

    private static char? Short(char character) =>
        character switch
        {
            '"' or '\\' or '/' => character,
            '\b' => 'b',
            '\t' => 't',
            '\n' => 'n',
            '\f' => 'f',
            '\r' => 'r',
            _ => null,
        };
}
