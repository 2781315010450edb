using System.Buffers;
using System.Text.Json;
using System.Text.Unicode;

namespace Scheduler.Webhooks.Keys;

/// <summary>
/// One JSON document, read once from the first byte to the last: a flat list of its names and values, which say where their text stands. No
/// object per value; the arrays are pooled. Stricter than RFC 8259 where two readers might understand a document differently: no name twice
/// in an object, no invalid UTF-8, no unpaired surrogate (as RFC 7493), nothing behind the value. For one thread; dispose of it.
/// </summary>
internal ref struct JsonTape
{
    /// <summary>How many arrays and objects may stand in each other.</summary>
    public const int MaxDepth = 64;

    /// <summary>How many names and values a document may have: a bound for memory, 20 bytes each.</summary>
    public const int MaxNodes = 250_000;

    private readonly ReadOnlySpan<byte> _body;
    private Node[] _nodes;
    private int _count;

    // Texts that have escapes in the body, without them; never longer than the body.
    private byte[]? _plain;
    private int _plainUsed;

    private JsonTape(ReadOnlySpan<byte> body)
    {
        _body = body;
        _nodes = ArrayPool<Node>.Shared.Rent(256);
    }

    /// <summary>The document's value; the others follow in the order of the document.</summary>
    public const int Root = 0;

    /// <summary>Reads a document.</summary>
    /// <param name="body">The document in UTF-8.</param>
    /// <param name="tape">What was read; to be disposed of also when there is a problem.</param>
    /// <returns>Why this is no JSON, without anything of it; or <see langword="null"/>.</returns>
    public static string? Read(ReadOnlySpan<byte> body, out JsonTape tape)
    {
        tape = new JsonTape(body);
        return Utf8.IsValid(body) ? tape.Read() : "not JSON: invalid UTF-8";
    }

    /// <summary>What a node is.</summary>
    public readonly NodeKind Kind(int at) => _nodes[at].Kind;

    /// <summary>The text of a name or string without quotes and escapes; of a number and the like as written.</summary>
    public readonly ReadOnlySpan<byte> Text(int at)
    {
        ref readonly var node = ref _nodes[at];
        return (node.IsPlain ? _plain : _body).Slice(node.Start, node.Length);
    }

    /// <summary>The first node that is not part of this one.</summary>
    public readonly int After(int at) => _nodes[at].Next;

    /// <summary>The member of an object whose name is the first in order, or -1. Its value is the node after it.</summary>
    public readonly int FirstMember(int at) => _nodes[at].Link;

    /// <summary>The member whose name comes next in order, or -1.</summary>
    public readonly int NextMember(int at) => _nodes[at].Link;

    /// <summary>Whether a value was marked by <see cref="Ignore"/>.</summary>
    public readonly bool IsIgnored(int at) => _nodes[at].IsIgnored;

    /// <summary>Marks the value at a place, if there is one.</summary>
    public readonly void Ignore(JsonPointer pointer)
    {
        if (Find(pointer) is >= 0 and var at)
        {
            _nodes[at].IsIgnored = true;
        }
    }

    /// <summary>Finds the value at a place.</summary>
    /// <returns>The node, or -1.</returns>
    public readonly int Find(JsonPointer pointer)
    {
        var at = Root;
        for (var i = 0; i < pointer.Steps.Count && at >= 0; i++)
        {
            var step = pointer.Steps[i];
            at = _nodes[at].Kind switch
            {
                NodeKind.Object => Member(at, step.Name),
                NodeKind.Array when step.Index >= 0 => Element(at, step.Index),
                _ => -1,
            };
        }
        return at;
    }

    /// <summary>Gives the arrays back.</summary>
    public void Dispose()
    {
        if (_nodes.Length > 0)
        {
            ArrayPool<Node>.Shared.Return(_nodes);
            _nodes = [];
        }
        if (_plain is not null)
        {
            ArrayPool<byte>.Shared.Return(_plain);
            _plain = null;
        }
    }

    private readonly int Member(int at, ReadOnlySpan<byte> name)
    {
        var end = _nodes[at].Next;
        for (var member = at + 1; member < end; member = _nodes[member].Next)
        {
            if (Text(member).SequenceEqual(name))
            {
                return member + 1;
            }
        }
        return -1;
    }

    private readonly int Element(int at, int index)
    {
        var end = _nodes[at].Next;
        for (var element = at + 1; element < end; element = _nodes[element].Next)
        {
            if (index-- == 0)
            {
                return element;
            }
        }
        return -1;
    }

    private string? Read()
    {
        // One more than is allowed, so that too deep can be told from wrong.
        var reader = new Utf8JsonReader(_body, new JsonReaderOptions { MaxDepth = MaxDepth + 1 });
        Span<int> open = stackalloc int[MaxDepth];
        var depth = 0;
        try
        {
            while (reader.Read())
            {
                switch (reader.TokenType)
                {
                    case not (JsonTokenType.EndObject or JsonTokenType.EndArray) when _count == MaxNodes:
                        return $"not JSON that is taken: more than {MaxNodes} names and values";
                    case JsonTokenType.StartObject or JsonTokenType.StartArray when depth == MaxDepth:
                        return $"not JSON that is taken: deeper than {MaxDepth} levels";
                    case JsonTokenType.StartObject or JsonTokenType.StartArray:
                        open[depth++] = _count;
                        Add(reader.TokenType == JsonTokenType.StartObject ? NodeKind.Object : NodeKind.Array, 0, 0);
                        break;
                    case JsonTokenType.EndObject or JsonTokenType.EndArray:
                        var container = open[--depth];
                        _nodes[container].Next = _count;
                        if (_nodes[container].Kind == NodeKind.Object && !Arrange(container))
                        {
                            return "not JSON that is taken: an object has a name twice";
                        }
                        break;
                    default:
                        AddText(ref reader);
                        break;
                }
            }
            return null;
        }
        catch (JsonException e)
        {
            // Its message would quote the body.
            return $"not JSON: line {e.LineNumber + 1}, byte {e.BytePositionInLine + 1}";
        }
        catch (InvalidOperationException)
        {
            return "not JSON that is taken: a text has an unpaired surrogate";
        }
    }

    private void AddText(ref Utf8JsonReader reader)
    {
        var kind = reader.TokenType switch
        {
            JsonTokenType.PropertyName => NodeKind.Name,
            JsonTokenType.String => NodeKind.String,
            JsonTokenType.Number => NodeKind.Number,
            JsonTokenType.Null => NodeKind.Null,
            _ => NodeKind.Boolean,
        };
        if (!reader.ValueIsEscaped)
        {
            var quote = kind is NodeKind.Name or NodeKind.String ? 1 : 0;
            Add(kind, (int)reader.TokenStartIndex + quote, reader.ValueSpan.Length);
            return;
        }
        _plain ??= ArrayPool<byte>.Shared.Rent(_body.Length);
        var length = reader.CopyString(_plain.AsSpan(_plainUsed));
        Add(kind, _plainUsed, length);
        _nodes[_count - 1].IsPlain = true;
        _plainUsed += length;
    }

    private void Add(NodeKind kind, int start, int length)
    {
        if (_count == _nodes.Length)
        {
            var larger = ArrayPool<Node>.Shared.Rent(_count * 2);
            _nodes.AsSpan(0, _count).CopyTo(larger);
            ArrayPool<Node>.Shared.Return(_nodes);
            _nodes = larger;
        }
        _nodes[_count++] = new Node
        {
            Kind = kind,
            Start = start,
            Length = length,
            Next = _count,
            Link = -1,
        };
    }

    // Links an object's members in the order of their names: a merge sort of lists (Knuth, The Art of Computer Programming 5.2.4), with a
    // list of 2^i members at place i. It compares every two equal names with each other, so it finds what is there twice.
    private readonly bool Arrange(int at)
    {
        Span<int> lists = stackalloc int[20];
        lists.Fill(-1);
        var end = _nodes[at].Next;
        for (var member = at + 1; member < end; )
        {
            var value = member + 1;
            var list = member;
            member = _nodes[value].Next;
            _nodes[list].Next = member;
            var i = 0;
            for (; lists[i] >= 0; i++)
            {
                if (!Merge(lists[i], list, out list))
                {
                    return false;
                }
                lists[i] = -1;
            }
            lists[i] = list;
        }
        var all = -1;
        foreach (var list in lists)
        {
            if (list >= 0 && !Merge(list, all, out all))
            {
                return false;
            }
        }
        _nodes[at].Link = all;
        return true;
    }

    private readonly bool Merge(int left, int right, out int merged)
    {
        merged = -1;
        var last = -1;
        while (left >= 0 && right >= 0)
        {
            var order = Compare(Text(left), Text(right));
            if (order == 0)
            {
                return false;
            }
            ref var taken = ref order < 0 ? ref left : ref right;
            Append(ref merged, ref last, taken);
            taken = _nodes[taken].Link;
        }
        Append(ref merged, ref last, left >= 0 ? left : right);
        return true;
    }

    private readonly void Append(ref int merged, ref int last, int member)
    {
        if (last < 0)
        {
            merged = member;
        }
        else
        {
            _nodes[last].Link = member;
        }
        last = member;
    }

    // The order of RFC 8785, which is that of UTF-16 code units: as that of UTF-8, but what takes four bytes comes before U+E000.
    private static int Compare(ReadOnlySpan<byte> left, ReadOnlySpan<byte> right)
    {
        var same = left.CommonPrefixLength(right);
        if (same == left.Length || same == right.Length)
        {
            return left.Length - right.Length;
        }
        var (l, r) = (left[same], right[same]);
        return l >= 0xEE && r >= 0xEE ? (l >= 0xF0 ? l - 0x10 : l) - (r >= 0xF0 ? r - 0x10 : r) : l - r;
    }

    private struct Node
    {
        public int Start;
        public int Length;
        public int Next;
        public int Link;
        public NodeKind Kind;
        public bool IsPlain;
        public bool IsIgnored;
    }
}

/// <summary>What a name or value of a document is.</summary>
internal enum NodeKind : byte
{
    Object,
    Array,
    Name,
    String,
    Number,
    Boolean,
    Null,
}
